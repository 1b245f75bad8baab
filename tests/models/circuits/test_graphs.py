"""Computation graphs: their nodes and edges by family, graphs made by hand, and what they do not take."""

from dataclasses import replace
from functools import partial

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
from commute.models.circuits.ends import ends_of
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


@pytest.mark.parametrize("family", ["gpt_neox", *families.SHARING])
def test_parallel_blocks_do_not_read_each_other(family):
    graph = computation_graph(nets.decoder(family), nets.PROMPTS)
    assert set(graph.predecessors("m0")) == {"input"}
    assert set(graph.predecessors("m1")) == {"input", "m0", *(f"a0.h{h}" for h in range(4))}
    assert set(graph.predecessors("a1.h0<q>")) == set(graph.predecessors("m1"))


def test_attention_behind_a_norm_is_one_node():
    graph = computation_graph(nets.decoder("gemma2"), nets.PROMPTS)
    assert list(graph) == ["input", "a0", "m0", "a1", "m1", "logits"]
    assert graph.number_of_edges() == 15


def test_attention_as_one_node_reads_at_one_position_and_writes_at_others():
    graph = computation_graph(nets.decoder("gemma2"), nets.PROMPTS, positions=[1, -1])
    circuit = cm.Circuit(graph, ["input[1]->a0<x>[1]", "a0[-1]->logits[-1]"])
    assert circuit.nodes == ("input[1]", "a0<x>[1]", "a0[-1]", "logits[-1]")
    kept, none = Runs.of(graph, nets.PROMPTS, nets.OTHERS).scores([circuit, []])
    assert (kept - none).abs().max() > 1e-3


def test_a_query_acts_at_its_own_position_alone():
    graph = computation_graph(nets.decoder("gpt2"), nets.PROMPTS, positions=[0, -1])
    assert set(graph.predecessors("a0.h1[-1]")) == {"a0.h1<q>[-1]", *(f"a0.h1<{c}>[{p}]" for c in "kv" for p in ("0", "-1", "*"))}
    assert len(cm.Circuit(graph, ["input[-1]->a0.h1<q>[-1]", "a0.h1[-1]->logits[-1]"]).nodes) == 4
    with pytest.raises(NetworkError, match="no path of the 2 edges kept"):
        cm.Circuit(graph, ["input[0]->a0.h1<q>[0]", "a0.h1[-1]->logits[-1]"])


def test_the_ends_are_the_positions_that_the_answer_is_read_at():
    graph = computation_graph(nets.decoder("gpt2"), nets.PROMPTS, positions=[0, -1])
    assert len(cm.Circuit(graph, ["input[-1]->logits[-1]"])) == 1
    for place in ("0", "*"):
        with pytest.raises(NetworkError, match=r"is given to logits\[-1\], so"):
            cm.Circuit(graph, [f"input[{place}]->logits[{place}]"])
    net = nets.hooked()
    two = cm.Network(net.module, encode=net.encode, decode=lambda x: (x[:, 0] + x[:, 2]).argmax(-1))
    ends = {p: computation_graph(two, nets.BASE, positions=[p]) for p in (0, 1, 2)}
    assert [len(ends_of(ends[p])) for p in (0, 1, 2)] == [2, 1, 2]
    assert ends_of(ends[1]) == ("logits[*]",)
    assert ends_of(moved(ends[1], nets.hooked(1))) == ("logits[*]",)


def test_ends_at_named_positions_are_those_of_any_row():
    net = nets.hooked()
    named = cm.Network(
        net.module, encode=net.encode, decode=net.decode, positions={"there": lambda b: np.where(b["i"] == 4, nets.LENGTH - 1, 1)}
    )
    assert ends_of(computation_graph(named, nets.BASE, positions=["there"])) == ("logits[there]", "logits[*]")
    few = {"i": nets.BASE["i"][:4]}
    assert ends_of(computation_graph(named, few, positions=["there"])) == ("logits[*]",)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "phi", "hooked"])
