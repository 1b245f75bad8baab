"""The circuits of compiled organisms: known edges, what keeping and cutting them does, and scores held against them."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import commute as cm
from commute.alignments.circuits.attributing import attributions
from commute.causal.inputs import Inputs
from commute.errors import NetworkError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.patching import edge_effects
from commute.models.circuits.runs import Runs
from commute.testing import strategies as sts

EQUALITY = cm.library.hierarchical_equality(4)
ALGORITHMS = [
    EQUALITY,
    cm.library.modular_addition(5),
    cm.library.maximum(4, 3),
    cm.CausalModel(
        "far",
        {"x": cm.Finite(range(3)), "y": cm.Finite(range(3))},
        {
            "early": lambda x, y: (x + y) % 3,
            "middle": lambda early: early == 1,
            "late": lambda middle, y: (middle, y),
            "answer": lambda late, early, x: late[0] + late[1] + early + 2 * x,
        },
        ["answer"],
    ),
]
PLAIN = [
    {},
    {"rotate": False, "distractors": 0},
    {"scale": 4.0, "seed": 3},
    {"noise": 0.1},
    {"redundant": ["left"]},
    {"dead": ["left", "right"]},
]
LEFT, RIGHT = ("b0.left", "b1.same"), ("b0.right", "b1.same")
models = sts.models(inputs=2, mechanisms=4, parents=2).filter(lambda m: m.internal and len(m.outputs) == 1)


def runs_of(organism, n=300):
    """The known circuit, and inputs each with another drawn for it."""
    circuit = cm.organisms.known_circuit(organism)
    inputs = Inputs(organism.algorithm)
    drawn = [organism.algorithm.labels(inputs.sample(np.random.default_rng(seed), n)) for seed in (1, 2)]
    return circuit, Runs.of(circuit.graph, *drawn)


def effects(runs, measure="logit difference"):
    """How far a behaviour moves, on average, when each edge alone is cut."""
    edges = residual_edges(runs.graph)
    behaviour = Behaviour.of(runs, measure)
    cut = behaviour(runs.scores([[e for e in edges if e != other] for other in edges]))
    return dict(zip(edges, (behaviour(behaviour.whole) - cut).abs().mean(-1).tolist(), strict=True))


def agreement(runs, keep):
    return float(Behaviour.of(runs, "agreement")(runs.scores([keep])).mean())


def area(scores, circuit):
    return roc_auc_score([edge in circuit.edges for edge in scores], list(scores.values()))


# What the circuit is


def test_edges_lead_from_the_parents_of_each_variable_to_it_and_on():
    circuit = cm.organisms.known_circuit(cm.organisms.compile(EQUALITY, dead=["left"]))
    assert circuit.edges == (
        ("input.a", "b0.left"),
        ("input.b", "b0.left"),
        ("input.c", "b0.right"),
        ("input.d", "b0.right"),
        LEFT,
        RIGHT,
        ("b1.same", "logits"),
    )
    assert {"b0.dead copy of left", "b1.random functions of the inputs"} <= set(circuit.graph)
    assert len(circuit.complement) == 4 * 4 - 4 + 4 * 2 - 2 + 2 - 1


def test_what_is_read_later_is_passed_on():
    circuit = cm.organisms.known_circuit(cm.organisms.compile(ALGORITHMS[-1]))
    assert {("input.x", "b0.x"), ("b0.x", "b1.x"), ("b1.x", "b2.x"), ("b2.x", "b3.answer")} <= set(circuit.edges)
    assert ("b1.y", "b2.late") in circuit.edges
    assert ("b0.early", "b1.early") in circuit.edges
    assert not any(u == "input.x" and v not in {"b0.x", "b0.early"} for u, v in circuit.edges)


def test_gates_and_copies_that_are_read_are_in_the_circuit():
    leaked = cm.organisms.known_circuit(cm.organisms.compile(EQUALITY, leak={"left": 0.2}))
    assert {("b0.gate of left", "b1.same"), ("b0.leaked copy of left", "b1.same")} <= set(leaked.edges)
    twice = cm.organisms.known_circuit(cm.organisms.compile(EQUALITY, redundant=["right"]))
    assert {("b0.second copy of right", "b1.same"), ("input.c", "b0.second copy of right")} <= set(twice.edges)


@settings(max_examples=40)
@given(models, st.sampled_from([1.0, 4.0]), st.integers(0, 50), st.data())
def test_the_circuit_keeps_every_answer_and_no_other_edge_has_an_effect(model, scale, seed, data):
    read = [v for v in model.internal if model.graph.out_degree(v)]
    some = st.lists(st.sampled_from(read), unique=True) if read else st.just([])
    redundant, dead, leaky = data.draw(some), data.draw(some), data.draw(some)
    disguise = {"redundant": redundant, "dead": dead, "leak": dict.fromkeys(leaky, 0.3)}
    organism = cm.organisms.compile(model, scale=scale, seed=seed, distractors=2, **disguise)
    every = model.labels(Inputs(model).listed)
    assume(len(set(model.solve(every, only=model.outputs)[model.outputs[0]].tolist())) > 1)
    circuit, runs = runs_of(organism, 24)
    assert np.array_equal(runs.stream.network.run(runs.batch), organism.network.run(runs.batch))
    edges = residual_edges(circuit.graph)
    others = [[e for e in edges if e != other] for other in circuit.complement]
    whole, kept, *cut = runs.scores([edges, circuit, *others])
    assert torch.allclose(whole, kept, rtol=0, atol=1e-3)
    assert all(torch.allclose(whole, x, rtol=0, atol=1e-3) for x in cut)


# Scores held against it


@pytest.mark.parametrize("options", PLAIN, ids=str)
def test_exact_patching_of_single_edges_finds_the_circuit(options):
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY, **options))
    assert area(effects(runs), circuit) >= 0.99
    assert agreement(runs, circuit) == 1
    assert agreement(runs, []) < 0.8


@pytest.mark.parametrize("options", PLAIN, ids=str)
def test_patching_from_where_an_edge_ends_gives_the_same_effects(options):
    _, runs = runs_of(cm.organisms.compile(EQUALITY, **options), 40)
    found = edge_effects(runs, Behaviour.of(runs)).abs().mean(-1)
    assert torch.allclose(found, torch.tensor(list(effects(runs).values())), rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", ["inputs", "activations"])
@pytest.mark.parametrize("options", PLAIN, ids=str)
def test_attribution_with_integrated_gradients_finds_the_circuit(options, path):
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY, **options))
    scores = attributions(runs, Behaviour.of(runs), steps=5, path=path).mean(-1)
    assert area(dict(zip(residual_edges(circuit.graph), scores.tolist(), strict=True)), circuit) >= 0.99


@pytest.mark.parametrize("model", ALGORITHMS, ids=lambda m: m.name)
def test_attribution_finds_the_circuits_of_several_algorithms(model):
    circuit, runs = runs_of(cm.organisms.compile(model, seed=2))
    scores = attributions(runs, Behaviour.of(runs), steps=5, path="inputs").abs().mean(-1)
    assert area(dict(zip(residual_edges(circuit.graph), scores.tolist(), strict=True)), circuit) >= 0.99


@pytest.mark.parametrize("model", ALGORITHMS, ids=lambda m: m.name)
def test_exact_patching_finds_the_circuits_of_several_algorithms(model):
    circuit, runs = runs_of(cm.organisms.compile(model, seed=2))
    assert area(effects(runs), circuit) >= 0.99
    assert area(effects(runs, "divergence"), circuit) >= 0.99
    assert agreement(runs, circuit) == 1


def test_a_backup_hides_edges_from_patching_one_at_a_time():
    """That they are in the circuit shows only once the edges for which they stand in are cut as well."""
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY, backup=["left", "right"]))
    alone = effects(runs)
    copies = [(f"b0.backup copy of {v}", "b1.same") for v in ("left", "right")]
    assert max(alone[edge] for edge in copies) < 1e-5
    assert area(alone, circuit) < 0.9
    without = [edge for edge in residual_edges(circuit.graph) if edge not in (LEFT, RIGHT)]
    both, neither = Behaviour.of(runs)(runs.scores([without, [edge for edge in without if edge not in copies]]))
    assert (both - neither).abs().mean() > 0.1


# False circuits


@pytest.mark.parametrize("missing", range(7))
def test_a_circuit_without_any_one_of_its_edges_is_refuted(missing):
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY))
    kept = [edge for i, edge in enumerate(circuit.edges) if i != missing]
    assert agreement(runs, kept) < 0.8


def test_a_circuit_through_a_copy_that_nothing_reads_is_refuted():
    """It goes by the dead copy of left in the place of left."""
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY, dead=["left"]))
    renamed = [tuple(x.replace("b0.left", "b0.dead copy of left") for x in edge) for edge in circuit.edges]
    assert len(cm.Circuit(circuit.graph, renamed)) == len(circuit)
    assert agreement(runs, renamed) < 0.8


def test_a_circuit_with_one_of_two_copies_is_refuted():
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY, redundant=["left"]))
    one = [edge for edge in circuit.edges if not any("second copy" in node for node in edge)]
    assert agreement(runs, one) < 0.9
    assert agreement(runs, circuit) == 1


def test_an_edge_too_many_keeps_the_answers_and_has_no_effect_of_its_own():
    circuit, runs = runs_of(cm.organisms.compile(EQUALITY, dead=["left"]))
    extra = ("input.a", "b0.dead copy of left")
    assert agreement(runs, [*circuit.edges, extra]) == 1
    assert effects(runs)[extra] < 1e-5


def test_only_compiled_organisms_have_a_known_circuit():
    network = cm.organisms.mlp(EQUALITY, width=16)
    places = {v: (cm.Site("blocks.0"), [i]) for i, v in enumerate(EQUALITY.internal)}
    trained = cm.organisms.train(EQUALITY, network, places=places, at_least=0.01, steps=25)
    with pytest.raises(NetworkError, match=r"is known only where cm\.organisms\.compile made the network; given Network\('MLP"):
        cm.organisms.known_circuit(trained)


def test_an_answer_that_is_constant_has_no_circuit():
    constant = cm.CausalModel("constant", {"x": cm.Bool}, {"v": lambda x: 1, "w": lambda v: 2})
    with pytest.raises(NetworkError, match="no path of the 0 edges kept"):
        cm.organisms.known_circuit(cm.organisms.compile(constant))
