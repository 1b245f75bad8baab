"""Rechecking a certificate: every claim in it is derived again, in ball arithmetic, by code that shares nothing with the prover.

    python -m commute.recheck DIR [--network FILE]

A ball is a real number's center and radius; numpy only keeps places and codes. How many pairs of a cell are right is shown by
linear bounds taken backward through the program (1811.00866), of the cell or of its halves, and in exact arithmetic where
rounding may change a pair. CLAIMS.md says what that leaves to trust. Only numpy and python-flint are needed.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from hashlib import sha256
from itertools import product
from math import prod
from operator import add, mul
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

try:
    from flint import arb, arb_mat, ctx, fmpq
except ImportError as error:
    raise ImportError("rechecking a certificate needs python-flint: pip install python-flint") from error

Array = np.ndarray[Any, np.dtype[Any]]
Record = Mapping[str, Any]
Tensors = Mapping[str, Array]
Matrix = Any  # arb_mat; the value of a step is one, with a row for each of several inputs

RIGHT, WRONG, OPEN, COUNTED, SPLIT = range(5)
_BITS, _ROWS, _DEEPEST, _MOST = 256, 2**10, 12, 2**26  # of balls, inputs at once, halvings of a box, numbers of an array
_KINDS = {"F64": "<f8", "I64": "<i8", "I32": "<i4"}  # of a certificate's tensors
_UNITS = {"F64": (2.0**-53, 2.0**-1022), "F32": (2.0**-24, 2.0**-126), "F16": (2.0**-11, 2.0**-14), "BF16": (2.0**-8, 2.0**-126)}


class Rejected(Exception):  # noqa: N818  # it is a verdict
    """The certificate does not show what it claims; says what was found and what was expected."""


def _demand(condition: object, told: str) -> None:
    if not condition:
        raise Rejected(told)


def _same(what: str, found: Any, expected: Any) -> None:
    _demand(repr(found) == repr(expected), f"{what} is {found!r}; expected {expected!r}")


def _canonical(record: Any) -> bytes:
    return (json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _read(folder: Path) -> tuple[dict[str, Any], Tensors]:
    """The record and the tensors, once all digests are right."""
    told, data = ((folder / f"certificate.{kind}").read_bytes() for kind in ("json", "safetensors"))
    record = json.loads(told)
    _demand(told == _canonical(record), "certificate.json is not in its canonical form")
    _same("the digest of certificate.json", record.pop("sha256"), sha256(_canonical(record)).hexdigest())
    _same("the format", [record["format"], record["version"]], ["commute certificate", 1])
    _same("the digest of certificate.safetensors", sha256(data).hexdigest(), record["digests"]["tensors"])
    return record, {k: np.frombuffer(x, _KINDS[kind]).reshape(shape) for k, (kind, shape, x) in _parts(data).items()}


def _parts(data: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """The kind, shape and bytes of the tensors of a safetensors file, which follow one another."""
    start = end = 8 + int.from_bytes(data[:8], "little")
    found, header = {}, json.loads(data[8:start])
    header.pop("__metadata__", None)
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = (start + x for x in about["data_offsets"])
        _demand(begin == end <= stop <= len(data), f"the tensor {name!r} is not where it should be in its file")
        found[name], end = (about["dtype"], about["shape"], data[begin:stop]), stop
    _same("the size of a safetensors file", len(data), end)
    return found


def _hold(network: str | Path, record: Record) -> None:
    """The certificate is about the state dict in a file, and no statement about a finer arithmetic than its numbers'."""
    hashed, parts = sha256(), sorted(_parts(Path(network).read_bytes()).items())
    for name, (kind, shape, content) in parts:
        hashed.update(_canonical([name, kind, shape]) + content)
    _same(f"the digest of the weights in {network}", hashed.hexdigest(), record["digests"]["weights"])
    unit = max((_UNITS[kind][0] for _, (kind, _, _) in parts if kind in _UNITS), default=0.0)
    fits = all(s["unit"] >= unit for s in record["statements"])
    _demand(fits, f"a statement is about an arithmetic that is finer than the weights' {unit}")


