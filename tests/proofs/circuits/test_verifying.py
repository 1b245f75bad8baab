"""Verdicts on circuits of networks that add up their inputs, of which it is known what any edges keep."""

import numpy as np
import pytest
import torch

import commute as cm
from commute.errors import NetworkError, NoCircuitError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import moved, residual_edges
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.random_circuits import random_circuit
from commute.proofs.circuits.verifying import verify_circuit
from commute.runs.events import Decided
from tests.proofs.circuits import additive

SIGNS = cm.Finite((-1.0, 1.0))
WEIGHTS = [5, 4, 3, 0.3, 0.2, 0.1]  # the first three decide, whatever the others are
MODEL = cm.CausalModel("signs", {f"x{i}": SIGNS for i in range(6)}, {"yes": lambda x0: x0 > 0})
NODES = 40  # that hardly matter, beside three that do


@pytest.fixture(scope="module")
def graph():
    return additive.graph(WEIGHTS)


def circuit(graph, *places):
    return Circuit(graph, additive.edges(*places))


def verified(made, **options):
    return cm.verify(made, MODEL, **{"n": 400, "controls": 4, **options})


def slices(verdict):
    return {e.name: e for e in verdict.slices}


def test_what_is_enough_keeps_every_answer():
    graph = additive.graph([5, 5, 5, *[0.05] * NODES])
    model = cm.CausalModel("many signs", {f"x{i}": SIGNS for i in range(NODES + 3)}, {"yes": lambda x0: x0 > 0})
    verdict = cm.verify(circuit(graph, 0, 1, 2), model, n=2000, controls=8)
    assert all(e.count.correct == e.count.total for e in verdict.slices)
    controls = {e.name: e for e in verdict.controls}
    assert controls["random circuits"].passed
    assert verdict.status == ("holds" if controls["re-initialised network"].passed else "inconclusive")
    assert verdict.counterexample is None


def test_a_circuit_that_lacks_an_edge_is_refuted(graph):
    """Without x2 the answer is another where x0 and x1 differ and x2 is what decides: in a quarter of inputs, if x2 differs."""
    verdict = verified(circuit(graph, 0, 1))
    assert verdict.status == "refuted"
    example = verdict.counterexample
    base = [example.base[f"x{i}"] for i in range(6)]
    assert np.sign(np.dot(base, WEIGHTS)) == (1 if example.expected["answer"] == "yes" else -1)
    assert example.expected != example.answered
    assert base[0] != base[1]
    assert example.sources["edges left out"]["x2"] != base[2]
    assert "edges left out from x0=" in str(verdict)


def test_the_shares_are_those_of_all_pairs(graph):
    """By brute force over all inputs and others: with x0 alone kept."""
    every = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 6, indexing="ij"), -1).reshape(-1, 6) * WEIGHTS
    whole = every.sum(1)
    kept = every[:, None, :1].sum(-1) + every[None, :, 1:].sum(-1)
    same, changed = (kept > 0) == (whole > 0)[:, None], (whole > 0)[:, None] != (whole > 0)[None]
    found = slices(verified(circuit(graph, 0), n=4000))
    assert found["changed"].lower < same[changed].mean() < found["changed"].upper
    assert found["unchanged"].lower < same[~changed].mean() < found["unchanged"].upper
    assert found["changed"].count.total + found["unchanged"].count.total == 4000


def test_a_circuit_of_everything_says_nothing(graph):
    verdict = verified(circuit(graph, *range(6)), n=2000)
    assert verdict.status == "inconclusive"
    assert any("random circuits" in reason and "says too little" in reason for reason in verdict.reasons)


def test_too_few_pairs_are_inconclusive(graph):
    verdict = verified(circuit(graph, 0, 1, 2), n=20)
    assert verdict.status == "inconclusive"
    assert any("more pairs are needed" in reason for reason in verdict.reasons)


