"""The permuted algorithm: a control that no honest alignment should fit."""

from collections.abc import Iterator

import numpy as np

from commute.causal.batches import Batch, Column
from commute.causal.by_value import codes
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.mechanisms import Coded, Mechanism
from commute.causal.model import CausalModel

_PROBES = 1000  # inputs on which a permuted variable must say something else


def permutations(
    model: CausalModel, variables: tuple[str, ...], generator: np.random.Generator, *, tries: int = 10
) -> Iterator[tuple[CausalModel, tuple[str, ...]]]:
    """The model with mechanisms of `variables` rearranged, and which are: the same values for other settings of the parents.

    A table's entries are permuted at random, so every value occurs as often as before and the graph stays, but what the variable
    says about the inputs is lost. Rearrangements that only rename a variable's values do not count. At most `tries` are made;
    there are none where no variable has a finite table that can say something else.
    """
    probes = Inputs(model).sample(generator, _PROBES)
    before = model.evaluate(probes, {}, _PROBES)
    for _ in range(tries):
        rearranged: dict[str, Mechanism] = {}
        for variable in variables:
            table = _rearranged(model, variable, generator)
            if table and not _renamed(before, model.extended({variable: table}).evaluate(probes, {}, _PROBES), variable):
                rearranged[variable] = table
        if rearranged:
            yield model.extended(rearranged), tuple(rearranged)


def _rearranged(model: CausalModel, variable: str, generator: np.random.Generator) -> Mechanism | None:
    equation, domain = model.equations.get(variable), model.known_domain(variable)
    if equation is None or equation.table is None or not isinstance(domain, Finite) or len(domain) == 1:
        return None
    shuffled: Column = generator.permutation(equation.table.reshape(-1)).reshape(equation.table.shape)
    parents = {p: d for p in equation.parents if isinstance(d := equation.domains[p], Finite)}
    return Coded(parents, shuffled, domain)


def _renamed(before: Batch, after: Batch, variable: str) -> bool:
    """Whether the variable tells the same inputs apart as before."""
    old, new = codes(before[variable]), codes(after[variable])
    together = len(np.unique([old, new], axis=1).T)
    return together == len(np.unique(old)) == len(np.unique(new))