def _array(tensors: Tensors, name: str, kind: Any, *shape: int) -> Array:
    """A tensor that has to be of a kind and shape, -1 for any length, and finite."""
    x = tensors[name]
    fits = x.dtype == kind and x.ndim == len(shape) and all(n in (-1, m) for n, m in zip(shape, x.shape, strict=True))
    _demand(
        fits and np.isfinite(x).all(), f"a tensor is {x.dtype} {list(x.shape)}; expected finite {kind.__name__} {list(shape)}"
    )
    return x


def _solved(algorithm: Record, tensors: Tensors, fixed: Mapping[str, int]) -> dict[str, Array]:
    """The code of every variable for every input in the domain's order, the last varying fastest, with some variables set."""
    sizes = {v["name"]: len(v["labels"]) for v in algorithm["variables"]}
    shape = [sizes[v] for v in algorithm["inputs"]]
    _demand(prod(shape) <= _MOST, f"{prod(shape)} inputs are too many to be rechecked")
    codes: dict[str, Array] = dict(zip(algorithm["inputs"], np.unravel_index(np.arange(prod(shape)), shape), strict=True))
    for v, table in ((v, v["table"]) for v in algorithm["variables"]):
        _demand((v["name"] in codes) == (table is None), f"{v['name']!r} is there twice, or an input with a table, or has none")
        if table is not None:
            values = _array(tensors, table, np.int32, *(sizes[p] for p in v["parents"]))
            _demand(((values >= 0) & (values < sizes[v["name"]])).all(), f"a code of {v['name']!r} is none of its labels'")
            codes[v["name"]] = np.broadcast_to(fixed.get(v["name"], values[tuple(codes[p] for p in v["parents"])]), prod(shape))
    return codes


def _answers(algorithm: Record, tensors: Tensors, about: Record) -> tuple[list[Array], Array]:
    """Of each side, the base first, the group of every input, and the right choice of each combination of groups.

    Bases that are answered alike whatever is put in are one group, and so are sources with one value of their variable.
    """
    variables, choices, output = about["variables"], list(map(_canonical, about["labels"])), algorithm["output"]
    _demand(variables and len({*variables} - {*algorithm["inputs"]}) == len(variables), f"the variables are {variables}")
    codes = _solved(algorithm, tensors, {})
    values, groups = zip(*(np.unique(codes[v], return_inverse=True) for v in variables), strict=True)
    put = [dict(zip(variables, x, strict=True)) for x in product(*values)]
    _demand(len(groups[0]) * len(put) <= _MOST, "the values that are put in are too many to be rechecked")
    answers = np.stack([_solved(algorithm, tensors, x)[output] for x in put], 1)
    alike, base = np.unique(answers, axis=0, return_inverse=True)
    labels = [_canonical(x) for v in algorithm["variables"] if v["name"] == output for x in v["labels"]]
    strange = [labels[c] for c in np.unique(alike) if choices.count(labels[c]) != 1]
    _demand(not strange, f"the algorithm answers {strange}, of which each should be one of {choices}")
    place = np.array([choices.index(x) if x in choices else -1 for x in labels])
    return [base.reshape(-1), *groups], place[alike].reshape(-1, *map(len, values))


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + (-x).exp())


def _normal(x: Any) -> Any:
    return (-x / arb(2).sqrt()).erfc() / 2


def _inner(x: Any, cubic: int = 1) -> Any:  # gelu's approximation is x·sigmoid of it; with 3 it is x times its slope
    return (8 / arb.pi()).sqrt() * (x + cubic * arb(fmpq(44715, 10**6)) * x * x * x)


def _gelu_tanh_slope(x: Any) -> Any:
    return _sigmoid(_inner(x)) * (1 + _inner(x, 3) * _sigmoid(-_inner(x)))


