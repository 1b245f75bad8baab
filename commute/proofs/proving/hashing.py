"""Digests: a sha256 of what a certificate is about."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commute.alignments.alignment import Alignment
from commute.errors import NetworkError
from commute.proofs.proving import writing
from commute.proofs.proving.statement import Statement

_KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def canonical(record: Any) -> str:
    """The one text of a record: JSON with sorted keys, one a line, and no NaN."""
    return json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n"


def digest(record: Any) -> str:
    """The sha256 of a record's text."""
    return sha256(canonical(record).encode()).hexdigest()


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of, in the order of their names, the text of [name, kind, shape] of each tensor and its little-endian bytes.

    Kinds are those of safetensors, such as "F32".

    Raises:
        NetworkError: naming a tensor of another kind.
    """
    hashed = sha256()
    for name, x in sorted(tensors.items()):
        if x.dtype not in _KINDS:
            raise NetworkError(f"the tensor {name!r} is {x.dtype}; a certificate is about {', '.join(map(str, _KINDS))}")
        flat = x.detach().cpu().contiguous().reshape(-1)
        hashed.update(canonical([name, _KINDS[x.dtype], list(x.shape)]).encode() + flat.view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


def digest_of_weights(module: nn.Module) -> str:
    """The digest of a module's state dict."""
    return digest_of_tensors({k: x for k, x in module.state_dict().items() if isinstance(x, Tensor)})


def digest_of_alignment(alignment: Alignment) -> str:
    """The digest of an alignment's record and tensors."""
    record, tensors = alignment.to_record()
    return sha256((json.dumps(record, sort_keys=True, default=int) + digest_of_tensors(tensors)).encode()).hexdigest()


def digest_of_statement(statement: Statement) -> str:
    """The digest of all that a proof of a statement rests on: its programs, its numbers, its classes and its answers."""
    kept = writing.Kept()
    program, arrays = statement.patched.program, [statement.expected]
    for side in statement.sides:
        arrays += [side.center.numpy(), side.radius.numpy(), side.group, side.member]
    record = {
        "variables": list(statement.variables),
        "labels": [repr(x) for x in statement.patched.labels],
        "programs": [writing.program(x, kept) for x in (program, statement.joint)],
        "arithmetic": [program.unit, program.tiny],
        "entries": kept.add(statement.entries),
        "arrays": [kept.add(torch.from_numpy(np.ascontiguousarray(x))) for x in arrays],
    }
    return digest([record, digest_of_tensors(kept.tensors)])
