"""Workers: work on a network spread over processes, to each of which the network is sent once."""

import os
import pickle
import socket
import time
import traceback
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4

from commute.errors import AlignmentError, CommuteError
from commute.models.network import Network
from commute.models.shipping import Packed, as_bytes, from_bytes, packed, unpacked

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 16  # tasks with the executor beside two for each worker that has the network, to find workers that are not yet known
_KEPT = 2  # networks that a worker keeps, those used last
_PAUSE = 0.01  # seconds until a worker says that it lacks the network, lest it asks for task after task meanwhile
_LOST = {"KilledWorker", "CommClosedError", "CancelledError"}  # what Dask and others raise when workers or the executor are gone


def spread(
    function: Callable[[Network, T], R],
    network: Network,
    tasks: Sequence[T],
    executor: Executor | None,
    *,
    on_result: Callable[[int, R], None],
) -> None:
    """Call `function(network, task)` for each task, in this process or over the workers of any executor.

    Workers get the network when they say that they lack it, about once each, and keep it for later calls. In one process tasks
    run one after the other, threads or not, since they hook into the network's module, and torch counts and draws for a whole
    process: give a Dask worker one thread. A `ProcessPoolExecutor` needs the start method "spawn", as threads do not fork.

    Args:
        function: of a network and a task; what it returns and raises goes through pickle.
        network: left as it is; workers have copies.
        tasks: what pickle takes.
        executor: of `concurrent.futures`, such as a `ProcessPoolExecutor` or the `get_executor()` of a Dask client; None is none.
        on_result: called in this process with a task's place and its result, as each is done.

    Raises:
        AlignmentError: when the executor is none.
        NetworkError: when the network or the function cannot be sent.
        CommuteError: when the executor lost its workers, saying how many tasks are finished.
        Exception: what the function raised first, after the results of the tasks that were under way were given to `on_result`.
    """
    if executor is None:
        for place, task in enumerate(tasks):
            on_result(place, function(network, task))
        return
    if not isinstance(executor, Executor):
        raise AlignmentError(
            f"executor must be a concurrent.futures.Executor, such as ProcessPoolExecutor() or dask.distributed.Client(…)"
            f".get_executor(), or None; given {type(executor).__name__}"
        )
    if len(tasks):
        _Work(executor, packed(network), as_bytes(function), tasks, on_result).done_all()


@dataclass(frozen=True)
class _Job:
    """A task for a worker, with the key of its network."""

    key: str
    function: bytes
    task: Any


@dataclass(frozen=True)
class Missing:
    """A worker's answer that it lacks the network."""

    worker: str


@dataclass(frozen=True)
class _Done:
    """A worker's answer with the result, pickled, lest an executor waits for ever for what cannot be rebuilt here."""

    worker: str
    result: bytes