def test_nothing_can_be_told_where_nothing_changes():
    graph = additive.graph([5, 0, 0])
    always = cm.CausalModel("one sign", {"x0": cm.Finite((1.0,)), "x1": SIGNS, "x2": SIGNS}, {"yes": lambda x0: x0 > 0})
    verdict = cm.verify(circuit(graph, 1), always, n=400, controls=2)
    assert verdict.status == "inconclusive"
    assert any("told from none" in reason for reason in verdict.reasons)
    assert not any("0 of 0" in reason for reason in verdict.reasons)


def test_edges_that_matter_and_what_is_left_are_told(graph):
    verdict = verified(circuit(graph, 0, 1, 2, 5), n=1000)
    effects = {e.start: e.effect for e in verdict.circuit}
    assert effects["p5"] == 0
    assert all(effects[p] > 0.1 for p in ("p0", "p1", "p2"))
    told = {e.name: e for e in verdict.diagnostics}
    assert told["minimality"].lower == 0.75
    assert "p5->logits" in told["minimality"].says
    assert not told["all but the circuit"].warning
    rest = {e.name: e for e in verified(circuit(graph, 3, 4), n=400).diagnostics}
    assert rest["all but the circuit"].warning


def test_what_others_carry_can_be_a_mean_or_nothing(graph):
    rows = {f"x{i}": np.array([-1.0, 1.0]) for i in range(6)}
    for instead in (cm.Zero(), cm.Mean(rows)):  # the mean of both signs is 0
        verdict = verified(circuit(graph, 0, 1, 2), instead=instead)
        assert slices(verdict)["changed"].count.correct == slices(verdict)["changed"].count.total
    assert "nothing on all others" in verified(circuit(graph, 0), instead=cm.Zero(), n=50).stated


def test_all_rows_are_run_where_no_others_are_drawn_from_them(graph):
    rows = additive.columns(np.sign(np.random.default_rng(0).standard_normal((60, 6))))
    for instead, n in ((cm.Mean(rows), 60), (cm.Zero(), 60), (None, 30)):
        verdict = cm.verify(circuit(graph, 0, 1, 2), rows, instead=instead, controls=2)
        assert sum(e.count.total for e in verdict.slices) == n


def test_others_can_be_given_row_by_row(graph):
    """Others that differ in x5 alone change nothing, and others that differ in all but x0 are those that refute x0."""
    rows = np.sign(np.random.default_rng(0).standard_normal((300, 6)))
    alike, unlike = rows * [1, 1, 1, 1, 1, -1], rows * [1, -1, -1, -1, -1, -1]
    same = cm.verify(circuit(graph, 0), additive.columns(rows), instead=additive.columns(alike), controls=2)
    assert {e.name: e.count.total for e in same.slices}["unchanged"] > 250
    assert all(e.count.correct == e.count.total for e in same.slices if e.name == "unchanged")
    other = cm.verify(circuit(graph, 0), additive.columns(rows), instead=additive.columns(unlike), controls=2)
    assert sum(e.count.total for e in other.slices) == 300
    kept = np.sign((rows * WEIGHTS)[:, 0] + (unlike * WEIGHTS)[:, 1:].sum(1)) == np.sign((rows * WEIGHTS).sum(1))
    assert sum(e.count.correct for e in other.slices) == kept.sum()
    with pytest.raises(cm.CommuteError, match="one other input for each row"):
        cm.verify(circuit(graph, 0), additive.columns(rows), instead=additive.columns(rows[:5]))
    with pytest.raises(cm.CommuteError, match="only where inputs are a batch"):
        cm.verify(circuit(graph, 0), MODEL, instead=additive.columns(rows))


def test_some_edges_are_tested(graph):
    verdict = verified(circuit(graph, 0, 1, 2, 5), tested=2, n=500)
    assert len(verdict.circuit) == 4
    assert sum(e.effect is None for e in verdict.circuit) == 2
    (told,) = (e for e in verdict.diagnostics if e.name == "minimality")
    assert "of 2 edges" in told.says
    assert len(verified(circuit(graph, 0, 1), tested=9, n=50).circuit) == 2


