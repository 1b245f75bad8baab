"""Items of a search: one method with one size at one place from one start, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from torch import Tensor

from commute.alignments.binomial import Count
from commute.alignments.fingerprint import source_of
from commute.alignments.method import Method, variants
from commute.alignments.methods import METHODS, method_to_record
from commute.alignments.training import Features, Place, named

Counts = tuple[Count, Count]  # right answers on changed and on unchanged pairs


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to fit.

    Attributes:
        place: where.
        method: with one size and one learning rate.
        restart: which start it is, from 0.
    """

    place: Place
    method: Method
    restart: int

    def __str__(self) -> str:
        options = [f"{k} {getattr(self.method, k)}" for k in ("dims", "learning_rate") if hasattr(self.method, k)]
        return f"{named(self.place)}, {', '.join([type(self.method).__name__, *options])}, start {self.restart}"

    @property
    def key(self) -> str:
        """A hash of what the item is; a method that is not this package's enters by its source too."""
        kind = type(self.method)
        source = "" if METHODS.get(kind.__name__) is kind else source_of(kind)
        content = [[site.to_record() for site in self.place], options_of(self.method), source, self.restart]
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def options_of(method: Method) -> str:
    """A method and its options as JSON, with hashes in place of arrays."""
    record, tensors = method_to_record(method)
    return json.dumps([record, {k: _hash(x) for k, x in tensors.items()}], sort_keys=True, default=_hash)


def _hash(value: Any) -> str:
    array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    told = array.tobytes() if array.dtype != object else repr(value).encode()
    return sha256(f"{array.dtype} {array.shape}".encode() + told).hexdigest()


@dataclass(frozen=True, eq=False)
class Fitted:
    """What came of an item.

    Attributes:
        features: of each variable; None where nothing could be fitted.
        problem: why not.
        train: right answers on some of the pairs to train on, of each set of variables.
        selection: those on all pairs to select by.
        losses: of each step.
        flops: that fitting took, in the module.
    """

    features: Features | None = None
    problem: str = ""
    train: Mapping[tuple[str, ...], Counts] | None = None
    selection: Mapping[tuple[str, ...], Counts] | None = None
    losses: tuple[float, ...] = ()
    flops: float = 0.0


def items_of(method: Method, places: Sequence[Place]) -> list[Item]:
    """Every size, learning rate and start of a method at every place."""
    starts = getattr(method, "restarts", 1)
    return [Item(place, variant, i) for place in places for variant in variants(method) for i in range(starts)]
