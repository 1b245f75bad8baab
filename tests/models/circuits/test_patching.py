"""Exact patching of single edges: passes from the middle against runs of the circuits without the edge."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

import commute as cm
from commute.errors import NetworkError, ReplayWarning
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.midway import clean_of, groups_of
from commute.models.circuits.patching import edge_effects
from commute.models.circuits.runs import Runs
from commute.models.engine import engine_of
from tests.models import families
from tests.models.circuits import nets
from tests.models.circuits.test_graphs import ELSE, ROWS, by_hand
from tests.proofs.circuits import additive

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def made(family, **options):
    if family == "hooked":
        net, batch, others = nets.hooked(), nets.BASE, nets.OTHER
    else:
        net, batch, others = nets.decoder(family), nets.PROMPTS, nets.OTHERS
    graph = computation_graph(net, batch, **options)
    return Runs.of(graph, batch, others)


def in_full(runs, behaviour, some=slice(None)):
    """The effects of edges by one run a circuit."""
    edges = residual_edges(runs.graph)
    mask = runs.mask(edges).repeat(len(edges[some]), 1, 1, 1)
    for i, edge in enumerate(edges[some]):
        mask[i][runs.index[edge]] = False
    return behaviour(runs.scores(list(mask))) - behaviour(behaviour.whole)


def assert_exact(runs, some=slice(None), **close):
    behaviour = Behaviour.of(runs)
    found = edge_effects(runs, behaviour)
    assert runs.stream.network.replays
    assert found.shape == (len(residual_edges(runs.graph)), 5 if len(behaviour.whole) == 5 else len(behaviour.whole))
    assert_close(found[some], in_full(runs, behaviour, some), **(close or CLOSE))
    assert (found.abs() > 1e-3).any(1).float().mean() > 0.2
    return found


@pytest.mark.parametrize("positions", [None, [1, -1]])
@pytest.mark.parametrize("family", [*families.CAUSAL, *families.SHARING, "hooked"])
def test_effects_are_those_of_leaving_out_one_edge(family, positions):
    runs = made(family, positions=positions)
    assert_exact(runs)
    engine = engine_of(runs.stream.network, runs.batch)
    assert (groups_of(runs.stream, engine) is None) == (family == "opt")  # which lays rows and positions in one axis


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi3", "gpt_neox"])
def test_effects_of_edges_into_neurons_are_exact(family):
    assert_exact(made(family, neurons=True), slice(0, None, 41))


@pytest.mark.parametrize("instead", [cm.Mean(nets.OTHERS), cm.Zero(), cm.Resample(nets.OTHERS)])
def test_effects_are_of_whatever_edges_carry(instead):
    net = nets.decoder("gpt2")
    assert_exact(Runs.of(computation_graph(net, nets.PROMPTS), nets.PROMPTS, instead))


@pytest.mark.parametrize("measure", ["logit difference", "divergence", "agreement", "accuracy"])
def test_effects_are_on_whatever_is_measured(measure):
    runs = made("gpt2")
    behaviour = Behaviour.of(runs, measure)
    assert_close(edge_effects(runs, behaviour), in_full(runs, behaviour), **CLOSE)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("positions", [None, ["name"]])
def test_prompts_of_different_length_are_read_where_they_end(padding, positions):
    """With padding on the right the answer is read in different columns, the first of which bounds what is left out."""
    lengths = np.array([1, 2, 1, 3, 2])
    plain = nets.decoder("gpt2", prompts=lambda s: [*[7] * s["n"], s["a"], s["b"], 7, s["a"], 9], padding=padding)
    net = cm.Network(
        plain.module, encode=plain.encode, decode=plain.decode, finish=plain.finish, positions={"name": lambda b: b["n"]}
    )
    batch, others = {**nets.PROMPTS, "n": lengths}, {**nets.OTHERS, "n": lengths}
    found = assert_exact(Runs.of(computation_graph(net, batch, positions=positions), batch, others))
    few = cm.Network(
        plain.module, encode=plain.encode, decode=plain.decode, finish=plain.finish, positions=net.positions, batch_size=5
    )
    runs = Runs.of(computation_graph(few, batch, positions=positions), batch, others)
    few.batch_size = 2  # inputs that are filled up as much as all of them
    behaviour = Behaviour.of(runs)
    assert_close(in_full(runs, behaviour), found, **CLOSE)
    few.confirmed.add((engine_of(few, batch).traces, taps_of(runs), "edges"))
    assert_close(edge_effects(runs, behaviour), found, **CLOSE)


def taps_of(runs):
    groups = groups_of(runs.stream, engine_of(runs.stream.network, runs.batch))
    return frozenset(tap for group in groups for tap in group.taps)


def shared(runs):
    net = runs.stream.network
    engine = engine_of(net, runs.batch)
    groups = groups_of(runs.stream, engine)
    return clean_of(runs, engine, torch.arange(5), groups), groups


@torch.no_grad()
def test_columns_that_are_the_same_and_that_are_not_read_are_left_out():
    net = nets.decoder("gpt2", prompts=lambda s: [7, 8, 11, s["a"], s["b"], 7, 9])
    runs = Runs.of(computation_graph(net, nets.PROMPTS), nets.PROMPTS, nets.OTHERS)
    clean, groups = shared(runs)
    assert [first for _, first in clean.changes] == [3]
    last = {tap for group in groups[-5:] for tap in group.begin}
    assert clean.unread == dict.fromkeys(last, 6)  # from the results of the last heads on
    assert_exact(runs)


@torch.no_grad()
def test_a_decode_that_reads_several_columns_is_given_them():
    model = families.model("gpt2")
    net = cm.Network(
        model,
        encode=lambda b: {"input_ids": torch.from_numpy(np.stack([b["a"], b["b"], b["a"], b["b"]], 1)), "use_cache": False},
        decode=lambda x: (x.logits[:, 1] + x.logits[:, -1])[:, :8].argmax(-1),
    )
    runs = Runs.of(computation_graph(net, nets.PROMPTS), nets.PROMPTS, nets.OTHERS)
    assert set(shared(runs)[0].unread.values()) == {1}
    assert_exact(runs)


def test_inputs_that_do_not_fit_at_once_are_patched_in_parts():
    expected = assert_exact(made("gpt2"))
    for options in ({"batch_size": 2}, {"memory": 1 << 16}):
        net = nets.decoder("gpt2")
        small = cm.Network(net.module, encode=net.encode, decode=net.decode, finish=net.finish, **options)
        runs = Runs.of(computation_graph(small, nets.PROMPTS), nets.PROMPTS, nets.OTHERS)
        assert_close(edge_effects(runs, Behaviour.of(runs)), expected, **CLOSE)


def test_edges_of_a_graph_made_by_hand_are_patched():
    _, graph = by_hand()
    runs = Runs.of(graph, ROWS, ELSE)
    behaviour = Behaviour.of(runs)
    assert_close(edge_effects(runs, behaviour), in_full(runs, behaviour), **CLOSE)


def test_less_is_computed_than_by_a_pass_an_edge():
    runs = made("gpt2")
    behaviour = Behaviour.of(runs)
    edge_effects(runs, behaviour)
    with FlopCounterMode(display=False) as ours:
        edge_effects(runs, behaviour)
    with FlopCounterMode(display=False) as one:
        runs.stream.network.call(runs.batch)
    assert ours.get_total_flops() < 0.5 * len(residual_edges(runs.graph)) * one.get_total_flops()


class Mixing(nn.Module):
    """An MLP that mixes positions, so that not even its last columns may be computed alone."""

    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, x):
        return self.own(x) + x.mean(1, keepdim=True)


def test_modules_that_mix_columns_are_seen():
    net = nets.decoder("gpt2")
    net.module.transformer.h[1].mlp = Mixing(net.module.transformer.h[1].mlp)
    runs = Runs.of(computation_graph(net, nets.PROMPTS), nets.PROMPTS, nets.OTHERS)
    behaviour = Behaviour.of(runs)
    assert_close(edge_effects(runs, behaviour), in_full(runs, behaviour), **CLOSE)


class Counting(nn.Module):
    def forward(self, x):
        return x * (1 + (x.shape[0] % 7) * 0.1)


def test_where_passes_from_the_middle_differ_all_are_made_in_full():
    """A module whose result depends on how many rows there are."""
    net = nets.decoder("gpt2")
    net.module.transformer.h[1].mlp.dropout = Counting()
    runs = Runs.of(computation_graph(net, nets.PROMPTS), nets.PROMPTS, nets.OTHERS)
    behaviour = Behaviour.of(runs)
    with pytest.warns(ReplayWarning, match="does not give what passes in full give"):
        found = edge_effects(runs, behaviour)
    assert not net.replays
    assert found.shape == (110, 5)


def test_networks_with_hooks_of_the_user_are_patched_in_full():
    runs = made("gpt2")
    block = runs.stream.network.module.transformer.h[0]
    handle = block.mlp.register_forward_hook(lambda m, i, o: o * 0.5)
    runs = Runs.of(computation_graph(runs.stream.network, nets.PROMPTS), nets.PROMPTS, nets.OTHERS)
    assert_exact(runs)
    assert list(block.mlp._forward_hooks) == [handle.id]


def test_the_module_is_left_as_it_was_and_effects_can_be_trained_on():
    runs = made("gpt2")
    module = runs.stream.network.module.train()

    def state():
        return [
            (len(m._forward_hooks), len(m._forward_pre_hooks), m.training, "forward" in m.__dict__) for m in module.modules()
        ], [p.requires_grad for p in module.parameters()]

    before = state()
    found = edge_effects(runs, Behaviour.of(runs))
    assert state() == before
    assert not found.is_inference()
    (found * torch.ones((), requires_grad=True)).sum().backward()


def test_a_behaviour_of_other_inputs_is_refused():
    runs = made("hooked")
    for few in (np.arange(3), np.array([1, 0, 2, 3, 4])):
        with pytest.raises(NetworkError, match="behaviour is that of (3 rows|other inputs than)"):
            edge_effects(runs, Behaviour.of(runs.take(few)))


def test_nan_without_a_single_edge_is_told_with_its_row():
    x = np.array([[3.0, 3.0], [1.0, 1.0], [5.0, 5.0]])
    other = np.array([[4.0, 4.0], [-1.0, -1.0], [6.0, 6.0]])
    runs = Runs.of(additive.graph([1.0, 1.0], additive.Holed), additive.columns(x), additive.columns(other))
    with pytest.raises(NetworkError, match="in row 1 the output is NaN, which is made by what edges carry"):
        edge_effects(runs, Behaviour.of(runs))
