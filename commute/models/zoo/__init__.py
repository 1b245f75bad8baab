"""Small trained networks that ship with the package, as safetensors beside the record of their training."""

from commute.models.zoo.equality import hierarchical_equality
from commute.models.zoo.induction import induction, induction_answers, induction_sequences

__all__ = ["hierarchical_equality", "induction", "induction_answers", "induction_sequences"]
