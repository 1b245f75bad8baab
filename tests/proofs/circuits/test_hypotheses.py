import numpy as np
import pytest
import torch
from scipy import stats

import commute as cm
from commute.errors import ClaimError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.equivalence import equivalence_test
from commute.proofs.circuits.independence import _factor, _hsic, independence_test
from commute.proofs.circuits.inflating import _inflated, minimality_test
from commute.proofs.circuits.random_circuits import Paths
from tests.models import families
from tests.proofs.circuits.additive import edges, graph, measured

WEIGHTS = (3.0, 2.0, 1.0, 0.0, 0.0, 0.0)
GRAPH = graph(WEIGHTS)
WHOLE = Circuit(GRAPH, edges(*range(6)))


def inputs(rows, seed=0):
    drawn = np.random.default_rng(seed)
    return drawn.normal(1, 1, (rows, 6)), drawn.normal(0, 1, (rows, 6))


def kept(x, instead, places):
    return np.where(np.isin(range(6), places), x, instead) @ WEIGHTS


def summed(better, same, n, epsilon):
    """The paper's sum over all numbers of rows as far from one half, in twos, as ties are halves."""
    off = abs(2 * better + same - n)
    return sum(stats.binom.pmf(k, n, 0.5 + epsilon) for k in range(n + 1) if abs(2 * k - n) >= off)


@pytest.mark.parametrize("epsilon", [0, 0.1, 0.3])
@pytest.mark.parametrize("rows", [2, 20, 21])
@pytest.mark.parametrize("places", [(0, 1, 2), (0, 1), (2,)])
def test_equivalence_is_the_papers_sum(epsilon, rows, places):
    x, instead = inputs(rows)
    found = equivalence_test(Circuit(GRAPH, edges(*places)), *measured(GRAPH, x, instead), epsilon=epsilon)
    change = kept(x, instead, range(6)) - kept(x, instead, places)
    better, same = int((change > 1e-9).sum()), int((np.abs(change) <= 1e-9).sum())
    assert (found.better, found.same, found.rows) == (better, same, rows)
    assert found.p_value == pytest.approx(summed(better, same, rows, epsilon))
    assert found.statistic == pytest.approx(abs((better + same / 2) / rows - 0.5))


def test_ties_in_equivalence_count_half():
    x, instead = inputs(29)
    found = equivalence_test(Circuit(GRAPH, edges(1)), *measured(GRAPH, x, instead, "accuracy"), epsilon=0.2)
    assert found.same > 0 < found.better
    assert found.p_value == pytest.approx(summed(found.better, found.same, 29, 0.2))


def test_a_circuit_that_changes_nothing_is_equivalent_and_a_broken_one_is_not():
    given = measured(GRAPH, *inputs(100))
    assert equivalence_test(WHOLE, *given).p_value == 1
    found = equivalence_test(Circuit(GRAPH, edges(3)), *given)
    assert found.p_value < 1e-6
    assert str(found).startswith(f"equivalence: the whole network does better on {found.better} of 100 rows and alike on 0")


def test_equivalence_is_rarely_refuted_at_the_edge_of_what_it_allows():
    shift, refuted = stats.norm.ppf(0.6) * np.sqrt(2), 0  # the chance of the whole network is then 1/2 + 0.1
    circuit = Circuit(GRAPH, edges(0, 1))
    for seed in range(300):
        x, instead = inputs(50, seed)
        x[:, 2] = instead[:, 2] + np.random.default_rng([seed]).normal(shift, np.sqrt(2), 50)
        refuted += equivalence_test(circuit, *measured(GRAPH, x, instead)).p_value <= 0.05
    assert 1 <= refuted <= 27


def test_epsilon_is_checked():
    for epsilon, told in ((0.5, r"0\.5"), ("a", "'a'")):
        with pytest.raises(ClaimError, match=f"epsilon must be at least 0 and below 1/2; given {told}"):
            equivalence_test(WHOLE, *measured(GRAPH, *inputs(5)), epsilon=epsilon)


