"""Stability: whether the search, begun anew, finds the same subspaces (2502.20914)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from commute.alignments.accuracy import agreement
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.alignments.drawing import Unseen
from commute.alignments.search import run_search
from commute.alignments.spec import Found
from commute.errors import CommuteError
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.lines import not_measured
from commute.proofs.diagnostics.vectors import by_site, moved
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

NAME = "stability"
_TIMES = 2
_APART = 30.0  # degrees, above which subspaces are not the same
_LOOKED_AT = 64  # pairs on which features are seen to be linear


@dataclass(frozen=True, eq=False)
class _Again:
    """What a repeated search found, and its right answers on fresh pairs of each variable."""

    alignment: Alignment
    right: Mapping[str, Count]


def stability(claimed: Claimed) -> list[Evidence]:
    """The largest angles between the subspaces of a variable that the claim's search finds from different random streams.

    The search is repeated at the place of the claim, twice, with pairs and starts of its own. For each variable the largest
    principal angle between every two of the three subspaces is told as smallest and largest of these. Where it is large and the
    others have as high an IIA, the claim's subspace is one of many that do as well.
    """
    found = claimed.alignment.found
    if found is None:
        return [not_measured(NAME, [v], "the alignment was given, not found by a search") for v in claimed.alignment]
    try:
        again = [_searched(claimed, found, f"{NAME} {i}") for i in range(1, _TIMES + 1)]
    except CommuteError as error:
        return [not_measured(NAME, [v], f"the search could not be repeated: {error}") for v in claimed.alignment]
    return [_of(claimed, v, again) for v in claimed.alignment]


def _searched(claimed: Claimed, found: Found, name: str) -> _Again:
    """The claim's search once more, on streams of this name, at the sites that the claim uses."""
    again = replace(found.search, sites=[found.place], halving=None)
    result = run_search(
        again,
        claimed.algorithm,
        claimed.network,
        seed=claimed.seed,
        control=name,
        runs=claimed.runs,
        on_event=claimed.on_event,
    )
    claimed.meter.add(f"{NAME}: search", sum(c.flops for c in result.candidates))
    alignment = result.best
    fresh = Unseen.of(claimed.algorithm, alignment.found, name)
    right = {}
    for v in claimed.alignment:
        drawn = fresh.pairs([v], max(claimed.n // 2, 1), stream(claimed.seed, "diagnostic", name, v))
        right[v] = count(agreement(claimed.network, alignment, drawn))
    return _Again(alignment, right)


def _of(claimed: Claimed, variable: str, again: Sequence[_Again]) -> Evidence:
    from scipy.linalg import subspace_angles

    spans = [_directions(claimed, x, variable) for x in (claimed.alignment, *(a.alignment for a in again))]
    known = [x for x in spans if x is not None]
    if len(known) < len(spans):
        return not_measured(NAME, [variable], "angles are between linear features at one and the same site, which these are not")
    angles = [float(np.rad2deg(subspace_angles(x, y).max())) for x, y in combinations(known, 2)]
    rates = [a.right[variable] for a in again]
    as_good = all(r.upper(claimed.confidence) >= claimed.at_least for r in rates)
    told = " and ".join(f"{r.rate:.3f}" for r in rates)
    says = (
        f"between the subspaces (of {', '.join(str(x.shape[1]) for x in known)} dims) that the search finds from other random "
        f"streams; the others have IIA {told} on {rates[0].total} fresh pairs"
    )
    if max(angles) > _APART:
        says += "; so other subspaces do as well" if as_good else "; the search does not find as much each time"
    return Evidence(
        "diagnostic",
        "statistical",
        NAME,
        (variable,),
        None,
        min(angles),
        max(angles),
        None,
        says,
        warning=max(angles) > _APART,
        unit="degrees",
    )


def _directions(claimed: Claimed, alignment: Alignment, variable: str) -> "np.ndarray | None":
    """What an interchange of the variable moves at its only site, [width, dims]; None where that is no subspace of one site."""
    sites = by_site(alignment.parts(variable))
    ((site, features), *more) = sites.items()
    if more or [site] != list(by_site(claimed.alignment.parts(variable))):
        return None
    drawn = claimed.fresh.pairs([variable], _LOOKED_AT, stream(claimed.seed, "diagnostic", NAME, variable))
    base, source = (claimed.network.activations(x, [site])[site] for x in (drawn.base, drawn.sources[variable]))
    with torch.no_grad():
        directions = moved(features, base, source)
    return None if directions is None else directions.cpu().numpy()
