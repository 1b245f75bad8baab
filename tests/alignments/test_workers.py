import os
import pickle
import queue
import random
import signal
import threading
import time
from collections import OrderedDict
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import commute as cm
from commute.alignments import workers
from commute.alignments.workers import Missing, spread
from commute.errors import AlignmentError, CommuteError, NetworkError
from commute.models.network import Network
from commute.models.shipping import Packed

pytestmark = pytest.mark.usefixtures("importable")

INPUTS = {v: np.arange(24) * (i + 2) % 8 for i, v in enumerate("abcd")}
TASKS = [(path, seed) for seed in range(6) for path in ("relu1", "relu2")]


def patched(network, task):
    """Answers after an interchange of some rows, and the process that gave them."""
    path, seed = task
    rows = np.random.default_rng(seed).permutation(24)
    answers = network.interchange(INPUTS, {cm.Feature(cm.Site(path)): {v: x[rows] for v, x in INPUTS.items()}})
    time.sleep(0.02)
    return answers.tolist(), os.getpid()


def fails(network, task):
    if task == "fail":
        raise NetworkError("no such site; take another")
    if task == "odd":
        raise OddError(1, 2)
    if task == "exit":
        os._exit(1)
    if task == "wait":
        time.sleep(0.3)
    return task, network.name


