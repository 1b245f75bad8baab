"""The algorithm: its tables, solved for every input and every value that is put in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from commute.recheck.reading import Array, canonical, demand, same

_MOST = 2**26  # answers of a statement


@dataclass(frozen=True)
class Algorithm:
    """Finite variables in causal order, and the inputs in their domain's order, the last varying fastest.

    Attributes:
        labels: of each variable.
        equations: of each variable but the inputs the parents, and for every combination of their codes its code.
        inputs: the inputs' names.
        output: the output's name.
    """

    labels: dict[str, list[Any]]
    equations: dict[str, tuple[list[str], Array]]
    inputs: list[str]
    output: str

    @classmethod
    def of(cls, record: Mapping[str, Any], tensors: Mapping[str, Array]) -> "Algorithm":
        """The algorithm of a record, checked."""
        labels: dict[str, list[Any]] = {}
        equations = {}
        for v in record["variables"]:
            demand(v["name"] not in labels and v["labels"], f"the variable {v['name']!r} is there twice, or has no labels")
            demand(v["table"] is not None or v["parents"] == [], f"the input {v['name']!r} has parents")
            if v["table"] is not None:
                table = tensors[v["table"]]
                same(f"the shape of {v['name']!r}'s table", list(table.shape), [len(labels[p]) for p in v["parents"]])
                inside = table.dtype == np.int32 and ((table >= 0) & (table < len(v["labels"]))).all()
                demand(inside, f"the table of {v['name']!r} has a code outside of its {len(v['labels'])} labels")
                equations[v["name"]] = v["parents"], table
            labels[v["name"]] = v["labels"]
        same("the inputs", record["inputs"], [v for v in labels if v not in equations])
        demand(record["output"] in equations, f"the output {record['output']!r} has no table")
        return cls(labels, equations, record["inputs"], record["output"])

    @property
    def domain(self) -> list[Any]:
        """Each input's name and labels."""
        return [[v, self.labels[v]] for v in self.inputs]

    @property
    def size(self) -> int:
        """How many inputs there are."""
        return prod(len(self.labels[v]) for v in self.inputs)

    def solve(self, fixed: Mapping[str, int]) -> dict[str, Array]:
        """The code of every variable for every input, with some variables set."""
        demand(self.size <= _MOST, f"{self.size} inputs are too many to be rechecked")
        shape = [len(self.labels[v]) for v in self.inputs]
        codes: dict[str, Array] = dict(zip(self.inputs, np.unravel_index(np.arange(self.size), shape), strict=True))
        for v in self.labels:
            if v in fixed:
                codes[v] = np.full(self.size, fixed[v])
            elif v in self.equations:
                parents, table = self.equations[v]
                codes[v] = np.broadcast_to(table[tuple(codes[p] for p in parents)], self.size)
        return codes

    def answers(self, variables: Sequence[str], choices: Sequence[Any]) -> tuple[list[Array], Array]:
        """Of each side, the base first, the group of every input, and the right choice of each combination of groups.

        Bases that are answered alike whatever is put in are one group, and so are sources with one value of their variable.
        """
        demand(variables and len(set(variables)) == len(variables), f"the variables {variables} are none, or one is there twice")
        solved = self.solve({})
        values, groups = zip(*(np.unique(solved[v], return_inverse=True) for v in variables), strict=True)
        count = prod(map(len, values))
        demand(self.size * count <= _MOST, f"{self.size} inputs with {count} values put in are too many to be rechecked")
        put = [dict(zip(variables, map(int, x), strict=True)) for x in product(*values)]
        alike, base = np.unique(np.stack([self.solve(x)[self.output] for x in put], 1), axis=0, return_inverse=True)
        named, labels = [canonical(c) for c in choices], [canonical(x) for x in self.labels[self.output]]
        for code in np.unique(alike):
            demand(named.count(labels[code]) == 1, f"the algorithm answers {labels[code]}, which is not one of {choices}")
        place = np.array([named.index(x) if x in named else -1 for x in labels])
        return [base.reshape(-1), *groups], place[alike].reshape(-1, *map(len, values))
