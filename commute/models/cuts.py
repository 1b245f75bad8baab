"""Cuts: sites that everything passes through, so that what is set there decides the answer whatever the base."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.models.engine import close, falling_back
from commute.models.hooks import evaluating
from commute.models.passes import Passes
from commute.models.patches import FeatureLike, Whole
from commute.models.positions import frame_of
from commute.models.tracing import traces_of

_CONFIRMED = 8  # rows whose bases are exchanged to see that they do not matter


def decides(network: Passes, base: Batch, feature: FeatureLike, values: Tensor, of_row: Column) -> bool:
    """Whether the answers depend on the values of a feature alone, and not on the bases in which they are set.

    The site must be a whole module's result, after which nothing else that was made before it is read, and the feature all of it.

    Args:
        network: the network.
        base: the bases.
        feature: what is set in them.
        values: the distinct values of the sources, [distinct, dims].
        of_row: which of the values each row of the bases has, [batch].
    """
    site = feature.site
    if site.input or site.position is not None or site.head is not None or network.finish is not None:
        return False
    places = np.linspace(0, rows_of(base) - 1, _CONFIRMED).astype(int)
    few = take(base, places)
    with evaluating(network.module), torch.no_grad(), falling_back(network):
        call = network.encoded(few)
        mask = frame_of(few, None, call, network.positions).mask
        traces = traces_of(network, few, call)
        if traces is None or (mask is not None and not bool(mask.all())):
            return False
        calls = [c for c in traces.whole.calls if c.path == site.path and site.call in (None, c.number)]
        if len(calls) != 1 or not calls[0].alone or not _covers(network, feature, few):
            return False
        asked = of_row[places]
        there = take(base, np.roll(places, 1))  # another base for each
        set_to: dict[FeatureLike, Any] = {feature: values[torch.from_numpy(asked).to(values.device)]}
        return close(network.call(few, set_to), network.call(there, set_to))
    return False


def _covers(network: Passes, feature: FeatureLike, inputs: Batch) -> bool:
    """Whether setting a feature leaves nothing of the site's vectors, which NaN in them shows."""
    (x,) = network.read(inputs, [Whole(feature.site)])
    if not x.is_floating_point():
        return False
    return not bool(feature.write(torch.full_like(x, torch.nan), feature.read(x)).isnan().any())