# Of each function the value, the slope (None: it is straight on both sides of 0), and k: floats are off by up to k·u of what it
# gives, or of what it takes (False). Where a function is not defined its value is not a number, for which no comparison holds.
_FUNCTIONS: dict[str, tuple[Any, Any, int, bool]] = {
    "relu": (arb.nonnegative_part, None, 0, True),
    "abs": (abs, None, 0, True),
    "square": (lambda x: x * x, lambda x: 2 * x, 1, True),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / (x * x), 1, True),
    "sqrt": (lambda x: x.sqrt(), lambda x: x.rsqrt() / 2, 2, True),
    "rsqrt": (lambda x: x.rsqrt(), lambda x: -x.rsqrt() / (2 * x), 4, True),
    "exp": (lambda x: x.exp(), lambda x: x.exp(), 4, True),
    "tanh": (lambda x: x.tanh(), lambda x: 1 - x.tanh() * x.tanh(), 4, True),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), 8, True),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), 12, False),
    "gelu": (lambda x: x * _normal(x), lambda x: _normal(x) + x * (-x * x / 2).exp() / (2 * arb.pi()).sqrt(), 12, False),
    "gelu_tanh": (lambda x: x * _sigmoid(_inner(x)), _gelu_tanh_slope, 24, False),
}


def _band(name: str, x: Any, slope: Any) -> Any:
    """A ball that holds f(t) - slope·t for every t in a ball: by its corners, or by the mean value theorem on pieces."""
    f, rate, low, high = *_FUNCTIONS[name][:2], x.lower(), x.upper()
    if rate is None or x.is_exact():
        return reduce(arb.union, [f(t) - slope * t for t in (low, high, *([arb(0)] if x.contains(0) else []))])
    count = 16 if x.rad() > 2.0**-20 else 1
    edges = [low, *((low + (high - low) * i / count).mid() for i in range(1, count)), high]
    pieces = [(p, p.mid()) for p in map(arb.union, edges, edges[1:])]
    return reduce(arb.union, [f(m) - slope * m + (rate(p) - slope) * (p - m) for p, m in pieces])


def _line(name: str, x: Any) -> tuple[Any, Any]:
    """Slope and offset, a ball, of a line that holds f(t) for every t in a ball."""
    f, low, high = _FUNCTIONS[name][0], x.lower(), x.upper()
    slope = ((f(high) - f(low)) / (high - low)).mid() if high > low else arb(0)
    band = _band(name, x, slope)
    return (slope, band) if band.is_finite() else (arb(0), _band(name, x, arb(0)))


def _size(x: Matrix) -> Matrix:
    return arb_mat(x.nrows(), x.ncols(), list(map(abs, x.entries())))


@dataclass(frozen=True)
class Step:
    """A function or a product, number by number; or where there are matrices [in, out] a sum, each of whose terms is rounded."""

    inputs: list[int]
    width: int
    kind: str
    unit: float
    tiny: float
    weights: tuple[Matrix, ...] = ()
    bias: Matrix = None
    roundings: int = 1

    def image(self, values: Sequence[Matrix]) -> Matrix:
        """What it makes of rows of balls, in exact arithmetic."""
        x, *others = taken = [values[v] for v in self.inputs]
        if self.weights:
            return sum((x * w for x, w in zip(taken, self.weights, strict=True)), arb_mat(self.bias.tolist() * x.nrows()))
        made = map(mul, x.entries(), others[0].entries()) if others else map(_FUNCTIONS[self.kind][0], x.entries())
        return arb_mat(x.nrows(), x.ncols(), list(made))

    def error(self, values: Sequence[Matrix], y: Matrix) -> Matrix:
        """What floats may add to that, in balls around 0; not a number where a sum of 128 such may overflow."""
        _, _, k, of_output = _FUNCTIONS.get(self.kind, (None, None, self.roundings, True))
        of, u = _size(y if of_output else values[self.inputs[0]]), k * arb(self.unit)
        if self.weights:
            parts = (_size(values[v]) * _size(w) for v, w in zip(self.inputs, self.weights, strict=True))
            of = sum(parts, arb_mat(_size(self.bias).tolist() * y.nrows()))
        _demand(u < 1, f"{k} roundings are too many for a unit roundoff of {self.unit}")
        factor = u / (1 - u) if all(x < arb(2) ** -6 / arb(self.tiny) for x in of.entries()) else arb.nan()
        least = max(k, not self.weights) * arb(self.tiny)
        return arb_mat(y.nrows(), y.ncols(), [(x * factor + least) * arb(0, 1) for x in of.entries()])

    def line(self, values: Sequence[Matrix]) -> tuple[Sequence[Any], Matrix]:
        """For one row: slopes in each value that it takes, number by number or a matrix, and offsets with which they hold it."""
        if self.weights:
            return [w.transpose() for w in self.weights], self.bias
        x, *others = (values[v].entries() for v in self.inputs)
        if not others:
            slopes, offsets = zip(*(_line(self.kind, a) for a in x), strict=True)
            return [slopes], arb_mat(1, self.width, offsets)
        m, n = ([a.mid() for a in own] for own in (x, others[0]))
        rest = [(a - c) * (b - d) - c * d for a, b, c, d in zip(x, others[0], m, n, strict=True)]
        return [n, m], arb_mat(1, self.width, rest)


