"""All methods of search by name, and how they are kept as records."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from commute.alignments.binary_mask import BinaryMask
from commute.alignments.boundless import BoundlessDAS
from commute.alignments.das import DAS
from commute.alignments.featurizers import Featurizer, stored
from commute.alignments.full_vector import FullVector
from commute.alignments.method import Direct, Method, Trained
from commute.alignments.nonlinear import NonlinearDAS
from commute.alignments.principal import PrincipalComponents
from commute.alignments.probe import Probe
from commute.alignments.selection import Selection
from commute.errors import AlignmentError, unknown

METHODS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (BinaryMask, BoundlessDAS, DAS, FullVector, NonlinearDAS, PrincipalComponents, Probe, Selection)
}


def is_method(given: object) -> bool:
    """Whether something is a method: a dataclass of options that fits, and not its class."""
    return is_dataclass(given) and not isinstance(given, type) and isinstance(given, (Direct, Trained))


def method_to_record(method: Method) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A method as JSON values, and the tensors of the featurizers among its options."""
    record: dict[str, Any] = {"kind": type(method).__name__}
    tensors: dict[str, Tensor] = {}
    for option in fields(method):  # type: ignore[arg-type]
        value = getattr(method, option.name)
        if isinstance(value, Featurizer):
            kept, found = stored.to_record(value)
            record[option.name] = {"featurizer": kept}
            tensors |= {f"{option.name}.{k}": x for k, x in found.items()}
        else:
            record[option.name] = dict(value) if isinstance(value, Mapping) else value
    return record, tensors


def method_from_record(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Method:
    """The method that `method_to_record` wrote.

    Raises:
        AlignmentError: for a method that this package does not have.
    """
    options = dict(record)
    kind = options.pop("kind")
    if kind not in METHODS:
        raise AlignmentError(unknown("method", kind, METHODS))
    for name, value in options.items():
        if isinstance(value, Mapping) and "featurizer" in value:
            own = {k.removeprefix(f"{name}."): x for k, x in tensors.items() if k.startswith(f"{name}.")}
            options[name] = stored.from_record(value["featurizer"], own)
    made: Method = METHODS[kind](**options)
    return made
