"""Each method finds planted subspaces, and nothing where there is nothing; `benchmarks.search` has a hundred trials of each."""

import pytest

from tests import subspaces


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", subspaces.NO_STEPS)
def test_planted_subspaces_are_found_in_closed_form(name, seed):
    assert max(subspaces.angles(*subspaces.NO_STEPS[name], seed=seed)) < 5


@pytest.mark.slow
@pytest.mark.parametrize("name", subspaces.TRAINED)
def test_planted_subspaces_are_found_by_training(name):
    assert max(subspaces.angles(*subspaces.TRAINED[name], seed=1)) < 5


@pytest.mark.parametrize("name", ["DAS", "lda", "greedy", "mask"])
def test_nothing_is_reported_where_there_is_nothing(name):
    assert not subspaces.reported(*subspaces.METHODS[name], seed=0)
