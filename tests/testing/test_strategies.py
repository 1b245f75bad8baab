import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import commute as cm
import commute.testing
from commute.causal.library import hierarchical_equality
from commute.testing import interchanges, models, strategies
from tests import planted

ALGORITHM = hierarchical_equality(2)
DISTANCES = cm.CausalModel(
    "distances", {"x": cm.Interval(0, 1), "k": cm.Finite((1, 2))}, {"far": lambda x: x > 0.5}, domains={"far": cm.Bool}
)


@given(interchanges(ALGORITHM, ["left", "right"]))
def test_an_interchange_has_a_base_and_sources(interchange):
    base, sources = interchange
    assert sources
    assert set(sources) <= {"left", "right"}
    answer = ALGORITHM.interchange(base, sources)
    assert all(answer[v] == ALGORITHM.solve(source)[v] for v, source in sources.items())


@pytest.mark.parametrize("variables", [{"left"}, {"right"}, {"left", "right"}])
def test_every_set_of_variables_is_drawn(variables):
    base, sources = find(interchanges(ALGORITHM, ["left", "right"]), lambda drawn: set(drawn[1]) == variables)
    assert base == {"a": 0, "b": 0, "c": 0, "d": 0}
    assert sources == dict.fromkeys(variables, base)


def test_a_network_is_refuted_by_interchanges_of_its_alignment():
    algorithm, network, alignment = planted.algorithm(), planted.network("backup"), planted.alignment()

    def differs(interchange):
        base, sources = interchange
        return (
            network.interchange(base, {alignment[v]: s for v, s in sources.items()})
            != algorithm.interchange(base, sources)["same"]
        )

    _, sources = find(interchanges(algorithm, alignment), differs, settings=settings(max_examples=300, phases=[Phase.generate]))
    assert set(sources) == {"left", "right"}  # the fault shows in no other


@given(st.data())
def test_settings_meet_a_condition_that_can_be_listed(data):
    model = data.draw(models())
    variable = list(model.graph)[-1]
    wanted = model.solve(data.draw(strategies.settings(model)))[variable]
    drawn = data.draw(strategies.settings(model, given={variable: wanted}))
    assert model.solve(drawn)[variable] == wanted


def test_a_rare_setting_is_found():
    model = cm.CausalModel("sum", {v: cm.Finite(range(40)) for v in "abc"}, {"rare": lambda a, b, c: a * b * c == 39**3})
    assert find(strategies.settings(model, given={"rare": True}), lambda _: True) == {"a": 39, "b": 39, "c": 39}


@given(strategies.settings(DISTANCES, given=lambda far, k: far and k == 2))
def test_settings_meet_a_condition_that_cannot_be_listed(setting):
    assert setting["x"] > 0.5
    assert setting["k"] == 2


@given(strategies.settings(DISTANCES, given={"x": 0.25}))
def test_an_input_of_an_interval_can_be_fixed(setting):
    assert setting["x"] == 0.25


def test_bases_and_sources_meet_the_condition():
    condition = {"given": {"left": True}}
    drawn = find(interchanges(ALGORITHM, ["right"], **condition), lambda drawn: drawn[1]["right"]["a"] == 1)
    assert drawn[1]["right"] == {"a": 1, "b": 1, "c": 0, "d": 0}
    assert drawn[0]["a"] == drawn[0]["b"]


def test_every_name_is_there():
    assert all(getattr(commute.testing, name) for name in commute.testing.__all__)
    assert set(dir(commute.testing)) >= set(commute.testing.__all__)
    assert commute.testing.models is models
    with pytest.raises(AttributeError, match="no attribute 'pair'"):
        commute.testing.pair  # noqa: B018