def test_edges_do_not_depend_on_the_inputs_that_they_are_read_off(family):
    net, batch = (nets.hooked(), nets.BASE) if family == "hooked" else (nets.decoder(family), nets.PROMPTS)
    expected = computation_graph(net, batch)
    alike = {k: x[[0, 0, 0, 1]] for k, x in batch.items()}
    one = {k: x[0] for k, x in batch.items()}
    for inputs in (alike, alike | {"unread": np.arange(4)}, one):
        assert list(computation_graph(net, inputs).edges) == list(expected.edges)


class Idle(nn.Module):
    """Two maps side by side, of which the first gives nothing for small inputs."""

    def __init__(self):
        super().__init__()
        self.embed, self.read_a, self.out = (nn.Identity() for _ in range(3))
        self.a, self.b = nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.Tanh())

    def forward(self, x):
        x = self.embed(x)
        a = self.a(self.read_a(x) - 1)
        return self.out(x + a + self.b(x))


def test_a_writer_that_is_idle_gets_the_edges_that_it_has_and_no_other():
    net = cm.Network(Idle(), encode=lambda b: torch.from_numpy(np.stack([b["x"], b["y"]], 1)), decode=lambda x: x.argmax(-1))
    writes = [cm.Writes((n,), Tap(t)) for n, t in (("input", "embed"), ("a", "a"), ("b", "b"))]
    reads = [cm.Reads((n,), Tap(t, input=True)) for n, t in (("a", "read_a"), ("b", "b"), ("logits", "out"))]
    for size in (0.01, 5.0):
        batch = {v: (size * np.random.default_rng(i).normal(size=4)).astype(np.float32) for i, v in enumerate("xy")}
        found = computation_graph(net, batch, writes=writes, reads=reads)
        assert set(residual_edges(found)) == {("input", "a"), ("input", "b"), *((n, "logits") for n in ("input", "a", "b"))}


class Growing(nn.Module):
    """Maps one after the other, or side by side, of which each adds much more than the last, or much less."""

    def __init__(self, factor, *, beside):
        super().__init__()
        self.embed, self.out, self.beside = nn.Identity(), nn.Identity(), beside
        self.maps = nn.ModuleList(nn.Sequential(nn.Tanh(), Scale(factor ** (2 * i))) for i in range(5))
        self.reads = nn.ModuleList(nn.Identity() for _ in range(5))

    def forward(self, x):
        x = total = self.embed(x)
        for inner, read in zip(self.maps, self.reads, strict=True):
            total = total + inner(read(x if self.beside else total))
        return self.out(total)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("factor", [0.05, 1.0, 20.0])
def test_writers_of_very_different_size_are_told_apart(factor, beside):
    module = Growing(factor, beside=beside)
    net = cm.Network(module, encode=lambda b: VALUES[torch.from_numpy(b["i"])], decode=lambda x: x.argmax(-1))
    nodes = [f"m{i}" for i in range(5)]
    writes = [cm.Writes(("input",), Tap("embed")), *(cm.Writes((n,), Tap(f"maps.{i}")) for i, n in enumerate(nodes))]
    reads = [*(cm.Reads((n,), Tap(f"reads.{i}", input=True)) for i, n in enumerate(nodes)), cm.Reads(("end",), Tap("out"))]
    found = set(residual_edges(computation_graph(net, ROWS, writes=writes, reads=reads)))
    before = {n: ["input", *([] if beside else nodes[:i])] for i, n in enumerate(nodes)} | {"end": ["input", *nodes]}
    assert found == {(w, r) for r, some in before.items() for w in some}


class Scale(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "phi", "qwen3"])
def test_one_large_number_of_the_stream_hides_nothing(family, dtype):
    net = nets.decoder(family, dtype=dtype)
    expected = list(computation_graph(net, nets.PROMPTS).edges)
    with torch.no_grad():
        net.module.get_input_embeddings().weight[:, 0] += 300
    graph = computation_graph(net, nets.PROMPTS)
    assert list(graph.edges) == expected
    stream = graph.graph["stream"]
    writes, reads = ([x for x in some if x.nodes != ("m0",)] for some in (stream.writes, stream.reads))
    with pytest.raises(NetworkError, match="is not the sum of what nodes before it wrote"):
        computation_graph(net, nets.PROMPTS, writes=writes, reads=reads)


