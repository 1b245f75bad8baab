"""The permuted algorithm: a control that no honest alignment should fit."""

import numpy as np

from commute.causal.domains import Finite
from commute.causal.mechanisms import Mechanism, Table
from commute.causal.model import CausalModel


def permuted(model: CausalModel, variables: tuple[str, ...], generator: np.random.Generator) -> CausalModel | None:
    """The model with the mechanism of each of `variables` rearranged: the same values, given to other settings of its parents.

    Each table's entries are permuted at random, so every value occurs as often as before and the graph stays, but what the
    variable says about the inputs is lost. None when no such variable has a table with more than one value.
    """
    rearranged: dict[str, Mechanism] = {}
    for variable in variables:
        equation = model.equations.get(variable)
        domain = model.known_domain(variable)
        if equation is None or equation.table is None or not isinstance(domain, Finite) or len(domain) == 1:
            continue
        codes = generator.permutation(equation.table.reshape(-1)).reshape(equation.table.shape)
        parents = {p: d for p in equation.parents if isinstance(d := equation.domains[p], Finite)}
        rearranged[variable] = Table(parents, codes, domain)
    return model.extended(rearranged) if rearranged else None
