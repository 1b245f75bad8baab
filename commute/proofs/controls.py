"""Controls: what must not do as well as the claim for the claim to mean anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from commute.alignments.accuracy import agreement
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.alignments.drawing import Unseen
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Composed, Featurizer, Invertible, Orthogonal
from commute.alignments.search import run_search
from commute.causal.designs import pairs
from commute.causal.model import CausalModel
from commute.causal.permuted import permutations
from commute.errors import AlignmentError, CommuteError, PairsError
from commute.models.network import Network
from commute.models.reinitialised import reinitialised
from commute.proofs.battery import Item
from commute.proofs.claimed import Claimed
from commute.proofs.control import Control
from commute.proofs.shuffled import shuffled_sources
from commute.runs.seeds import stream, torch_seed

SHUFFLES = 5  # copies at most, over which the control is an average
RANDOM_SUBSPACES = 3  # draws, over which the control is an average


def control_level(confidence: float, variables: int) -> float:
    """The confidence of each control's bounds, so that the bounds of all controls of all variables hold at once.

    The re-initialised network counts twice: where its first copy is not below the claim, more copies are looked at.
    """
    return 1 - (1 - confidence) / ((len(CONTROLS) + 1) * max(variables, 1))


def _random_subspace(claimed: Claimed) -> list[Control]:
    name: Item = "random subspace"
    generator = stream(claimed.seed, "control", name)
    drawn = [_random_features(claimed, generator) for _ in range(RANDOM_SUBSPACES)]
    share = replace(claimed, n=max(claimed.n // RANDOM_SUBSPACES, 1))
    counts = [_counts(share, claimed.fresh, claimed.network, Alignment(d), name, copy=i) for i, d in enumerate(drawn) if d]
    full = "it takes the whole site, of which every subspace of its rank is the same"
    return [
        Control(
            name, v, _pooled([c[v] for c in counts]), f"{RANDOM_SUBSPACES} random subspaces of the same rank at the same site"
        )
        if v in drawn[0]
        else Control(name, v, None, full)
        for v in claimed.alignment
    ]


def _pooled(counts: Sequence[Count]) -> Count:
    return Count(sum(c.correct for c in counts), sum(c.total for c in counts))


def _random_features(claimed: Claimed, generator: np.random.Generator) -> dict[str, list[Feature]]:
    """The claim's ranks at the claim's sites, along random orthonormal directions; without the sites that they fill."""
    base = pairs(claimed.algorithm, list(claimed.alignment)[:1], 1, design="uniform", seed=generator).base
    vectors = claimed.network.activations(base, claimed.alignment.sites)
    features: dict[str, list[Feature]] = {}
    for site, at in vectors.items():
        read = {v: [f.read(at).shape[1] for f in claimed.alignment.parts(v) if f.site == site] for v in claimed.alignment}
        ranks = {v: sum(widths) for v, widths in read.items() if widths}
        if sum(ranks.values()) >= at.shape[1]:
            continue
        draws = torch.Generator().manual_seed(torch_seed(generator))
        rotation = Orthogonal(torch.linalg.qr(torch.randn(at.shape[1], sum(ranks.values()), generator=draws)).Q)
        start = 0
        for variable, rank in ranks.items():
            features.setdefault(variable, []).append(Feature(site, rotation, tuple(range(start, start + rank))))
            start += rank
    return features


def _reinitialised(claimed: Claimed) -> list[Control]:
    """One copy with shuffled weights, or where that one does well by luck the average of several."""
    name: Item = "re-initialised network"
    generator = stream(claimed.seed, "control", name)
    counts: list[Mapping[str, Count]] = []
    why, failed = "the network has no weights that differ, so shuffling changes nothing", False
    if _given_and_flexible(claimed.alignment):
        return _impossible(
            claimed, name, "a non-linear view that was given cannot be fitted again; give the search for it", failed=True
        )
    how, fresh = "", None
    for i in range(SHUFFLES):
        try:
            network = reinitialised(claimed.network, generator)
            if network is None:
                break
            alignment, how = _searched_again(claimed, claimed.algorithm, network, name)
            fresh = fresh or Unseen.of(claimed.algorithm, alignment.found, name)
            counts.append(_counts(claimed, fresh, network, alignment, name, copy=i))
        except CommuteError as error:  # such weights may give NaN
            why, failed = str(error), True
            continue
        level = control_level(claimed.confidence, len(claimed.alignment))
        if max(c.upper(level) for c in counts[0].values()) < claimed.at_least:
            break
    if not counts:
        return _impossible(claimed, name, why, failed=failed)
    return [
        Control(name, v, _pooled([c[v] for c in counts]), f"{how} on a copy with shuffled weights, {len(counts)} drawn")
        for v in claimed.alignment
    ]


def _given_and_flexible(alignment: Alignment) -> bool:
    """Whether a view that could be fitted to any network was given without the search that fitted it."""

    def flexible(view: Featurizer) -> bool:
        return isinstance(view, Invertible) or (isinstance(view, Composed) and (flexible(view.first) or flexible(view.second)))

    return alignment.found is None and any(flexible(f.featurizer) for v in alignment for f in alignment.parts(v))


def _permuted(claimed: Claimed) -> list[Control]:
    name: Item = "permuted algorithm"
    says = "for an algorithm whose mechanisms are rearranged"
    same = "no rearrangement of its mechanism says something else"
    for algorithm, changed in permutations(claimed.algorithm, tuple(claimed.alignment), stream(claimed.seed, "control", name)):
        try:
            alignment, how = _searched_again(claimed, algorithm, claimed.network, name)
            counts = _counts(claimed, Unseen.of(algorithm, alignment.found, name), claimed.network, alignment, name)
        except (PairsError, AlignmentError):  # in this permutation a variable has no effect; another is tried
            continue
        return [
            Control(name, v, counts[v], f"{how} {says}") if v in changed else Control(name, v, None, same)
            for v in claimed.alignment
        ]
    return _impossible(claimed, name, same, failed=False)


def _impossible(claimed: Claimed, name: str, why: str, *, failed: bool) -> list[Control]:
    return [Control(name, v, None, why, failed) for v in claimed.alignment]


def _searched_again(claimed: Claimed, algorithm: CausalModel, network: Network, name: str) -> tuple[Alignment, str]:
    """The claim's own search repeated at the sites that the claim uses; without a search, the claim's features as they are."""
    if claimed.alignment.found is None:
        return claimed.alignment, "the same features"
    again = replace(claimed.alignment.found.search, sites=[claimed.alignment.found.place], halving=None)
    found = run_search(again, algorithm, network, seed=claimed.seed, control=name, runs=claimed.runs, on_event=claimed.on_event)
    claimed.meter.add(f"{name}: search", sum(c.flops for c in found.candidates))
    return found.best, "the same search"


def _counts(
    claimed: Claimed, fresh: Unseen, network: Network, alignment: Alignment, name: Item, *, copy: int | None = None
) -> Mapping[str, Count]:
    """Right answers on fresh balanced pairs of each variable, which the search for the alignment did not see.

    Each copy of a control that is made several times has pairs of its own.
    """
    counts, path = {}, name if copy is None else f"{name} {copy}"
    for variable in alignment:
        drawn = fresh.pairs([variable], claimed.n, stream(claimed.seed, "control", path, "pairs", variable))
        with claimed.meter.of(name):
            counts[variable] = count(agreement(network, alignment, drawn))
    return counts


CONTROLS: Mapping[Item, Callable[[Claimed], list[Control]]] = {
    "random subspace": _random_subspace,
    "re-initialised network": _reinitialised,
    "permuted algorithm": _permuted,
    "shuffled sources": shuffled_sources,
}
