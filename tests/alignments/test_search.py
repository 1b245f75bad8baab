import numpy as np
import pytest
import torch

import commute as cm
from tests import planted

QUICK = cm.DAS(dims=1, steps=150, restarts=3)


def find(net, sites=None, method=QUICK, seed=0, variables=("left", "right")):
    return cm.search(
        planted.algorithm(), net, variables=variables, sites=sites or [planted.SITE], method=method, n=1024, seed=seed
    )


def largest_angle(found, true):
    """The largest principal angle between two subspaces, in degrees."""
    cosines = torch.linalg.svdvals(found.T @ true)
    return float(torch.rad2deg(torch.acos(cosines.clamp(max=1).min())))


@pytest.mark.parametrize("seed", range(3))
def test_das_finds_the_planted_directions(seed):
    """Jointly trained, each variable ends up in the plane of its own direction and its copy's, which interchanges cannot tell."""
    result = find(planted.network(), method=cm.DAS(dims=1, steps=300, restarts=3), seed=seed)
    frame = result.to_frame()
    assert frame.worst.min() > 0.97
    for i, variable in enumerate(("left", "right")):
        feature = result.best[variable]
        found = feature.featurizer.directions[:, list(feature.dims)]
        assert largest_angle(found, planted.directions(i, i + 2)) < 10


def test_the_frame_has_a_row_a_site_and_variable_and_the_best_site_wins():
    result = find(planted.network(), sites=[planted.SITE, cm.Site("useless")], method=cm.DAS(dims=1, steps=60, restarts=1))
    frame = result.to_frame()
    assert frame[["site", "variable"]].to_numpy().tolist() == [[s, v] for s in ("hidden", "useless") for v in ("left", "right")]
    assert frame.candidates.unique().tolist() == [2]
    assert frame.best.tolist() == [True, True, False, False]
    assert result.best["left"].site == planted.SITE


def test_the_same_seed_finds_the_same_alignment():
    first, again, other = (find(planted.network(), method=cm.DAS(dims=2, steps=20, restarts=1), seed=s) for s in (1, 1, 2))
    assert first.to_frame().equals(again.to_frame())
    assert torch.equal(first.best["left"].featurizer.directions, again.best["left"].featurizer.directions)
    assert not torch.equal(first.best["left"].featurizer.directions, other.best["left"].featurizer.directions)


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
    find(planted.network(), method=cm.DAS(dims=1, steps=3, restarts=1))
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_training_leaves_the_network_without_gradients_and_as_found():
    net = planted.network()
    net.module.train()
    find(net, method=cm.DAS(dims=1, steps=3, restarts=1))
    assert net.module.training
    assert net.module.rotation.requires_grad
    assert net.module.rotation.grad is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variables": ["lft", "right"]}, "no variable 'lft'; did you mean 'left'"),
        ({"variables": []}, r"variables is a list of one or more names; given \[\]"),
        ({"variables": "left"}, "variables is a list of one or more names; given 'left'"),
        ({"sites": [cm.Site("hiden")]}, "no site 'hiden'; did you mean 'hidden'"),
        ({"sites": ["hidden"]}, "sites must be Site values"),
        ({"sites": planted.SITE}, "sites is a list"),
        ({"method": cm.DAS}, "method must be a search method"),
        ({"variables": ["left", "same"]}, "'same' is below 'left' in the graph"),
        ({"method": cm.DAS(dims=7)}, r"DAS\(dims=7\) for 2 variables needs 14 dims; hidden has 12"),
        ({"sites": [cm.Site("unused")]}, "its module did not run"),
        ({"sites": [cm.Site("", input=True)]}, "no site ''"),
    ],
)
def test_a_search_that_cannot_be_made_says_why(change, said):
    with pytest.raises(cm.CommuteError, match=said):
        find(planted.network(), **change)


def test_a_site_of_no_use_is_skipped_and_said_so():
    result = find(planted.network(), sites=[cm.Site("unused"), planted.SITE], method=cm.DAS(dims=1, steps=3, restarts=1))
    assert list(result.skipped) == ["unused"]
    assert "its module did not run" in result.skipped["unused"]
    assert result.best["left"].site == planted.SITE


def test_a_search_trains_also_where_gradients_are_off():
    method = cm.DAS(dims=1, steps=3, restarts=1)
    with torch.no_grad():
        without = find(planted.network(), method=method)
    assert without.to_frame().equals(find(planted.network(), method=method).to_frame())


@pytest.mark.parametrize(
    "options", [{"dims": 0}, {"steps": 0}, {"restarts": 0}, {"batch": 0}, {"learning_rate": 0}, {"dims": 1.5}]
)
def test_das_options_must_make_sense(options):
    with pytest.raises(cm.CommuteError, match=next(iter(options))):
        cm.DAS(**options)


def test_a_decode_that_hides_its_scores_is_an_error():
    net = cm.Network(planted.Planted(), encode=planted.encode, decode=lambda x: x.numpy().argmax(-1).astype(bool))
    with pytest.raises(cm.CommuteError, match="training needs the scores"):
        find(net)