@pytest.mark.parametrize(("test", "name"), [(equivalence_test, "equivalence"), (independence_test, "independence")])
def test_a_measure_that_is_the_same_on_all_rows_is_no_measure_to_test_by(test, name):
    x, instead = inputs(40)
    told = rf"on all 40 rows, so the {name} test has nothing.*logit difference, or the accuracy"
    with pytest.raises(ClaimError, match="agreement of the whole network is 1 " + told):
        test(WHOLE, *measured(GRAPH, x, instead, "agreement"))
    says = (kept(x, instead, range(6)) > 0).astype(int)
    with pytest.raises(ClaimError, match="accuracy of the whole network is 1 " + told):
        test(WHOLE, *measured(GRAPH, x, instead, "accuracy", says))


def test_the_divergence_is_no_measure_of_independence_nor_of_equivalence():
    given = measured(GRAPH, *inputs(40), "divergence")
    with pytest.raises(ClaimError, match="divergence of the whole network is 0 on all 40 rows, so the independence test"):
        independence_test(Circuit(GRAPH, edges(3)), *given)
    with pytest.raises(
        ClaimError, match="(?s)epsilon.*divergence .* from itself is 0, better than that of any circuit.*accuracy"
    ):
        equivalence_test(WHOLE, *given, epsilon=1)


def direct(x, y):
    """HSIC by its definition."""
    n = len(x)

    def kernel(v):
        d = np.abs(v[:, None] - v)
        return np.exp(-(d**2) / (2 * np.median(d[d > 0]) ** 2)) if (d > 0).any() else np.ones((n, n))

    h = np.eye(n) - 1 / n
    return np.trace(kernel(x) @ h @ kernel(y) @ h) / n**2


@pytest.mark.parametrize("round_to", [0, 12])
def test_hsic_is_that_of_its_definition_also_with_ties(round_to):
    x, y = np.random.default_rng(0).standard_normal((2, 40)).round(round_to)
    assert _hsic(_factor(x, 0), _factor(y, 0)[None])[0] == pytest.approx(direct(x, y), rel=1e-9)


def test_independence_is_measured_between_the_complement_and_the_whole_network():
    x, instead = inputs(30)
    found = independence_test(Circuit(GRAPH, edges(0, 1)), *measured(GRAPH, x, instead), permutations=2000)
    whole, left = kept(x, instead, range(6)), kept(x, instead, range(2, 6))
    assert found.hsic == pytest.approx(direct(whole, left), rel=1e-9)
    drawn = np.random.default_rng(0)
    shuffled = [direct(whole, drawn.permutation(left)) for _ in range(2000)]
    assert found.p_value == pytest.approx(np.mean(np.array(shuffled) >= found.hsic), abs=0.05)
    assert str(found) == f"independence: HSIC {found.hsic:.3g} on 30 rows, p = {found.p_value:.2g} by 2000 shufflings"


def test_a_complement_that_still_computes_is_told_from_one_that_does_not():
    given = measured(GRAPH, *inputs(80))
    assert independence_test(Circuit(GRAPH, edges(2)), *given).p_value == 1 / 1001
    assert independence_test(Circuit(GRAPH, edges(0, 1, 2)), *given).p_value > 0.05


def test_independent_complements_are_refuted_as_often_as_the_level_says():
    circuit, refuted = Circuit(GRAPH, edges(0, 1, 2)), 0
    for seed in range(200):
        given = measured(GRAPH, *inputs(15, seed))
        refuted += independence_test(circuit, *given, permutations=99, seed=seed).p_value <= 0.1
    assert 9 <= refuted <= 33  # 20 expected, with a standard deviation of 4.2


def test_a_complement_that_is_constant_is_independent():
    x, instead = inputs(12)
    instead[:] = 0.5
    assert independence_test(Circuit(GRAPH, edges(0, 1, 2)), *measured(GRAPH, x, instead)).p_value == 1