def _program(record: Record, tensors: Tensors, inputs: list[int], about: Record) -> list[Step]:
    """The steps of a program, checked: it has to take inputs of these widths."""
    _same("the widths of a program's inputs", record["inputs"], inputs)
    _demand((about["unit"], about["tiny"]) in _UNITS.values(), f"no arithmetic has {about['unit']} and {about['tiny']}")
    steps: list[Step] = []
    for step in record["steps"]:
        kind, taken, widths = step["kind"], step["inputs"], [*inputs, *(s.width for s in steps)]
        known = taken and all(type(v) is int and 0 <= v < len(widths) for v in taken)
        _demand(known, f"a step takes the values {taken}; there are {len(widths)} before it")
        own = [widths[v] for v in taken]
        if kind == "affine":
            bias, weights, roundings = _sum(step, tensors, own)
            matrices = tuple(arb_mat(w.T.tolist()) for w in weights)
            steps.append(
                Step(taken, len(bias), kind, about["unit"], about["tiny"], matrices, arb_mat([bias.tolist()]), roundings)
            )
        else:
            fits = kind in (*_FUNCTIONS, "product") and own == own[:1] * (1 + (kind == "product"))
            _demand(fits, f"there is no function {kind!r} of values of the widths {own}")
            steps.append(Step(taken, own[0], kind, about["unit"], about["tiny"]))
    _demand(steps, "a program has no steps")
    return steps


def _sum(record: Record, tensors: Tensors, widths: list[int]) -> tuple[Array, list[Array], int]:
    """The bias of a sum, its matrices [out, in], and how many roundings there are on the way of a term, at most."""
    bias, weights, roundings = _array(tensors, record["bias"], np.float64, -1), [], record["roundings"]
    for told, width in zip(record["weights"], widths, strict=True):
        listed = _array(tensors, told["values"], np.float64, *([-1] if "index" in told else [len(bias), width]))
        if "index" in told:
            index = _array(tensors, told["index"], np.int64, 2, len(listed))
            _demand(len(bias) * width <= _MOST and (index >= 0).all(), "a matrix is too large, or has numbers before its first")
            weights.append(np.zeros((len(bias), width)))
            np.add.at(weights[-1], tuple(index), listed)
        else:
            weights.append(listed)
    terms = np.concatenate([*weights, bias.reshape(-1, 1)], 1)
    inexact = (terms[:, :-1] != 0) & (np.abs(np.frexp(terms[:, :-1])[0]) != 0.5)  # noqa: PLR2004  # products with other than ±2^k
    least = int((np.maximum((terms != 0).sum(1) - 1, 0) + inexact.any(1)).max())  # in whatever order terms are added
    _demand(type(roundings) is int and roundings >= least, f"a sum has at least {least} roundings, not {roundings}")
    return bias, weights, roundings


def _run(steps: Sequence[Step], inputs: Matrix, *, rounded: bool) -> Matrix:
    """The output for rows of inputs: exactly, or however it is rounded."""
    values = [inputs]
    for step in steps:
        y = step.image(values)
        values.append(y + step.error(values, y) if rounded else y)
    return values[-1]


Sets = Sequence[Sequence[Matrix]]  # of each input those that it is a sum of, each a matrix with a vector of balls in each column


def _hull(points: Matrix) -> Matrix:
    """The box around columns, a row."""
    return arb_mat(1, points.nrows(), [reduce(arb.union, row) for row in points.tolist()])


