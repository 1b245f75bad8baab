import numpy as np
import pytest

import commute as cm
from commute.alignments.accuracy import agrees
from tests import planted


def test_a_planted_alignment_is_always_right():
    pairs = cm.pairs(planted.algorithm(), ["left", "right"], 500)
    accuracy = cm.interchange_accuracy(planted.algorithm(), planted.network(), planted.alignment(), pairs)
    assert (accuracy.rate, accuracy.changed.rate, accuracy.unchanged.rate) == (1, 1, 1)
    assert accuracy.noop.correct == (~pairs.changed).sum()
    assert accuracy.interval == (accuracy.overall.lower(0.99), 1)


def test_exchanged_variables_are_counted_pair_by_pair():
    """Against the algorithm itself: a network in which left and right are exchanged answers as the other interchange."""
    algorithm, right = planted.algorithm(), planted.alignment()
    swapped = cm.Alignment({"left": right["right"], "right": right["left"]})
    pairs = cm.pairs(algorithm, ["left"], 500, design="uniform")
    other = algorithm.interchange(pairs.base, {"right": pairs.sources["left"]})["same"]
    accuracy = cm.interchange_accuracy(algorithm, planted.network(), swapped, pairs)
    assert accuracy.overall.correct == (other == pairs.expected["same"]).sum()
    assert accuracy.rate < 0.9


def test_pairs_that_share_bases_have_no_interval():
    small = cm.library.hierarchical_equality(2)
    pairs = cm.pairs(small, ["left"], design="exhaustive")
    accuracy = cm.interchange_accuracy(small, planted.network(), planted.alignment(), pairs)
    assert accuracy.rate == 1
    assert accuracy.interval is None
    assert "[" not in str(accuracy)


def test_labels_that_are_not_the_algorithms_are_an_error():
    pairs = cm.pairs(planted.algorithm(), ["left"], 10)
    for decode, said in (
        (
            lambda x: np.array(["no", "yes"])[x.argmax(-1)],
            r"returns '(no|yes)' for 'same', and no label of its domain \{False, True\}",
        ),
        (lambda x: {"equal": x.argmax(-1)}, "the network: in what decode returns there is no output 'same'; there is equal$"),
    ):
        net = cm.Network(planted.Planted(), encode=planted.encode, decode=decode)
        with pytest.raises(cm.CommuteError, match=said):
            cm.interchange_accuracy(planted.algorithm(), net, planted.alignment(), pairs)


def test_a_variable_that_is_not_aligned_is_an_error():
    pairs = cm.pairs(planted.algorithm(), ["same"], 10)
    with pytest.raises(cm.CommuteError, match="no aligned variable 'same'"):
        cm.interchange_accuracy(planted.algorithm(), planted.network(), planted.alignment(), pairs)


def test_text_labels_are_compared_whole():
    right = agrees(np.array(["1", "1", "10"]), {"y": np.array(["1", "10", "1"])})
    assert right.tolist() == [True, False, False]


def test_pyvene_as_the_engine_gives_the_same_counts():
    algorithm, network, alignment = planted.algorithm(), planted.network("leak"), planted.alignment()
    pairs = cm.pairs(algorithm, ["left", "right"], 200, seed=3)
    ours = cm.interchange_accuracy(algorithm, network, alignment, pairs)
    assert cm.interchange_accuracy(algorithm, network, alignment, pairs, engine="pyvene") == ours
    assert ours.rate < 1
    with pytest.raises(cm.CommuteError, match="no engine 'pyven'; did you mean 'pyvene'"):
        cm.interchange_accuracy(algorithm, network, alignment, pairs, engine="pyven")


def test_the_cost_is_told_beside_the_fewest():
    """Each distinct base is run for its own answer and once more to be patched; what comes before the site is not."""
    network, alignment = planted.network(), planted.alignment()
    pairs = cm.pairs(planted.algorithm(), ["left"], 2000)
    cost = cm.interchange_accuracy(planted.algorithm(), network, alignment, pairs).cost
    slow = cm.interchange_accuracy(planted.algorithm(), network, alignment, pairs, engine="pyvene").cost
    assert cost.fewest == slow.fewest > 0
    assert 1 <= cost.ratio < slow.ratio
