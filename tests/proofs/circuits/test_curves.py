import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commute.errors import ClaimError
from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.curves import _between, faithfulness_curve
from commute.proofs.circuits.measures import faithfulness
from tests.proofs.circuits.additive import edges, graph, measured

WEIGHTS = (2.0, 1.5, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, -0.5, -0.5)  # of which all make 4
GRAPH = graph(WEIGHTS)
NESTED = [edges(*range(k)) for k in (1, 2, 4, 8)]
SHARES = (0, 0.5, 0.875, 1.25, 1.25, 1)  # of 0, 1, 2, 4, 8 and 10 edges


def inputs(rows, seed=0, noise=1.0):
    drawn = np.random.default_rng(seed)
    return 1 + noise * drawn.standard_normal((rows, 10)), noise * drawn.standard_normal((rows, 10))


def under():
    return np.trapezoid(SHARES, [0, 0.1, 0.2, 0.4, 0.8, 1])


def from_one():
    """The area between the lines and 1: triangles, of which one on each side where the third line crosses 1 at a third."""
    above = 0.2 * 2 / 3 * 0.25 / 2 + 0.4 * 0.25 + 0.2 * 0.25 / 2
    return 0.1 * (1 + 0.5) / 2 + 0.1 * (0.5 + 0.125) / 2 + 0.2 / 3 * 0.125 / 2 + above


def test_the_areas_are_those_of_straight_lines_through_the_true_sizes_and_both_ends():
    found = faithfulness_curve(NESTED, *measured(GRAPH, *inputs(3, noise=0.0)))
    assert found.edges == (0, 1, 2, 4, 8, 10)
    assert found.sizes == pytest.approx((0, 0.1, 0.2, 0.4, 0.8, 1))
    assert [s.value for s in found.share] == pytest.approx(SHARES)
    assert found.cpr.value == pytest.approx(under())
    assert found.cmd.value == pytest.approx(from_one())
    assert str(found).startswith("CPR 1.031 [1.031, 1.031], CMD 0.252 [0.252, 0.252] of the logit difference on 3 rows")
    assert str(found).endswith("kept by edges: 0: 0.000, 1: 0.500, 2: 0.875, 4: 1.250, 8: 1.250, 10: 1.000")


def test_each_share_is_that_of_the_circuit_by_itself():
    given = measured(GRAPH, *inputs(40))
    found = faithfulness_curve(NESTED, *given)
    alone = [faithfulness(Circuit(GRAPH, kept), *given).share.value for kept in NESTED]
    assert [s.value for s in found.share[1:-1]] == pytest.approx(alone)


def test_bounds_are_percentiles_of_shares_of_resampled_rows():
    x, instead = inputs(25)
    runs, behaviour = measured(GRAPH, x, instead)
    found = faithfulness_curve(NESTED, runs, behaviour, draws=4000, confidence=0.9)
    drawn, shares = np.random.default_rng(1), []
    for _ in range(4000):
        rows = drawn.integers(25, size=25)
        apart = (x - instead)[rows] * WEIGHTS
        shares.append(apart[:, :2].sum() / apart.sum())
    assert (found.share[2].lower, found.share[2].upper) == pytest.approx(np.quantile(shares, [0.1, 0.9]), abs=0.02)
    assert (found.share[0].upper, found.share[-1].lower) == (0, 1)


def test_the_order_of_circuits_and_the_ends_given_do_not_matter():
    given = measured(GRAPH, *inputs(20))
    assert faithfulness_curve([*NESTED[::-1], (), edges(*range(10))], *given) == faithfulness_curve(NESTED, *given)


def test_draws_come_from_the_seed():
    given = measured(GRAPH, *inputs(20))
    assert (
        faithfulness_curve(NESTED, *given, seed=1)
        == faithfulness_curve(NESTED, *given, seed=1)
        != faithfulness_curve(NESTED, *given, seed=2)
    )


