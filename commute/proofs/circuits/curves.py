"""Faithfulness over circuit sizes, and the areas that MIB ranks methods by."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch

from commute.causal.batches import Column
from commute.errors import ClaimError, check, not_counts
from commute.models.circuits.behaviour import Behaviour, Measure
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Keeping, Runs
from commute.proofs.circuits.given import check_measured, not_confidence
from commute.proofs.circuits.intervals import Estimate, mean
from commute.proofs.circuits.measures import check_gap
from commute.proofs.circuits.values import of_whole, values
from commute.runs.seeds import stream


@dataclass(frozen=True)
class FaithfulnessCurve:
    """How much of a behaviour circuits of several sizes keep.

    Attributes:
        measure: of the behaviour.
        edges: how many each circuit keeps, from 0 to all.
        share: what each keeps of the behaviour; 0 of no edges and 1 of all, by definition.
        cpr: circuit performance ratio, the area under the curve; 1 where all is kept at once, more where more is.
        cmd: circuit-model distance, the area between the curve and 1; 0 is best.
        rows: how many inputs were run.
        draws: how often they were resampled.
    """

    measure: Measure
    edges: tuple[int, ...]
    share: tuple[Estimate, ...]
    cpr: Estimate
    cmd: Estimate
    rows: int
    draws: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{n}: {s.value:z.3f}" for n, s in zip(self.edges, self.share, strict=True))
        return f"CPR {self.cpr}, CMD {self.cmd} of the {self.measure} on {self.rows} rows; kept by edges: {sizes}"

    @property
    def sizes(self) -> tuple[float, ...]:
        """The share of the graph's edges that each circuit keeps."""
        return tuple(n / self.edges[-1] for n in self.edges)


def faithfulness_curve(
    circuits: Sequence[Keeping],
    runs: Runs,
    behaviour: Behaviour,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.99,
) -> FaithfulnessCurve:
    """Faithfulness over circuit sizes, with CPR and CMD of MIB (2504.13151).

    CPR is the integral of the faithfulness f(k) over the share k of edges kept, from 0 to 1, and CMD that of |f(k) - 1|. Both are
    those of the straight lines through the circuits' true sizes, with both ends: no edges, f = 0, and all, f = 1. The lines are
    integrated exactly, also where one crosses 1. MIB's own code takes nominal sizes (0.1% to 50%, and 100%) for true ones, leaves
    out the part below the smallest, and adds |f - 1| by trapezoids, so that its CMD is larger where a line crosses 1.

    Bounds are from resampled rows (a paired bootstrap of the whole curve); there are none where the gap between the whole network
    and nothing kept could be 0, and draws in which it is are left out. Of the shares and CPR they are percentiles. CMD of noisy
    shares is too high on average, so its bounds are the measured one less and plus a percentile of the area between resampled
    curves and the measured one: as CMD is an area between curves, it is no farther off than that. Where agreement or accuracy is
    the same on all rows, resampled rows show no spread; see `faithfulness` for exact bounds.

    Args:
        circuits: of different sizes, in any order; edges count as given, on a path or not.
        runs: fresh inputs, on which the circuits were not chosen.
        behaviour: of the network on these inputs.
        draws: how often rows are resampled; at least 2 / (1 - confidence), so that about two are beyond each bound.
        seed: of the draws.
        confidence: of each bound.

    Raises:
        ClaimError: for no circuits or two different ones of a size, for too few draws, and where there is nothing to keep.
    """
    wrong = _misfits(circuits)
    own = [] if wrong else [x for x in circuits if isinstance(x, Circuit)]
    also = wrong + _too_few(draws, confidence)
    check_measured(own, runs, behaviour, confidence=confidence, also=also, draws=draws)
    edges, masks = _by_size(circuits, runs)
    whole, (none, *found) = of_whole(behaviour), values(runs, behaviour, [(), *masks])
    check_gap(whole, none, behaviour)
    sizes = np.array([0, *edges, len(residual_edges(runs.graph))])
    rows = np.stack([none, *found, whole])
    counts = stream(seed, "bootstrap").multinomial(len(none), np.full(len(none), 1 / len(none)), size=draws)
    counts = counts[counts @ (whole - none) != 0]
    places = sizes / sizes[-1]
    shares, drawn = _shares(rows.mean(1)[None]), _shares(counts @ rows.T)
    cpr, cmd = np.trapezoid(shares, places)[0], _between(shares, np.ones_like(shares), places)[0]
    off = np.quantile(_between(drawn, shares, places), confidence)
    bounds = np.quantile(np.c_[np.trapezoid(drawn, places), drawn], [1 - confidence, confidence], axis=0)
    gap = mean(whole - none, confidence)
    if gap.lower <= 0 <= gap.upper:
        bounds, off = np.full_like(bounds, [[-np.inf], [np.inf]]), np.inf
    bounds[:, [1, -1]] = 0, 1  # by definition
    area, *found = map(Estimate, [float(cpr), *shares[0].tolist()], *bounds.tolist())
    distance = Estimate(float(cmd), max(0.0, float(cmd - off)), float(cmd + off))
    return FaithfulnessCurve(behaviour.measure, tuple(sizes.tolist()), tuple(found), area, distance, len(none), draws)


def _misfits(circuits: object) -> list[str]:
    if isinstance(circuits, Sequence) and not isinstance(circuits, str):
        return [] if circuits else ["there are no circuits; give at least one"]
    return [f"circuits must be a list of circuits, of different sizes; given {circuits!r}"]


def _too_few(draws: int, confidence: float) -> list[str]:
    """Say that bounds of few draws would lie between the smallest of them, or the largest, and the next."""
    if not_counts(draws=draws) or not_confidence(confidence):
        return []  # told elsewhere
    least = ceil(round(2 / (1 - confidence), 6))
    return [] if draws >= least else [f"draws must be at least {least:,} for bounds at {confidence}; given {draws}"]


def _by_size(circuits: Sequence[Keeping], runs: Runs) -> tuple[list[int], list[torch.Tensor]]:
    """The number of edges and the mask of each circuit between nothing and all, by size."""
    total, found, problems = len(residual_edges(runs.graph)), dict[int, torch.Tensor](), list[str]()
    for mask in map(runs.mask, circuits):
        n = int(mask.sum())
        if n in found and not torch.equal(found[n], mask):
            problems.append(f"two of them keep {n} edges; give one of each size")
        found[n] = mask
    check(problems, ClaimError, "the circuits of a curve")
    inner = sorted(n for n in found if 0 < n < total)
    return inner, [found[n] for n in inner]


def _shares(means: Column) -> Column:
    """Faithfulness at each size, [draws, sizes], from means of which the first is of nothing kept and the last of all."""
    none, whole = means[:, :1], means[:, -1:]
    found: Column = (means - none) / (whole - none)
    return found


def _between(first: Column, second: Column, places: Column) -> Column:
    """The area between lines through [draws, sizes] and others, [draws]."""
    apart = first - second
    left, right = apart[:, :-1], apart[:, 1:]
    total = np.abs(left) + np.abs(right)
    crossing = np.divide(left**2 + right**2, total, out=np.zeros_like(total), where=total > 0)
    heights = np.where(left * right < 0, crossing, total) / 2
    area: Column = heights @ np.diff(places)
    return area
