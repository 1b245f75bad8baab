"""Small statements whose truth is plain, and their certificates: everything is made by hand, and counted by brute force."""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product

import numpy as np
import torch
from torch import nn

import commute as cm
from commute.proofs.programs.patched import Patched
from commute.proofs.programs.program import Affine, Elementwise, Product, Program
from commute.proofs.proving.certificate import BoxProof, Proof, certificate_of
from commute.proofs.proving.outcome import Outcome
from commute.proofs.proving.statement import Statement, listed
from commute.proofs.proving.tree import COUNTED, OPEN, RIGHT, SPLIT, WRONG, BoxTree, Members, Tree

UNIT, TINY = 2.0**-24, 2.0**-126
LABELS = (False, True)

algorithm = cm.CausalModel(
    "one bit or the other",
    inputs={"a": cm.Finite(range(4)), "b": cm.Bool},
    mechanisms={"high": lambda a: a >= 2, "odd": lambda high, b: high != b},
)


class Module(nn.Module):
    """Weights for a certificate to be about; what it computes is in `sides` and `joint`."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Identity()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x):
        return self.hidden(x)


def network():
    return cm.Network(Module(), encode=lambda batch: batch, decode=lambda scores: scores.argmax(-1) == 1, name="two bits")


def alignment():
    return cm.Alignment({"high": cm.Feature(cm.Site("hidden"))})


def affine(weights, bias, inputs=(0,), roundings=4):
    matrices = [torch.tensor(w, dtype=torch.float64) for w in weights]
    return Affine(tuple(inputs), tuple(matrices), torch.tensor(bias, dtype=torch.float64), roundings)


def sides(leak=0.0):
    """From (a, b) to z = (high of the source - b of the base + leak·a of the base, its negative), high by two relus."""
    base = Program((2,), (affine([[[leak, -1], [-leak, 1]]], [0.0, 0.0]),), UNIT, TINY)
    first = Affine(
        (0,), (torch.tensor([[1.0, 0], [1, 0]], dtype=torch.float64).to_sparse(),), torch.tensor([-1.0, -2.0]).double(), 2
    )
    source = Program((2,), (first, Elementwise(1, "relu"), affine([[[1, -1], [-1, 1]]], [0.0, 0.0], (2,))), UNIT, TINY)
    return base, source


def joint(bent="relu"):
    """|z| against 1/2, by relus, or smoothly."""
    if bent == "relu":
        last = affine([[[0, 0], [1, 1]]], [0.5, 0.0], (1,))
        return Program((2,), (Elementwise(0, "relu"), last), UNIT, TINY)
    if bent == "product":
        return Program((2,), (Product((0, 0)), affine([[[0, 0], [0.5, 0.5]]], [0.25, 0.0], (1,))), UNIT, TINY)
    last = affine([[[0, 0], [1, 1]], [[0, 0], [-0.1, -0.1]]], [0.5, 0.0], (2, 0))
    return Program((2,), (affine([[[2, 0], [0, 2]]], [0.1, 0.1]), Elementwise(1, bent), last), UNIT, TINY)


_IN_FLOATS = {
    "relu": torch.relu,
    "abs": torch.abs,
    "square": torch.square,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
}


def run(program, *inputs):
    """A program in float64, [rows, width]."""
    values = list(inputs)
    for step in program.steps:
        if isinstance(step, Affine):
            parts = [values[v] @ w.to_dense().T for v, w in zip(step.inputs, step.weights, strict=True)]
            values.append(sum(parts, step.bias))
        elif isinstance(step, Elementwise):
            values.append(_IN_FLOATS[step.function](values[step.input]))
        else:
            values.append(values[step.inputs[0]] * values[step.inputs[1]])
    return values[-1]


def entries():
    labels = algorithm.labels(listed(algorithm))
    return torch.tensor(np.stack([labels["a"], labels["b"]], 1).astype(float), dtype=torch.float64)


def truth(leak=0.0, bent="relu"):
    """The right choice and the margin of every base and source, [8, 8]."""
    base, source = sides(leak)
    x = entries()
    z = run(base, x)[:, None] + run(source, x)[None]
    scores = run(joint(bent), z.reshape(-1, 2)).reshape(8, 8, 2)
    right = (x[None, :, 0] >= 2) != (x[:, None, 1] == 1)
    return right.long().numpy(), (torch.where(right, 1.0, -1.0) * (scores[..., 1] - scores[..., 0])).numpy()


def groups():
    """Bases by b, sources by high, as the algorithm has it."""
    x = entries().numpy()
    return (x[:, 1] == 1).astype(int), (x[:, 0] >= 2).astype(int)


@dataclass(eq=False)
class Grown:
    """A tree that grows from its roots by what is true: margins [bases, sources], and below which one is within rounding."""

    margin: np.ndarray
    near: float
    kind: str
    cells: list = field(default_factory=list)
    counts: list = field(default_factory=list)
    sets: tuple = field(default_factory=lambda: ([], []))

    def put(self, kind, parts, found=(0, 0, 0)):
        self.cells.append([kind, *(_place(own, part) for own, part in zip(self.sets, parts, strict=True))])
        self.counts.append(found)

    def grow(self, parts):
        m = self.margin[np.ix_(*parts)]
        if self.kind == "open" and parts[0][0] == 0:
            self.put(OPEN, parts)
        elif self.kind == "counted" or (m.size == 1 and abs(m).min() < self.near):
            close = (abs(m) < self.near) & (m != 0)
            self.put(COUNTED, parts, (int((m > 0).sum()), int((m < 0).sum()), int(close.sum())))
        elif (m >= self.near).all():
            self.put(RIGHT, parts, (m.size, 0, 0))
        elif (m <= -self.near).all():
            self.put(WRONG, parts, (0, m.size, 0))
        else:
            side = int(len(parts[1]) > len(parts[0]))
            self.put(SPLIT + side, parts)
            for half in np.array_split(parts[side], 2):
                self.grow([half if j == side else part for j, part in enumerate(parts)])

    def pairs(self, *kinds):
        """Which pairs are in cells of some kinds, [bases, sources]."""
        there = np.zeros_like(self.margin, dtype=bool)
        for kind, *nodes in self.cells:
            if kind in kinds:
                there[np.ix_(*(own[n] for own, n in zip(self.sets, nodes, strict=True)))] = True
        return there


def proof(leak=0.0, *, bent="relu", kind="leaves", near=1e-5):
    """A proof of the truth: cells are halved down to ones that are all right or all wrong ("leaves"), or counted by roots."""
    right, margin = truth(leak, bent)
    grown = Grown(margin, near, kind)
    base, source = groups()
    for b, s in product(range(2), repeat=2):
        grown.grow([np.flatnonzero(base == b), np.flatnonzero(source == s)])
    counts = np.array(grown.counts, np.int64)
    tree = Tree(tuple(map(Members.of, grown.sets)), np.array(grown.cells, np.int32), counts)
    kinds = Counter((LABELS[e], LABELS[1 - e]) for e in right[grown.pairs(COUNTED) & (margin < 0)])
    known = np.argwhere((margin < 0) & ~grown.pairs(OPEN)).tolist()
    outcome = Outcome(("high",), 64, *counts.sum(0).tolist(), kinds, tuple(known[0]) if known else None, (8, 8), 3, 5)
    patched = Patched(joint(bent), ("high",), LABELS, lambda batch: entries())
    statement = Statement(("high",), patched, joint(bent), (), right, listed(algorithm), entries())
    return Proof(statement, outcome, tree, "enumeration" if kind == "counted" else "refinement", sides(leak))


def certificate(leak=0.0, **options):
    return certificate_of(algorithm, network(), alignment(), [proof(leak, **options)])


def box_program(bent="relu", threshold=0.5):
    """The whole program of base and source: what `sides` and `joint` make, as steps of one."""
    return Program(
        (2, 2),
        (
            affine([[[1, 0], [1, 0]]], [-1.0, -2.0], (1,)),
            Elementwise(2, "relu"),
            affine([[[0, -1], [0, 1]], [[1, -1], [-1, 1]]], [0.0, 0.0], (0, 3)),
            Elementwise(4, bent),
            affine([[[0, 0], [1, 1]]], [threshold, 0.0], (5,)),
        ),
        UNIT,
        TINY,
    )


def box_proof(epsilon=0.125, deepest=3, program=None):
    """Whole boxes are right up to an epsilon of 1/4; beyond, they are halved along the base's b, and their ends stay open.

    With all numbers within epsilon of the inputs' the source's part of z is off by epsilon, and so is b: |z| by twice that.
    """
    cells, shown = [], []

    def grow(low, high, depth):
        if epsilon + max(abs(low), abs(high)) < 0.5:
            cells.append([RIGHT, 0])
            shown.append(Fraction(1, 64 << depth))
        elif depth == deepest:
            cells.append([OPEN, 0])
        else:
            cells.append([SPLIT, 1])
            grow(low, (low + high) / 2, depth + 1)
            grow((low + high) / 2, high, depth + 1)

    for _ in range(64):
        grow(-epsilon, epsilon, 0)
    patched = Patched(program or box_program(), ("high",), LABELS, lambda batch: entries())
    outcome = Outcome(("high",), 1, sum(shown, Fraction()), Fraction(), bounds=7)
    return BoxProof(patched, entries(), epsilon, outcome, BoxTree(np.array(cells, np.int32)))


def _place(sets, part):
    for i, own in enumerate(sets):
        if np.array_equal(own, part):
            return i
    sets.append(part)
    return len(sets) - 1