def test_weights_that_are_made_of_others_are_read():
    net = nets.decoder("llama")
    expected = computation_graph(net, nets.PROMPTS, neurons=True)
    whole = Runs.of(expected, nets.PROMPTS, nets.OTHERS).scores([residual_edges(expected)[::2]])
    for layer in net.module.model.layers:
        for map_ in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp.down_proj):
            nn.utils.parametrizations.weight_norm(map_)
    graph = computation_graph(net, nets.PROMPTS, neurons=True)
    assert_close(Runs.of(graph, nets.PROMPTS, nets.OTHERS).scores([residual_edges(graph)[::2]]), whole, **CLOSE)


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi3", "opt", "gpt_neox", "hooked"])
def test_neurons_are_nodes(family):
    net, batch, others = nets.hooked(), nets.BASE, nets.OTHER
    if family != "hooked":
        net, batch, others = nets.decoder(family), nets.PROMPTS, nets.OTHERS
    graph = computation_graph(net, batch, neurons=True)
    width = {"gpt2": 64, "hooked": nets.HIDDEN}.get(family, 24)
    assert [n for n in graph if n.startswith("m1")] == [f"m1.n{i}" for i in range(width)]
    runs, whole = (Runs.of(g, batch, others) for g in (graph, computation_graph(net, batch)))
    neurons = {e for e in residual_edges(graph) if e[1] == "logits" and e[0].startswith("m1")}
    found = runs.scores([set(residual_edges(graph)) - neurons])[0]
    expected = whole.scores([set(residual_edges(whole.graph)) - {("m1", "logits")}])[0]
    assert_close(found, expected, **CLOSE)  # all neurons of a layer are the layer, but for its bias
    assert runs.instead[runs.stream.writers.index("m0.n3")].shape == (5, 5, nets.WIDTH if family == "hooked" else 16)


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


def by_hand(module=None, ports=None, **options):
    module = module or Named()
    net = cm.Network(module, encode=lambda b: VALUES[torch.from_numpy(b["i"])], decode=lambda x: x.argmax(-1))
    writes, reads = ports or (writes_of(net), reads_of(net))
    return net, computation_graph(net, ROWS, writes=writes, reads=reads, **options)


NEURONS = tuple(f"n{i}" for i in range(5))


def writes_of(net):
    return [
        cm.Writes(("start",), Tap("embed")),
        cm.Writes(NEURONS, Tap("last", input=True), net.module.last.weight.detach().T[:, None]),
        cm.Writes(("map",), Tap("added")),
    ]


def reads_of(net):
    first = net.module.first
    return [
        cm.Reads(
            NEURONS,
            Tap("first", input=True),
            tap=Tap("first"),
            weight=first.weight.detach()[..., None],
            bias=first.bias.detach()[:, None],
        ),
        cm.Reads(("map",), Tap("map", input=True)),
        cm.Reads(("end",), Tap("total")),
    ]


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
    with pytest.raises(NetworkError, match="without positions="):
        by_hand(positions=[0])


# Weights that change, and other networks.


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "phi3", "hooked"])
@pytest.mark.parametrize("neurons", [False, True])
def test_weights_that_are_trained_in_place_are_read_as_they_are(family, neurons):
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
    with pytest.raises(NetworkError, match="give computation_graph functions of a network as writes= and reads="):
        moved(own, nets.hooked())


def test_ports_that_are_functions_of_a_network_are_made_of_the_other():
    _, graph = by_hand(ports=(writes_of, reads_of))
    other = Named()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    found = Runs.of(moved(graph, by_hand(other)[0]), ROWS, ELSE)
    keep = residual_edges(graph)[::2]
    assert_close(found.scores([keep])[0], by_formula(other, lambda w, r: (w, r) in keep), **CLOSE)


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
    with pytest.raises(NetworkError, match=r"a pair of nodes or 'm0->logits'; given \(\['a'\], 'b'\)"):
        cm.Circuit(graph, [(["a"], "b")])
    for keep in (None, 5, cm.Circuit(graph, ["input->logits"])):
        with pytest.raises(NetworkError, match="a circuit keeps a list of edges or of nodes; given"):
            cm.Circuit(graph, keep)


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


