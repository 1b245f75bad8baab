"""From labels to the one-hot inputs of a compiled network, and from its scores to labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, as_column, rows_of
from commute.causal.domains import Finite
from commute.errors import ModelError


@dataclass(frozen=True)
class Encode:
    """Inputs as one-hot vectors side by side, [batch, values of all inputs]."""

    domains: Mapping[str, Finite]

    def __call__(self, inputs: Batch) -> Tensor:
        """The vectors of a batch of labels."""
        return torch.from_numpy(one_hot({v: _codes(inputs, v, d) for v, d in self.domains.items()}, self.domains))


@dataclass(frozen=True)
class Decode:
    """Scores of each output's values side by side, [batch, values of all outputs], as the labels with the highest."""

    domains: Mapping[str, Finite]

    def __call__(self, scores: Tensor) -> Column | dict[str, Column]:
        """Labels [batch], of each output where there are several."""
        parts = torch.split(scores, [len(d) for d in self.domains.values()], dim=1)
        found = {v: d.decode(x.argmax(-1).cpu().numpy()) for (v, d), x in zip(self.domains.items(), parts, strict=True)}
        return found if len(found) > 1 else next(iter(found.values()))


def _codes(inputs: Batch, variable: str, domain: Finite) -> Column:
    try:
        return domain.encode(as_column(inputs[variable]))
    except ModelError as error:
        raise ModelError(f"the input {variable!r} of the organism: {error}") from None


def one_hot(columns: Batch, domains: Mapping[str, Finite]) -> Column:
    """Columns of codes as one-hot vectors side by side, [batch, values of all]."""
    rows = np.arange(rows_of(columns))
    encoded = np.zeros((len(rows), sum(map(len, domains.values()))), dtype=np.float32)
    start = 0
    for name, domain in domains.items():
        encoded[rows, start + columns[name].astype(np.int64)] = 1
        start += len(domain)
    return encoded
