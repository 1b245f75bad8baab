"""The permuted algorithm: a control that no honest alignment should fit."""

from collections.abc import Iterator

import numpy as np

from commute.causal.batches import Batch, Column
from commute.causal.by_value import codes
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.mechanisms import Mechanism, Table
from commute.causal.model import CausalModel

_PROBES = 1000  # inputs on which a permuted variable must say something else


def permutations(
    model: CausalModel, variables: tuple[str, ...], generator: np.random.Generator, *, tries: int = 20
) -> Iterator[CausalModel]:
    """The model with the mechanism of each of `variables` rearranged: the same values, given to other settings of its parents.

    Each table's entries are permuted at random, so every value occurs as often as before and the graph stays, but what the
    variable says about the inputs is lost. Rearrangements that only rename a variable's values are left out. At most `tries` are
    made; there are none for variables without a finite table.
    """
    probes = Inputs(model).sample(generator, _PROBES)
    before = model.evaluate(probes, {}, _PROBES)
    for _ in range(tries):
        rearranged = {v: table for v in variables if (table := _rearranged(model, v, generator)) is not None}
        other = model.extended(rearranged)
        after = other.evaluate(probes, {}, _PROBES)
        if rearranged and not any(_renamed(before, after, v) for v in rearranged):
            yield other


def _rearranged(model: CausalModel, variable: str, generator: np.random.Generator) -> Mechanism | None:
    equation, domain = model.equations.get(variable), model.known_domain(variable)
    if equation is None or equation.table is None or not isinstance(domain, Finite) or len(domain) == 1:
        return None
    shuffled: Column = generator.permutation(equation.table.reshape(-1)).reshape(equation.table.shape)
    parents = {p: d for p in equation.parents if isinstance(d := equation.domains[p], Finite)}
    return Table(parents, shuffled, domain)


def _renamed(before: Batch, after: Batch, variable: str) -> bool:
    """Whether the variable tells the same inputs apart as before."""
    old, new = codes(before[variable]), codes(after[variable])
    together = len(np.unique([old, new], axis=1).T)
    return together == len(np.unique(old)) == len(np.unique(new))
