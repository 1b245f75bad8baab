"""Ablations: what a feature is replaced by when it is not another run's value.

Each is given in `do={feature: …}` of `Network.run`, beside values [batch, dims] and functions of the feature's own values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, rows_of, take
from commute.causal.interventions import Setting
from commute.runs.seeds import stream

Activations = Callable[[Setting], Tensor]  # inputs -> the values of the feature that is ablated, [batch, dims]


@dataclass(frozen=True)
class Zero:
    """Zeros."""

    def of(self, activations: Activations, rows: int) -> Callable[[Tensor], Tensor]:
        """How the feature's values are changed, or the values that it takes in each of the `rows`, [rows, dims]."""
        del activations, rows
        return torch.zeros_like


@dataclass(frozen=True, eq=False)
class Mean:
    """The feature's mean over a batch of inputs."""

    inputs: Setting

    def of(self, activations: Activations, rows: int) -> Tensor:
        """See `Zero.of`."""
        values = activations(self.inputs)
        return values.double().mean(0).to(values.dtype).expand(rows, -1)


@dataclass(frozen=True, eq=False)
class Resample:
    """In each row the feature's value for an input drawn at random, with replacement, from a batch of inputs."""

    inputs: Batch
    seed: int = 0

    def of(self, activations: Activations, rows: int) -> Tensor:
        """See `Zero.of`."""
        drawn = stream(self.seed, "resample").integers(rows_of(self.inputs), size=rows)
        return activations(take(self.inputs, drawn))


@dataclass(frozen=True)
class Noise:
    """The feature's own value plus Gaussian noise of standard deviation `scale`, independent in each row and dim."""

    scale: float
    seed: int = 0

    def of(self, activations: Activations, rows: int) -> Callable[[Tensor], Tensor]:
        """See `Zero.of`."""
        del activations, rows
        generator = stream(self.seed, "noise")

        def noisy(values: Tensor) -> Tensor:
            drawn = generator.standard_normal(tuple(values.shape), dtype=np.float32)
            return values + self.scale * torch.from_numpy(drawn).to(values)

        return noisy


Ablation = Zero | Mean | Resample | Noise
