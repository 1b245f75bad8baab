"""Computation graphs: their nodes and edges by family, graphs made by hand, and what they do not take."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.graph import computation_graph, moved, residual_edges
from commute.models.circuits.runs import Runs
from commute.models.reinitialised import reinitialised
from commute.models.sites import Tap
from tests.models import families
from tests.models.circuits import nets

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def sequential(heads, groups):
    """The edges of two layers in which attention comes before the hidden layer, put down by hand."""
    edges, writers = set(), ["input"]
    for i in range(2):
        kinds = {"q": f"a{i}.h", "k": f"a{i}.h" if heads == groups else f"a{i}.g"}
        ports = [f"{kinds['q']}{h}<q>" for h in range(heads)]
        ports += [f"{kinds['k']}{h}<{c}>" for c in "kv" for h in range(groups)]
        edges |= {(w, r) for w in writers for r in ports}
        writers += [f"a{i}.h{h}" for h in range(heads)]
        edges |= {(w, f"m{i}") for w in writers}
        writers.append(f"m{i}")
    return edges | {(w, "logits") for w in writers}


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "qwen3", "phi3", "opt"])
def test_a_decoder_has_the_edges_of_its_architecture(family):
    graph = computation_graph(nets.decoder(family), nets.PROMPTS)
    assert set(residual_edges(graph)) == sequential(4, 4 if family in ("gpt2", "opt") else 2)
    assert nx.is_directed_acyclic_graph(graph)
    place = {node: i for i, node in enumerate(graph)}
    assert all(place[u] < place[v] for u, v in graph.edges)


def test_a_network_with_hook_points_has_them_too():
    graph = computation_graph(nets.hooked(), nets.BASE)
    assert set(residual_edges(graph)) == sequential(3, 3)
    assert set(graph.predecessors("a1.h2")) == {"a1.h2<q>", "a1.h2<k>", "a1.h2<v>"}


def test_heads_that_share_keys_and_values_read_them_together():
    graph = computation_graph(nets.decoder("llama"), nets.PROMPTS)
    assert set(graph.predecessors("a0.h1")) == {"a0.h1<q>", "a0.g0<k>", "a0.g0<v>"}
    assert set(graph.predecessors("a0.h2")) == {"a0.h2<q>", "a0.g1<k>", "a0.g1<v>"}


def test_parallel_blocks_do_not_read_each_other():
    graph = computation_graph(nets.decoder("gpt_neox"), nets.PROMPTS)
    assert set(graph.predecessors("m0")) == {"input"}
    assert set(graph.predecessors("m1")) == {"input", "m0", *(f"a0.h{h}" for h in range(4))}
    assert set(graph.predecessors("a1.h0<q>")) == set(graph.predecessors("m1"))


def test_attention_behind_a_norm_is_one_node():
    graph = computation_graph(nets.decoder("gemma2"), nets.PROMPTS)
    assert list(graph) == ["input", "a0", "m0", "a1", "m1", "logits"]
    assert graph.number_of_edges() == 15


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi3", "opt", "gpt_neox"])
def test_neurons_are_nodes(family):
    net = nets.decoder(family)
    graph = computation_graph(net, nets.PROMPTS, neurons=True)
    width = 64 if family == "gpt2" else 24
    assert [n for n in graph if n.startswith("m1")] == [f"m1.n{i}" for i in range(width)]
    runs, whole = (Runs.of(g, nets.PROMPTS, nets.OTHERS) for g in (graph, computation_graph(net, nets.PROMPTS)))
    neurons = {e for e in residual_edges(graph) if e[1] == "logits" and e[0].startswith("m1")}
    found = runs.scores([set(residual_edges(graph)) - neurons])[0]
    expected = whole.scores([set(residual_edges(whole.graph)) - {("m1", "logits")}])[0]
    assert_close(found, expected, **CLOSE)  # all neurons of a layer are the layer, but for its bias
    assert_close(runs.instead[runs.stream.writers.index("m0.n3")].shape, torch.Size([5, 5, 16]))


@torch.no_grad()
def test_a_neuron_is_patched_as_by_its_own_weights():
    net = nets.decoder("gpt2")
    graph = computation_graph(net, nets.PROMPTS, neurons=True)
    runs = Runs.of(graph, nets.PROMPTS, nets.OTHERS)
    readout, block = runs.readout, net.module.transformer.h[1]
    heads = {x: Runs.of(graph, y, y).instead[1 + 2] for x, y in (("base", nets.PROMPTS), ("other", nets.OTHERS))}
    streams = []
    with block.ln_2.register_forward_pre_hook(lambda m, args: streams.append(args[0])):
        net.call(nets.PROMPTS)
    inner = block.mlp.c_fc(block.ln_2(streams[-1] + heads["other"] - heads["base"]))

    def put(m, i, o):
        return torch.cat([o[..., :5], inner[..., 5:6], o[..., 6:]], -1)

    with block.mlp.c_fc.register_forward_hook(put):
        expected = readout.scores(net.call(nets.PROMPTS), 5)
    kept = [e for e in residual_edges(graph) if e != ("a0.h2", "m1.n5")]
    found, whole = runs.scores([kept, residual_edges(graph)])
    assert_close(found, expected, **CLOSE)
    assert (found - whole).abs().max() > 1e-3


def test_kept_nodes_keep_the_edges_among_them():
    graph = computation_graph(nets.decoder("llama"), nets.PROMPTS)
    kept = cm.Circuit(graph, ["input", "a0.h1", "m1", "logits"])
    ports = ["a0.h1<q>", "a0.g0<k>", "a0.g0<v>"]
    among = {("input", p) for p in [*ports, "m1", "logits"]} | {("a0.h1", "m1"), ("a0.h1", "logits"), ("m1", "logits")}
    assert set(kept.edges) == among
    assert kept.nodes == tuple(n for n in graph if n in {"input", *ports, "a0.h1", "m1", "logits"})
    assert len(kept) == len(among)
    assert set(kept.complement) == set(residual_edges(graph)) - among


def test_nodes_that_lie_on_no_path_are_not_the_circuits():
    graph = computation_graph(nets.hooked(), nets.BASE)
    kept = cm.Circuit(graph, ["input->m0", "m0->logits", "input->a0.h0<q>", "a0.h1->m1"])
    assert kept.nodes == ("input", "m0", "logits")
    assert repr(kept) == f"Circuit(4 of {len(residual_edges(graph))} edges, 3 nodes)"


@settings(max_examples=30)
@given(st.data())
def test_the_nodes_of_a_circuit_are_those_on_paths(data):
    graph = computation_graph(nets.hooked(), nets.BASE)
    edges = [*data.draw(st.lists(st.sampled_from(residual_edges(graph)), max_size=8)), ("input", "logits")]
    part = nx.DiGraph([*edges, *((u, v) for u, v, internal in graph.edges(data="internal") if internal)])
    paths = nx.all_simple_paths(part, "input", "logits")
    assert set(cm.Circuit(graph, edges).nodes) == {node for path in paths for node in path}


# Graphs made by hand.


class Adding(nn.Module):
    """A stream of six numbers to which two hidden layers and a plain linear map add; there are no positions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.first, self.last, self.map = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.embed(x)
        x = x + self.last(torch.tanh(self.first(x)))
        x = x + torch.tanh(self.map(x))
        return self.head(torch.tanh(x))


