"""Each method finds planted subspaces, and nothing where there is nothing; `benchmarks.search` has a hundred trials of each."""

import pytest

import commute as cm
from tests import subspaces

BOTH = ["left", "right"]
NO_STEPS = {
    "means": (cm.Probe(kind="means"), BOTH, {"n": 16_384}),
    "lda": (cm.Probe(kind="lda"), BOTH, {}),
    "ridge": (cm.Probe(kind="ridge"), BOTH, {}),
    "components": (cm.PrincipalComponents(dims=(1, 2, 3, 4)), ["left"], {"loud": True}),
    "greedy": (cm.Selection(dims=(1, 2, 3)), BOTH, {"aligned": True}),
    "exact": (cm.Selection(dims=(1, 2), how="exact"), ["left"], {"aligned": True}),
}
TRAINED = {
    "DAS": (cm.DAS(dims=(1, 2, 3, 4)), BOTH, {}),
    "DAS from means": (cm.DAS(dims=(1, 2, 3, 4), restarts=1, start_from="means"), BOTH, {}),
    "boundless": (cm.BoundlessDAS(), BOTH, {}),
    "mask": (cm.BinaryMask(), BOTH, {"aligned": True}),
    "mask of components": (cm.BinaryMask(over="components"), ["left"], {"loud": True}),
    "rotated mask": (cm.BinaryMask(rotation=True, restarts=2), BOTH, {}),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NO_STEPS)
def test_planted_subspaces_are_found_in_closed_form(name, seed):
    assert max(subspaces.angles(*NO_STEPS[name], seed=seed)) < 5


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_planted_subspaces_are_found_by_training(name):
    assert max(subspaces.angles(*TRAINED[name], seed=1)) < 5


@pytest.mark.parametrize("name", ["DAS", "lda", "greedy", "mask"])
def test_nothing_is_reported_where_there_is_nothing(name):
    method, variables, options = (NO_STEPS | TRAINED)[name]
    assert not subspaces.reported(method, variables, seed=0, **{k: x for k, x in options.items() if k != "n"})
