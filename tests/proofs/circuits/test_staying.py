"""For which bases an answer stays, held against all points of boxes that are known."""

from itertools import product

import numpy as np
import pytest

import commute as cm
from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.staying import prove_staying
from tests.proofs.circuits.additive import decode, edges, graph

VALUES = (-1.0, 0.0, 1.0)


def more(scores):
    return np.array(["no", "yes"])[(scores[:, 1] > 0).long().numpy()]


def proved(weights, kept, *, decode=decode):
    """What is proved of a circuit that keeps the first inputs, and for which bases its answer truly stays and changes."""
    made = graph(weights, decode=decode)
    inputs = {f"x{i}": cm.Finite(VALUES) for i in range(len(weights))}
    model = cm.CausalModel("signs", inputs, {"positive": lambda x0: x0 > 0})
    bases = np.array(list(product(VALUES, repeat=len(weights))))
    own, spread = bases[:, :kept] @ np.array(weights[:kept]), np.abs(weights[kept:]).sum()
    right = bases @ np.array(weights) > 0
    stays = (((own - spread) > 0) == right) & (((own + spread) > 0) == right)  # the sum is largest and least at ends of the box
    return prove_staying(Circuit(made, edges(*range(kept))), model), stays


@pytest.mark.parametrize("decode", [decode, more])
@pytest.mark.parametrize("weights", [(1, 1), (2, 1, 1)])
def test_what_rounding_outward_added_to_a_box_changes_no_answer(weights, decode):
    """Where the least or the largest sum is 0, which is no, and the next number would be yes."""
    found, stays = proved(weights, 1, decode=decode)
    bases = len(stays)
    assert stays.sum() == bases / 3
    assert not (found.stays & ~stays).any()
    assert not (found.changes & stays).any()
    assert found.changes.sum() >= bases / 3  # of the base 0, which has both answers well within its box
    assert found.lower <= stays.mean() <= found.upper


@pytest.mark.parametrize(("weights", "kept"), [((3, 1, 1), 1), ((1, 0.5, 3), 2), ((0.3, 0.1, 0.1), 1), ((2, -3, 0.7), 1)])
def test_all_is_told_of_boxes_that_do_not_end_where_answers_do(weights, kept):
    found, stays = proved(weights, kept)
    assert (found.stays == stays).all()
    assert (found.changes == ~stays).all()


def test_what_is_left_open_costs_no_more_than_it_must():
    """Parts on the edge of a box are not divided for bases that they can tell nothing more of."""
    assert proved((1, 1), 1)[0].bounds < 2000
