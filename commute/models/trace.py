"""Traces: which modules run in a forward pass, in which order, on what, and at what cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from commute.models.recording import Recording, Shapes
from commute.models.sites import Tap


@dataclass(frozen=True)
class Leaf:
    """How a tensor among a module's arguments or results depends on the batch.

    Attributes:
        rows: whether its first axis is the batch; otherwise it is the same for every batch.
        columns: the axis of positions, of which only the last are there when the first are known; None where there is none.
        size: bytes a row, or altogether.
    """

    rows: bool
    columns: int | None
    size: int


@dataclass(frozen=True)
class ModuleCall:
    """One call of one module.

    Attributes:
        path: of the module.
        number: which call of the module, from 0.
        start: its place in the order of beginnings and ends of all calls.
        end: likewise.
        inputs: of each leaf of its arguments; None where that is no tensor, or depends on the batch in another way.
        outputs: of each leaf of its result, likewise.
        known: whether its result can stand for the call: all tensors among its arguments and results depend on the batch in a way
            that is understood, and nothing else that is made in it is used after it.
        flops: floating-point operations a row, those of the modules within it included, with all positions.
        flops_column: likewise for each position that is computed; zero where they are not known to depend on them.
        until: from when on its result is not needed any more.
        alone: whether its result is one tensor, and after it nothing else that was made before is needed.
    """

    path: str
    number: int
    start: int
    end: int
    inputs: tuple[Leaf | None, ...]
    outputs: tuple[Leaf | None, ...]
    known: bool
    flops: float
    flops_column: float
    until: int
    alone: bool


@dataclass(frozen=True, eq=False)
class Trace:
    """The calls of one forward pass in the order in which they begin, the whole module's first.

    Attributes:
        calls: with the times at which they begin and end.
        columns: positions of the inputs.
        largest: bytes a row of all that a pass holds at once, where they are the most.
    """

    calls: tuple[ModuleCall, ...]
    columns: int
    largest: int

    @cached_property
    def by_place(self) -> Mapping[tuple[str, int], ModuleCall]:
        """Calls by path and number."""
        return {(c.path, c.number): c for c in self.calls}

    @cached_property
    def children(self) -> Mapping[int, Sequence[ModuleCall]]:
        """The calls made directly within the call that starts at a time."""
        found: dict[int, list[ModuleCall]] = {c.start: [] for c in self.calls}
        open_calls: list[ModuleCall] = []
        for call in self.calls:
            while open_calls and open_calls[-1].end < call.start:
                open_calls.pop()
            if open_calls:
                found[open_calls[-1].start].append(call)
            open_calls.append(call)
        return found

    def time(self, tap: Tap) -> int | None:
        """When a tap is reached; None where it is not, or more than once."""
        calls = [c for c in self.calls if c.path == tap.path and tap.call in (None, c.number)]
        if len(calls) != 1:
            return None
        return calls[0].start if tap.input else calls[0].end

    def done(self, time: int) -> Iterator[ModuleCall]:
        """The outermost calls that are over by `time` and whose results can be kept row by row."""
        pending = list(self.children[self.calls[0].start])
        while pending:
            call = pending.pop()
            if call.end <= time and call.known:
                yield call
            elif call.start < time:
                pending += self.children[call.start]

    def flops_after(self, time: int, columns: float) -> float:
        """Floating-point operations a row of all that is not over by `time`, when the last `columns` are computed."""
        missing = self.columns - columns
        total = 0.0
        for call in self.calls:
            if call.end > time:
                within = self.children[call.start]
                own = call.flops - sum(c.flops for c in within)
                own_column = call.flops_column - sum(c.flops_column for c in within)
                total += own - missing * own_column
        return total

    @cached_property
    def widest_fixed(self) -> int:
        """The most bytes a row that a call is given and gives without an axis of positions, such as scores at the last one."""
        return max(sum(x.size for x in (*c.inputs, *c.outputs) if x and x.rows and x.columns is None) for c in self.calls)

    @property
    def flops(self) -> float:
        """Floating-point operations a row of the whole pass."""
        return self.calls[0].flops


def compared(two: Recording, three: Recording, columns: int = 1) -> Trace | None:
    """The trace that recordings of two and of three rows show; None when they do not make the same calls."""
    return _compared(two, three, two, columns, columns)


def compared_columns(two: Recording, three: Recording, whole: Recording, columns: int, kept: int) -> Trace | None:
    """As `compared`, for recordings of the last `kept` columns alone, beside one of two rows with all `columns`."""
    return _compared(two, three, whole, columns, kept)


def _compared(two: Recording, three: Recording, whole: Recording, columns: int, kept: int) -> Trace | None:
    orders = [[(s.path, s.number, s.start, s.end) for s in run.calls] for run in (two, three, whole)]
    if not orders[0] == orders[1] == orders[2]:
        return None
    inputs, outputs, known = [], [], []
    for a, b, w in zip(two.calls, three.calls, whole.calls, strict=True):
        inputs.append(_leaves(a.inputs, b.inputs, w.inputs if _alike(a.inputs, w.inputs) else a.inputs, a.sizes[0]))
        outputs.append(_leaves(a.outputs, b.outputs, w.outputs, w.sizes[1]))
        gives = any(x is not None for x in outputs[-1] or ())
        known.append(inputs[-1] is not None and gives and a.around is not None and not a.leaks and not w.leaks)
    until = [max(times) for times in zip(two.until(known), whole.until(known), strict=True)]
    calls = []
    for i, (a, w) in enumerate(zip(two.calls, whole.calls, strict=True)):
        column = (w.flops - a.flops) / (columns - kept) / 2 if columns > kept else 0.0
        leaves = inputs[i] or (), outputs[i] or ()
        calls.append(ModuleCall(a.path, a.number, a.start, a.end, *leaves, known[i], w.flops / 2, column, until[i], a.alone))
    return Trace(tuple(calls), columns, two.largest // 2)


def _alike(one: Shapes, other: Shapes) -> bool:
    """Whether the same tensors are there, as a mask may not be."""
    return [x and len(x) for x in one] == [x and len(x) for x in other]


def _leaves(two: Shapes, three: Shapes, whole: Shapes, sizes: tuple[int, ...]) -> tuple[Leaf | None, ...] | None:
    """How each tensor depends on the batch; None where one does in a way that is not understood."""
    if not len(two) == len(three) == len(whole):
        return None
    leaves: list[Leaf | None] = []
    for a, b, w, size in zip(two, three, whole, sizes, strict=True):
        if a is None and b is None and w is None:
            leaves.append(None)
            continue
        if a is None or b is None or w is None or not len(a) == len(b) == len(w) or a[1:] != b[1:]:
            return None
        rows = a[:1] != b[:1]
        differing = [axis for axis, (x, y) in enumerate(zip(a, w, strict=True)) if x != y]
        if (rows and (a[0], b[0]) != (2, 3)) or len(differing) > 1:
            return None
        leaves.append(Leaf(rows, differing[0] if differing else None, size // 2 if rows else size))
    return tuple(leaves)