def _bounds(steps: Sequence[Step], lines: Sequence[Any], sets: Sets, rows: Matrix) -> tuple[Matrix, dict[int, Matrix]]:
    """Balls that hold linear functions [rows, width] of the last value, and the functions of inputs that they are bounded by."""
    forms, total = {len(sets) + len(lines) - 1: rows}, arb_mat(rows.nrows(), 1)
    for v in reversed(range(len(lines))):
        if len(sets) + v in forms:
            form, (slopes, offset) = forms.pop(len(sets) + v), lines[v]
            total += form * offset.transpose()
            for w, s in zip(steps[v].inputs, slopes, strict=True):
                more = form * s if isinstance(s, arb_mat) else arb_mat([list(map(mul, row, s)) for row in form.tolist()])
                forms[w] = forms[w] + more if w in forms else more
    return reduce(add, (_hull(form * points).transpose() for v, form in forms.items() for points in sets[v]), total), forms


def _lines(steps: Sequence[Step], sets: Sets) -> list[tuple[Sequence[Any], Matrix]]:
    """Of each step slopes and offsets that hold what it makes of what is in some sets, however it is rounded."""
    values, lines = [reduce(add, map(_hull, each)) for each in sets], []
    for step in steps:
        lines.append(step.line(values))
        every = arb_mat(np.eye(step.width).tolist())
        y = _bounds(steps, lines, sets, every)[0].transpose() if step.weights else step.image(values)
        error = step.error(values, y)
        lines[-1] = lines[-1][0], lines[-1][1] + error
        values.append(y + error)
    return lines


def _decided(steps: Sequence[Step], sets: Sets, right: int) -> tuple[int, list[Array]]:
    """Whether all in some sets is RIGHT, or WRONG, or OPEN; and how much each number of inputs matters for what is open."""
    others = [o for o in range(steps[-1].width) if o != right]
    rows = arb_mat([[(c == right) - (c == o) for c in range(steps[-1].width)] for o in others])
    margins, forms = _bounds(steps, _lines(steps, sets), sets, rows)
    kind = WRONG if any(x < 0 for x in margins.entries()) else RIGHT if all(x > 0 for x in margins.entries()) else OPEN
    left = [not x > 0 for x in margins.entries()]
    slopes = [forms.get(v, rows * arb_mat(rows.ncols(), each[0].nrows())) for v, each in enumerate(sets)]
    return kind, [np.abs([list(map(_float, row)) for row in own.tolist()])[left].sum(0) for own in slopes]


def _float(x: Any) -> float:
    """Near enough to choose by."""
    return float(x.mid()) if x.is_finite() else 0.0


Class = tuple[list[Any], list[Any], Array]  # what some inputs bring however it is rounded, the same exactly, and these inputs


def _classes(side: Sequence[Step], entries: Array) -> tuple[list[tuple[list[Any], list[Any]]], Array]:
    """The different numbers that inputs bring on a side, and which of them each input brings."""
    blocks = [arb_mat(entries[i : i + _ROWS].tolist()) for i in range(0, len(entries), _ROWS)]
    both = [p for x in blocks for p in zip(*(_run(side, x, rounded=r).tolist() for r in (True, False)), strict=True)]
    texts = [" ".join(x.repr() for row in pair for x in row) for pair in both]
    _, first, place = np.unique(texts, return_index=True, return_inverse=True)
    return [both[i] for i in first], place


def _split(joint: Sequence[Step], cell: list[list[Class]], right: int) -> Iterator[tuple[int, bool, list[Array]]]:
    """Parts of a cell, some classes of each side: whether each is right or wrong, for all rounding or not, and its inputs."""
    sets = [arb_mat([rounded for rounded, _, _ in own]).transpose() for own in cell]
    kind, (matter,) = _decided(joint, [sets], right)
    certain, members = kind != OPEN, [np.concatenate([m for _, _, m in own]) for own in cell]
    if not certain and max(map(len, cell)) > 1:
        ranges = [(j, i, _float(x.rad())) for j, own in enumerate(sets) for i, x in enumerate(_hull(own).entries())]
        j, i, _ = max(ranges, key=lambda at: (len(cell[at[0]]) > 1, at[2] * matter[at[1]], at[2]))
        order, half = sorted(cell[j], key=lambda c: _float(c[0][i])), len(cell[j]) // 2
        for part in (order[:half], order[half:]):
            yield from _split(joint, [*cell[:j], part, *cell[j + 1 :]], right)
        return
    if not certain:  # in exact arithmetic; of equal best scores none is right
        z = [reduce(add, x) for x in zip(*(exact for ((_, exact, _),) in cell), strict=True)]
        scores = _run(joint, arb_mat([z]), rounded=False).entries()
        above, below = all(scores[right] > x for c, x in enumerate(scores) if c != right), any(x > scores[right] for x in scores)
        kind = RIGHT if above else WRONG if below else OPEN
    yield kind, certain, members