def parts_by_hand():
    net, graph = by_hand()
    return net, list(graph.graph["stream"].writes), list(graph.graph["stream"].reads)


def refused(match, writes, reads, net=None):
    with pytest.raises(NetworkError, match=match) as error:
        computation_graph(net or by_hand()[0], ROWS, writes=writes, reads=reads)
    return str(error.value)


@pytest.mark.parametrize("part", ["weight", "bias", "norm"])
def test_reads_by_other_weights_than_the_networks_are_refused(part):
    net, writes, reads = parts_by_hand()
    net.module.norm = nn.LayerNorm(6)
    wrong = {"weight": reads[0].weight + 0.1, "bias": None, "norm": "norm"}[part]
    match = "what n0, n1, n2 make of the stream is not what is at first"
    refused(match, writes, [replace(reads[0], **{part: wrong}), *reads[1:]], net)


def test_readers_of_one_stream_that_is_changed_as_a_whole_are_refused():
    _, writes, reads = parts_by_hand()
    other = cm.Reads(("map",), reads[0].entry)
    refused("n0 and map all read at first.input, where one of them changes the whole stream", writes, [reads[0], other, reads[2]])
    two = [cm.Reads(("map",), reads[1].entry), cm.Reads(("end",), reads[1].entry)]
    refused("map and end all read at map.input", writes, [reads[0], *two])
    apart = cm.Reads(("end",), reads[1].entry, tap=reads[1].entry)
    refused("map and end", writes, [*reads[:2], apart])


def test_writes_and_reads_out_of_order_are_refused():
    _, writes, reads = parts_by_hand()
    refused("writes are given in the order in which they run; n0 runs before map", [writes[0], writes[2], writes[1]], reads)
    refused("reads are given in the order in which they run; n0 runs before map", writes, [reads[1], reads[0], reads[2]])


def test_all_that_is_wrong_with_writes_and_reads_is_told_at_once():
    _, writes, reads = parts_by_hand()
    strays = [cm.Reads(("mop",), Tap("map", input=True)), cm.Reads(("end",), Tap("totl"))]
    told = refused("has 4 problems", [*writes, cm.Writes(("map",), Tap("adde"))], [reads[0], *strays])
    for part in ("no module 'totl'; did you mean 'total'", "no module 'adde'", "map writes 2 times", "mop reads, but is not"):
        assert part in told
    assert "did you mean 'map'" in told
    refused("there must be writes and reads; given 0 and 3", [], reads)
    refused("writes are cm.Writes; given 3", [3], reads)
    refused("no module 'nome'", writes, [replace(reads[0], norm="nome"), *reads[1:]])
    itself = replace(writes[1], tap=Tap("first"), weight=writes[1].weight)
    refused("makes of the stream at first is itself written", [writes[0], itself, writes[2]], reads)


def test_nodes_that_read_what_they_wrote_are_refused():
    _, writes, reads = parts_by_hand()
    swapped = [writes[0], replace(writes[1], nodes=tuple(f"k{i}" for i in range(5))), writes[2]]
    named = [replace(reads[0], nodes=("map", *(f"k{i}" for i in range(1, 5)))), cm.Reads(("k0",), reads[1].entry), reads[2]]
    refused("would read what comes of what they write", swapped, named)


def test_a_node_that_reads_streams_of_different_writers_needs_ports():
    _, writes, reads = parts_by_hand()
    again = cm.Reads(("n0",), reads[1].entry)
    refused("n0 reads at map.input and elsewhere what other nodes wrote there", writes, [reads[0], again, reads[2]])


