"""The same interchange in pyvene's causal models gives the same values."""

import warnings

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from commute.testing.strategies import models, settings, variables


@pytest.fixture(scope="module")
def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyvene import CausalModel
    return CausalModel


@examples(max_examples=300)
@given(st.data())
def test_interchanges_are_pyvenes(theirs, data):
    """pyvene evaluates mechanisms one by one, without tables, codes or batches."""
    model = data.draw(models())
    parents = {v: list(model.equations[v].parents) if v in model.equations else [] for v in model.graph}

    def positional(variable):
        first = model.domain(variable).values[0]  # of an input, which pyvene asks for a function as well
        return model.equations[variable].function if variable in model.equations else lambda: first

    other = theirs(
        list(model.graph),
        {v: list(model.domain(v).values) for v in model.graph},
        parents,
        {v: positional(v) for v in model.graph},
    )
    base = data.draw(settings(model))
    sources = {v: data.draw(settings(model)) for v in data.draw(variables(model, least=1))}
    assert model.interchange(base, sources) == other.run_interchange(base, sources)
