"""Null space: whether a feature works only together with directions that nothing reads (2311.17030)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from commute.alignments.accuracy import agrees
from commute.alignments.binomial import count
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Orthogonal
from commute.causal.batches import take
from commute.causal.pairs import Pairs
from commute.models.network import Network
from commute.models.readers import row_space
from commute.models.sites import Site
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.lines import measured, not_measured
from commute.proofs.diagnostics.vectors import by_site, moved
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

NAME = "null space"
_INPUTS = 256  # at which it is looked what is read
_PART = 1e-2  # sine of an angle below which a direction has no part in a subspace

_Directions = Mapping[Site, Tensor]  # orthonormal, [width, dims] at each site; no columns where there are none


@dataclass(frozen=True, eq=False)
class _Split:
    """Directions of a feature's part that is read, of its part that is not, and of all that is not read at its sites."""

    row: _Directions
    null: _Directions
    unread: _Directions


def null_space(claimed: Claimed) -> list[Evidence]:
    """Interchanges of the part of a feature that something reads, and of the part that nothing reads, each alone.

    Along a direction made of one that varies with the variable but is not read and one that is read but does not vary, an
    interchange changes answers although the network never uses the variable there: the effect needs both (2311.17030). With the
    part alone that is read, the claim must hold as well. Each is IIA on pairs whose interchange changes the answer.
    """
    read: dict[Site, Tensor] = {}
    return [line for v in claimed.alignment for line in _of(claimed, v, read)]


def _of(claimed: Claimed, variable: str, read: dict[Site, Tensor]) -> list[Evidence]:
    network, features = claimed.network, claimed.alignment.parts(variable)
    drawn = claimed.fresh.pairs([variable], claimed.n, stream(claimed.seed, "diagnostic", NAME, variable))
    pairs = drawn[drawn.changed]
    split = _split(network, pairs, by_site(features), read) if len(pairs) else "no pair was drawn that changes the answer"
    if isinstance(split, str):
        return [not_measured(NAME, [variable], split)]
    base, source = pairs.base, pairs.sources[variable]
    alone = network.run(base)
    untouched = count(agrees(_exchanged(network, pairs, split.unread), alone if isinstance(alone, dict) else {"": alone}))
    if untouched.rate < claimed.at_least:
        moves = f"exchanging all that no gradient shows to be read leaves the answer as it was in only {untouched}"
        return [not_measured(NAME, [variable], f"{moves}: what reads its site is not told by gradients")]
    whole = count(agrees(network.interchange(base, dict.fromkeys(features, source)), pairs.expected))
    row, null = (count(agrees(_exchanged(network, pairs, part), pairs.expected)) for part in (split.row, split.null))
    illusion = row.upper(claimed.confidence) < claimed.at_least <= whole.upper(claimed.confidence)
    says = f"with the part alone of its feature that something reads the answer is the algorithm's, with the whole in {whole}"
    says += "; the effect needs directions that nothing reads, as in a subspace illusion" if illusion else ""
    return [
        measured(claimed, "row-space part alone", [variable], row, says, warning=illusion),
        measured(claimed, "null-space part alone", [variable], null, "with the part alone that nothing reads", warning=False),
    ]


def _split(network: Network, pairs: Pairs, sites: Mapping[Site, list[Feature]], known: dict[Site, Tensor]) -> _Split | str:
    """The parts of a feature at each of its sites; a sentence where there are no two.

    What is read at a site is looked at once for all variables, and kept in `known`.
    """
    (source_inputs,) = pairs.sources.values()
    inputs, others = (take(x, slice(_INPUTS)) for x in (pairs.base, source_inputs))
    base, source = (network.activations(x, sites) for x in (inputs, others))
    row, null, unread = {}, {}, {}
    for site, features in sites.items():
        directions = moved(features, base[site], source[site])
        if directions is None:
            return "its feature is not linear, so it has no part in a subspace"
        if site not in known:
            known[site] = row_space(network, inputs, site).double()
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


def _exchanged(network: Network, pairs: Pairs, directions: _Directions) -> object:
    """The network's labels with the coordinates along directions taken from the sources."""
    (source,) = pairs.sources.values()
    features = [Feature(site, Orthogonal(q)) for site, q in directions.items() if q.shape[1]]
    return network.interchange(pairs.base, dict.fromkeys(features, source)) if features else network.run(pairs.base)
