"""Diagnostics: what a reader of a verdict should know, as warnings with numbers that decide nothing."""

from collections.abc import Callable, Mapping

from commute.proofs.battery import Item
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.divergence import divergence
from commute.proofs.diagnostics.null_space import null_space
from commute.proofs.diagnostics.remainder_only import remainder_only
from commute.proofs.diagnostics.rivals import Rival, as_rival, rival_problems, rival_record, rivals
from commute.proofs.diagnostics.stability import stability
from commute.proofs.evidence import Evidence

DIAGNOSTICS: Mapping[Item, Callable[[Claimed], list[Evidence]]] = {
    "remainder only": remainder_only,
    "null space": null_space,
    "divergence": divergence,
    "rivals": rivals,
    "stability": stability,
}

__all__ = [
    "DIAGNOSTICS",
    "Rival",
    "as_rival",
    "divergence",
    "null_space",
    "remainder_only",
    "rival_problems",
    "rival_record",
    "rivals",
    "stability",
]
