import inspect
from types import SimpleNamespace

import pytest

import commute as cm
from commute.proofs.replaying import replay
from commute.testing import commutes
from tests import planted


def commuting(function, fault="", **options):
    options = {"pairs": 2000, **options}
    return commutes(planted.algorithm(), planted.network(fault), planted.alignment(), **options)(function)


def nothing():
    """Left and right."""


def test_a_network_that_commutes_passes_once_its_pairs_are_screened(monkeypatch):
    asked = []
    run = cm.Network.run
    monkeypatch.setattr(cm.Network, "run", lambda self, inputs, do=None: asked.append(len(inputs["a"])) or run(self, inputs, do))
    assert commuting(nothing)() is None
    assert sum(asked) >= 2000


def test_a_failing_pair_is_told_and_the_line_that_replays_it_does():
    with pytest.raises(AssertionError) as caught:
        commuting(nothing, "backup")()
    first, *lines, last = str(caught.value).splitlines()
    assert first.startswith("the network and the algorithm differ on ")
    assert first.endswith("pairs screened; a smallest one:")
    told = dict(line.strip().split("  ", 1) for line in lines)
    assert list(told) == ["base", "left from", "right from", "the algorithm says", "the network says", "what matters"]
    assert told["what matters"].strip().startswith("base.a, ")
    assert last.startswith("replay it: cm.replay(algorithm, network, alignment, ")
    algorithm, network, alignment = planted.algorithm(), planted.network("backup"), planted.alignment()
    code = last.removeprefix("replay it: ")
    replayed = eval(
        code, {"cm": SimpleNamespace(replay=replay), "algorithm": algorithm, "network": network, "alignment": alignment}
    )
    assert replayed.differs


def test_a_failing_pair_is_kept_for_the_next_time(tmp_path):
    with pytest.raises(AssertionError, match="pairs screened"):
        commuting(nothing, "backup", database=tmp_path)()
    with pytest.raises(AssertionError, match="differ on a pair kept from an earlier search"):
        commuting(nothing, "backup", database=tmp_path)()
    commuting(nothing, database=tmp_path)()


def test_only_the_given_variables_are_interchanged():
    commuting(nothing, "backup", variables=["left"])()
    with pytest.raises(AssertionError, match="differ"):
        commuting(nothing, "backup", variables=["left", "right"])()


def test_parameters_restrict_the_inputs():
    def away(a):
        return a != 0

    commuting(away, "leak", variables=["left"])()
    commuting(nothing, "leak", variables=["left"], given=away)()
    with pytest.raises(AssertionError, match="differ"):
        commuting(nothing, "leak", variables=["left"])()


def test_parameters_name_variables_of_the_algorithm():
    with pytest.raises(cm.CommuteError, match="there is no variable 'q'"):
        commuting(lambda q: q)()


def test_a_method_can_be_a_test_and_self_is_no_variable():
    class Tests:
        ran = False

        def away(self, a):
            return a != 0

        def first(self):
            self.ran = True

        test_away = commuting(away, "leak", variables=["left"])
        test_first = commuting(first, pairs=100)

    tests = Tests()
    tests.test_away()
    tests.test_first()
    assert tests.ran
    assert not inspect.signature(Tests.test_away).parameters


def test_inputs_are_restricted_in_one_place():
    with pytest.raises(cm.CommuteError, match="leave out given="):
        commuting(lambda a: a != 0, given={"a": 0})


def test_a_function_without_parameters_runs_first():
    with pytest.raises(pytest.skip.Exception):
        commuting(lambda: pytest.skip("no GPU"), "backup")()


def test_what_is_given_as_functions_is_made_when_the_test_runs():
    made = []

    def network():
        made.append(1)
        return planted.network()

    test = commutes(planted.algorithm, network, planted.alignment, pairs=100)(nothing)
    assert not made
    test()
    assert made == [1]


def test_what_is_no_network_is_told():
    with pytest.raises(cm.CommuteError, match="network must be a Network, or a function that makes one; given None"):
        commutes(planted.algorithm, lambda: None, planted.alignment)(nothing)()


def test_the_test_has_the_name_doc_and_marks_of_the_function_and_asks_for_no_fixture():
    @pytest.mark.slow
    def away(a):
        """Away from 0."""

    test = commuting(away)
    assert (test.__name__, test.__doc__, test.__module__) == ("away", "Away from 0.", __name__)
    assert [m.name for m in test.pytestmark] == ["slow"]
    assert not inspect.signature(test).parameters