def _leaves(tree: Record, tensors: Tensors, groups: Sequence[Array]) -> Iterator[tuple[int, tuple[int, ...], list[Array]]]:
    """The leaves of trees in preorder: the place of each, the groups that it is of, and its inputs of each side.

    A tree begins with all of a group of each side. Of a cell that is divided the first half is what the next cell says, and the
    second the rest: so each pair is in just one leaf.
    """
    cells, nodes, roots, i = _array(tensors, tree["cells"], np.int32, -1, 1 + len(groups)), [], set(), 0
    for node in tree["nodes"]:
        members, offsets = _array(tensors, node["members"], np.int32, -1), _array(tensors, node["offsets"], np.int64, -1)
        fits = [offsets[0], offsets[-1]] == [0, len(members)] and (np.diff(offsets) > 0).all()
        _demand(fits, "offsets do not fit their members")
        nodes.append(np.split(members, offsets[1:-1]))
    while i < len(cells):
        root = tuple(int(g[own[k][0]]) for g, own, k in zip(groups, nodes, cells[i, 1:], strict=True))
        _demand(root not in roots, f"two trees are of the groups {root}")
        roots.add(root)
        waiting = [[np.flatnonzero(g == r) for g, r in zip(groups, root, strict=True)]]
        while waiting:
            cell, j = waiting.pop(), int(cells[i, 0]) - SPLIT
            told = [np.sort(own[k]) for own, k in zip(nodes, cells[i, 1:], strict=True)]
            _demand(all(map(np.array_equal, told, cell)), f"the inputs of the cell {i} do not follow from the cells before it")
            if j < 0:
                yield i, root, cell
            else:
                half = np.isin(cell[j], nodes[j][cells[i + 1, 1 + j]])
                waiting += [[*cell[:j], cell[j][part], *cell[j + 1 :]] for part in (~half, half)]
            i += 1
    _demand(len(roots) == prod(int(g.max()) + 1 for g in groups), f"there are {len(roots)} trees, not one for each combination")


def _pairs(record: Record, tensors: Tensors, algorithm: Record) -> tuple[Any, ...]:
    """How many pairs there are, and of these right, wrong and within rounding, once every claim about them is shown."""
    (groups, expected), entries = _answers(algorithm, tensors, record), _array(tensors, record["entries"], np.float64, -1, -1)
    _same("the numbers of entries and of sides", [len(entries), len(record["sides"])], [len(groups[0]), len(groups)])
    sides = [_program(x, tensors, [entries.shape[1]], record) for x in record["sides"]]
    joint = _program(record["joint"], tensors, [sides[0][-1].width], record)
    _demand({s[-1].width for s in sides} == {sides[0][-1].width}, "sides bring different numbers")
    _same("the number of scores", joint[-1].width, len(record["labels"]))
    classes = [_classes(side, entries) for side in sides]

    def found(members: Sequence[Array], root: tuple[int, ...]) -> tuple[list[int], list[tuple[int, ...]]]:
        """How many pairs of some inputs are right, wrong and within rounding; the first of each part that is wrong."""
        own = [(rows, place[m], m) for (rows, place), m in zip(classes, members, strict=True)]
        cell = [[(*rows[c], m[place == c]) for c in np.unique(place)] for rows, place, m in own]
        parts = [(kind, sure, m, prod(map(len, m))) for kind, sure, m in _split(joint, cell, int(expected[root]))]
        counts = [sum(n for kind, _, _, n in parts if kind == k) for k in (RIGHT, WRONG)]
        within = sum(n for kind, sure, _, n in parts if kind != OPEN and not sure)
        return [*counts, within], [tuple(int(x.min()) for x in m) for kind, _, m, _ in parts if kind == WRONG]

    wrong_ones: list[tuple[int, ...]] = []
    cells, total, left = tensors[record["tree"]["cells"]], np.zeros(3, dtype=object), 0
    counts = _array(tensors, record["tree"]["counts"], np.int64, len(cells), 3)
    for i, root, members in _leaves(record["tree"], tensors, groups):
        kind, n, told = int(cells[i, 0]), prod(map(len, members)), list(map(int, counts[i]))
        (right, wrong, within), firsts = found(members, root) if kind != OPEN else ([0, 0, 0], [])
        spare = right + wrong - told[0] - told[1]  # pairs that are left undecided, maybe those that rounding may change
        fits = 0 <= told[0] <= right and 0 <= told[1] <= wrong and max(0, within - spare) <= told[2] <= told[0] + told[1]
        fits = fits and (kind == COUNTED or told == [n * (kind == RIGHT), n * (kind == WRONG), 0])
        about = f"of {n} pairs in the cell {i}, of the kind {kind}, {told} are told right, wrong and within rounding"
        _demand(fits, f"{about}; found are {[right, wrong, within]}")
        total, left, wrong_ones = total + told, left + spare, [*wrong_ones, *firsts]
    first = min(wrong_ones, default=None) if total[1] else None
    if left and first and record["first"]:  # any wrong pair will do
        np.ravel_multi_index(record["first"], list(map(len, groups)))  # raises where there is no such pair
        root = tuple(int(g[i]) for g, i in zip(groups, record["first"], strict=True))
        first = min(found([np.array([i]) for i in record["first"]], root)[1], default=first)
    _same("the first wrong pair", record["first"], None if first is None else list(first))
    return (len(entries) ** len(sides), *total)


