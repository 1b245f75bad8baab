"""Statements: what is to be proved of one set of variables, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.alignments.spec import undefined
from commute.causal.batches import Batch, Column, rows_of
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.errors import unknown
from commute.proofs.programs.patched import Patched
from commute.proofs.programs.program import Program


@dataclass(frozen=True, eq=False)
class Answers:
    """What the algorithm answers after every interchange of a set of variables.

    Bases that answer alike whatever values are put in are one group, and so are sources of a variable that have one value of it.

    Attributes:
        groups: of each side, the base first, the group of every input in the domain's order, [inputs] of int64.
        expected: the choice (place among the program's scores) that stands for the answer, by group of each side, of int64.
    """

    groups: tuple[Column, ...]
    expected: Column

    @classmethod
    def of(cls, algorithm: CausalModel, variables: Sequence[str], inputs: Batch, labels: Sequence[object]) -> "Answers":
        """Solve the algorithm for every base with every value that a source can have put in."""
        rows = rows_of(inputs)
        solved = algorithm.evaluate(inputs, {}, rows, variables)
        values, groups = zip(*(np.unique(solved[v], return_inverse=True) for v in variables), strict=True)
        shape = tuple(map(len, values))
        (output,) = algorithm.outputs
        place = {label: i for i, label in enumerate(labels)}
        answered = np.empty((rows, prod(shape)), dtype=np.int64)
        for column, put in enumerate(np.ndindex(shape)):
            fixed = {v: np.full(rows, x[i]) for v, x, i in zip(variables, values, put, strict=True)}
            codes, which = np.unique(algorithm.evaluate(inputs, fixed, rows, [output])[output], return_inverse=True)
            told = algorithm.labels({output: codes})[output]
            answered[:, column] = np.array([place[label] for label in told.tolist()])[which]
        alike, base = np.unique(answered, axis=0, return_inverse=True)
        return cls((base.reshape(-1), *groups), alike.reshape(-1, *shape))


@dataclass(frozen=True, eq=False)
class Side:
    """The inputs of one side: bases, or sources of one variable. Those that bring the same numbers are one class.

    Attributes:
        center: what each class brings to the joint program's input, [classes, d], float64.
        radius: how far rounding, the network's and that of the center itself, may take it from there, [classes, d].
        group: the group of each class, [classes] of int64.
        count: inputs in each class, [classes] of int64.
        first: the first input of each class in the domain's order, [classes] of int64.
        member: the class of each input in the domain's order, [inputs] of int64.
    """

    center: Tensor
    radius: Tensor
    group: Column
    count: Column
    first: Column
    member: Column

    def of(self, classes: Column) -> "Side":
        """Some of the classes; an input of none of them is a member of class -1."""
        kept = self.group[classes], self.count[classes], self.first[classes]
        place = np.full(len(self.count), -1)
        place[classes] = np.arange(len(classes))
        return Side(self.center[classes], self.radius[classes], *kept, place[self.member])


@dataclass(frozen=True, eq=False)
class Statement:
    """That interchanging some variables of any base with any sources gives the algorithm's answer.

    Attributes:
        variables: that are interchanged.
        patched: the network after the interchange, as a program.
        joint: its part that depends on several sides: from the sum of what the sides bring to the scores.
        sides: the bases, then the sources of each variable.
        expected: the right choice by group of each side, of int64.
        inputs: every input in the domain's order.
        entries: the numbers that the network has of each, [inputs, width], float64.
    """

    variables: tuple[str, ...]
    patched: Patched
    joint: Program
    sides: tuple[Side, ...]
    expected: Column
    inputs: Batch
    entries: Tensor

    @property
    def total(self) -> int:
        """Pairs (or triples, …) of a base and its sources."""
        return int(rows_of(self.inputs) ** len(self.sides))


def listed(algorithm: CausalModel) -> Batch:
    """Every input, in the domain's order."""
    return Inputs(algorithm).listed


def misfits(algorithm: CausalModel, alignment: Alignment, variables: Sequence[str]) -> list[str]:
    """What does not fit in a statement about interchanging some variables, a sentence each."""
    problems = [unknown("aligned variable", v, alignment) for v in variables if v not in alignment]
    problems += undefined([v for v in variables if v in alignment], algorithm)
    if not variables or len(set(variables)) < len(variables):
        problems.append(f"variables must name at least one variable, each once; given {list(variables)!r}")
    if len(algorithm.outputs) != 1:
        problems.append(f"the algorithm must have one output; it has {', '.join(algorithm.outputs)}")
    return problems
