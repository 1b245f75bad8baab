import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

import commute as cm
from commute.alignments.judging import judged, of_features
from commute.alignments.objectives import Losses
from tests import planted
from tests.alignments.test_trainer import BOTH, begun, ready, train


@given(st.integers(0, 1000), st.floats(0, 1))
def test_losses_of_rows_are_what_they_are_said_to_be(seed, progress):
    """Cross-entropy at any time; an error between 0 and 1 that is that of one row whatever stands beside it."""
    generator = torch.Generator().manual_seed(seed)
    scores, choices = torch.randn(6, 3, generator=generator), torch.randint(3, (6,), generator=generator)
    entropy = Losses("cross-entropy", 1.0).at(progress)(scores, choices)
    assert torch.allclose(entropy, cross_entropy(scores, choices, reduction="none"))
    error = Losses("error", 1.0).at(progress)
    found = error(scores, choices)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.allclose(found, torch.cat([error(s[None], c[None]) for s, c in zip(scores, choices, strict=True)]))
    wrong = scores.argmax(1) != choices
    sharp = Losses("error", 1e-4).at(1.0)(scores, choices)
    assert torch.allclose(sharp, wrong.float(), atol=1e-3)


def test_error_does_not_depend_on_the_scale_of_a_networks_scores():
    losses = []
    for scale in (1.0, 50.0):
        network = cm.Network(
            torch.nn.Sequential(planted.Planted(), _Times(scale)), encode=planted.encode, decode=lambda x: x.argmax(-1).bool()
        )
        _, on, _ = ready(network, planted.algorithm(), cm.Site("0.hidden"))
        loss = Losses.of("error", on[0])
        feature = {"left": [cm.Feature(cm.Site("0.hidden"), dims=(0, 1))]}
        losses.append(judged([of_features(feature, on[0])], loss.at(0.5))[0].loss)
    assert np.allclose(*losses, atol=1e-4)
    assert losses[0].std() > 0.1


class _Times(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


def test_of_several_starts_the_best_goes_on():
    """An item with several starts ends better than with one, and has the losses of the best."""
    place, on, by = ready(planted.network(), planted.algorithm(), planted.SITE)
    method = cm.DAS(dims=1, steps=20, batch=32, patience=99, starts=6)
    (many,) = train([begun(place, method)], BOTH, {place: on}, {place: by})
    (one,) = train([begun(place, cm.DAS(dims=1, steps=20, batch=32, patience=99))], BOTH, {place: on}, {place: by})
    assert len(many.losses) == 20
    rates = [np.mean([j.loss.mean() for j in judged([of_features(x.features, here) for here in by])]) for x in (many, one)]
    assert rates[0] < rates[1]


@pytest.mark.parametrize(("options", "said"), [({"objective": "errors"}, "did you mean 'error'"), ({"starts": 0}, "starts")])
def test_options_must_make_sense(options, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.DAS(**options)
