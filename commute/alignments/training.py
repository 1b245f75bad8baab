"""Pairs made ready for training alignments: bases and sources are run once, for all sites, and what is needed of them kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from commute.alignments.binomial import Count, count
from commute.alignments.feature import Feature
from commute.causal.batches import rows_of, take
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError
from commute.models.decoding import Readout
from commute.models.hooks import evaluating
from commute.models.network import Network
from commute.models.passes import FEW
from commute.models.prepared import Prepared, prepared
from commute.models.sites import Site

if TYPE_CHECKING:
    from commute.models.patches import Change, FeatureLike

_EPOCHS = 10  # how often a pair is patched at a site, about: in training and in choosing among restarts


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """Pairs made ready for interchanges at one site.

    Attributes:
        network: the network.
        readout: the decision that its decode makes.
        pairs: the pairs.
        vectors: of each variable's source at the site, [pairs, width].
        choices: the choice that is right, [pairs].
        ready: the bases, of which only what comes after the site is run; None where that is no gain.
    """

    network: Network
    readout: Readout
    pairs: Pairs
    vectors: Mapping[str, Tensor]
    choices: Tensor
    ready: Prepared | None

    def scores(self, features: Mapping[str, Feature], rows: Tensor) -> Tensor:
        """The scores of all choices after the interchange in the given rows, [rows, choices], with gradients."""
        values: dict[FeatureLike, Tensor | Change] = {features[v]: features[v].read(x[rows]) for v, x in self.vectors.items()}
        places = rows.numpy()
        if self.ready is None:
            output = self.network.call(take(self.pairs.base, places), values, rows=places)
        else:
            output = self.ready.output(places, values)
        return self.readout.scores(output, len(rows))

    def worst(self, features: Mapping[str, Feature]) -> Count:
        """The count of right answers on the worse of the changed and the unchanged pairs."""
        with torch.no_grad():
            rows, blocks = torch.arange(len(self.pairs)), self.network.blocks(self.pairs.base)
            chosen = torch.cat([self.scores(features, rows[block]).argmax(-1).cpu() for block in blocks])
        right = (chosen == self.choices).numpy()
        kinds = [count(right[self.pairs.changed == kind]) for kind in (True, False)]
        return min((c for c in kinds if c.total), key=lambda c: c.rate)


def read_decisions(network: Network, pairs: Pairs) -> Readout:
    """The decision that the network's decode makes, read off the first bases of `pairs`.

    Raises:
        NetworkError: when decode makes none that can be trained on.
    """
    batch = take(pairs.base, slice(network.batch_size or FEW))
    with evaluating(network.module), torch.no_grad():
        return Readout.of(network.decode, network.call(batch), rows_of(batch))


def prepare(network: Network, sites: Sequence[Site], readout: Readout, pairs: Pairs) -> Mapping[Site, TrainingPairs]:
    """Run the bases and the sources of `pairs` once for all sites."""
    if len(pairs.expected) != 1:
        raise AlignmentError(f"training needs an algorithm with one output; this one has {', '.join(pairs.expected)}")
    vectors = {v: network.activations(source, sites) for v, source in pairs.sources.items()}
    choices = readout.choices(next(iter(pairs.expected.values())))
    with evaluating(network.module):
        ready = prepared(network, pairs.base, [[site] for site in sites], patches=_EPOCHS)
    return {
        site: TrainingPairs(network, readout, pairs, {v: x[site] for v, x in vectors.items()}, choices, bases)
        for site, bases in zip(sites, ready, strict=True)
    }


def worst_slice(prepared: Sequence[TrainingPairs], features: Mapping[str, Feature]) -> float:
    """The lowest IIA over the sets of variables and over changed and unchanged pairs."""
    return float(np.min([p.worst(features).rate for p in prepared]))
