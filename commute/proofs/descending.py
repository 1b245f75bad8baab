"""Gradient steps that bring pairs of continuous inputs closer to failing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column, rows_of, take
from commute.causal.domains import Interval
from commute.errors import CommuteError
from commute.models.decoding import Readout
from commute.models.hooks import evaluating
from commute.models.patches import of_rows
from commute.proofs.replaying import Codes, Trial

_STEPS = 12
_APART = 1e-3  # of a domain's width, between the two points of a difference
_LENGTHS = 0.5 ** np.arange(1, 25)  # of a step, in widths of the domains; single precision tells no shorter ones


@dataclass(frozen=True, eq=False)
class Margins:
    """By how much the score of the expected label leads the best other one, after the interchanges of a trial."""

    trial: Trial
    readout: Readout

    @classmethod
    def of(cls, trial: Trial, pairs: Codes) -> "Margins | None":
        """For a trial with continuous inputs, read off some pairs; None without such inputs or scores to read."""
        if not any(isinstance(d, Interval) for d in trial.domains):
            return None
        network, (base, _) = trial.network, trial.batches(pairs[:2])
        try:
            with evaluating(network.module), torch.no_grad():
                margins = cls(trial, Readout.of(network.decode, network.call(base), rows_of(base)))
            margins.at(pairs[:2], margins.wanted(pairs[:2]))
        except CommuteError:  # no scores, or labels that are not one for each of them
            return None
        return margins

    def wanted(self, pairs: Codes) -> Tensor:
        """The choice that stands for the algorithm's answer, [pairs] of int64."""
        (expected,) = self.trial.expected(*self.trial.batches(pairs)).values()
        return self.readout.choices(expected)

    def at(self, pairs: Codes, wanted: Tensor) -> Column:
        """The lead of the wanted choices, [pairs]: below 0 where another is chosen."""
        network, (base, sources) = self.trial.network, self.trial.batches(pairs)
        values: dict[Any, Tensor] = {}
        for v, source in sources.items():
            values |= network.activations(source, self.trial.alignment.parts(v))
        scores = []
        with evaluating(network.module), torch.no_grad():
            for block in network.blocks(base):
                part = take(base, block)
                output = network.call(part, of_rows(values, block), rows=np.arange(len(pairs))[block])
                scores.append(self.readout.scores(output, rows_of(part)).double().cpu())
        every = torch.cat(scores)
        own = every.gather(1, wanted[:, None])[:, 0]
        others = every.scatter(1, wanted[:, None], -torch.inf).amax(1)
        lead: Column = (own - others).numpy()
        return lead

    def counted(self, pairs: Codes) -> Column:
        """The lead of the algorithm's answers, [pairs]; infinite where none does, or another, for an edge that is close by."""
        lead = self.at(pairs, self.wanted(pairs))
        behind = lead <= 0
        return np.where(behind & ~self.trial.but_at_edges(pairs, behind), np.inf, lead)


def descended(margins: Margins, pairs: Codes) -> Codes:
    """Pairs moved by steps against the gradient of their margin, within the domains, until one's is below 0 away from edges.

    The gradient is taken by differences in all continuous inputs of all sides at once, so `encode` and the module may be
    anything. Of several lengths each step takes the one with the lowest margin, for the answer that the algorithm gives there.
    """
    trial = margins.trial
    places, low, high = _continuous(trial, pairs)
    current = margins.counted(pairs)
    for _ in range(_STEPS):
        if (current < 0).any():
            break
        slope = _slopes(margins, pairs, places, low, high)
        steepest = np.abs(slope).max(1, keepdims=True)
        step = np.divide(slope, steepest, out=np.zeros_like(slope), where=steepest > 0) * (high - low)
        tried = np.repeat(pairs[:, None], len(_LENGTHS), axis=1)
        tried[:, :, places[0], places[1]] = np.clip(pairs[:, *places][:, None] - _LENGTHS[:, None] * step[:, None], low, high)
        flat = tried.reshape(-1, *pairs.shape[1:])
        reached = np.where(trial.allowed(flat), margins.counted(flat), np.inf).reshape(len(pairs), -1)
        best = reached.argmin(1)
        rows = np.arange(len(pairs))
        better = reached[rows, best] < current
        if not better.any():
            break
        pairs = np.where(better[:, None, None], tried[rows, best], pairs)
        current = np.where(better, reached[rows, best], current)
    return pairs


def _continuous(trial: Trial, pairs: Codes) -> tuple[tuple[Column, Column], Column, Column]:
    """The sides and inputs of continuous inputs, and the ends of their domains."""
    found = [(side, i, d) for side in range(pairs.shape[1]) for i, d in enumerate(trial.domains) if isinstance(d, Interval)]
    sides, inputs = (np.array([f[k] for f in found]) for k in (0, 1))
    return (sides, inputs), np.array([d.low for *_, d in found]), np.array([d.high for *_, d in found])


def _slopes(margins: Margins, pairs: Codes, places: tuple[Column, Column], low: Column, high: Column) -> Column:
    """The gradient of the margin for the answer expected at each pair, by widths of the domains, [pairs, continuous inputs]."""
    count = len(low)
    moved = np.repeat(pairs[:, None, None], 2, axis=1).repeat(count, axis=2)
    each = np.arange(count)
    for sign, half in ((1, 0), (-1, 1)):
        moved[:, half, each, places[0], places[1]] = np.clip(pairs[:, *places] + sign * _APART * (high - low), low, high)
    wanted = margins.wanted(pairs).repeat_interleave(2 * count)
    above, below = margins.at(moved.reshape(-1, *pairs.shape[1:]), wanted).reshape(len(pairs), 2, count).transpose(1, 0, 2)
    apart = moved[:, 0, each, places[0], places[1]] - moved[:, 1, each, places[0], places[1]]
    slopes: Column = (above - below) / apart * (high - low)
    return slopes