def _boxes(record: Record, tensors: Tensors, algorithm: Record | None) -> tuple[Any, ...]:
    """Of 1 the shares of all numbers within epsilon of inputs' that are right and wrong, once every claim about them is shown."""
    entries, epsilon = _array(tensors, record["entries"], np.float64, -1, -1), Fraction(record["epsilon"])
    cells, i, first = _array(tensors, record["tree"]["cells"], np.int32, -1, 2), 0, None
    shares = dict.fromkeys((RIGHT, WRONG, OPEN), Fraction())
    if algorithm is None:
        answers = _array(tensors, record["answers"], np.int32, *[len(entries)] * (1 + len(record["variables"])))
        groups = [np.arange(len(entries))] * answers.ndim
        _demand(((answers >= 0) & (answers < len(record["labels"]))).all(), "an answer is none of the choices")
    else:
        groups, answers = _answers(algorithm, tensors, record)
    _same(
        "the numbers of entries, and the programs of sides",
        [[len(entries)] * len(groups), []],
        [list(map(len, groups)), record["sides"]],
    )
    joint = _program(record["joint"], tensors, [entries.shape[1]] * len(groups), record)
    _same("the number of scores", joint[-1].width, len(record["labels"]))
    for places in np.ndindex(*map(len, groups)):
        choice = int(answers[tuple(g[p] for g, p in zip(groups, places, strict=True))])
        box = [(Fraction(x) - epsilon, Fraction(x) + epsilon) for p in places for x in entries[p].tolist()]
        waiting = [(box, Fraction(1, prod(map(len, groups))))]
        while waiting:
            (box, share), (kind, along), i = waiting.pop(), cells[i].tolist(), i + 1
            if kind == SPLIT:
                waiting += [(half, share / 2) for half in _halved(box, along)[::-1]]
                continue
            shown = kind == OPEN or _holds(joint, box, entries.shape[1], choice, kind, _DEEPEST)
            _demand(shown, f"the cell {i - 1}, of the kind {kind}, is not shown")
            shares[kind] += share
            first = list(places) if kind == WRONG and first is None else first
    _same("the number of cells", len(cells), i)
    _same("the first wrong box", record["first"], first)
    return 1, _text(shares[RIGHT]), _text(shares[WRONG]), 0


def _halved(box: list[tuple[Fraction, Fraction]], along: int) -> list[list[tuple[Fraction, Fraction]]]:
    _demand(along >= 0, f"a box is divided along {along}")
    low, high = box[along]
    middle = (low + high) / 2
    return [[*box[:along], half, *box[along + 1 :]] for half in ((low, middle), (middle, high))]


