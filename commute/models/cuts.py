"""Cuts: sites that everything passes through, so that what is set there decides the answer whatever the base."""

import numpy as np
import torch

from commute.causal.batches import Batch, take
from commute.models.engine import CONFIRMED, close, falling_back
from commute.models.hooks import evaluating
from commute.models.passes import Passes
from commute.models.patches import FeatureLike, Whole
from commute.models.positions import frame_of
from commute.models.rows import spread
from commute.models.tracing import traces_of


def decides(network: Passes, base: Batch, feature: FeatureLike, source: Batch) -> bool:
    """Whether the answers depend on what a feature is set to alone, and not on the bases in which it is set.

    The site must be a whole module's result, after which nothing else that was made before it is read, and the feature all of it.
    Bases are exchanged in a few rows to see that they do not matter.
    """
    site = feature.site
    if site.input or site.position is not None or site.head is not None or network.finish is not None:
        return False
    rows = spread(base, CONFIRMED)
    few, others = take(base, rows), take(base, np.roll(rows, 1))
    with evaluating(network.module), torch.no_grad(), falling_back(network):
        call = network.encoded(few)
        mask = frame_of(few, None, call, network.positions).mask
        traces = traces_of(network, few, call)
        if traces is None or (mask is not None and not bool(mask.all())):
            return False
        calls = [c for c in traces.whole.calls if c.path == site.path and site.call in (None, c.number)]
        if len(calls) != 1 or not calls[0].alone or not _covers(network, feature, few):
            return False
        set_to = dict(zip([feature], network.read(take(source, rows), [feature]), strict=True))
        return close(network.call(few, {**set_to}), network.call(others, {**set_to}))
    return False


def _covers(network: Passes, feature: FeatureLike, inputs: Batch) -> bool:
    """Whether setting a feature leaves nothing of the site's vectors, which NaN in them shows."""
    (x,) = network.read(inputs, [Whole(feature.site)])
    if not x.is_floating_point():
        return False
    return not bool(feature.write(torch.full_like(x, torch.nan), feature.read(x)).isnan().any())
