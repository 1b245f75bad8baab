"""Refinement of boxes: they are bounded, and those that a bound does not decide are halved, the largest first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from heapq import heappop, heappush
from math import prod

import numpy as np

from commute.proofs.proving.box_bounding import bounded_boxes
from commute.proofs.proving.box_statement import BoxStatement, Part, Path
from commute.proofs.proving.budget import Allowance, Budget
from commute.proofs.proving.outcome import Outcome, Work
from commute.proofs.proving.tree import OPEN, RIGHT, SPLIT, WRONG, BoxTree

_AT_ONCE = 256  # boxes of a round


@dataclass(frozen=True, eq=False)
class BoxEntry:
    """What is known of a part of a box.

    Attributes:
        kind: as in a tree: RIGHT, WRONG, OPEN or SPLIT.
        part: the part.
        along: the coordinate that was halved; 0 where none was.
        last: whether it stays as it is: an open part that is too small to be halved.
    """

    kind: int
    part: Part
    along: int = 0
    last: bool = False


@dataclass(eq=False)
class BoxGrowth:
    """A proof under way: every part so far, by its path. In the order of paths a part stands before its halves.

    Attributes:
        statement: what is proved.
        entries: what is known of each part.
        work: after each round, what was done, and the shares of all boxes' volume that are right and wrong.
    """

    statement: BoxStatement
    entries: dict[Path, BoxEntry]
    work: list[Work] = field(default_factory=list)

    @classmethod
    def begun(cls, statement: BoxStatement) -> "BoxGrowth":
        """Nothing is known yet."""
        return cls(statement, {part.path: BoxEntry(OPEN, part) for part in statement.roots()})

    def outcome(self) -> Outcome:
        """What is known of the statement, of a total of 1: shares of the volume, in which every box counts the same."""
        done = self.work[-1] if self.work else Work()
        wrong = min((path[0] for path, e in self.entries.items() if e.kind == WRONG), default=None)
        return Outcome(
            variables=self.statement.variables,
            total=1,
            right=done.right,
            wrong=done.wrong,
            first=None if wrong is None else self.statement.places(wrong),
            classes=self.statement.shape,
            bounds=done.bounds,
            work=tuple(self.work),
        )

    def tree(self) -> BoxTree:
        """How that can be shown."""
        entries = [self.entries[path] for path in sorted(self.entries)]
        return BoxTree(np.array([(e.kind, e.along) for e in entries], dtype=np.int32).reshape(-1, 2))


def refine_boxes(growth: BoxGrowth, *, budget: Budget, on_round: Callable[[BoxGrowth], None] = lambda _: None) -> None:
    """Bound and halve boxes until all is decided, or the budget is spent.

    Where a box holds both right and wrong answers, ever smaller parts between them stay open: only the budget ends that.

    Args:
        growth: the proof, which grows; from where it stopped it goes on as if it had not.
        budget: of work; a round is finished that was begun.
        on_round: is told after each round.
    """
    allowed = Allowance(budget)
    done = growth.work[-1] if growth.work else Work(right=Fraction(), wrong=Fraction())
    heap = sorted((len(path), path) for path, e in growth.entries.items() if e.kind == OPEN and not e.last)
    roots = prod(growth.statement.shape)
    while heap and allowed.left:
        parts = [growth.entries[heappop(heap)[1]].part for _ in range(min(_AT_ONCE, len(heap)))]
        for entry in _divided(growth.statement, parts):
            path = entry.part.path
            growth.entries[path] = entry
            if entry.kind == OPEN and not entry.last:
                heappush(heap, (len(path), path))
            share = Fraction(1, roots * 2 ** (len(path) - 1))
            done = replace(
                done,
                right=done.right + share * (entry.kind == RIGHT),
                wrong=done.wrong + share * (entry.kind == WRONG),
            )
        done = replace(done, bounds=done.bounds + len(parts))
        allowed.spent += len(parts)
        growth.work.append(done)
        on_round(growth)


def _divided(statement: BoxStatement, parts: Sequence[Part]) -> Iterator[BoxEntry]:
    """Parts that a bound decides, and those that it does not with their halves."""
    choices = np.array([statement.choice(p.path[0]) for p in parts])
    bounds = bounded_boxes(statement.patched.program, statement.interval(parts), choices, statement.divisible(parts))
    for part, found in zip(parts, bounds, strict=True):
        if found.every is not None:
            yield BoxEntry(RIGHT if found.every == "right" else WRONG, part)
        elif found.along < 0:
            yield BoxEntry(OPEN, part, last=True)
        else:
            yield BoxEntry(SPLIT, part, found.along)
            yield from (BoxEntry(OPEN, half) for half in part.halves(found.along))
