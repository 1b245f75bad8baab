"""Recordings: what one forward pass shows of its modules' calls."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from commute.models.calls import Call, without_keys
from commute.models.lives import END, Escapes, Lives

Shapes = tuple[tuple[int, ...] | None, ...]  # of the tensors among a value's leaves


@dataclass
class Seen:
    """One call as it was recorded: the shapes and bytes of the tensors in its arguments and in its result."""

    path: str
    number: int
    start: int
    inputs: Shapes
    flops: float
    end: int = 0
    outputs: Shapes = ()
    sizes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    result: Any = None
    around: int | None = None
    alone: bool = False
    leaks: bool = False


@dataclass
class Recording:
    """One forward pass: its calls in the order in which they begin, and, where it was watched, what it needed until when."""

    calls: list[Seen]
    lives: Lives | None = None

    def until(self, replayed: Sequence[bool]) -> list[int]:
        """From when on the result of each call is not needed, given which calls are not made again once they are over."""
        if self.lives is None:
            return [END] * len(self.calls)
        ends: list[int] = []
        for call, known in zip(self.calls, replayed, strict=True):
            around = END if call.around is None else ends[call.around]
            ends.append(call.end if known else around)
        return self.lives.until([c.result for c in self.calls], ends)

    @property
    def largest(self) -> int:
        """The most bytes that were held at once; 0 where that was not watched."""
        return 0 if self.lives is None else self.lives.largest


class _Recorder:
    """What to do at the beginning and at the end of each call of a pass."""

    def __init__(self, lives: Lives | None = None) -> None:
        self.lives = lives
        self.seen: list[Seen] = []
        self.time = 0
        self._counts: dict[str, int] = {}
        self._open: list[tuple[Seen, int]] = []

    def before(self, path: str, args: Any, kwargs: Any) -> None:
        """A call begins."""
        if self.lives is not None and not self.seen:
            self.lives.begin((args, kwargs))
        begun = Seen(path, self._counts.get(path, 0), self._passed(), _shapes((args, kwargs)), self._spent())
        begun.sizes = (_sizes((args, kwargs)), ())
        begun.around = self._open[-1][1] if self._open else None
        self._counts[path] = begun.number + 1
        self.seen.append(begun)
        self._open.append((begun, len(self.seen) - 1))
        self._keep_time()

    def after(self, output: Any) -> None:
        """The call that began last ends."""
        ended, _ = self._open.pop()
        if self.lives is not None and not self._open:
            self.lives.end(output)
        output = without_keys(output)
        ended.end, ended.outputs = self._passed(), _shapes(output)
        ended.sizes = (ended.sizes[0], _sizes(output))
        ended.flops = self._spent() - ended.flops
        ended.result = output
        self._keep_time()

    def _passed(self) -> int:
        self.time += 1
        return self.time - 1

    def _keep_time(self) -> None:
        if self.lives is not None and self._open:
            self.lives.now, self.lives.inside = self.time, self._open[-1][1]

    def _spent(self) -> float:
        return 0.0 if self.lives is None else self.lives.flops


def record(module: nn.Module, call: Call) -> Recording:
    """The calls of one forward pass of `module`."""
    recorder = _Recorder()
    with _hooked(module, recorder.before, recorder.after):
        call.make(module)
    return Recording(recorder.seen)


def record_costs(module: nn.Module, call: Call) -> Recording:
    """As `record`, with what each call costs, and from when on its result is not needed."""
    lives = Lives()
    recorder = _Recorder(lives)
    with lives, Escapes(lives), _hooked(module, recorder.before, recorder.after):
        call.make(module)
    _judge(recorder.seen, lives, recorder.time)
    return Recording(recorder.seen, lives)


def _judge(seen: Sequence[Seen], lives: Lives, times: int) -> None:
    """Note in each call whether it leaks, and whether after it its result alone is needed."""
    needed = lives.counts(times)
    results, ends = [c.result for c in seen], [c.end for c in seen]
    leaking = lives.leaking(results, ends, [c.around for c in seen])
    for i, call in enumerate(seen):
        call.leaks = i in leaking
        one = sum(x is not None for x in call.outputs) == 1
        own = lives.made_since(call.result, call.start)
        call.alone = one and own and needed[call.end] == lives.read_after(call.result, call.end)


@contextmanager
def measuring(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Measure the bytes that the widest call is given and gives in the passes that are made."""
    widest = 0
    given: list[int] = []

    def before(_: str, args: Any, kwargs: Any) -> None:
        given.append(sum(_sizes((args, kwargs))))

    def after(output: Any) -> None:
        nonlocal widest
        widest = max(widest, given.pop() + sum(_sizes(output)))

    with _hooked(module, before, after):
        yield lambda: widest


@contextmanager
def _hooked(module: nn.Module, before: Any, after: Any) -> Iterator[None]:
    handles = []
    try:
        for path, inner in module.named_modules():
            handles.append(
                inner.register_forward_pre_hook(lambda _, a, k, path=path: before(path, a, k), with_kwargs=True, prepend=True)
            )
            handles.append(inner.register_forward_hook(lambda _, __, output: after(output)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shapes(value: Any) -> Shapes:
    return tuple(tuple(x.shape) if isinstance(x, Tensor) else None for x in tree_leaves(value))


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(x.numel() * x.element_size() if isinstance(x, Tensor) else 0 for x in tree_leaves(value))