VALUES = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
ROWS, ELSE = {"i": np.arange(4)}, {"i": np.arange(4, 8)}


class Named(Adding):
    """With the places where something is written or read as modules."""

    def __init__(self):
        super().__init__()
        self.added, self.total = nn.Tanh(), nn.Identity()

    def forward(self, x):
        x = self.embed(x)
        x = x + self.last(torch.tanh(self.first(x)))
        x = self.total(x + self.added(self.map(x)))
        return self.head(torch.tanh(x))


def by_hand(**options):
    module = Named()
    net = cm.Network(module, encode=lambda b: VALUES[torch.from_numpy(b["i"])], decode=lambda x: x.argmax(-1))
    neurons = tuple(f"n{i}" for i in range(5))
    writes = [
        cm.Writes(("start",), Tap("embed")),
        cm.Writes(neurons, Tap("last", input=True), module.last.weight.detach().T[:, None]),
        cm.Writes(("map",), Tap("added")),
    ]
    reads = [
        cm.Reads(
            neurons,
            Tap("first", input=True),
            tap=Tap("first"),
            weight=module.first.weight.detach()[..., None],
            bias=module.first.bias.detach()[:, None],
        ),
        cm.Reads(("map",), Tap("map", input=True)),
        cm.Reads(("end",), Tap("total")),
    ]
    return net, computation_graph(net, ROWS, writes=writes, reads=reads, **options)