@pytest.mark.parametrize("name", ["a->b", "a[0]", " a", "", "a\tb", "a<b", 3])
def test_names_by_which_edges_could_not_be_told_are_refused(name):
    with pytest.raises(NetworkError, match=r"each node is a name, with no \[, \], <, > or tab"):
        cm.Writes((name,), Tap("embed"))
    with pytest.raises(NetworkError, match=r"each node is a name, or a name<port>, with no"):
        cm.Reads((name,), Tap("embed"))
    with pytest.raises(NetworkError, match="each node is a name, with no"):
        cm.Writes(("a<b>",), Tap("embed"))
    with pytest.raises(NetworkError, match="nodes are a tuple of names"):
        cm.Writes("embed", Tap("embed"))
    with pytest.raises(NetworkError, match="it is at a Tap"):
        cm.Reads(("a",), "embed")
    assert cm.Reads(("a copy of b<q>",), Tap("embed")).nodes


def test_values_that_do_not_fit_their_weights_are_refused():
    _, writes, reads = parts_by_hand()
    wide = cm.Writes(("start",), Tap("embed"), torch.zeros(1, 5, 6))
    refused("at embed there is a value of shape .* of which start takes 5 numbers", [wide, *writes[1:]], reads)
    far = replace(writes[1], columns=torch.arange(5, 10)[:, None])
    refused("of which n0 takes 10 numbers", [writes[0], far, writes[2]], reads)
    narrow = replace(reads[0], weight=torch.zeros(5, 4, 1))
    refused("n0 has weights for 4 numbers; the stream has 6", writes, [narrow, *reads[1:]])


def test_ports_may_be_given_by_a_generator_but_not_as_one():
    net, writes, reads = parts_by_hand()
    graph = computation_graph(net, ROWS, writes=(w for w in writes), reads=(r for r in reads))
    assert list(graph.edges) == list(by_hand()[1].edges)
    refused("writes are a list of cm.Writes, or a function of a network that gives one; given Writes", writes[0], reads)
    refused("reads are a list of cm.Reads, or a function of a network that gives one; given 3", writes, 3)


def test_a_graph_is_of_a_network():
    for make in (lambda net: computation_graph(net, nets.BASE), partial(moved, computation_graph(nets.hooked(), nets.BASE))):
        for given_ in (nets.Hooked(), None):
            with pytest.raises(NetworkError, match=r"a graph is of a network, cm.Network\(module, .* given (Hooked|NoneType)"):
                make(given_)


def test_a_reader_that_nothing_reaches_is_refused():
    net, writes, reads = parts_by_hand()
    net.module.embed.weight.data.zero_()
    first = cm.Writes(("start",), Tap("embed", input=True), torch.zeros(1, 4, 6))
    refused("nothing that nodes write before it changes what n0 reads at first.input", [first, *writes[1:]], reads, net)


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
    with pytest.raises(NetworkError, match="a weight or norm needs a tap"):
        cm.Reads(("a",), Tap("embed"), weight=torch.zeros(1, 6, 6))
    with pytest.raises(NetworkError, match="without a weight there is one node, no bias"):
        cm.Reads(("a",), Tap("embed"), tap=Tap("map"), bias=torch.zeros(1, 6))
    with pytest.raises(NetworkError, match=r"weight must be \[node, width, part\]"):
        cm.Reads(("a",), Tap("embed"), tap=Tap("map"), weight=torch.zeros(6, 5))


def test_positions_must_differ():
    for positions in ([], [0, 0], [1, "1"], ["*"], 5, [None], [True], [1.5]):
        with pytest.raises(NetworkError, match="positions must be different numbers or names"):
            computation_graph(nets.hooked(), nets.BASE, positions=positions)
    for positions, why in ((["subject"], "subject"), ([99], "position 99"), ([0, -5], "0 and -5 are the same in row 0")):
        with pytest.raises(NetworkError, match=why):
            computation_graph(nets.decoder("gpt2"), nets.PROMPTS, positions=positions)


def test_a_module_without_layers_is_told():
    net = cm.Network(Adding(), encode=lambda b: VALUES[torch.from_numpy(b["i"])], decode=lambda x: x.argmax(-1))
    with pytest.raises(NetworkError, match="ModuleList"):
        computation_graph(net, ROWS)
