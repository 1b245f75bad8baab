"""Null space: whether a feature works only together with directions that nothing reads (2311.17030)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from commute.alignments.accuracy import agrees
from commute.alignments.binomial import count
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Orthogonal
from commute.causal.batches import Batch, take
from commute.models.network import Network
from commute.models.readers import row_space
from commute.models.sites import Site
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.alike import alike
from commute.proofs.diagnostics.lines import measured, not_measured
from commute.proofs.diagnostics.vectors import by_site, moved
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

NAME = "null space"
_INPUTS = 256  # at which it is looked what is read
_PART = 1e-2  # sine of an angle below which a direction has no part in a subspace

_AtSites = Mapping[Site, Tensor]


@dataclass(frozen=True, eq=False)
class _Split:
    """Orthonormal directions at each site [width, dims]: a feature's part that is read, that which is not, all unread."""

    row: _AtSites
    null: _AtSites
    unread: _AtSites


def null_space(claimed: Claimed) -> list[Evidence]:
    """Interchanges of the part of a feature that something reads, and of the part that nothing reads, each alone.

    Along a direction made of one that varies with the variable but is not read and one that is read but does not vary, an
    interchange changes answers although the network never uses the variable there: the effect needs both (2311.17030). With the
    part alone that is read, the claim must hold as well. Each is IIA on pairs whose interchange changes the answer.

    Sources differ from their bases in the variable alone. For what is read may be no more than a sum of several variables, and
    the part of a feature that is read then lies along that sum: taken from any other input, it would bring the other variables
    along. With all of these as in the base, the part that is read of a variable that the network does use changes all that it
    reads as the whole feature does.
    """
    read: dict[Site, Tensor] = {}
    return [line for v in claimed.alignment for line in _of(claimed, v, read)]


def _of(claimed: Claimed, variable: str, read: dict[Site, Tensor]) -> list[Evidence]:
    network, features = claimed.network, claimed.alignment.parts(variable)
    half = max(claimed.n // 2, 1)  # pairs, since each is interchanged in several ways
    drawn = claimed.fresh.pairs([variable], half, stream(claimed.seed, "diagnostic", NAME, variable))
    pairs = drawn[drawn.changed]
    if not len(pairs):
        return [not_measured(NAME, [variable], "no pair was drawn whose interchange changes the answer")]
    base, source = pairs.base, network.activations(alike(claimed.algorithm, variable, pairs), {f.site for f in features})
    split = _split(network, base, source, by_site(features), read)
    if isinstance(split, str):
        return [not_measured(NAME, [variable], split)]
    alone, unread = network.run(base), _exchanged(network, base, source, _along(split.unread))
    untouched = count(agrees(unread, alone if isinstance(alone, dict) else {"": alone}))
    if untouched.rate < claimed.at_least:
        moves = f"exchanging all that no gradient shows to be read leaves the answer as it was in only {untouched}"
        return [not_measured(NAME, [variable], f"{moves}: what reads its site is not told by gradients")]
    whole, row, null = (
        count(agrees(_exchanged(network, base, source, part), pairs.expected))
        for part in (features, _along(split.row), _along(split.null))
    )
    illusion = row.upper(claimed.confidence) < claimed.at_least <= whole.upper(claimed.confidence)
    says = (
        f"with only the part of its feature that something reads taken from another input the network answers as the algorithm; "
        f"with the whole feature in {whole}"
    )
    says += "; the effect needs directions that nothing reads, as in a subspace illusion" if illusion else ""
    unread_says = "with only the part that nothing reads taken from another input the network answers as the algorithm"
    return [
        measured(claimed, "row-space part alone", [variable], row, says, warning=illusion),
        measured(claimed, "null-space part alone", [variable], null, unread_says, warning=False),
    ]


def _split(
    network: Network, base: Batch, source: _AtSites, sites: Mapping[Site, list[Feature]], known: dict[Site, Tensor]
) -> _Split | str:
    """The parts of a feature at each of its sites; a sentence where there are no two.

    What is read at a site is looked at once for all variables, and kept in `known`.
    """
    few = take(base, slice(_INPUTS))
    held = network.activations(few, sites)
    row, null, unread = {}, {}, {}
    for site, features in sites.items():
        directions = moved(features, held[site], source[site][:_INPUTS])
        if directions is None:
            return "its feature is not linear, so it has no part in a subspace"
        if site not in known:
            known[site] = row_space(network, few, site).double()
        directions, read = directions.cpu().double(), known[site]
        seen = read @ (read.T @ directions)
        row[site], null[site] = _span(seen), _span(directions - seen)
        unread[site] = torch.linalg.qr(read, mode="complete").Q[:, read.shape[1] :].float()
    if not any(x.shape[1] for x in unread.values()):
        return "everything at its site is read: there is no null space"
    if not any(x.shape[1] for x in null.values()):
        return "all of its feature is read: it has no part in the null space"
    return _Split(row, null, unread)


def _span(columns: Tensor) -> Tensor:
    """Orthonormal directions that span projections of orthonormal ones, without those that are hardly anything."""
    u, s, _ = torch.linalg.svd(columns, full_matrices=False)
    directions: Tensor = u[:, s > _PART]
    return directions.float().contiguous()


def _along(directions: _AtSites) -> list[Feature]:
    """The coordinates along directions at each site."""
    return [Feature(site, Orthogonal(q)) for site, q in directions.items() if q.shape[1]]


def _exchanged(network: Network, base: Batch, source: _AtSites, features: Sequence[Feature]) -> Any:
    """The network's labels with features taken from the sources' vectors."""
    return network.run(base, {f: f.read(source[f.site]) for f in features})