@torch.no_grad()
def by_formula(module, kept):
    """The same network with `kept(writer, reader)`, written out."""

    def run(x, others=None):
        written = {"start": module.embed(x)}

        def read(reader):
            return sum(v if others is None or kept(w, reader) else others[w] for w, v in written.items()) + constant

        constant = 0
        hidden = {f"n{i}": torch.tanh(read(f"n{i}") @ module.first.weight[i] + module.first.bias[i]) for i in range(5)}
        written |= {n: h[:, None] * module.last.weight[:, i] for i, (n, h) in enumerate(hidden.items())}
        constant = module.last.bias
        written["map"] = torch.tanh(module.map(read("map")))
        return written, module.head(torch.tanh(read("end")))

    others, _ = run(VALUES[4:])
    return run(VALUES[:4], others)[1]


@settings(max_examples=30)
@given(st.data())
def test_a_graph_made_by_hand_is_patched_as_by_its_formula(data):
    net, graph = by_hand()
    edges = residual_edges(graph)
    assert len(edges) == 5 + 6 + 7
    keep = set(data.draw(st.lists(st.sampled_from(edges))))
    found = Runs.of(graph, ROWS, ELSE).scores([keep])[0]
    assert_close(found, by_formula(net.module, lambda w, r: (w, r) in keep), **CLOSE)


def test_a_graph_made_by_hand_has_no_positions_to_tell_apart():
    _, graph = by_hand(positions=[0])
    with pytest.raises(NetworkError, match="without positions="):
        Runs.of(graph, ROWS, ELSE).scores([[]])


# Weights that change, and other networks.


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "phi3", "hooked"])
@pytest.mark.parametrize("neurons", [False, True])
def test_weights_that_are_trained_in_place_are_read_as_they_are(family, neurons):
    if family == "hooked" and neurons:
        pytest.skip("its neurons are not told apart")
    net, batch = (nets.hooked(), nets.BASE) if family == "hooked" else (nets.decoder(family), nets.PROMPTS)
    graph = computation_graph(net, batch, neurons=neurons)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws))
    found, again = (
        Runs.of(g, batch, cm.Mean(batch)).scores([residual_edges(g)[::2]])
        for g in (graph, computation_graph(net, batch, neurons=neurons))
    )
    assert_close(found, again, **CLOSE)


def test_a_graph_is_moved_to_another_network_of_its_architecture():
    net = nets.hooked()
    graph = computation_graph(net, nets.BASE, positions=[-1])
    other = reinitialised(net, np.random.default_rng(0))
    there = moved(graph, other)
    assert list(there.edges) == list(graph.edges)
    assert list(there) == list(graph)
    assert there.graph["positions"] == (-1,)
    assert there.graph["stream"].network is other
    runs = Runs.of(there, nets.BASE, nets.OTHER)
    assert list(runs.labels(residual_edges(there))) == list(other.run(nets.BASE))
    assert (runs.scores([[]]) - Runs.of(graph, nets.BASE, nets.OTHER).scores([[]])).abs().max() > 0.1


def test_a_graph_is_not_moved_to_another_architecture():
    graph = computation_graph(nets.decoder("gpt2"), nets.PROMPTS)
    with pytest.raises(NetworkError, match=r"110 edges and that of .* has 82; .* is in one of them alone"):
        moved(graph, nets.decoder("llama"))
    _, own = by_hand()
    with pytest.raises(NetworkError, match="writes=…, reads=…"):
        moved(own, nets.hooked())


# What is not taken.


def test_unknown_nodes_and_edges_are_named_with_the_nearest():
    graph = computation_graph(nets.hooked(), nets.BASE)
    with pytest.raises(NetworkError, match=r"no node 'a0.h7'; did you mean 'a0.h") as error:
        cm.Circuit(graph, ["a0.h7", "logit"])
    assert "did you mean 'logits'" in str(error.value)
    with pytest.raises(NetworkError, match=r"no edge 'm0->logit'; did you mean 'm0->logits'"):
        cm.Circuit(graph, ["m0->logit"])
    with pytest.raises(NetworkError, match="a0.h1<q>->a0.h1 is inside a node"):
        cm.Circuit(graph, [("a0.h1<q>", "a0.h1")])
    with pytest.raises(NetworkError, match="a pair of nodes or 'm0->logits'; given 3"):
        cm.Circuit(graph, [3])
    with pytest.raises(NetworkError, match="edges or nodes, not both"):
        cm.Circuit(graph, ["m0", "m0->logits"])
    with pytest.raises(NetworkError, match="no edge 'a->b->c'"):
        cm.Circuit(graph, ["a->b->c"])