def test_the_rows_of_a_batch_are_each_in_one_pair(graph):
    rows = additive.columns(np.random.default_rng(0).standard_normal((101, 6)))
    verdict = cm.verify(circuit(graph, 0), rows, n=1000, controls=2)
    assert sum(e.count.total for e in verdict.slices) == 50


def test_the_same_search_is_made_on_shuffled_weights(graph):
    seen = []

    def repeat(other, *, seed):
        seen.append((other, seed))
        return circuit(other, 0, 1, 2)

    verdict = verified(circuit(graph, 0, 1, 2), repeat=repeat, seed=3)
    assert len(seen) == 1
    assert seen[0][0] is not graph
    assert seen[0][1] == 3
    (control,) = (e for e in verdict.controls if e.name == "re-initialised network")
    assert "what the same search finds" in control.says


def test_random_circuits_lead_to_the_output():
    """On the small network of induction, where hardly any five edges drawn at random do."""
    network = cm.zoo.induction()
    graph = cm.computation_graph(network, cm.zoo.induction_sequences(8, seed=0))
    generator = np.random.default_rng(0)
    for size in (3, 5, 20, 81):
        drawn = [random_circuit(graph, size, generator) for _ in range(20)]
        assert all(len(set(edges)) == size for edges in drawn)
        assert all(_acts(graph, edges) for edges in drawn)
    assert len({tuple(random_circuit(graph, 5, generator)) for _ in range(20)}) > 10


def _acts(graph, edges):
    try:
        return bool(Circuit(graph, edges).nodes)
    except cm.CommuteError:
        return False


def test_a_search_that_finds_nothing_on_shuffled_weights_is_below_the_claim(graph):
    def nothing(other, *, seed):
        raise NoCircuitError("no path is among them")

    assert shuffled(verified(circuit(graph, 0, 1, 2), repeat=nothing)).passed
    constant = additive.graph([5, 0, 0])  # shuffled, too, half of its copies always answer alike
    one = cm.CausalModel("one sign", {"x0": cm.Finite((1.0,)), "x1": SIGNS, "x2": SIGNS}, {"yes": lambda x0: x0 > 0})
    assert shuffled(cm.verify(circuit(constant, 1), one, n=40, controls=2, repeat=nothing)).passed is None
    with pytest.raises(cm.CommuteError, match="repeat must give a Circuit of the graph"):
        verified(circuit(graph, 0, 1, 2), repeat=lambda other, *, seed: circuit(graph, 0))


def test_a_search_that_fails_on_shuffled_weights_or_finds_fewer_edges_is_no_control(graph):
    def failing(other, *, seed):
        raise NetworkError("something else is wrong")

    def fewer(other, *, seed):
        return circuit(other, 5)

    for repeat, why in ((failing, "something else is wrong"), (fewer, "fewer edges than the 3")):
        verdict = verified(circuit(graph, 0, 1, 2), repeat=repeat, n=2000)
        assert shuffled(verdict).passed is None
        assert why in shuffled(verdict).says
        assert verdict.status == "inconclusive"


def shuffled(verdict):
    return next(e for e in verdict.controls if e.name == "re-initialised network")


def test_answers_are_labels_also_of_equal_scores_and_of_choices_with_one_label():
    """Of a score of 0 it depends on the comparison whether it is "yes"; two choices may be one label."""
    rows = np.sign(np.random.default_rng(0).standard_normal((400, 2)))
    decodes = [
        lambda s: s[:, 1] >= 0,
        lambda s: s[:, 1] > 0,
        lambda s: s[:, 1] <= 0,
        lambda s: np.array(["no", "yes", "yes"])[torch.cat([s, s[:, 1:] * 3 - 2], 1).argmax(-1).numpy()],
    ]
    for decode in decodes:
        graph = additive.graph([2.0, 2.0], decode=decode)
        runs, made = Runs.of(graph, additive.columns(rows), cm.Zero()), circuit(graph, 0)
        whole, kept, none = (np.asarray(runs.labels(x)) for x in (residual_edges(graph), made, []))
        verdict = cm.verify(made, additive.columns(rows), instead=cm.Zero(), controls=2)
        for name, where in (("changed", none != whole), ("unchanged", none == whole)):
            if where.any():
                assert (slices(verdict)[name].count.correct, slices(verdict)[name].count.total) == (
                    (kept == whole)[where].sum(),
                    where.sum(),
                )
        example = verdict.counterexample
        assert (example is None) == bool((kept == whole).all())
        assert example is None or example.expected != example.answered