class _Work:
    """Tasks on their way: what is yet to do, what the executor has, and which workers lack the network.

    When a worker says that it lacks the network, that is sent in a job of its own, unless it is on its way as many times as it is
    lacking. It may reach another worker, since executors do not let us choose. The one that lacks it will then say so again, and
    it is sent again at the 2nd, 4th, 8th, … time: a worker that is out of luck is done without for longer and longer.
    """

    def __init__(
        self, executor: Executor, network: Packed, function: bytes, tasks: Sequence[Any], on_result: Callable[[int, Any], None]
    ) -> None:
        self._executor, self._network, self._function, self._tasks = executor, network, function, tasks
        self._on_result = on_result
        self._todo = list(range(len(tasks)))  # a heap: tasks are begun in order
        self._running: dict[Future[Any], int] = {}  # the task of each
        self._sending: set[Future[Any]] = set()
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._workers: set[str] = set()
        self._lacking: Counter[str] = Counter()  # how many times each worker said so that lacks the network
        self._finished = 0
        self._error: BaseException | None = None

    def done_all(self) -> None:
        """Have all tasks done; on an error those that the executor has begun."""
        try:
            self._fill()
            while self._running or self._sending:
                self._take(self._ended.get())
                self._fill()
        except KeyboardInterrupt:
            self._cancel()
            self._take_ended()
            raise
        except BaseException:
            self._cancel()
            raise
        if self._error is not None and _is_lost(self._error):
            raise CommuteError(
                f"the executor lost its workers ({type(self._error).__name__}: {self._error}); {self._finished} of "
                f"{len(self._tasks)} tasks are finished and kept; see that workers have the memory that a task needs and go on "
                "running, and run again with runs= to continue with the rest"
            ) from self._error
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        """Give the executor tasks, as many as keep workers busy that have the network; while it is on its way no more."""
        room = 2 * (len(self._workers) - len(self._lacking)) + (0 if self._sending else _AHEAD)
        while self._todo and len(self._running) < room:
            place = heappop(self._todo)
            future = self._submitted(_answered, _Job(self._network.key, self._function, self._tasks[place]))
            if future is not None:
                self._running[future] = place
                future.add_done_callback(self._ended.put)

    def _send(self, times: int) -> None:
        """Send the network, where need be, as a worker said so many times that it lacks it."""
        needed = len(self._sending) < len(self._lacking) and times.bit_count() == 1
        future = self._submitted(_received, self._network) if needed else None
        if future is not None:
            self._sending.add(future)
            future.add_done_callback(self._ended.put)

    def _submitted(self, function: Callable[[Any, str], Any], given: Any) -> Future[Any] | None:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sending large graph", UserWarning)  # Dask's, of a network that is needed
                return self._executor.submit(function, given, uuid4().hex)  # Dask answers from memory what it was asked before
        except RuntimeError as error:  # as every executor raises that is broken or shut down
            self._fail(error if isinstance(error, BrokenExecutor) else BrokenExecutor(str(error)))
            return None

    def _take(self, future: Future[Any]) -> None:
        """Take up what became of a task or of sending the network."""
        self._sending.discard(future)
        place = self._running.pop(future, None)
        if future.cancelled():
            self._fail(CancelledError("a task was cancelled, as by a shutdown"))
            return
        error = future.exception()
        if error is not None:
            self._fail(error)
            return
        answer = future.result()
        self._workers.add(answer.worker)
        if isinstance(answer, _Done):
            self._lacking.pop(answer.worker, None)
            if place is not None:
                self._on_result(place, pickle.loads(answer.result))  # noqa: S301  # of a process of the user's own
                self._finished += 1
        elif place is not None and self._error is None:
            self._lacking[answer.worker] += 1
            heappush(self._todo, place)
            self._send(self._lacking[answer.worker])

    def _take_ended(self) -> None:
        """Take up what has ended, waiting for nothing."""
        self._error = self._error or KeyboardInterrupt()
        while True:
            try:
                self._take(self._ended.get_nowait())
            except Empty:
                return

    def _fail(self, error: BaseException) -> None:
        """Begin nothing more; the first error is the one that is raised."""
        if not isinstance(error, Exception) and not _is_lost(error):
            raise error
        if self._error is None:
            self._error = error
            self._cancel()

    def _cancel(self) -> None:
        self._todo.clear()
        for future in [*self._running, *self._sending]:
            future.cancel()


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, BrokenExecutor) or bool(_LOST & {kind.__name__ for kind in type(error).__mro__})


# In the worker.

_networks: OrderedDict[str, Network] = OrderedDict()
_one_at_a_time = Lock()


def _answered(job: _Job, _: str) -> Missing | _Done:
    """A task's result, or the answer that the network is missing."""
    with _one_at_a_time:
        network = _networks.get(job.key)
        if network is not None:
            _networks.move_to_end(job.key)
            return _Done(_worker(), pickle.dumps(_called(from_bytes(job.function), network, job.task)))
    time.sleep(_PAUSE)
    return Missing(_worker())


def _received(given: Packed, _: str) -> _Done:
    """Keep a network, and give up the one that was not used for longest."""
    with _one_at_a_time:
        if given.key not in _networks:
            _networks[given.key] = unpacked(given)
        _networks.move_to_end(given.key)
        while len(_networks) > _KEPT:
            _networks.popitem(last=False)
    return _Done(_worker(), b"")


def _called(function: Callable[[Network, Any], Any], network: Network, task: Any) -> Any:
    """The result; an error that pickle cannot bring back, which would break a pool of processes, goes as its text."""
    try:
        return function(network, task)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301  # what was made in the same line
        except Exception:  # noqa: BLE001  # whatever else an error of the user's may do when it is rebuilt
            told = RuntimeError(f"{type(error).__name__}: {error}")
            told.add_note(traceback.format_exc())
            raise told from None
        raise


def _worker() -> str:
    return f"{socket.gethostname()} {os.getpid()}"
