"""Reading: the two files of a certificate, and that they are as they were written."""

import json
from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

VERSION = 1
UNITS = {"F64": 2.0**-53, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}
_KINDS = {"F64": "<f8", "I64": "<i8", "I32": "<i4"}  # of a certificate's tensors


class Rejected(Exception):  # noqa: N818  # it is a verdict
    """The certificate does not show what it claims; says what was found and what was expected."""


def demand(condition: object, told: str) -> None:
    """Reject unless a condition holds."""
    if not condition:
        raise Rejected(told)


def same(what: str, found: Any, expected: Any) -> None:
    """Reject unless something found is what is expected."""
    demand(repr(found) == repr(expected), f"{what} is {found!r}; expected {expected!r}")


def text(x: Fraction) -> str:
    """A fraction as certificates write it."""
    return f"{x.numerator}/{x.denominator}"


def canonical(record: Any) -> str:
    """The one text of a record."""
    return json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n"


def digest(record: Any) -> str:
    """The sha256 of a record's text."""
    return sha256(canonical(record).encode()).hexdigest()


def certificate(folder: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The record and the tensors, once all digests are right."""
    told, data = ((folder / f"certificate.{kind}").read_bytes() for kind in ("json", "safetensors"))
    record = json.loads(told, object_pairs_hook=_once)
    demand(told == canonical(record).encode(), "certificate.json is not in its canonical form")
    same("the digest of certificate.json", record.pop("sha256"), digest(record))
    same("the format", [record["format"], record["version"]], ["commute certificate", VERSION])
    same("the digest of certificate.safetensors", sha256(data).hexdigest(), record["digests"]["tensors"])
    return record, {k: np.frombuffer(x, _KINDS[kind]).reshape(shape) for k, (kind, shape, x) in _tensors(data).items()}


def weights(data: bytes) -> tuple[str, float]:
    """The digest of a state dict, a safetensors file, and the coarsest unit roundoff of its numbers.

    The digest is the sha256 of the canonical text of [name, kind, shape] and the bytes of each tensor, in the order of names.
    """
    hashed, tensors = sha256(), _tensors(data)
    for name, (kind, shape, content) in sorted(tensors.items()):
        hashed.update(canonical([name, kind, shape]).encode() + content)
    return hashed.hexdigest(), max((UNITS.get(kind, 0.0) for kind, _, _ in tensors.values()), default=0.0)


def _once(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    demand(len(dict(items)) == len(items), "a name occurs twice in JSON")
    return dict(items)


def _tensors(data: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """The kind, shape and bytes of the tensors of a safetensors file, which follow one another."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start], object_pairs_hook=_once)
    header.pop("__metadata__", None)
    found, end = {}, start
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = (start + x for x in about["data_offsets"])
        demand(begin == end <= stop <= len(data), f"the tensor {name!r} is not where it should be in its file")
        demand(all(type(n) is int and n >= 0 for n in about["shape"]), f"the tensor {name!r} has the shape {about['shape']}")
        found[name] = about["dtype"], about["shape"], data[begin:stop]
        end = stop
    same("the size of a safetensors file", len(data), end)
    return found
