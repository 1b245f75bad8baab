"""Pairs made ready for training an alignment at one site: the sources are run once and their vectors kept."""

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
from commute.models.hooks import undisturbed
from commute.models.network import Network
from commute.models.sites import Site

if TYPE_CHECKING:
    from commute.models.patches import Change, FeatureLike


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """Pairs with each source's vectors at a site, [pairs, width] a variable, and the choice that is right, [pairs]."""

    network: Network
    readout: Readout
    pairs: Pairs
    vectors: Mapping[str, Tensor]
    choices: Tensor

    def scores(self, features: Mapping[str, Feature], rows: Tensor) -> Tensor:
        """The scores of all choices after the interchange in the given rows, [rows, choices], with gradients."""
        values: dict[FeatureLike, Tensor | Change] = {features[v]: features[v].read(x[rows]) for v, x in self.vectors.items()}
        output = self.network.call(take(self.pairs.base, rows.numpy()), values, rows=rows.numpy())
        return self.readout.scores(output, len(rows))

    def worst(self, features: Mapping[str, Feature]) -> Count:
        """The count of right answers on the worse of the changed and the unchanged pairs."""
        with torch.no_grad():
            blocks = torch.split(torch.arange(len(self.pairs)), self.network.batch_size)
            chosen = torch.cat([self.scores(features, rows).argmax(-1).cpu() for rows in blocks])
        right = (chosen == self.choices).numpy()
        kinds = [count(right[self.pairs.changed == kind]) for kind in (True, False)]
        return min((c for c in kinds if c.total), key=lambda c: c.rate)


def read_decisions(network: Network, pairs: Pairs) -> Readout:
    """The decision that the network's decode makes, read off the first bases of `pairs`.

    Raises:
        NetworkError: when decode makes none that can be trained on.
    """
    batch = take(pairs.base, slice(network.batch_size))
    with undisturbed(network.module), torch.no_grad():
        return Readout.of(network.decode, network.call(batch), rows_of(batch))


def prepare(network: Network, site: Site, readout: Readout, pairs: Pairs) -> TrainingPairs:
    """Run the sources of `pairs` once and keep their vectors at `site`."""
    if len(pairs.expected) != 1:
        raise AlignmentError(f"training needs an algorithm with one output; this one has {', '.join(pairs.expected)}")
    vectors = {v: network.activations(source, [site])[site] for v, source in pairs.sources.items()}
    return TrainingPairs(network, readout, pairs, vectors, readout.choices(next(iter(pairs.expected.values()))))


def worst_slice(prepared: Sequence[TrainingPairs], features: Mapping[str, Feature]) -> float:
    """The lowest IIA over the sets of variables and over changed and unchanged pairs."""
    return float(np.min([p.worst(features).rate for p in prepared]))