class OddError(Exception):
    """An error that pickle cannot bring back."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class Counting(Executor):
    """Hands on to an executor and counts how often a network was sent."""

    def __init__(self, executor):
        self.executor, self.sent = executor, 0

    def submit(self, function, /, *args):
        self.sent += any(isinstance(x, Packed) for x in args)
        return self.executor.submit(function, *args)


def results(function, network, tasks, executor):
    got = {}
    spread(function, network, tasks, executor, on_result=lambda i, x: got.update({i: x}))
    assert sorted(got) == list(range(len(tasks)))
    return [got[i] for i in range(len(tasks))]


def answers(executor, network=None, tasks=TASKS):
    return [x for x, _ in results(patched, network or cm.zoo.hierarchical_equality(), tasks, executor)]


@pytest.fixture
def _nothing_kept():
    workers._networks.clear()
    yield
    workers._networks.clear()


@pytest.fixture(scope="module")
def serial():
    return answers(None)


# In this process.


def test_without_an_executor_tasks_run_here_in_order():
    seen, network = [], cm.zoo.hierarchical_equality()
    spread(lambda net, task: (net is network, task), network, "abc", None, on_result=lambda i, x: seen.append((i, x)))
    assert seen == [(0, (True, "a")), (1, (True, "b")), (2, (True, "c"))]
    with pytest.raises(NetworkError, match="take another"):
        spread(fails, network, ["x", "fail", "y"], None, on_result=lambda i, x: seen.append(i))
    assert seen[3:] == [0]


@pytest.mark.parametrize("given", [2, ProcessPoolExecutor, "dask"])
def test_what_is_no_executor_is_refused(given):
    with pytest.raises(AlignmentError, match="must be a concurrent.futures.Executor.*or None; given"):
        answers(given)


def test_without_tasks_nothing_is_sent():
    class Never(Executor):
        def submit(self, *args):
            raise NotImplementedError

    given = []
    spread(fails, cm.zoo.hierarchical_equality(), [], Never(), on_result=lambda place, result: given.append(place))
    assert given == []


def test_a_function_that_cannot_be_pickled_is_told():
    lock = threading.Lock()
    with ThreadPoolExecutor(1) as executor, pytest.raises(NetworkError, match="the function .*cannot be sent.*lock"):
        spread(lambda net, task: lock, cm.zoo.hierarchical_equality(), [1], executor, on_result=print)


@pytest.mark.usefixtures("_nothing_kept")
def test_threads_give_the_same_and_never_run_at_once(serial):
    network, most = cm.zoo.hierarchical_equality(), []
    with ThreadPoolExecutor(4) as executor:
        counting = Counting(executor)
        assert answers(counting, network) == serial
        assert 1 <= counting.sent <= 2
        assert all(kept.module is not network.module for kept in workers._networks.values())
        spread(overlapping, network, range(12), executor, on_result=lambda i, x: most.append(x))
    assert max(most) == 1


_ACTIVE = []


def overlapping(network, task):
    _ACTIVE.append(task)
    time.sleep(0.003)
    seen = len(_ACTIVE)
    _ACTIVE.remove(task)
    return seen


# Simulated workers: who gets a job, and who ends and is replaced, is drawn.


class Simulated(Executor):
    """Workers that keep networks of their own; jobs wait in one queue and go to whom is drawn."""

    def __init__(self, monkeypatch, count, seed, ends=0.0):
        self.patch, self.draws, self.ends = monkeypatch, random.Random(seed), ends
        self.kept = {f"worker {i}": OrderedDict() for i in range(count)}
        self.jobs, self.calls, self.sent, self.missing, self.replaced = queue.Queue(), set(), 0, 0, 0
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def submit(self, function, given, call):
        assert call not in self.calls
        self.calls.add(call)
        future = Future()
        self.sent += isinstance(given, Packed)
        self.jobs.put((function, given, call, future))
        return future

    def work(self):
        while (job := self.jobs.get()) is not None:
            function, given, call, future = job
            if not future.set_running_or_notify_cancel():
                continue
            name = self.draws.choice(sorted(self.kept))
            if self.draws.random() < self.ends:  # its successor begins with nothing
                del self.kept[name]
                self.replaced += 1
                name = f"successor {self.replaced}"
                self.kept[name] = OrderedDict()
            self.patch.setattr(workers, "_networks", self.kept[name])
            self.patch.setattr(workers, "_worker", partial(str, name))
            answer = function(given, call)
            self.missing += isinstance(answer, Missing)
            future.set_result(answer)

    def shutdown(self, **_):
        self.jobs.put(None)
        self.thread.join()


@given(st.integers(1, 6), st.integers(0, 40), st.integers(0, 2**16), st.sampled_from([0.0, 0.1]))
def test_whoever_gets_a_job_all_tasks_are_done_once(count, tasks, seed, ends):
    network = Network(nn.Identity(), encode=np.asarray, decode=np.asarray, name="identity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_PAUSE", 0)
        with Simulated(patch, count, seed, ends) as executor:
            assert results(fails, network, list(range(tasks)), executor) == [(i, "identity") for i in range(tasks)]
        assert executor.sent <= executor.missing
        assert executor.sent <= 8 * (count + executor.replaced)
        assert not tasks or executor.sent >= 1
        if count == 1 and not ends:
            assert executor.sent == min(tasks, 1)


def test_many_workers_are_sent_the_network_about_once(monkeypatch):
    """Also where jobs go to each in turn, whether it lacks the network or not."""
    monkeypatch.setattr(workers, "_PAUSE", 0)
    network = Network(nn.Identity(), encode=np.asarray, decode=np.asarray, name="identity")
    with Simulated(monkeypatch, 1, 0) as executor:
        executor.kept = {f"worker {i}": OrderedDict() for i in range(8)}
        turns = iter(range(10**6))
        monkeypatch.setattr(executor.draws, "choice", lambda names: names[next(turns) % 8])
        results(fails, network, list(range(200)), executor)
    assert executor.sent == 8
    assert executor.missing == 16  # those given out before it was known that the network is missing
    assert all(executor.kept.values())


class Held(Executor):
    """Answers the first jobs at once; those after them never begin."""

    def __init__(self, answered):
        self.answered, self.futures = answered, []

    def submit(self, function, given, call):
        future = Future()
        self.futures.append(future)
        if len(self.futures) <= self.answered:
            future.set_running_or_notify_cancel()
            future.set_result(workers._Done("worker", pickle.dumps(given.task)))
        return future


def test_an_interrupt_cancels_what_has_not_begun_and_loses_nothing():
    executor, seen = Held(3), []

    def interrupted(i, result):
        seen.append(result)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spread(fails, cm.zoo.hierarchical_equality(), range(30), executor, on_result=interrupted)
    assert seen == [0, 1, 2]
    assert len(executor.futures) > 3
    assert all(future.cancelled() for future in executor.futures[3:])


def test_an_error_of_on_result_cancels_too():
    executor = Held(3)

    def full(i, result):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        spread(fails, cm.zoo.hierarchical_equality(), range(30), executor, on_result=full)
    assert all(future.cancelled() for future in executor.futures[3:])


def test_few_more_tasks_than_workers_are_given_to_the_executor():
    executor = Held(3)
    with pytest.raises(KeyboardInterrupt):
        spread(fails, cm.zoo.hierarchical_equality(), range(1000), executor, on_result=stopping(3))
    assert len(executor.futures) < 30


def stopping(after):
    seen = []

    def on_result(i, result):
        seen.append(i)
        if len(seen) == after:
            raise KeyboardInterrupt

    return on_result


def test_an_executor_that_was_shut_down_is_told():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(CommuteError, match="lost its workers .*after shutdown.*0 of 12 tasks are finished.*runs="):
        answers(executor)


def test_tasks_that_others_cancel_are_told():
    executor = Held(1)

    def cancels(i, result):
        executor.futures[1].cancel()

    with pytest.raises(CommuteError, match="lost its workers .*cancelled.*1 of 30 tasks"):
        spread(fails, cm.zoo.hierarchical_equality(), range(30), executor, on_result=cancels)


@pytest.mark.usefixtures("_nothing_kept")
def test_a_worker_keeps_the_networks_used_last():
    made = [Network(nn.Identity(), encode=np.asarray, decode=np.asarray, name=name) for name in "abc"]
    with ThreadPoolExecutor(1) as executor:
        counting = Counting(executor)
        for name, sent in [("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)]:
            assert results(fails, made["abc".index(name)], [0], counting) == [(0, name)]
            assert counting.sent == sent
            assert len(workers._networks) <= 2


# Processes.


def test_processes_give_the_same_and_get_the_network_once(pool, serial):
    counting = Counting(pool)
    assert answers(counting) == serial
    assert 1 <= counting.sent <= 3
    for _ in range(3):  # until both have it, should one have come up late
        pids = {pid for _, pid in results(patched, cm.zoo.hierarchical_equality(), TASKS, counting)}
    assert len(pids) == 2
    assert os.getpid() not in pids
    before = counting.sent
    assert before <= 4
    assert answers(counting) == serial
    assert counting.sent == before


def test_local_classes_and_functions_reach_processes(pool):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.tensor([0.0, 3.0]))

        def forward(self, x):
            return x + self.shift

    factor = torch.tensor(2.0)
    network = Network(
        Shifted(), encode=lambda inputs: torch.from_numpy(inputs["x"]).float()[:, None] * factor, decode=lambda x: x.argmax(-1)
    )
    inputs = {"x": np.arange(3.0)}
    got = results(lambda net, k: (k, net.run(inputs).tolist(), net.module.shift.tolist()), network, [5, 6], pool)
    assert got == [(5, [1, 1, 1], [0.0, 3.0]), (6, [1, 1, 1], [0.0, 3.0])]


def test_an_error_goes_up_after_what_was_finished(pool):
    seen = {}
    with pytest.raises(NetworkError, match="no such site; take another"):
        spread(
            fails,
            cm.zoo.hierarchical_equality(),
            ["a", "wait", "fail", *"bcdefgh"],
            pool,
            on_result=lambda i, x: seen.update({i: x[0]}),
        )
    assert seen[0] == "a"
    assert seen[1] == "wait"  # it had begun
    assert 2 not in seen


def test_an_error_that_pickle_cannot_bring_back_comes_as_text(pool):
    with pytest.raises(RuntimeError, match="OddError: 1 and 2"):
        results(fails, cm.zoo.hierarchical_equality(), ["odd"], pool)
    assert results(fails, cm.zoo.hierarchical_equality(), ["a"], pool) == [("a", "hierarchical equality")]  # the pool lives


def test_a_process_that_ends_is_told_and_nothing_finished_is_lost():
    seen = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor, pytest.raises(CommuteError) as raised:
        spread(
            fails,
            cm.zoo.hierarchical_equality(),
            ["a", "b", "exit", "c"],
            executor,
            on_result=lambda i, x: seen.update({i: x[0]}),
        )
    assert seen == {0: "a", 1: "b"}
    assert "lost its workers (BrokenProcessPool" in str(raised.value)
    assert "2 of 4 tasks are finished" in str(raised.value)
    assert "run again with runs=" in str(raised.value)


# Dask.


def test_dask_gives_the_same_and_sends_the_network_once_a_worker(client, serial):
    counting = Counting(client.get_executor())
    assert answers(counting) == serial
    assert 1 <= counting.sent <= 4
    assert answers(counting) == serial


def test_large_networks_reach_dask_without_a_warning(client):
    network = Network(nn.Linear(2000, 1600), encode=np.asarray, decode=np.asarray, name="large")
    assert results(fails, network, ["a", "b"], client.get_executor()) == [("a", "large"), ("b", "large")]


def test_errors_in_dask_stay_what_they_are(client):
    network = cm.zoo.hierarchical_equality()
    with pytest.raises(NetworkError, match="take another"):
        results(fails, network, ["a", "fail"], client.get_executor())
    with pytest.raises(RuntimeError, match="OddError: 1 and 2"):
        results(fails, network, ["odd"], client.get_executor())


def test_a_task_that_ends_dask_workers_is_told(cluster, client, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    seen = []
    with pytest.raises(CommuteError, match="lost its workers .KilledWorker.* of 2 tasks are finished"):
        spread(
            fails, cm.zoo.hierarchical_equality(), ["exit", "wait"], client.get_executor(), on_result=lambda i, x: seen.append(i)
        )


def test_a_dask_worker_that_is_killed_loses_nothing(client, serial):
    network, counting, got, killed = cm.zoo.hierarchical_equality(), Counting(client.get_executor()), {}, []

    def kills(i, result):
        got[i] = result[0]
        if len(got) == 2:
            killed.append(result[1])
            os.kill(result[1], signal.SIGKILL)

    spread(patched, network, TASKS * 3, counting, on_result=kills)
    assert [got[i] for i in range(len(TASKS) * 3)] == serial * 3
    client.wait_for_workers(2, timeout=60)
    sent, pids, rounds = counting.sent, set(), 0
    while rounds < 100:  # until its successor has a share
        rounds += 1
        found = results(patched, network, TASKS, counting)
        assert [x for x, _ in found] == serial
        pids |= {pid for _, pid in found}
        if len(pids - {*killed}) == 2:
            break
    assert not pids & {*killed}
    assert len(pids) == 2
    assert counting.sent <= sent + max(40, 4 * rounds)  # it may reach the worker that has it, a few times in each round