def test_bounds_hold_about_as_often_as_they_say():
    held = np.zeros(4)
    for seed in range(150):
        found = faithfulness_curve(NESTED, *measured(GRAPH, *inputs(40, seed)), draws=300, confidence=0.9)
        held += [
            found.cpr.lower <= under(),
            under() <= found.cpr.upper,
            found.cmd.lower <= from_one(),
            from_one() <= found.cmd.upper,
        ]
    assert (held >= 123).all()  # 135 expected, with a standard deviation of 3.7
    assert (held[:2] <= 147).all()


def test_the_distance_of_a_curve_that_is_right_is_not_shown_to_be_more_than_it_is():
    one = graph([1.0, *[0.0] * 9])
    given = measured(one, *inputs(60))
    found = faithfulness_curve([edges(0)], *given)
    assert found.cmd.value == pytest.approx(0.05)
    noisy = graph([1.0, *[0.01, -0.01] * 4, 0.0])  # one edge keeps all on average, yet not on these rows
    shares = [
        faithfulness_curve([edges(0), edges(*range(5))], *measured(noisy, *inputs(60, s)), draws=300).cmd for s in range(20)
    ]
    assert all(s.lower <= 0.05 <= s.upper for s in shares)


@given(arrays(np.float64, (2, 5), elements=st.floats(-2, 2)))
def test_the_area_between_lines_is_that_of_fine_steps(lines):
    places = np.array([0, 0.1, 0.3, 0.35, 1])
    fine = np.linspace(0, 1, 20_001)
    first, second = (np.interp(fine, places, y) for y in lines)
    assert _between(lines[:1], lines[1:], places)[0] == pytest.approx(np.trapezoid(np.abs(first - second), fine), abs=1e-3)


def test_where_the_gap_could_be_nothing_no_bounds_are_given():
    drawn = np.random.default_rng(0)
    found = faithfulness_curve(NESTED, *measured(GRAPH, *drawn.standard_normal((2, 12, 10))))
    assert (found.cpr.lower, found.cpr.upper, found.cmd.lower, found.cmd.upper) == (-np.inf, np.inf, 0, np.inf)
    assert (found.share[2].lower, found.share[2].upper, found.share[-1].lower) == (-np.inf, np.inf, 1)


def test_draws_without_a_gap_are_left_out():
    x, instead = np.ones((8, 10)), np.ones((8, 10))
    instead[:5] = -1  # no gap in the other rows, of which alone some draws are made
    found = faithfulness_curve(NESTED, *measured(GRAPH, x, instead, "agreement"), draws=5000, confidence=0.95)
    assert [s.value for s in found.share] == [0, 0, 1, 1, 1, 1]
    assert np.isfinite([found.cpr.lower, found.cpr.upper, found.cmd.upper]).all()


def test_what_makes_no_curve_is_told():
    given = measured(GRAPH, *inputs(5))
    with pytest.raises(ClaimError, match="there are no circuits; give at least one"):
        faithfulness_curve([], *given)
    with pytest.raises(ClaimError, match="two of them keep 2 edges"):
        faithfulness_curve([edges(0, 1), edges(0, 2)], *given)
    with pytest.raises(ClaimError, match="draws must be a whole number of at least 1; given 0"):
        faithfulness_curve(NESTED, *given, draws=0)
    with pytest.raises(ClaimError, match="draws must be at least 200 for bounds at 0.99; given 199"):
        faithfulness_curve(NESTED, *given, draws=199)
    assert faithfulness_curve(NESTED, *given, draws=20, confidence=0.9).draws == 20
    with pytest.raises(ClaimError, match=r"must be a list of circuits, of different sizes; given Circuit\(1 of 10 edges"):
        faithfulness_curve(Circuit(GRAPH, edges(0)), *given)
    with pytest.raises(ClaimError, match=r"(?s)another computation graph.*confidence must be.*draws must be"):
        faithfulness_curve([Circuit(graph(WEIGHTS), edges(0))], *given, confidence="a", draws=0)
    x, _ = inputs(5)
    with pytest.raises(ClaimError, match="no share of it can be kept"):
        faithfulness_curve(NESTED, *measured(GRAPH, x, x))
