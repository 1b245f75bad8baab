"""Places: the part of a site that each variable is to be in."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch

from commute.causal.batches import Batch
from commute.causal.model import CausalModel
from commute.errors import NetworkError, check, unknown
from commute.models.network import Network
from commute.models.organisms.organism import Subspace
from commute.models.rows import by_row
from commute.models.sites import Site

Place = tuple[Site, Sequence[int]] | Subspace  # a site and some of the dims of its vectors, or directions there

_SHARED = 1e-4  # largest entry of QᵀR for directions Q and R that are orthogonal


def placed(model: CausalModel, network: Network, places: Mapping[str, Place], few: Batch) -> dict[str, Subspace]:
    """The subspace that each variable is to be in.

    Args:
        model: the algorithm.
        network: the network.
        places: for each variable its place.
        few: some inputs, on which the network shows how wide its sites are.

    Raises:
        NetworkError: listing all that is wrong: unknown variables and sites, dims out of range, and places that overlap.
    """
    if not isinstance(places, Mapping) or not places:
        raise NetworkError(f"places maps one or more variables to (site, dims) or a Subspace; given {places!r}")
    problems = [unknown("variable", v, model.graph) for v in places if v not in model.graph]
    known: dict[str, tuple[Site, Any]] = {}
    for v, place in places.items():
        pair = (place.site, place) if isinstance(place, Subspace) else place
        if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Site):  # noqa: PLR2004  # site and dims
            known[v] = pair
        else:
            problems.append(
                f"the place of {v!r} must be (site, dims) with a Site (network.site(…)), or a Subspace; given {place!r}"
            )
    widths, wrong = _widths(network, dict.fromkeys(site for site, _ in known.values()), few)
    problems += wrong
    found: dict[str, Subspace] = {}
    for v, (site, dims) in known.items():
        wrong = _misfits(v, dims, widths[site]) if site in widths else []
        problems += wrong
        if site in widths and not wrong:
            found[v] = dims if isinstance(dims, Subspace) else Subspace(site, torch.eye(widths[site])[:, [*dims]])
    check(problems + _overlaps(found), NetworkError, f"the places in {network.name!r}")
    return found


def _widths(network: Network, sites: Mapping[Site, None], few: Batch) -> tuple[dict[Site, int], list[str]]:
    """How wide the sites' vectors are, and what is wrong with those that have none."""
    problems = network.unknown_sites(sites)
    problems += [
        f"the site {site} has a position for each row; name the position in the network" for site in sites if by_row(site)
    ]
    widths: dict[Site, int] = {}
    for site in sites:
        if by_row(site) or network.unknown_sites([site]):
            continue
        try:
            widths[site] = network.activations(few, [site])[site].shape[1]
        except NetworkError as error:
            problems.append(str(error))
    return widths, problems


def _misfits(variable: str, dims: Any, width: int) -> list[str]:
    """What is wrong with the dims or directions given for a variable at a site of so many dims."""
    if isinstance(dims, Subspace):
        given = dims.directions.shape[0]
        return [] if given == width else [f"the directions of {variable!r} are {given} wide; the vectors at {dims.site} {width}"]
    listed = list(dims) if isinstance(dims, Sequence) and not isinstance(dims, str) else []
    if listed and all(isinstance(d, (int, np.integer)) and 0 <= d < width for d in listed) and len(set(listed)) == len(listed):
        return []
    return [f"the dims of {variable!r} must be one or more of 0 … {width - 1}, each once; given {dims!r}"]


def _overlaps(places: Mapping[str, Subspace]) -> list[str]:
    """Variables that could not be set independently."""
    problems = []
    for (v, p), (w, q) in combinations(places.items(), 2):
        if p.site == q.site and bool(((p.directions.to(q.directions).T @ q.directions).abs() > _SHARED).any()):
            problems.append(f"{v!r} and {w!r} share directions at {p.site}; give them different dims, or orthogonal directions")
        elif p.site != q.site and p.site.overlaps(q.site):
            problems.append(f"{v!r} at {p.site} and {w!r} at {q.site} overlap; give them dims of one site")
    return problems