def _holds(joint: Sequence[Step], box: list[tuple[Fraction, Fraction]], width: int, choice: int, claim: int, depth: int) -> bool:
    """Whether all of a box is RIGHT, or all of it WRONG; the box is divided where a bound does not show it."""
    balls = [arb(fmpq(*low.as_integer_ratio())).union(arb(fmpq(*high.as_integer_ratio()))) for low, high in box]
    found, matter = _decided(joint, [[arb_mat(width, 1, balls[i : i + width])] for i in range(0, len(balls), width)], choice)
    if found != OPEN or depth == 0:
        return found == claim
    along = int(np.argmax(np.concatenate(matter) * [float(high - low) for low, high in box]))
    return all(_holds(joint, half, width, choice, claim, depth - 1) for half in _halved(box, along))


class Report(NamedTuple):
    """What was rechecked: the level, bounds on IIA of the worst statement, and whether the weights were held against a file."""

    level: str
    lower: Fraction
    upper: Fraction
    network: bool

    def __str__(self) -> str:
        held = "the network's weights are those given" if self.network else "no weights were given to hold the network's against"
        return f"accepted: {self.level}, IIA in [{float(self.lower):.6g}, {float(self.upper):.6g}]; {held}"


def recheck(folder: str | Path, network: str | Path | None = None) -> Report:
    """Derive every claim of a certificate again.

    Args:
        folder: with `certificate.json` and `certificate.safetensors`.
        network: a safetensors file of the state dict of the network that the certificate is to be about.

    Raises:
        Rejected: naming what was found and what was expected.
    """
    try:
        with ctx.workprec(_BITS):
            return _rechecked(Path(folder), network)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError, OSError) as error:
        raise Rejected(f"{folder} holds no certificate: {type(error).__name__}: {error}") from error


def _rechecked(folder: Path, network: str | Path | None) -> Report:
    record, tensors = _read(folder)
    if network is not None:
        _hold(network, record)
    algorithm, shown = record["algorithm"], []
    for s in record["statements"]:
        check = {"enumeration": _pairs, "refinement": _pairs, "boxes": _boxes}[s["method"]]
        total, right, wrong, within = check(s, tensors, algorithm)
        lower, upper = Fraction(right) / total, 1 - Fraction(wrong) / total
        shown.append((lower, upper, lower == upper and check == _pairs))
        found = total, right, wrong, within, *_bounded(*shown[-1])
        told = tuple(s[name] for name in ("total", "right", "wrong", "within_rounding", "lower", "upper", "level"))
        _same(f"what is told of {s['variables']}", told, found)
    worst = tuple(map(min, *shown, shown[0]))
    _same("the certificate's bounds and level", (record["lower"], record["upper"], record["level"]), _bounded(*worst))
    labels = {v["name"]: v["labels"] for v in algorithm["variables"]} if algorithm else {}
    domain = [[v, labels[v]] for v in algorithm["inputs"]] if algorithm else record["settings"]
    _demand(algorithm is None or record["settings"] is None, "there are settings, beside an algorithm whose inputs are listed")
    _same("the digest of the domain", record["digests"]["domain"], sha256(_canonical(domain)).hexdigest())
    return Report(record["level"], worst[0], worst[1], network is not None)


def _bounded(lower: Fraction, upper: Fraction, exact: bool) -> tuple[str, str, str]:  # noqa: FBT001
    return _text(lower), _text(upper), "exact" if exact else "sound"


def _text(x: Fraction) -> str:
    return f"{x.numerator}/{x.denominator}"


def main() -> int:
    """Recheck the certificate in a folder: exits 0 where it is accepted, 1 where it is rejected."""
    parser = argparse.ArgumentParser(prog="python -m commute.recheck", description="Derive every claim of a certificate again.")
    parser.add_argument("folder", help="with certificate.json and certificate.safetensors")
    parser.add_argument(
        "--network", help="a safetensors file of the network's state dict, to hold against the certificate's digest"
    )
    try:
        sys.stdout.write(f"{recheck(**vars(parser.parse_args()))}\n")
    except Rejected as error:
        sys.stderr.write(f"rejected: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
