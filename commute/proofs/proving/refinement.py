"""Refinement: cells are bounded, and those that a bound does not decide are divided, the largest first."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

import numpy as np

from commute.causal.batches import Column
from commute.proofs.programs.program import Program
from commute.proofs.proving.bounding import Found, bounded
from commute.proofs.proving.budget import Allowance, Budget
from commute.proofs.proving.cells import Cell, roots
from commute.proofs.proving.decisions import Sum
from commute.proofs.proving.enumeration import counted, enumerated
from commute.proofs.proving.outcome import Outcome, Work
from commute.proofs.proving.statement import Side, Statement
from commute.proofs.proving.tree import COUNTED, OPEN, RIGHT, SPLIT, WRONG

Path = tuple[int, ...]
OnRound = Callable[["Growth"], None]

_AT_ONCE = 512  # cells of a round, less those that have many points
_POINTS = 2**19  # classes of a round's cells together, above which it has fewer
_TOGETHER = 2**12  # pairs of classes of a cell up to which cells are evaluated together
_FEW = 64  # pairs of classes of a cell that are evaluated rather than bounded
_PATIENCE = 2**11  # bounds after which it is asked whether they decide more than evaluating pairs in their place would
_WORTH = 2**12  # pairs that are evaluated in the time of one bound, about
_COUNTABLE = 2**31  # pairs of classes that are evaluated where bounds decide little, at most
_ROUND = 2**27  # of these in a round
_SENT = 2**12  # classes of a cell above which it is not sent to a worker
_A_TASK = 64  # cells that a worker is sent together


@dataclass(frozen=True, eq=False)
class Entry:
    """What is known of a cell.

    Attributes:
        kind: as in a tree: RIGHT, WRONG, OPEN, COUNTED, or SPLIT + the side along which it was divided.
        cell: the cell.
        counts: pairs right, wrong, and within rounding; zero where it is divided or open.
        first: the inputs' places of its first wrong pair, base first; None where it has none, or is divided or open.
        kinds: of pairs that were evaluated and are wrong, how many at least for each expected and given choice.
    """

    kind: int
    cell: Cell
    counts: tuple[int, int, int] = (0, 0, 0)
    first: tuple[int, ...] | None = None
    kinds: "Counter[tuple[int, int]]" = field(default_factory=Counter)


@dataclass(eq=False)
class Growth:
    """A proof under way: every cell so far, by its path. In the order of paths a cell stands before its halves.

    Attributes:
        statement: what is proved.
        entries: what is known of each cell.
        work: after each round, what was done and what is known.
    """

    statement: Statement
    entries: dict[Path, Entry]
    work: list[Work] = field(default_factory=list)

    @classmethod
    def begun(cls, statement: Statement) -> "Growth":
        """Nothing is known yet."""
        return cls(statement, {root.path: Entry(OPEN, root) for root in roots(statement)})

    @property
    def done(self) -> Work:
        """What was done so far."""
        return self.work[-1] if self.work else Work()

    def outcome(self) -> Outcome:
        """What is known of the statement."""
        entries = self.entries.values()
        right, wrong, within = (sum(e.counts[i] for e in entries) for i in range(3))
        return Outcome(
            variables=self.statement.variables,
            total=self.statement.total,
            right=right,
            wrong=wrong,
            within_rounding=within,
            kinds=self._kinds(),
            first=min((e.first for e in entries if e.first is not None), default=None),
            classes=tuple(len(side.count) for side in self.statement.sides),
            bounds=self.done.bounds,
            evaluated=self.done.evaluated,
            work=tuple(self.work),
        )

    def _kinds(self) -> "Counter[tuple[Any, Any]]":
        """The wrong pairs by labels, where all of them were evaluated; else nothing."""
        if any(e.kind == WRONG for e in self.entries.values()):
            return Counter()
        labels = self.statement.patched.labels
        found: Counter[tuple[Any, Any]] = Counter()
        for e in self.entries.values():
            for (expected, answered), n in e.kinds.items():
                found[labels[expected], labels[answered]] += n
        return found


def enumerate_pairs(growth: Growth, *, budget: Budget, on_round: OnRound | None = None) -> None:
    """Evaluate every pair of what is open, the smallest cells first, until the budget is spent."""
    allowed = Allowance(budget)
    left = sorted((e.cell.size, path) for path, e in growth.entries.items() if e.kind == OPEN)
    while left and allowed.left:
        cells: list[Cell] = []
        size = 0
        while left and (not cells or size + left[0][0] <= _ROUND):
            size += left[0][0]
            cells.append(growth.entries[left.pop(0)[1]].cell)
        _round(growth, list(_counted(growth.statement, cells)), Work(evaluated=size))
        allowed.spent += size
        if on_round is not None:
            on_round(growth)


def refine(
    growth: Growth,
    *,
    budget: Budget,
    executor: Executor | None = None,
    on_round: OnRound | None = None,
    counting: bool,
) -> None:
    """Bound and divide cells until every pair is decided, or the budget is spent.

    What becomes of a cell depends on the rounds before it and on nothing else, so a proof that goes on from what was kept ends as
    if it had never stopped.

    Args:
        growth: the proof, which grows.
        budget: of work; a round is finished that was begun.
        executor: whose workers bound cells with few points; None is this process.
        on_round: is told after each round.
        counting: whether to evaluate all pairs that are left where bounds decide fewer than that would.
    """
    allowed = Allowance(budget)
    heap = sorted((-e.cell.pairs, path) for path, e in growth.entries.items() if e.kind == OPEN)
    while heap and (left := allowed.left):
        if counting and _slow(growth.work) and sum(growth.entries[path].cell.size for _, path in heap) <= _COUNTABLE:
            enumerate_pairs(growth, budget=left, on_round=on_round)
            return
        cells = list(_taken(heap, growth.entries))
        few, many = [c for c in cells if c.size <= _FEW], [c for c in cells if c.size > _FEW]
        entries = [*_counted(growth.statement, few), *_divided(growth.statement, many, executor)]
        done = Work(len(many), sum(c.size for c in few))
        _round(growth, entries, done)
        allowed.spent += done.spent
        for entry in entries:
            if entry.kind == OPEN:
                heappush(heap, (-entry.cell.pairs, entry.cell.path))
        if on_round is not None:
            on_round(growth)


def _round(growth: Growth, entries: Sequence[Entry], more: Work) -> None:
    """Take up what was found in a round, and what was done in it."""
    growth.entries |= {entry.cell.path: entry for entry in entries}
    right, wrong = (sum(e.counts[i] for e in entries) for i in range(2))
    done = growth.done
    bounds, evaluated = done.bounds + more.bounds, done.evaluated + more.evaluated
    growth.work.append(Work(bounds, evaluated, done.right + right, done.wrong + wrong))


def _slow(work: Sequence[Work]) -> bool:
    """Whether the last bounds decided fewer pairs than evaluating would have, in their time."""
    if not work or work[-1].bounds < _PATIENCE:
        return False
    now = work[-1]
    before = next((w for w in reversed(work) if w.bounds <= now.bounds - _PATIENCE), Work())
    decided = now.right + now.wrong - before.right - before.wrong
    return decided < _WORTH * (now.bounds - before.bounds)


def _taken(heap: list[tuple[int, Path]], entries: Mapping[Path, Entry]) -> Iterator[Cell]:
    """The cells of the next round, those that stand for the most pairs."""
    points = 0
    for _ in range(min(_AT_ONCE, len(heap))):
        cell = entries[heap[0][1]].cell
        points += cell.points
        if points > max(_POINTS, cell.points):
            return
        heappop(heap)
        yield cell


def _counted(statement: Statement, cells: Sequence[Cell]) -> Iterator[Entry]:
    """Every pair of some cells evaluated: of small ones together, of each large one by itself."""
    small = [c for c in cells if c.size <= _TOGETHER]
    for start in range(0, len(small), _AT_ONCE):
        few = small[start : start + _AT_ONCE]
        yield from map(_entry, few, counted(statement, few))
    for cell in cells:
        if cell.size > _TOGETHER:
            yield _entry(cell, enumerated(_within(statement, cell)))


def _entry(cell: Cell, found: Sum) -> Entry:
    return Entry(COUNTED, cell, (found.right, found.wrong, found.within_rounding), found.first, found.kinds)


def _within(statement: Statement, cell: Cell) -> Statement:
    """The statement about the pairs of a cell alone."""
    sides = tuple(replace(s, group=np.zeros_like(s.group)) for s in map(Side.of, statement.sides, cell.sides))
    return replace(statement, sides=sides, expected=np.full((1,) * len(sides), cell.choice))


def _divided(statement: Statement, cells: Sequence[Cell], executor: Executor | None) -> Iterator[Entry]:
    """Cells that a bound decides, and those that it does not with their halves."""
    counts = [side.count for side in statement.sides]
    for cell, found in zip(cells, _bounded(statement, cells, executor), strict=True):
        if found.halves is not None:
            yield Entry(SPLIT + found.side, cell)
            yield from (Entry(OPEN, half) for half in cell.split(found.side, found.halves, counts))
        elif found.every == "right":
            yield Entry(RIGHT, cell, (cell.pairs, 0, 0))
        else:
            yield Entry(WRONG, cell, (0, cell.pairs, 0), _first(statement, cell))


def _first(statement: Statement, cell: Cell) -> tuple[int, ...]:
    """The first pair of a cell in the domain's order, as inputs' places."""
    return tuple(int(side.first[classes].min()) for side, classes in zip(statement.sides, cell.sides, strict=True))


def _bounded(statement: Statement, cells: Sequence[Cell], executor: Executor | None) -> list[Found]:
    """Bound cells, those with few points by workers if there are any."""
    if executor is None:
        return bounded(statement.joint, statement.sides, cells)
    sent = [i for i, c in enumerate(cells) if c.points <= _SENT]
    kept = [i for i, c in enumerate(cells) if c.points > _SENT]
    tasks = [sent[i : i + _A_TASK] for i in range(0, len(sent), _A_TASK)]
    futures = [executor.submit(_answered, _Task.of(statement, [cells[i] for i in task])) for task in tasks]
    found = dict(zip(kept, bounded(statement.joint, statement.sides, [cells[i] for i in kept]), strict=True))
    for task, future in zip(tasks, futures, strict=True):
        found |= zip(task, future.result(), strict=True)
    return [found[i] for i in range(len(cells))]


@dataclass(frozen=True, eq=False)
class _Task:
    """Cells for a worker, with those classes alone that they hold.

    Attributes:
        joint: the joint program.
        sides: the classes of each side.
        classes: their numbers in the statement, [kept] of int64 a side.
        cells: in the kept classes' numbers.
    """

    joint: Program
    sides: tuple[Side, ...]
    classes: tuple[Column, ...]
    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, statement: Statement, cells: Sequence[Cell]) -> "_Task":
        kept = tuple(np.unique(np.concatenate([c.sides[j] for c in cells])) for j in range(len(statement.sides)))
        sides = tuple(side.of(classes) for side, classes in zip(statement.sides, kept, strict=True))
        own = (replace(c, sides=tuple(np.searchsorted(k, x) for k, x in zip(kept, c.sides, strict=True))) for c in cells)
        return cls(statement.joint, sides, kept, tuple(own))


def _answered(task: _Task) -> list[Found]:
    """What a worker finds of its cells, in the statement's numbers."""
    return [
        f if f.halves is None else replace(f, halves=_of(task.classes[f.side], f.halves))
        for f in bounded(task.joint, task.sides, task.cells)
    ]


def _of(classes: Column, halves: tuple[Column, Column]) -> tuple[Column, Column]:
    one, other = halves
    return classes[one], classes[other]
