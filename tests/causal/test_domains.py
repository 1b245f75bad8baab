from enum import Enum, IntEnum

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.causal.batches import as_column
from commute.testing.strategies import LABELS

Colour = Enum("Colour", {"RED": "red", "BLUE": "blue"}, type=str)
Level = IntEnum("Level", {"LOW": 1, "HIGH": 2})
MIXED = (*LABELS, (0.5, 1.5), ("a", 1, None), (3, 1, 2), ("10", "1"), tuple(Colour), tuple(Level), (1, 2.5), ((1,), (1, 2)))


@pytest.mark.parametrize("labels", MIXED)
def test_decoding_undoes_encoding(labels):
    domain = cm.Finite(labels)
    column = domain.decode(np.arange(len(labels)))
    assert column.tolist() == list(labels)
    assert [type(v) for v in column.tolist()] == [type(v) for v in labels]
    assert domain.encode(column).tolist() == list(range(len(labels)))
    assert domain.encode(as_column(list(labels))).tolist() == list(range(len(labels)))


def test_bool_is_false_then_true():
    assert cm.Bool == cm.Finite((False, True))
    assert cm.Bool.encode(np.array([1, 0])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [((), "needs at least one label"), ((1, 2, True), "True occurs twice"), (([1],), r"\[1\] is not")],
)
def test_a_finite_domain_needs_distinct_hashable_labels(labels, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.Finite(labels)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_an_interval_needs_finite_ends_in_order(ends):
    with pytest.raises(cm.CommuteError, match="finite ends with low < high"):
        cm.Interval(*ends)


def test_what_is_no_domain_is_an_error():
    with pytest.raises(cm.CommuteError, match="made from a list of labels; given 5"):
        cm.Finite(5)
    with pytest.raises(cm.CommuteError, match="the ends of an Interval are numbers; given low='a'"):
        cm.Interval("a", 1)


def test_a_label_outside_is_named_with_its_row():
    with pytest.raises(cm.CommuteError, match=r"'1' \(row 1\) is not in its domain \{'10', '2'\}"):
        cm.Finite(("10", "2")).encode(np.array(["10", "1"]))
    with pytest.raises(cm.CommuteError, match=r"^1.5 is not in its domain \[0, 1\]"):
        cm.Interval(0, 1).encode(np.array([1.5]))
    with pytest.raises(cm.CommuteError, match=r"nan \(row 1\)"):
        cm.Interval(0, 1).encode(np.array([0.5, np.nan]))


def test_numbers_are_not_text():
    assert "1" not in cm.Finite((1, 2))
    with pytest.raises(cm.CommuteError, match="not in its domain"):
        cm.Finite((1, 2)).encode(np.array(["1"]))


@given(st.lists(st.floats(0, 1), min_size=1))
def test_interval_keeps_numbers(values):
    assert cm.Interval(0, 1).encode(np.array(values)).tolist() == values


def test_a_torch_tensor_is_a_batch():
    assert as_column(torch.tensor([1, 2], requires_grad=False)).tolist() == [1, 2]
    with pytest.raises(cm.CommuteError, match=r"one value a row.*shape \[2, 1\]"):
        as_column(torch.zeros(2, 1))
