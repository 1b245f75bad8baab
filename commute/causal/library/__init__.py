"""Well-known algorithms, ready to be claimed of a network."""

from commute.causal.library.addition import modular_addition, two_digit_addition
from commute.causal.library.brackets import bracket_balance
from commute.causal.library.choices import multiple_choice
from commute.causal.library.circuits import xor_direct, xor_nand, xor_or_and_nand
from commute.causal.library.equality import hierarchical_equality
from commute.causal.library.maxima import maximum
from commute.causal.library.names import indirect_object_identification
from commute.causal.library.prices import price_tagging

__all__ = [
    "bracket_balance",
    "hierarchical_equality",
    "indirect_object_identification",
    "maximum",
    "modular_addition",
    "multiple_choice",
    "price_tagging",
    "two_digit_addition",
    "xor_direct",
    "xor_nand",
    "xor_or_and_nand",
]