def test_a_network_that_is_not_deterministic_is_an_error(graph):
    module = Noisy(WEIGHTS)
    noisy = moved(graph, cm.Network(module, encode=additive.encode, decode=additive.decode))
    module.noise = 1.0
    for ask in (lambda: verified(circuit(noisy, *range(6))), lambda: moved(graph, noisy.graph["stream"].network)):
        with pytest.raises(cm.CommuteError, match="not deterministic"):
            ask()


class Noisy(additive.Additive):
    noise = 0.0

    def forward(self, x):
        return super().forward(x) + self.noise * torch.randn(len(x), 2, dtype=torch.float64)


def test_weights_that_give_no_numbers_are_shuffled_again():
    verdict = verified(circuit(additive.graph(WEIGHTS, Rooted), 0, 1, 2), n=400)
    assert shuffled(verdict).count or shuffled(verdict).warning


class Rooted(additive.Additive):
    """Gives numbers with its own weights, the first of which is positive, and else no numbers."""

    def forward(self, x):
        first = self.parts[0].weight[1] - 4.5
        return super().forward(x) + 0 * first.sqrt()


def test_a_control_that_cannot_be_measured_leaves_the_claim_open(graph, monkeypatch):
    monkeypatch.setattr("commute.proofs.circuits.judging.reinitialised", lambda *_: None)
    verdict = verified(circuit(graph, 0, 1, 2), n=4000)
    assert verdict.status == "inconclusive"
    assert any("without this control no claim holds" in reason for reason in verdict.reasons)


def test_the_same_seed_gives_the_same_verdict(graph):
    made = circuit(graph, 0, 1)
    assert verified(made).to_json() == verified(made).to_json() != verified(made, seed=1).to_json()


def test_a_verdict_is_kept_and_shown(graph, tmp_path):
    events = []
    verdict = verified(circuit(graph, 0, 1), on_event=events.append)
    assert events == [Decided("refuted")]
    verdict.save(tmp_path)
    assert cm.Verdict.load(tmp_path) == verdict
    verdict.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "The circuit" in page
    effects = {e.start: e.effect for e in verdict.circuit}
    assert f'<td>p0 → logits</td><td class="number">{effects["p0"]:.4f}</td>' in page
    assert "2 of 2 edges were left out alone." in page
    assert "var(--page)" in page.partition("The circuit")[2]
    assert "The algorithm" not in page


def test_what_does_not_fit_is_told_at_once(graph):
    with pytest.raises(cm.CommuteError, match="3 problems") as raised:
        verify_circuit(circuit(graph, 0), {"x0": [1.0]}, at_least=2.0, n=0)
    assert "4 rows or more" in str(raised.value)
    with pytest.raises(cm.CommuteError, match="3 problems") as raised:
        verify_circuit(circuit(graph, 0), MODEL, instead=cm.Resample(MODEL), confidence=0.3, repeat=3)
    assert "instead must be None" in str(raised.value)
    with pytest.raises(cm.CommuteError, match=r"must be a cm\.Circuit"):
        verify_circuit(graph, MODEL)
    with pytest.raises(cm.CommuteError, match="3 problems") as raised:
        verify_circuit(circuit(graph, 0), MODEL, instead=cm.Mean("x"), repeat=lambda graph: graph, on_event=None)
    assert all(name in str(raised.value) for name in ("Mean('x')", "repeat must be", "on_event must be"))
