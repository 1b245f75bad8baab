"""Featurizers as JSON values and tensors, and back."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from commute.alignments.featurizers.featurizer import Featurizer
from commute.alignments.featurizers.kinds import KINDS
from commute.errors import AlignmentError, check, unknown


def to_record(featurizer: Featurizer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A featurizer as JSON values, and its tensors by name.

    Fields that are tensors are copied to the CPU; those of a nested featurizer are called `field.name`, and those of one in a
    tuple `field.0.name`. All other fields are options, which must be JSON values.

    Raises:
        AlignmentError: for a class of one's own that is no dataclass or not among `KINDS`, and options that are no JSON values.
    """
    kind: type[Any] = type(featurizer)
    problems = [] if is_dataclass(kind) else ["it must be a frozen dataclass, whose fields are what is stored"]
    if KINDS.get(kind.__name__) is not kind:
        problems.append(f"it must be known by its name: KINDS[{kind.__name__!r}] = {kind.__name__}")
    check(problems, AlignmentError, f"the featurizer {kind.__name__} cannot be stored")
    record: dict[str, Any] = {"kind": kind.__name__, "tensors": [], "featurizers": {}, "options": {}}
    tensors = {}
    for name, value in ((f.name, getattr(featurizer, f.name)) for f in fields(kind)):
        if isinstance(value, Tensor):
            record["tensors"].append(name)
            tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        elif nested := _nested(name, value):
            records = []
            for path, part in nested.items():
                inner, its_tensors = to_record(part)
                records.append(inner)
                tensors |= {f"{path}.{k}": x for k, x in its_tensors.items()}
            record["featurizers"][name] = records if isinstance(value, tuple) else records[0]
        else:
            record["options"][name] = value
    try:
        return json.loads(json.dumps(record, allow_nan=False)), tensors
    except (TypeError, ValueError) as error:
        raise AlignmentError(f"options of {kind.__name__} are no JSON values: {error}; given {record['options']}") from error


def _nested(name: str, value: Any) -> dict[str, Featurizer]:
    """The featurizers that a field holds, by where its tensors are."""
    if isinstance(value, tuple) and value and all(isinstance(x, Featurizer) for x in value):
        return {f"{name}.{i}": x for i, x in enumerate(value)}
    return {name: value} if isinstance(value, Featurizer) else {}


def from_record(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Featurizer:
    """The featurizer that `to_record` wrote; lists among its options become tuples.

    Raises:
        AlignmentError: for a kind, option or tensor that is missing or not known.
    """
    parts = {"kind": str, "tensors": list, "featurizers": Mapping, "options": Mapping}
    if not isinstance(record, Mapping) or not all(isinstance(record.get(k), kind) for k, kind in parts.items()):
        raise AlignmentError(f"a stored featurizer has kind, tensors, featurizers and options; given {record!r}")
    if record["kind"] not in KINDS:
        raise AlignmentError(unknown("featurizer", record["kind"], KINDS))
    kind = KINDS[record["kind"]]
    options, nested, names = record["options"], record["featurizers"], record["tensors"]
    given = [*names, *nested, *options]
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(kind)}
    check(
        [unknown("field", name, known) for name in given if name not in known]
        + [f"{name} is missing" for name, needed in known.items() if needed and name not in given]
        + [f"the tensor {name!r} is missing; there is {', '.join(tensors) or 'none'}" for name in names if name not in tensors],
        AlignmentError,
        f"a stored {record['kind']}",
    )
    values = {name: tuple(x) if isinstance(x, list) else x for name, x in options.items()}
    values |= {name: tensors[name] for name in names} | {name: _unnested(x, _below(name, tensors)) for name, x in nested.items()}
    made: Featurizer = kind(**values)
    return made


def _unnested(records: Any, tensors: Mapping[str, Tensor]) -> Featurizer | tuple[Featurizer, ...]:
    if isinstance(records, list):
        return tuple(from_record(x, _below(str(i), tensors)) for i, x in enumerate(records))
    return from_record(records, tensors)


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of what is stored at `name`, by their names there."""
    return {k.removeprefix(f"{name}."): x for k, x in tensors.items() if k.startswith(f"{name}.")}
