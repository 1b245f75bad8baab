"""Exchanges with gradients: parts of sites taken from other inputs, many kinds of exchange in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from commute.causal.batches import Batch, joined, take
from commute.causal.pairs import Pairs
from commute.models.decoding import Readout
from commute.models.network import Network
from commute.models.organisms.organism import Subspace
from commute.models.patches import Change, FeatureLike, Read, Whole
from commute.models.sites import Site

REST = ""  # stands for what no variable is in, where a variable's name stands otherwise; no variable has this name

Variables = tuple[str, ...]  # that are interchanged together; none of them is one choice
Kind = tuple[Variables, tuple[Site, ...]]  # what is interchanged, and the sites whose rest is exchanged
Parts = Mapping[
    Site, Mapping[str, Tensor]
]  # at each site, the projection [width, width] to what each variable is in, and the rest


@dataclass(frozen=True, eq=False)
class Drawn:
    """What exchanges are made of, [pairs] each.

    Attributes:
        pairs: for each set of variables their interchanges.
        other: the inputs that the rest of sites is taken from.
        choices: for each set of variables the choice that is right.
    """

    pairs: Mapping[Variables, Pairs]
    other: Batch
    choices: Mapping[Variables, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.pairs.values())))

    def __getitem__(self, rows: slice) -> "Drawn":
        return Drawn(take(self.pairs, rows), take(self.other, rows), take(self.choices, rows))


def parts_of(subspaces: Mapping[str, Subspace]) -> Parts:
    """The projections at each site, which add up to the identity."""
    parts: dict[Site, dict[str, Tensor]] = {}
    for v, subspace in subspaces.items():
        q = subspace.directions.detach()
        parts.setdefault(subspace.site, {})[v] = q @ q.T
    for here in parts.values():
        taken = torch.stack([*here.values()]).sum(0)
        here[REST] = torch.eye(len(taken)).to(taken) - taken
    return parts


def scores(network: Network, readout: Readout, parts: Parts, drawn: Drawn, kinds: Sequence[Kind]) -> list[Tensor]:
    """The scores of all choices after each kind of exchange, [pairs, choices], with gradients through bases and sources."""
    sources = {(s, v): batch for s, pairs in drawn.pairs.items() for v, batch in pairs.sources.items()}
    if any(rest for _, rest in kinds):
        sources[(), REST] = drawn.other
    vectors: dict[Site, list[Tensor]] = {site: [] for site in parts}
    network.call(_united(list(sources.values())), reads=[Read(Whole(site), kept) for site, kept in vectors.items()])
    do: dict[FeatureLike, Tensor | Change] = {}
    for site, (found,) in vectors.items():
        taken = dict(zip(sources, torch.split(found, len(drawn)), strict=True))
        do[Whole(site)] = partial(_exchanged, kinds=kinds, site=site, taken=taken, parts=parts[site])
    output = network.call(_united([drawn.pairs[variables].base for variables, _ in kinds]), do)
    return list(torch.split(readout.scores(output, len(kinds) * len(drawn)), len(drawn)))


def _exchanged(
    held: Tensor, kinds: Sequence[Kind], site: Site, taken: Mapping[tuple[Variables, str], Tensor], parts: Mapping[str, Tensor]
) -> Tensor:
    """The vectors at a site, [kinds * pairs, width], after the exchanges of its parts."""
    after = []
    for (variables, rest), vectors in zip(kinds, held.chunk(len(kinds)), strict=True):
        new = [(parts[v], taken[variables, v]) for v in variables if v in parts]
        new += [(parts[REST], taken[(), REST])] if site in rest else []
        after.append(sum(((x - vectors) @ part.to(held) for part, x in new), vectors))
    return torch.cat(after)


def _united(batches: Sequence[Batch]) -> Batch:
    """The rows of all batches, one after the other."""
    return {v: joined([batch[v] for batch in batches]) for v in batches[0]}
