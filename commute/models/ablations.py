"""Ablations: what a feature is replaced by when it is not another run's value.

Each is given in `do={feature: …}` of `Network.run`, beside values [batch, dims] and functions of the feature's own values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import rows_of, take
from commute.causal.interventions import Setting
from commute.models.rows import batched
from commute.runs.seeds import stream

Activations = Callable[[Setting], Tensor]  # inputs -> the values of the feature that is ablated, [batch, dims]


@dataclass(frozen=True)
class Zero:
    """Zeros."""

    def of(self, activations: Activations, rows: int, place: str) -> Callable[[Tensor], Tensor]:
        """How the values of the feature at a place are changed, or those that it takes in each of the `rows`, [rows, dims]."""
        del activations, rows, place
        return torch.zeros_like


@dataclass(frozen=True, eq=False)
class Mean:
    """The feature's mean over a batch of inputs."""

    inputs: Setting

    def of(self, activations: Activations, rows: int, place: str) -> Tensor:
        """See `Zero.of`."""
        del place
        values = activations(self.inputs)
        return values.double().mean(0).to(values.dtype).expand(rows, -1)


@dataclass(frozen=True, eq=False)
class Resample:
    """In each row the feature's value for an input drawn at random, with replacement, from a batch of inputs.

    Features that are resampled with one seed take their values from the same inputs.
    """

    inputs: Setting
    seed: int = 0

    def of(self, activations: Activations, rows: int, place: str) -> Tensor:
        """See `Zero.of`."""
        del place
        inputs, _ = batched(self.inputs)
        drawn = stream(self.seed, "resample").integers(rows_of(inputs), size=rows)
        return activations(take(inputs, drawn))


@dataclass(frozen=True)
class Noise:
    """The feature's own value plus Gaussian noise of standard deviation `scale`, independent in each feature, row and dim."""

    scale: float
    seed: int = 0

    def of(self, activations: Activations, rows: int, place: str) -> Callable[[Tensor], Tensor]:
        """See `Zero.of`."""
        del activations, rows
        generator = stream(self.seed, "noise", place)

        def noisy(values: Tensor) -> Tensor:
            drawn = generator.standard_normal(tuple(values.shape), dtype=np.float32)
            return values + self.scale * torch.from_numpy(drawn).to(values)

        return noisy


Ablation = Zero | Mean | Resample | Noise