def test_shufflings_in_parts_are_the_same(monkeypatch):
    given = Circuit(GRAPH, edges(0, 2)), *measured(GRAPH, *inputs(20))
    before = independence_test(*given, permutations=50)
    monkeypatch.setattr("commute.proofs.circuits.independence._NUMBERS", 1)
    assert independence_test(*given, permutations=50) == before
    assert len({independence_test(*given, permutations=50, seed=s) for s in range(4)}) > 1


def test_minimality_refutes_idle_edges_and_no_others():
    x, instead = inputs(40)
    found = minimality_test(Circuit(GRAPH, edges(0, 1, 3)), *measured(GRAPH, x, instead), quantile=0.5)
    assert found.effects == pytest.approx((3 * np.abs(x - instead)[:, 0].mean(), 2 * np.abs(x - instead)[:, 1].mean(), 0))
    assert set(np.round(found.random, 9)) == {0, round(np.abs(x - instead)[:, 2].mean(), 9)}  # of edges 2, 4 and 5
    assert found.exceeded == (100, 100, 0)
    assert found.p_values == pytest.approx((1, 1, 0.5**100))
    assert found.p_value == pytest.approx(3 * 0.5**100)
    assert str(found).startswith("minimality: p = 2.4e-30 that each of 3 edges does more than a share of 0.5 of random ones")


def test_inflated_circuits_add_a_path_and_lose_one_new_edge():
    network = cm.Network.from_transformers(
        families.model("gpt2"), None, prompts=lambda s: [s["a"], s["b"], 7], answers={str(i): [i] for i in range(6, 12)}
    )
    x = {"a": np.array([6, 7, 8]), "b": np.array([10, 11, 12])}
    whole = computation_graph(network, x)
    circuit = Circuit(whole, ["input->a0.h1<v>", "a0.h1->m1", "m1->logits"])
    runs = Runs.of(whole, x, {k: v[::-1].copy() for k, v in x.items()})
    drawn = np.random.default_rng(0)
    for _ in range(50):
        path = Paths.of(whole).drawn(drawn)
        assert [u for u, _ in path[1:]] == [v for _, v in path[:-1]]
        assert (path[0][0], path[-1][1]) == ("input", "logits")
        assert all(whole.has_edge(*edge) for edge in path)
    masks, mask = list(_inflated(circuit, runs, 20, drawn)), runs.mask(circuit.edges)
    sizes = set()
    for larger, less in zip(masks[::2], masks[1::2], strict=True):
        assert (larger >= mask).all()
        assert (less >= mask).all()
        assert (larger >= less).all()
        assert (larger ^ less).sum() == 1
        sizes.add(int((larger ^ mask).sum()))
    assert len(sizes) > 1
    found = minimality_test(circuit, runs, Behaviour.of(runs, "divergence"), paths=20)
    assert len(found.effects) == 3
    assert min(found.random) >= 0
    assert torch.isfinite(torch.tensor(found.effects)).all()


def test_minimality_has_paths_of_its_seed():
    given = Circuit(GRAPH, edges(0)), *measured(GRAPH, *inputs(10))
    assert minimality_test(*given, seed=1) == minimality_test(*given, seed=1) != minimality_test(*given, seed=2)


def test_a_circuit_that_nothing_can_be_added_to_and_a_wrong_quantile_are_told():
    given = measured(GRAPH, *inputs(5))
    assert len(residual_edges(GRAPH)) == len(WHOLE)
    with pytest.raises(ClaimError, match=r"none of 1000 random paths .* needs a smaller circuit"):
        minimality_test(WHOLE, *given)
    with pytest.raises(ClaimError, match="quantile must be between 0 and 1; given 90"):
        minimality_test(WHOLE, *given, quantile=90)
    with pytest.raises(ClaimError, match="quantile must be between 0 and 1; given 'a'"):
        minimality_test(WHOLE, *given, quantile="a")
