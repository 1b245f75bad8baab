"""Finite statements: every cell's claim is derived again, by bounds, by dividing the cell, or pair by pair."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from itertools import product
from math import prod
from operator import add
from typing import Any

import numpy as np

from commute.recheck.algorithm import Algorithm
from commute.recheck.balls import Matrix, arb_mat, ctx, exactly, is_matrix
from commute.recheck.programs import Program
from commute.recheck.reading import Array, canonical, demand, same, text
from commute.recheck.relaxing import Relaxed, hull, margins
from commute.recheck.trees import COUNTED, NAMES, OPEN, RIGHT, SPLIT, WRONG, Tree, Work

_FEW = 512  # pairs of a cell that are evaluated rather than bounded
_ROWS = 2**10  # inputs that are computed at once
_BITS = (256, 1024, 4096)  # with which pairs are decided that rounding may change

Class = tuple[int, Array]  # which numbers inputs bring, and which inputs do
Classes = list[Class]  # of one side


@dataclass
class Found:
    """What was found of the pairs of a cell.

    Attributes:
        claim: what is claimed of them.
        choice: their right answer.
        allowed: how many of them are told of as within rounding.
    """

    claim: int
    choice: int
    allowed: int = 0
    right: int = 0
    wrong: int = 0
    within: int = 0
    first: tuple[int, ...] | None = None
    kinds: Counter[tuple[int, int | None]] = field(default_factory=Counter)

    def add(self, members: Sequence[Array], given: int | None) -> None:
        """All combinations of some inputs of each side get an answer; None is a wrong one among equal ones."""
        count, first = prod(map(len, members)), tuple(int(m[0]) for m in members)
        is_right = given == self.choice
        demand(self.claim != (WRONG if is_right else RIGHT), f"the pair {first} is {NAMES[not is_right]}, in a cell that is not")
        if is_right:
            self.right += count
        else:
            self.wrong += count
            self.first = first if self.first is None else min(self.first, first)
            self.kinds[self.choice, given] += count


@dataclass(frozen=True)
class Pairs:
    """A statement about every base and source of a finite domain."""

    record: Mapping[str, Any]
    tree: Tree
    groups: dict[int, tuple[int, ...]]
    of_inputs: list[Array]
    expected: Array
    sides: list[Program]
    joint: Program
    entries: Array
    work: Work
    numbers: list[tuple[list[list[Any]], Array]]

    @classmethod
    def of(cls, record: Mapping[str, Any], tensors: Mapping[str, Array], algorithm: Algorithm, work: Work) -> "Pairs":
        """The statement of a record, and its programs, groups and tree checked."""
        labels, entries = record["labels"], tensors[record["entries"]]
        fits = is_matrix(entries) and len(entries) == algorithm.size
        demand(fits, f"there are {len(entries)} entries of {algorithm.size} inputs")
        groups, expected = algorithm.answers(record["variables"], labels)
        sides = [Program.of(x, tensors, [entries.shape[1]], record) for x in record["sides"]]
        same("the number of programs of sides", len(sides), len(groups))
        widths = {side.steps[-1].width for side in sides}
        joint = Program.of(record["joint"], tensors, [min(widths)], record)
        demand(len(widths) == 1, f"the sides bring {sorted(widths)} numbers; they must bring as many")
        demand(joint.steps[-1].width == len(labels) > 1, f"there are {joint.steps[-1].width} scores of {len(labels)} choices")
        tree = Tree.of(record["tree"], tensors, len(sides), algorithm.size)
        rows = range(0, len(entries), _ROWS)
        numbers = [_alike([p.rounded([exactly(entries[i : i + _ROWS])])[0] for i in rows]) for p in sides]
        return cls(record, tree, tree.check(groups, expected.shape), groups, expected, sides, joint, entries, work, numbers)

    def check(self, on_progress: Callable[[str, int, int], None]) -> tuple[Fraction, Fraction, str]:
        """Bounds on IIA and the level, once every claim is shown."""
        total, first, less = np.zeros(3, dtype=object), None, 0
        kinds: Counter[tuple[int, int | None]] = Counter()
        for done, (cell, groups) in enumerate(self.groups.items(), 1):
            kind, choice = int(self.tree.cells[cell, 0]), int(self.expected[groups])
            told = self.tree.counts[cell].tolist()
            found = self._found(Found(kind, choice, told[2]), self.tree.sets(cell))
            less += _left_out(cell, told, found)
            total += told
            kinds += found.kinds if kind == COUNTED else Counter()
            first = min((x for x in (first, found.first) if x is not None), default=None)
            on_progress(" + ".join(self.record["variables"]), done, len(self.groups))
        divided = self.tree.counts[self.tree.cells[:, 0] >= SPLIT]
        demand(not divided.any(), "a cell that is divided has counts")
        self.work.cells += len(self.tree.cells)
        self._same_kinds(kinds, less)
        return concluded(self.record, total.tolist(), len(self.entries) ** len(self.sides), self._first(first) if less else first)

    def _first(self, first: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """The first wrong pair that is told of, where some that are wrong were left undecided: it has to be one of them."""
        told = self.record["first"]
        if told is None or first is None:
            return first if self.record["wrong"] else None
        groups = tuple(int(g[i]) for g, i in zip(self.of_inputs, told, strict=True))
        wrong = self._found(Found(COUNTED, int(self.expected[groups])), [np.array([i]) for i in told]).wrong
        return tuple(told) if wrong else first

    def _same_kinds(self, found: Mapping[tuple[int, int | None], int], less: int) -> None:
        """Of the wrong pairs that were counted, how many there are of each kind; of those between equal scores either will do."""
        labels = [canonical(x) for x in self.record["labels"]]
        told: Counter[tuple[str, str]] = Counter()
        for expected, given, count in self.record["kinds"]:
            demand(type(count) is int and count > 0, f"{count} wrong pairs are of one kind")
            told[canonical(expected), canonical(given)] += count
        own = Counter({(labels[e], labels[g]): n for (e, g), n in found.items() if g is not None})
        if not told:  # nothing is claimed of them
            return
        beyond, without = sum((told - own).values()), sum((own - told).values())
        between = sum(n for (_, g), n in found.items() if g is None)
        fits = beyond <= between and without + between - beyond <= less
        demand(
            fits, f"the kinds of wrong pairs are {self.record['kinds']}; expected {dict(own)}, and {between} between equal scores"
        )

    def _found(self, found: Found, members: Sequence[Array]) -> Found:
        if found.claim != OPEN:
            self._decide([self._classes(j, own) for j, own in enumerate(members)], found)
        return found

    def _classes(self, side: int, members: Array) -> Classes:
        own = self.numbers[side][1][members]
        order = np.argsort(own, kind="stable")
        parts = np.split(members[order], np.flatnonzero(np.diff(own[order])) + 1)
        return [(int(self.numbers[side][1][m[0]]), m) for m in parts]

    def _points(self, side: int, classes: Classes) -> Matrix:
        return arb_mat([self.numbers[side][0][c] for c, _ in classes]).transpose()

    def _decide(self, cell: list[Classes], found: Found) -> None:
        """Find of every pair of a cell whether it is right."""
        if prod(map(len, cell)) <= _FEW:
            self._each(cell, found)
            return
        relaxed = Relaxed(self.joint, [[self._points(j, own) for j, own in enumerate(cell)]])
        rows = margins(found.choice, len(self.record["labels"]), -1 if found.claim == WRONG else 1)
        lower, (form,) = relaxed.least(self.joint.output, rows)
        self.work.bounds += 1
        shown = [x > 0 for x in lower]
        if any(shown) if found.claim == WRONG else all(shown):
            found.add(
                [np.sort(np.concatenate([m for _, m in own])) for own in cell], None if found.claim == WRONG else found.choice
            )
            return
        self.work.divided += 1
        best = max if found.claim == WRONG else min
        row = best(range(len(lower)), key=lambda r: _float(lower[r]))
        weights = [0.0] * self.joint.inputs[0] if form is None else [abs(_float(a.mid())) for a in form.tolist()[row]]
        side, halves = self._halves(cell, weights, relaxed.hulls[0])
        for half in halves:
            self._decide([*cell[:side], half, *cell[side + 1 :]], found)

    def _halves(self, cell: list[Classes], weights: list[float], hulls: list[Matrix]) -> tuple[int, tuple[Classes, Classes]]:
        """A side to divide, along the number whose range matters most, and its halves."""
        many = [j for j, own in enumerate(cell) if len(own) > 1]
        spread = {(j, i): _float(x.rad()) for j in many for i, x in enumerate(hulls[j].entries())}
        side, place = max(spread, key=lambda at: (weights[at[1]] * spread[at], spread[at], len(cell[at[0]])))
        rows = self.numbers[side][0]
        order = sorted(cell[side], key=lambda c: _float(rows[c[0]][place].mid()))
        return side, (order[: len(order) // 2], order[len(order) // 2 :])

    def _each(self, cell: list[Classes], found: Found) -> None:
        """Evaluate every pair of a cell: with what rounding may add anywhere in it; where that says too little, by itself."""
        pairs = list(product(*cell))
        self.work.evaluated += len(pairs)
        z = [_sum([self.numbers[j][0][c] for j, (c, _) in enumerate(each)]) for each in pairs]
        _, errors = self.joint.rounded([reduce(add, (hull(self._points(j, own)) for j, own in enumerate(cell)))])
        pairs, z = self._told(pairs, z, self.joint.run([arb_mat(z)], errors), found)
        if pairs:
            pairs, _ = self._told(pairs, z, self.joint.rounded([arb_mat(z)])[0], found)
        for each in pairs:
            self._close([[c] for c in each], found)

    def _told(
        self, pairs: list[tuple[Class, ...]], z: list[Sequence[Any]], scores: Matrix, found: Found
    ) -> tuple[list[tuple[Class, ...]], list[Sequence[Any]]]:
        """Take what scores say of pairs; those that are left."""
        left = []
        for i, own in enumerate(scores.tolist()):
            given = _chosen(own)
            if given is None:
                left.append(i)
            else:
                found.add([m for _, m in pairs[i]], given)
        return [pairs[i] for i in left], [z[i] for i in left]

    def _close(self, cell: list[Classes], found: Found) -> None:
        """Decide one pair of which rounding may change the answer; that it may not is shown at length only where it has to be."""
        members = [m for own in cell for _, m in own]
        spare = found.within + prod(map(len, members)) <= found.allowed
        certain = self._certain(cell, found.choice, tight=False) or (not spare and self._certain(cell, found.choice, tight=True))
        first = tuple(int(m[0]) for m in members)
        demand(certain or found.claim == COUNTED, f"rounding may change the answer of {first}, in a cell {NAMES[found.claim]}")
        before = found.right + found.wrong
        self._exactly(members, found, _BITS)
        found.within += 0 if certain else found.right + found.wrong - before

    def _certain(self, cell: list[Classes], choice: int, *, tight: bool) -> bool:
        """Whether all of a cell is right, or all of it wrong, however it is rounded."""
        self.work.bounds += 1
        relaxed = Relaxed(self.joint, [[self._points(j, own) for j, own in enumerate(cell)]], tight=tight)
        rows = (margins(choice, len(self.record["labels"]), sign) for sign in (1, -1))
        above, below = (relaxed.least(self.joint.output, r)[0] for r in rows)
        return all(x > 0 for x in above) or any(x > 0 for x in below)

    def _exactly(self, members: Sequence[Array], found: Found, bits: Sequence[int]) -> None:
        """Decide pairs in exact arithmetic. Where the best scores are equal none is right; another above it is wrong."""
        with ctx.workprec(bits[0]):
            alike = [_alike([p.run([exactly(self.entries[m])])]) for p, m in zip(self.sides, members, strict=True)]
            for each in product(*(range(len(rows)) for rows, _ in alike)):
                own = [m[place == c] for m, (_, place), c in zip(members, alike, each, strict=True)]
                scores = self.joint.run([arb_mat([_sum([rows[c] for (rows, _), c in zip(alike, each, strict=True)])])]).entries()
                others = [x for i, x in enumerate(scores) if i != found.choice]
                if all(scores[found.choice] > x for x in others):
                    found.add(own, found.choice)
                elif any(x > scores[found.choice] for x in others) and (_chosen(scores) is not None or not bits[1:]):
                    found.add(own, _chosen(scores))
                elif bits[1:]:
                    self._exactly(own, found, bits[1:])
                else:
                    demand(
                        found.claim == COUNTED, f"{tuple(int(m[0]) for m in own)} is neither right nor wrong: scores are equal"
                    )


def _left_out(cell: int, told: Sequence[int], found: Found) -> int:
    """How many pairs that were found right or wrong are told of as neither."""
    right, wrong, within = told
    less = found.right + found.wrong - right - wrong
    fits = 0 <= right <= found.right and 0 <= wrong <= found.wrong and (found.claim == COUNTED or not less)
    demand(
        fits, f"the pairs right and wrong in the cell {cell} are {right} and {wrong}; found are {found.right} and {found.wrong}"
    )
    few = max(0, found.within - less)
    demand(
        few <= within <= (right + wrong if found.claim == COUNTED else 0),
        f"in the cell {cell} are {within} within rounding, not {few}",
    )
    return less


def concluded(
    record: Mapping[str, Any], counts: Sequence[Any], total: int, first: tuple[int, ...] | None
) -> tuple[Fraction, Fraction, str]:
    """Bounds on IIA and the level of a statement, once they are as its record says."""
    right, wrong, within = counts
    lower, upper = Fraction(right) / total, 1 - Fraction(wrong) / total
    level = "exact" if lower == upper and record["method"] != "boxes" else "sound"
    told = {"total": total, "right": right, "wrong": wrong, "within_rounding": within, "level": level}
    told |= {"lower": text(lower), "upper": text(upper), "first": None if first is None else list(first)}
    for name, expected in told.items():
        same(f"{name} of {record['variables']}", record[name], expected)
    return lower, upper, level


def _alike(blocks: Sequence[Matrix]) -> tuple[list[list[Any]], Array]:
    """The different rows of matrices, and which of them each row is."""
    rows: list[list[Any]] = []
    seen: dict[tuple[str, ...], int] = {}
    place = []
    for row in _rows(blocks):
        key = tuple(x.repr() for x in row)
        if key not in seen:
            seen[key] = len(rows)
            rows.append(row)
        place.append(seen[key])
    return rows, np.array(place)


def _rows(blocks: Sequence[Matrix]) -> Iterator[list[Any]]:
    for block in blocks:
        yield from block.tolist()


def _sum(vectors: Sequence[Sequence[Any]]) -> Sequence[Any]:
    return reduce(lambda x, y: list(map(add, x, y)), vectors)


def _chosen(scores: Sequence[Any]) -> int | None:
    """The choice whose score is above all others, where that is certain."""
    best = max(range(len(scores)), key=lambda i: _float(scores[i].mid()))
    return best if all(scores[best] > x for i, x in enumerate(scores) if i != best) else None


def _float(x: Any) -> float:
    """Near enough to choose by; not a number is least."""
    found = float(x)
    return found if found == found else float("-inf")  # noqa: PLR0124
