"""Sources that differ from their bases in one variable alone."""

from commute.causal.batches import Batch
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs


def alike(algorithm: CausalModel, variable: str, pairs: Pairs) -> Batch:
    """The sources of a variable's pairs with all inputs that it does not depend on as in the bases.

    The variable has the value that it had, so what the algorithm answers after its interchange is the same; and what else the
    network holds is the base's, as far as it is not computed from what the variable is computed from.
    """
    from networkx import ancestors

    matter = {variable, *ancestors(algorithm.graph, variable)}
    return {v: pairs.sources[variable][v] if v in matter else pairs.base[v] for v in algorithm.inputs}
