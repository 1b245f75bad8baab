"""What `prove` refuses, all at once and before anything is proved."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.errors import ClaimError
from commute.proofs.proving import refinement
from commute.proofs.proving.budget import Allowance, Budget


@pytest.fixture(scope="module")
def claimed():
    organism = cm.organisms.compile(cm.library.hierarchical_equality(3), leak={"left": 0.2}, seed=1)
    return organism.algorithm, organism.network, organism.alignment


def refused(told, *arguments, **options):
    """Refused with a sentence for each pattern, before any round of a proof."""
    rounds = []
    with pytest.raises(ClaimError) as error:
        cm.prove(*arguments, **{"on_event": rounds.append} | options)
    for pattern in told:
        assert re.search(pattern, str(error.value)), (pattern, str(error.value))
    assert not rounds


@pytest.mark.parametrize(
    "variables", ["left", 3, [], [1, 2], [["left"], 3], [[1]], [["left"], [2, "right"]], {"left"}, [None]], ids=str
)
def test_variables_are_a_set_or_a_list_of_sets(claimed, variables):
    refused([r'variables are a set such as \["left"\]'], *claimed, variables=variables)


def test_sets_that_do_not_fit_are_refused_before_the_first_is_proved(claimed):
    refused(["each once", r"\['left', 'left'\]"], *claimed, variables=[["left"], ["left", "left"]])
    refused(["no aligned variable 'lefd'; did you mean 'left'"], *claimed, variables=[["left"], ["right", "lefd"]])
    refused([r"\['left'\] is given twice"], *claimed, variables=[["left"], ["right"], ["left"]])
    refused([r"\['right', 'left'\] is given twice"], *claimed, variables=[["left", "right"], ["right", "left"]])
    refused(["at least one variable"], *claimed, variables=[["left"], []])
    refused(["each once"], *claimed, variables=[["left"], ["left", "left"]], within=0.1)
    refused(["not both"], *claimed, variables=["left", ["right"]])


def test_too_many_boxes_are_refused_before_the_first_set_is_proved(claimed):
    refused(["531,441 boxes|43,046,721 boxes"], *claimed, variables=[["left"], ["left", "right", "same"]], within=0.1, budget=1)
    settings = [dict.fromkeys("abcd", 0), dict.fromkeys("abcd", 1)] * 60
    refused(["120 inputs, which makes 1,728,000 boxes"], *claimed, variables=[["left"], ["left", "right"]], within=0.1,
            near=settings)  # fmt: skip


def test_a_site_that_the_network_lacks_is_refused_before_the_first_set_is_proved(claimed):
    algorithm, network, alignment = claimed
    broken = cm.Alignment({"left": alignment.parts("left"), "right": cm.Feature(cm.Site("nowhere"), dims=(0,))})
    refused(["no site 'nowhere'"], algorithm, network, broken, variables=[["left"], ["right"]])
    cm.prove(algorithm, network, broken, variables=["left"], budget="1 bounds")


def test_all_arguments_are_checked_at_once(claimed, tmp_path):
    _, network, alignment = claimed
    (tmp_path / "file").write_text("")
    told = [
        "has 9 problems",
        "algorithm must be a cm.CausalModel; given None",
        "network must be a cm.Network",
        "alignment must be a cm.Alignment",
        "no method 'enumerate'; did you mean 'enumeration'",
        "a budget is",
        "executor must be",
        "runs must be a folder; .*file is a file",
        "on_event must be",
        "variables are a set",
    ]
    given = {"variables": [1, 2], "method": "enumerate", "budget": "soon", "executor": 2, "runs": tmp_path / "file"}
    refused(told, None, network.module, dict(alignment), **given, on_event=None)
    refused(["runs must be a folder or None; given 3"], *claimed, runs=3)
    refused(["on_event must be a function of an event; given 3"], *claimed, on_event=3)
    with ThreadPoolExecutor(1) as pool:
        refused(["enumeration bounds none"], *claimed, method="enumeration", executor=pool)
        refused(["leave out executor"], *claimed, within=0.1, executor=pool)
        refused(["within must be a finite number"], *claimed, within="0.1")


def test_what_a_certificate_cannot_hold_is_refused_before_the_proof():
    """Two inputs whose labels are one text in JSON."""
    labels = cm.Finite(((1, 2), "(1, 2)"))
    algorithm = cm.CausalModel("alike", {"x": labels}, {"v": lambda x: x == "(1, 2)", "out": lambda v: v})
    network = cm.Network(
        nn.Sequential(nn.Identity(), nn.Linear(1, 2)),
        encode=lambda batch: torch.tensor([[float(x == "(1, 2)")] for x in batch["x"]]),
        decode=lambda y: y.argmax(-1) == 1,
    )
    alignment = cm.Alignment({"v": cm.Feature(network.site("0"), dims=(0,))})
    rounds = []
    with pytest.raises(cm.CommuteError, match="one text"):
        cm.prove(algorithm, network, alignment, on_event=rounds.append)
    assert not rounds


def test_bounds_that_a_set_leaves_are_for_those_after_it(claimed, tmp_path, monkeypatch):
    """With equal shares alone the second set would stop at half the bounds."""
    monkeypatch.setattr(refinement, "_FEW", 1)
    monkeypatch.setattr(refinement, "_AT_ONCE", 1)
    alone = cm.prove(*claimed, variables=[["right"]], method="refinement").outcomes[0]
    needed = alone.bounds + alone.evaluated
    cm.prove(*claimed, variables=[["left"]], method="refinement", runs=tmp_path)  # so that it takes nothing more
    both = cm.prove(*claimed, variables=[["left"], ["right"]], method="refinement", runs=tmp_path, budget=f"{needed} bounds")
    assert needed > 2
    assert both.undecided == 0
    short = cm.prove(*claimed, variables=[["right"], ["left"]], method="refinement", budget=f"{needed} bounds")
    assert [bool(o.undecided) for o in short.outcomes] == [True, True]
    assert abs(sum(o.bounds + o.evaluated for o in short.outcomes) - needed) <= 1


def test_an_allowance_is_what_is_left():
    allowed = Allowance(Budget(bounds=10))
    assert allowed.left.bounds == 10
    assert allowed.share(5).bounds == 2
    allowed.spent += 4
    assert (allowed.left.bounds, allowed.share(2).bounds) == (6, 3)
    allowed.spent += 6
    assert allowed.left is None
    assert 0 < allowed.share(1).bounds < 1
    assert Allowance(Budget(seconds=1e-9)).left is None
    assert np.isinf([Allowance(Budget()).share(3).seconds, Allowance(Budget()).left.bounds]).all()