@pytest.mark.parametrize("keep", [[], ["input->m0"], ["m0->logits"], ["a0.h1", "m1"], ["input->a1.h0<q>", "a0.h0->logits"]])
def test_circuits_that_do_not_reach_the_output_are_refused(keep):
    with pytest.raises(NetworkError, match="leads from what the network is given to logits"):
        cm.Circuit(computation_graph(nets.hooked(), nets.BASE), keep)


def test_a_circuit_needs_a_computation_graph():
    for graph in (nx.DiGraph([("a", "b")]), 3):
        with pytest.raises(NetworkError, match="part of a computation graph"):
            cm.Circuit(graph, ["a->b"])


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_networks_that_norm_their_stream_are_refused(family):
    model = families.model(family)
    net = (
        cm.Network.from_transformers(
            model,
            families.tokenizer(encoder=True),
            prompts="{a} and {b} gave [MASK]",
            answers={"Mary": " Mary", "John": " John"},
        )
        if family == "bert"
        else cm.Network(
            model,
            encode=lambda b: {"input_ids": torch.from_numpy(np.stack([b["a"], b["b"], b["a"]], 1))},
            decode=lambda x: x.logits[:, -1].argmax(-1),
        )
    )
    batch = {"a": np.array(["Mary", "John"]), "b": np.array(["John", "Anna"])} if family == "bert" else nets.PROMPTS
    with pytest.raises(NetworkError, match="norm"):
        computation_graph(net, batch)


def test_a_graph_needs_two_inputs_that_differ():
    net = nets.hooked()
    with pytest.raises(NetworkError, match="two inputs that differ; given one setting"):
        computation_graph(net, {"i": 3})
    with pytest.raises(NetworkError, match="given 3 of which all are the same"):
        computation_graph(net, {"i": np.array([2, 2, 2])})
    parallel, again = nets.decoder("gpt_neox"), {k: x[[0, 0, 1]] for k, x in nets.PROMPTS.items()}
    assert set(computation_graph(parallel, again).edges) == set(computation_graph(parallel, nets.PROMPTS).edges)


def test_writes_and_reads_that_do_not_fit_are_refused():
    net, graph = by_hand()
    stream = graph.graph["stream"]
    with pytest.raises(NetworkError, match="given one of them"):
        computation_graph(net, ROWS, writes=stream.writes)
    with pytest.raises(NetworkError, match="leave out neurons"):
        computation_graph(net, ROWS, writes=stream.writes, reads=stream.reads, neurons=True)
    with pytest.raises(NetworkError, match="what end reads at total is not the sum"):
        computation_graph(net, ROWS, writes=[stream.writes[0], stream.writes[2]], reads=[stream.reads[2]])
    with pytest.raises(NetworkError, match="without a weight there is one node"):
        cm.Writes(("a", "b"), Tap("embed"))
    with pytest.raises(NetworkError, match=r"weight must be \[node, part, width\] with 1 nodes; given \[6, 5\]"):
        cm.Writes(("a",), Tap("embed"), torch.zeros(6, 5))
    with pytest.raises(NetworkError, match=r"columns must be \[node, part\], \[1, 2\]; given \[1, 3\]"):
        cm.Writes(("a",), Tap("embed"), torch.zeros(1, 2, 6), torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(NetworkError, match="a tap a weight"):
        cm.Reads(("a",), Tap("embed"), tap=Tap("map"))
    with pytest.raises(NetworkError, match=r"weight must be \[node, width, part\]"):
        cm.Reads(("a",), Tap("embed"), tap=Tap("map"), weight=torch.zeros(6, 5))


def test_positions_must_differ():
    for positions in ([], [0, 0]):
        with pytest.raises(NetworkError, match="positions must be different numbers or names"):
            computation_graph(nets.hooked(), nets.BASE, positions=positions)
    graph = computation_graph(nets.decoder("gpt2"), nets.PROMPTS, positions=["subject"])
    with pytest.raises(NetworkError, match="subject"):
        Runs.of(graph, nets.PROMPTS, nets.OTHERS).scores([[]])


def test_a_module_without_layers_is_told():
    net = cm.Network(Adding(), encode=lambda b: VALUES[torch.from_numpy(b["i"])], decode=lambda x: x.argmax(-1))
    with pytest.raises(NetworkError, match="ModuleList"):
        computation_graph(net, ROWS)
