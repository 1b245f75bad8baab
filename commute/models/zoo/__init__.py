"""Small trained networks that ship with the package, as safetensors beside the record of their training."""

from commute.models.zoo.equality import hierarchical_equality

__all__ = ["hierarchical_equality"]
