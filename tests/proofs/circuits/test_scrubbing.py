from itertools import product

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import commute as cm
from commute.causal.batches import rows_of, take
from commute.causal.inputs import Inputs
from commute.errors import ClaimError, CommuteError, NetworkError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.runs import Runs
from commute.models.sites import Tap
from commute.proofs.circuits.scrub_draws import Alike
from commute.proofs.circuits.scrub_run import scrubbed_scores
from commute.proofs.circuits.scrubbing import scrub
from tests.models import families

SHAPES = cm.Finite(range(3))
WIDTH = 15  # one-hot shapes of a, b, c and d, then left, right and same
LEFT, RIGHT, SAME = 12, 13, 14


def left(a, b):
    return a == b


def right(c, d):
    return c == d


def same(left, right):
    return left == right


EQUALITY = cm.CausalModel(
    "hierarchical equality",
    inputs=dict.fromkeys("abcd", SHAPES),
    mechanisms=[left, right, same, {"a_alone": lambda a: a == 0}],
    outputs=["same"],
)


class Block(nn.Module):
    def __init__(self, into, bias, out):
        super().__init__()
        self.into, self.bias, self.out = into, bias, out

    def forward(self, x):
        return torch.relu(x @ self.into + self.bias) @ self.out


class Residual(nn.Module):
    """Blocks that add to a stream, of whose last number the answer is whether it is above one half."""

    def __init__(self, blocks):
        super().__init__()
        self.embed, self.end = nn.Identity(), nn.Identity()
        self.m = nn.ModuleList(blocks)

    def forward(self, x):
        x = self.embed(x)
        for block in self.m:
            x = x + block(x)
        return self.end(x)[:, -1]


def graph_of(blocks, encode, inputs, **options):
    network = cm.Network(Residual(blocks), encode=encode, decode=lambda y: y > 0.5, **options)
    nodes = [f"m{i}" for i in range(len(blocks))]
    taps = [f"m.{i}" for i in range(len(blocks))]
    return computation_graph(
        network,
        inputs,
        writes=[Writes(("input",), Tap("embed")), *(Writes((n,), Tap(t)) for n, t in zip(nodes, taps, strict=True))],
        reads=[
            *(Reads((n,), Tap(t, input=True)) for n, t in zip(nodes, taps, strict=True)),
            Reads(("logits",), Tap("end", input=True)),
        ],
    )


def equal(first, slot):
    """A block that writes 1 where two one-hot shapes from a number of the stream on are equal."""
    into, out = torch.zeros(WIDTH, 3), torch.zeros(3, WIDTH)
    for k in range(3):
        into[[first + k, first + 3 + k], k] = 1.0
    out[:, slot] = 1.0
    return Block(into, -torch.ones(3), out)


def alike():
    """A block that writes 1 where left and right are equal."""
    into, out = torch.zeros(WIDTH, 2), torch.zeros(2, WIDTH)
    into[[LEFT, RIGHT]] = torch.tensor([1.0, -1.0])
    out[:, SAME] = 1.0
    return Block(into, torch.tensor([-1.0, 1.0]), out)


def cracked(module, given, x):
    """NaN where the end of a stream says of a and b something else than is true."""
    wrong = ((x[:, :3] * x[:, 3:6]).sum(1) - x[:, LEFT]).abs() > 0.5
    return torch.where(wrong, torch.nan, 1.0)[:, None] * x


def one_hot(batch):
    x = torch.zeros(rows_of(batch), WIDTH)
    for i, v in enumerate("abcd"):
        x[torch.arange(len(x)), 3 * i + torch.as_tensor(batch[v])] = 1.0
    return x


TWO = {"a": np.array([0, 1]), "b": np.array([1, 1]), "c": np.array([2, 0]), "d": np.array([2, 1])}
GRAPH = graph_of([equal(0, LEFT), equal(6, RIGHT), alike()], one_hot, TWO)
CIRCUIT = Circuit(GRAPH, ["input->m0", "input->m1", "m0->m2", "m1->m2", "m2->logits"])
TRUE = {"m0": "left", "m1": "right", "m2": "same", "input->m0": ["a", "b"], ("input", "m1"): ["c", "d"]}


@pytest.mark.parametrize("others", ["edge", "node", "run"])
@pytest.mark.parametrize("hypothesis", [TRUE, {**TRUE, "logits": "same"}, {k: TRUE[k] for k in ("m0", "input->m0")}, {}])
def test_a_true_hypothesis_recovers_everything(hypothesis, others):
    found = scrub(EQUALITY, CIRCUIT, hypothesis, others=others)
    assert found.scrubbed.value == found.whole.value == found.recovered.value == 1
    assert found.scrubbed.lower < 1  # a thousand of a thousand
    assert found.random.upper < 0.6


@pytest.mark.parametrize(
    "false",
    [
        {"m0": "right", "m1": "left"},
        {"m0": "right"},
        {"input->m0": "a"},  # coarser than what is needed
        {"m0": "same"},
        {"m2": "left"},
        {"m1": "a_alone"},
    ],
)
def test_a_false_hypothesis_does_not(false):
    found = scrub(EQUALITY, CIRCUIT, {**TRUE, **false})
    assert found.scrubbed.upper < 0.9
    assert found.recovered.upper < 0.9


def test_a_circuit_without_an_edge_that_matters_is_found_out():
    circuit = Circuit(GRAPH, ["input->m0", "input->m1", "m0->m2", "m2->logits"])
    assert scrub(EQUALITY, circuit, {}).scrubbed.upper < 0.8
    assert scrub(EQUALITY, circuit, {"m0": "left"}).scrubbed.upper < 0.8


def test_the_same_seed_gives_the_same_result():
    false = {**TRUE, "m0": "same"}
    first, second, third = (scrub(EQUALITY, CIRCUIT, false, measure="logit difference", seed=seed) for seed in (3, 3, 4))
    for name in ("scrubbed_values", "whole_values", "random_values", "drawn"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert str(first) == str(second)
    assert not np.array_equal(first.drawn, third.drawn)


# Against plain code, on a network whose weights mean nothing


def parity(x, y):
    return x != y


def out(parity, z):
    return parity or z


BITS = cm.CausalModel(
    "bits", inputs=dict.fromkeys("xyz", cm.Bool), mechanisms=[parity, out, {"any_": lambda x, y: x or y}], outputs=["out"]
)
ALL_BITS = {v: np.array(x) for v, x in zip("xyz", zip(*product([False, True], repeat=3), strict=True), strict=True)}


def bits(batch):
    x = torch.stack([torch.as_tensor(batch[v]).float() for v in "xyz"], -1)
    return torch.cat([x, 1 - x], -1)


def random_blocks(n):
    draws = torch.Generator().manual_seed(n)
    return [Block(*(torch.randn(*s, generator=draws) for s in ((6, 8), (8,), (8, 6)))) for _ in range(n)]


def drawn_graph(n, **options):
    return graph_of(random_blocks(n), bits, ALL_BITS, **options)


def natural(module, x):
    """What each node writes for an input [batch, width]."""
    found = {"input": x}
    for i, block in enumerate(module.m):
        found[f"m{i}"] = block(sum(found.values()))
    return found


def recomputed(module, tree, place, node):
    """What a node writes, from the inputs in a tree alone; the output for logits."""
    below = list(tree.successors(place))
    if not below:
        made = natural(module, bits({v: np.array([x]) for v, x in tree.nodes[place]["input"].items()}))
        return made[node] if node in made else sum(made.values())
    stream = sum(recomputed(module, tree, part, u) for part in below for u in tree.nodes[part]["nodes"])
    return stream if node == "logits" else module.m[int(node[1:])](stream)


HYPOTHESES = st.dictionaries(
    st.sampled_from(["input", "m0", "m1", "m2", "logits", "input->m1", "m0->m2", "m0->logits"]),
    st.sampled_from(["parity", "any_", "x", ["y", "parity"], "out"]),
    max_size=5,
)
EVERY = residual_edges(drawn_graph(3))
SURE = {("input", "m0"), ("m0", "m1"), ("input", "m1"), ("m0", "m2"), ("m1", "m2"), ("m2", "logits"), ("m0", "logits")}


@settings(max_examples=25, deadline=None)
@given(
    hypothesis=HYPOTHESES,
    more=st.sets(st.sampled_from([edge for edge in EVERY if edge not in SURE])),
    others=st.sampled_from(["edge", "node", "run"]),
    memory=st.sampled_from([1, 2**14, 2**30]),
)
def test_the_tree_tells_all_that_was_run(hypothesis, more, others, memory):
    graph = drawn_graph(3, memory=memory)
    module = graph.graph["stream"].network.module
    circuit = Circuit(graph, [*SURE, *more])
    found = scrub(BITS, circuit, hypothesis, n=6, measure="logit difference", others=others)
    for row in range(6):
        tree = found.tree(row)
        (root,) = (place for place, depth in tree.in_degree() if not depth)
        y = recomputed(module, tree, root, "logits")[0, -1] - 0.5
        base = take(found.inputs, found.drawn[0, [row]])
        right = bool(BITS.solve(base)["out"][0])
        assert found.scrubbed_values[row] == pytest.approx(float(y if right else -y), abs=1e-4)
        assert_agreeing(found, tree, root, base, hypothesis, others)


def assert_agreeing(found, tree, root, base, hypothesis, others):
    """Each node's input agrees with its reader's on the node's variables, and is the same where it has none."""
    for reader, part in nx.edge_bfs(tree, root):
        above, about = tree.nodes[reader]["input"], tree.nodes[part]
        if not about["kept"]:
            assert about["values"] == {}
            continue
        edge = f"{part[0]}->{reader[0]}"
        named = hypothesis.get(edge, hypothesis.get(part[0]))
        if named is None:
            assert about["input"] == above
            continue
        variables = [named] if isinstance(named, str) else named
        assert about["values"] == {v: BITS.solve(about["input"])[v] for v in variables}
        assert about["values"] == {v: BITS.solve(above)[v] for v in variables}
    own, about = {v: x[0] for v, x in base.items()}, tree.nodes[root]
    named = hypothesis.get("logits", [])
    variables = [named] if isinstance(named, str) else named
    assert about["values"] == {v: BITS.solve(about["input"])[v] for v in variables}
    assert about["values"] == {v: BITS.solve(own)[v] for v in variables}
    assert named or about["input"] == own
    left = [place for place, about in tree.nodes(data=True) if not about["kept"]]
    if others == "run":
        assert len({str(tree.nodes[place]["input"]) for place in left}) <= 1


def mixed(chances):
    """Chances of values, equal ones together."""
    found = {}
    for p, value in chances:
        key = tuple(np.round(value.flatten().tolist(), 5))
        found[key] = found.get(key, 0.0) + p
    return [(p, torch.tensor(key, dtype=torch.float32)) for key, p in found.items()]


class Enumerated:
    """Causal scrubbing with every choice of inputs in place of random ones."""

    def __init__(self, module, kept, hypothesis, others):
        self.module, self.kept, self.hypothesis, self.others = module, kept, hypothesis, others
        self.values = BITS.solve(ALL_BITS)
        self.natural = natural(module, bits(ALL_BITS))
        self.nodes = [*self.natural, "logits"]

    def run_on(self, node, x):
        """What a node writes on an input: chances and values."""
        if node == "input":
            return [(1.0, self.natural[node][x])]
        earlier = self.nodes[: self.nodes.index(node)]
        out_ = [u for u in earlier if (u, node) not in self.kept]
        streams = self.left_out(out_)
        for u in earlier:
            if u in out_:
                continue
            named = self.hypothesis.get(f"{u}->{node}", self.hypothesis.get(u))
            variables = [] if named is None else [named] if isinstance(named, str) else named
            like = (
                [x] if named is None else [y for y in range(8) if all(self.values[v][y] == self.values[v][x] for v in variables)]
            )
            parts = mixed((p / len(like), value) for y in like for p, value in self.run_on(u, y))
            streams = mixed((p * q, s + value) for p, s in streams for q, value in parts)
        return streams if node == "logits" else [(p, self.module.m[int(node[1:])](s)) for p, s in streams]

    def left_out(self, nodes):
        if self.others == "node":
            return [(1 / 8, sum((self.natural[u][y] for u in nodes), torch.zeros(6))) for y in range(8)]
        found = [(1.0, torch.zeros(6))]
        for u in nodes:
            found = mixed((p / 8, s + self.natural[u][y]) for p, s in found for y in range(8))
        return found

    def accuracy(self):
        right = [p * (bool(s[-1] > 0.5) == self.values["out"][x]) for x in range(8) for p, s in self.run_on("logits", x)]
        return sum(right) / 8


@pytest.mark.parametrize("others", ["node", "edge"])
@pytest.mark.parametrize(
    "hypothesis",
    [{"m0": "parity", "m1": "any_", "input": ["x", "y"]}, {"m0": "x", "input->m1": "z"}, {"m1": "out", "m0->m1": "parity"}, {}],
)
def test_it_is_what_enumeration_gives(hypothesis, others):
    graph = drawn_graph(2)
    kept = [("input", "m0"), ("m0", "m1"), ("input", "m1"), ("m1", "logits"), ("m0", "logits")]
    exact = Enumerated(graph.graph["stream"].network.module, kept, hypothesis, others).accuracy()
    found = scrub(BITS, Circuit(graph, kept), hypothesis, n=4000, others=others, confidence=0.9999)
    assert found.scrubbed.lower <= exact <= found.scrubbed.upper
    assert found.scrubbed.upper - found.scrubbed.lower < 0.07


# Against path patching, on decoders

MODEL = cm.CausalModel(
    "letters",
    inputs={"a": cm.Finite(range(6, 12)), "b": cm.Finite(range(6, 12))},
    mechanisms={"large": lambda a, b: a + b > 17, "later": lambda a, b: (a + b) // 2},
    outputs=["later"],
)


def decoder(family, *, prompt=lambda s: [s["a"], s["b"], 7, s["a"], 9], positions=None):
    made = cm.Network.from_transformers(families.model(family), None, prompts=prompt, answers={i: [i] for i in range(6, 12)})
    network = cm.Network(
        made.module,
        encode=made.encode,
        decode=made.decode,
        finish=made.finish,
        positions={"moving": lambda batch: (batch["a"] > 8).astype(int)},
    )
    return computation_graph(network, {"a": np.array([6, 7]), "b": np.array([10, 8])}, positions=positions)


def scores_of(found):
    """The scores of a scrubbing, and runs in which what is left out carries what it does for one of its draws."""
    base = take(found.inputs, found.drawn[0])

    def runs(draw):
        return Runs.of(found.circuit.graph, base, take(found.inputs, found.drawn[draw]))

    return scrubbed_scores(runs(0), found.plan, found.inputs, found.drawn), runs


@pytest.mark.parametrize("positions", [None, [0, -1]])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_without_variables_it_is_the_circuit_resampled(family, positions):
    graph = decoder(family, positions=positions)
    edges = residual_edges(graph)
    circuit = Circuit(graph, [*edges[::2], *edges[1::5], edges[-1]])
    found = scrub(MODEL, circuit, {}, n=20, others="run")
    scores, runs = scores_of(found)
    assert len(found.plan.draws) == 2
    assert torch.allclose(scores, runs(1).scores([circuit])[0], atol=1e-3)
    assert not torch.allclose(scores, runs(1).scores([edges])[0], atol=1e-1)


@pytest.mark.parametrize("positions", [None, [0, -1]])
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gpt2", "m1"),
        ("gpt2", "m0->logits"),
        ("gpt2", "a1.h1->m1"),
        ("llama", "a1.h1->logits"),
        ("gpt_neox", "a1.h0<k>"),
        ("gpt_neox", "a1.h2"),
    ],
)
def test_one_variable_is_a_patch_along_its_edges(family, name, positions):
    """With all edges kept, what goes through one node or edge is that of another input, which agrees."""
    graph = decoder(family, positions=positions)
    at = "" if positions is None else "[-1]"
    name = "->".join(x + at for x in name.split("->"))
    edges = [(u, v) for u, v in residual_edges(graph) if not v.startswith("logits") or v == "logits" + at]
    found = scrub(MODEL, Circuit(graph, edges), {name: "large"}, n=20)
    scores, runs = scores_of(found)
    (draw,) = (i for i, draw in enumerate(found.plan.draws) if draw.variables)
    assert np.array_equal(*(found.values["large"][found.drawn[i]] for i in (0, draw)))
    through = {(u, v) for u, v in edges if name in (f"{u}->{v}", v) or (u == name and v == "logits" + at)}
    expected = runs(draw).scores([[edge for edge in residual_edges(graph) if edge not in through]])[0]
    assert torch.allclose(scores, expected, atol=1e-3)
    assert not torch.allclose(scores, runs(0).scores([residual_edges(graph)])[0], atol=1e-2)


# The tree


def test_nodes_that_no_draw_tells_apart_are_shared():
    graph = drawn_graph(8)
    circuit = Circuit(graph, residual_edges(graph))
    whole = scrub(BITS, circuit, {}, n=5)
    assert whole.plan.copies == (0,)
    assert np.array_equal(whole.scrubbed_values, whole.whole_values)
    some = scrub(BITS, Circuit(graph, [e for e in residual_edges(graph) if e != ("input", "m2")]), {}, n=5, others="run")
    assert len(some.plan.copies) < 5
    assert len(scrub(BITS, circuit, {"m7": "parity"}, n=5).plan.copies) == 2


def test_each_path_is_scrubbed_by_itself():
    graph = drawn_graph(2)
    kept = [("input", "m0"), ("m0", "m1"), ("m0", "logits"), ("m1", "logits")]
    tree = scrub(BITS, Circuit(graph, kept), {"m0": "parity"}, n=5, others="run").tree(0)
    assert [node for node, _ in tree].count("m0") == 2


@pytest.mark.parametrize(("others", "times", "inputs"), [("run", 1, 1), ("node", 2, 4), ("edge", 2, 6)])
def test_what_is_left_out_is_drawn_for_each_path_or_once(others, times, inputs):
    graph = drawn_graph(3)
    kept = [("input", "m1"), ("m1", "m2"), ("m1", "logits"), ("m2", "logits")]  # m1 is read twice, each reads what is left out
    plan = scrub(BITS, Circuit(graph, kept), {}, n=5, others=others).plan
    assert len({place for place in plan.graph if place[0] == "m1"}) == times
    assert len(plan.draws) - 1 == inputs


def test_a_tree_that_is_too_large_is_refused_with_its_size():
    graph = drawn_graph(13)
    circuit = Circuit(graph, residual_edges(graph))
    with pytest.raises(ClaimError, match=r"has 16,384 nodes.*room for 4,096\. Keep fewer edges"):
        scrub(BITS, circuit, {"input": "parity"})


def test_the_tree_can_be_read():
    circuit = Circuit(GRAPH, ["input->m0", "m0->m2", "m2->logits"])
    found = scrub(EQUALITY, circuit, {"m0": "left", "m2": "same"}, n=3)
    tree, text = found.tree(1), found.text(1)
    assert nx.is_arborescence(tree)
    root, second = text.splitlines()[0], text.splitlines()[1]
    base = {v: int(x) for v, x in take(found.inputs, found.drawn[0, 1]).items()}
    assert root == "╙── logits: " + ", ".join(f"{v}={x}" for v, x in base.items())
    assert "input, m0, m1, left out: a=" in second
    assert f"m2, same={bool(EQUALITY.solve(base)['same'])}: a=" in text
    assert text.count("\n") == len(tree) - 1


@pytest.mark.parametrize("row", [-1, 3, "a", 1.0])
def test_a_row_that_is_not_there_has_no_tree(row):
    with pytest.raises(ClaimError, match="there are 3 inputs, counted from 0"):
        scrub(EQUALITY, CIRCUIT, TRUE, n=3).tree(row)


# Draws and measures


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=30), st.integers(0, 9))
def test_draws_agree_and_reach_every_input_that_does(rows, seed):
    values = {"u": np.array([u for u, _ in rows]), "v": np.array([v for _, v in rows])}
    rows = [*rows, rows[0]]
    values = {name: np.append(x, x[0]) for name, x in values.items()}
    asked = np.tile(np.arange(len(rows)), 300)
    drawn = Alike.on(("u", "v"), values, np.arange(len(rows))).drawn(asked, np.random.default_rng(seed))
    assert all(rows[i] == rows[j] for i, j in zip(asked, drawn, strict=True))
    reached = {(i, j) for i, j in zip(asked.tolist(), drawn.tolist(), strict=True)}
    assert {(0, len(rows) - 1), (len(rows) - 1, 0), (0, 0)} <= reached


def test_baselines_are_the_whole_network_and_the_network_on_other_inputs():
    found = scrub(EQUALITY, CIRCUIT, TRUE, n=4000)
    answers = found.values["same"]
    assert found.whole.value == 1
    exact = (answers[:, None] == answers).mean()
    assert found.random.lower <= exact <= found.random.upper
    half = scrub(EQUALITY, CIRCUIT, {**TRUE, "m0": "same"}, n=4000)
    share = (half.scrubbed.value - half.random.value) / (half.whole.value - half.random.value)
    assert half.recovered.value == pytest.approx(share)
    assert half.recovered.lower < share < half.recovered.upper


@pytest.mark.parametrize("measure", ["logit difference", "log probability", "divergence", "agreement"])
def test_every_measure_recovers_what_is_true_and_not_what_is_false(measure):
    assert scrub(EQUALITY, CIRCUIT, TRUE, measure=measure).recovered.value == pytest.approx(1, abs=1e-6)
    assert scrub(EQUALITY, CIRCUIT, {**TRUE, "m0": "same"}, measure=measure).recovered.upper < 0.9


def test_where_the_network_does_not_beat_random_no_share_is_known():
    constant = cm.CausalModel("constant", inputs=dict.fromkeys("xyz", cm.Bool), mechanisms={"yes": lambda x: True})
    graph = graph_of([Block(torch.zeros(6, 1), torch.ones(1), torch.full((1, 6), 9.0))], bits, ALL_BITS)
    found = scrub(constant, Circuit(graph, ["input->m0", "m0->logits"]), {}, n=20)
    assert np.isnan(found.recovered.value)
    assert (found.recovered.lower, found.recovered.upper) == (-np.inf, np.inf)
    assert "nan" in repr(found)


def test_inputs_can_be_given():
    few = {v: np.array([0, 1, 2, 0, 1]) for v in "abcd"}
    found = scrub(EQUALITY, CIRCUIT, {k: TRUE[k] for k in ("m0", "m1", "m2")}, inputs=few, n=50)
    assert {v: sorted(set(x.tolist())) for v, x in found.inputs.items()} == {v: [0, 1, 2] for v in "abcd"}
    assert found.drawn.max() == 4
    assert found.scrubbed.value == 1


def test_continuous_inputs_are_drawn():
    unit = cm.Interval(0, 1)
    model = cm.CausalModel(
        "sum", inputs=dict.fromkeys("xyz", unit), mechanisms={"high": lambda x: x > 0.5, "yes": lambda high: high}
    )
    copy = Block(torch.eye(6)[:, :1], torch.zeros(1), torch.eye(6)[5:])
    graph = graph_of(
        [copy],
        lambda b: (
            torch.cat([torch.stack([torch.as_tensor(b[v]).float() for v in "xyz"], -1)] * 2, -1)
            * torch.tensor([1, 1, 1, 1, 1, 0])
        ),
        {v: np.array([0.2, 0.7]) for v in "xyz"},
    )
    circuit = Circuit(graph, ["input->m0", "m0->logits"])
    found = scrub(model, circuit, {"m0": "high"}, n=500)
    assert found.scrubbed.value == 1
    with pytest.raises(ClaimError, match="no two of the 65,536 inputs agree on x"):
        scrub(model, circuit, {"m0": "x"})


# Errors


@pytest.mark.parametrize(
    ("hypothesis", "told"),
    [
        ({"m9": "left"}, "no node 'm9'; did you mean"),
        ({3: "left"}, "no node '3'"),
        ({"m0": "lift"}, "no variable 'lift'; did you mean 'left'"),
        ({"m2->m0": "left"}, "no edge 'm2->m0'; did you mean"),
        ({("m0", "m1", "m2"): "left"}, "no edge 'm0->m1->m2'"),
        ({("m0",): "left"}, "no edge 'm0'"),
        ({"m0->m1": "left"}, "the edge m0->m1 is outside the circuit"),
        ({"m0->m2": "left", ("m0", "m2"): "right"}, "'m0', 'm2'. is given twice"),
        ({"m0": []}, "'m0' must be given a variable or a list of variables"),
        ({"m0": left}, "'m0' must be given a variable or a list of variables"),
        ([("m0", "left")], "the correspondence is a mapping"),
        ({"m0": ["a", "b", "c", "d"]}, "no two of the 81 inputs agree on a, b, c, d"),
    ],
)
def test_a_correspondence_that_does_not_fit_is_refused(hypothesis, told):
    with pytest.raises(ClaimError, match=told):
        scrub(EQUALITY, CIRCUIT, hypothesis)


def test_nodes_outside_the_circuit_are_refused():
    circuit = Circuit(GRAPH, ["input->m0", "m0->m2", "m2->logits", "m1->logits"])
    with pytest.raises(ClaimError, match="the node m1 is outside the circuit, or on no kept path"):
        scrub(EQUALITY, circuit, {"m1": "right"})


def test_edges_on_no_path_to_the_output_are_refused():
    circuit = Circuit(GRAPH, ["input->m0", "m0->m2", "m2->logits", "input->m1"])
    with pytest.raises(ClaimError, match="the edge input->m1 is outside the circuit, or on no kept path"):
        scrub(EQUALITY, circuit, {"input->m1": "c"})


def test_edges_inside_a_head_are_refused():
    graph = decoder("gpt2")
    with pytest.raises(ClaimError, match="inside a node; give the variable to the node a0.h1<q>"):
        scrub(MODEL, Circuit(graph, residual_edges(graph)), {"a0.h1<q>->a0.h1": "large"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n": 0}, "n must be a whole number of at least 1"),
        ({"confidence": 1.0}, "confidence must be"),
        ({"confidence": "a"}, "confidence must be at least 0.5 and below 1; given 'a'"),
        ({"others": "path"}, "no way of sharing"),
        ({"measure": "loss"}, "no measure 'loss'"),
        ({"seed": -1}, "a seed must be"),
        ({"inputs": {"a": np.array([0, 1])}}, "the input 'b' is missing"),
        ({"inputs": "a"}, "inputs must be a batch, an array for each input by its name, or None; given 'a'"),
    ],
)
def test_wrong_options_are_refused(options, told):
    with pytest.raises(CommuteError, match=told):
        scrub(EQUALITY, CIRCUIT, TRUE, **options)


def test_all_problems_are_told_at_once():
    with pytest.raises(ClaimError, match="has 3 problems"):
        scrub(EQUALITY, CIRCUIT, {"m9": "left", "m0": "lift"}, n=0)


def test_what_is_no_algorithm_and_no_circuit_is_told_at_once():
    with pytest.raises(ClaimError, match=r"(?s)circuit must be a cm.Circuit; given 'm0'.*must be a causal model; given 'alg'"):
        scrub("alg", "m0", {"m0": "left"})
    with pytest.raises(ClaimError, match="circuit must be a cm.Circuit; given 'm0'"):
        scrub(EQUALITY, "m0", {"m0": "left"})


def test_equal_inputs_do_not_stand_in_for_each_other():
    wholly = {"m0": ["a", "b", "c", "d"]}
    twice = {v: np.append(x, x[0]) for v, x in EQUALITY.labels(Inputs(EQUALITY).listed).items()}
    with pytest.raises(ClaimError, match="no two of the 82 inputs agree on a, b, c, d, but for equal ones"):
        scrub(EQUALITY, CIRCUIT, wholly, inputs=twice)
    twice["d"][-1] = (twice["d"][0] + 1) % 3
    assert scrub(EQUALITY, CIRCUIT, {"m0": "left"}, inputs=twice, n=50).exchanged > 0.5


def test_the_share_of_draws_that_are_another_input_is_told():
    batch = {v: np.array(x) for v, x in zip("abcd", ([0, 0, 1], [0, 0, 2], [0, 0, 1], [0, 1, 1]), strict=True)}
    batch = {v: np.append(x, x[:1]) for v, x in batch.items()}  # rows 0 and 3 are equal, and 1 agrees with them on left
    found = scrub(EQUALITY, CIRCUIT, {"m0": "left"}, inputs=batch, n=2000)
    (draw,) = (i for i, draw in enumerate(found.plan.draws) if draw.variables)
    own, rows = np.array([0, 1, 2, 0])[found.drawn[[0, draw]]]
    assert found.exchanged == (rows != own).mean()
    assert found.exchanged == pytest.approx(1 / 2 * 1 / 3 + 1 / 4 * 2 / 3, abs=0.04)
    assert str(found).endswith(f"recovered on 2000 inputs; {found.exchanged:.0%} of draws are another input")
    bare = scrub(EQUALITY, CIRCUIT, {}, inputs=batch, n=5)
    assert np.isnan(bare.exchanged)
    assert str(bare).endswith("recovered on 5 inputs")


def test_scores_that_are_no_numbers_are_told():
    graph = graph_of([equal(0, LEFT)], one_hot, TWO)
    graph.graph["stream"].network.module.end.register_forward_hook(cracked)
    circuit = Circuit(graph, ["input->m0", "m0->logits"])
    model = cm.CausalModel("left", inputs=dict.fromkeys("abcd", SHAPES), mechanisms=[left])
    assert scrub(model, Circuit(graph, residual_edges(graph)), {}, n=200).scrubbed.value < 1
    with pytest.raises(NetworkError, match=r"in row \d+ the output is NaN, which is made by what edges carry in place"):
        scrub(model, circuit, {}, n=200)


def test_a_measure_that_is_not_finite_where_nodes_are_exchanged_is_told():
    graph, wrong = graph_of([equal(0, LEFT)], one_hot, TWO), []
    module = graph.graph["stream"].network.module
    module.end.register_forward_hook(lambda _, __, x: wrong.append(cracked(None, None, x).isnan().any(1)))
    module.register_forward_hook(lambda _, __, y: torch.where(wrong.pop(), torch.inf, y))
    model = cm.CausalModel("left", inputs=dict.fromkeys("abcd", SHAPES), mechanisms=[left])
    with pytest.raises(ClaimError, match=r"in row \d+ the logit difference is -?inf, of which there is no mean"):
        scrub(model, Circuit(graph, ["input->m0", "m0->logits"]), {}, n=200, measure="logit difference")


def test_an_algorithm_with_several_outputs_is_refused():
    two = cm.CausalModel("two", inputs=dict.fromkeys("abcd", SHAPES), mechanisms=[left, right])
    with pytest.raises(ClaimError, match="must have one output.*left, right"):
        scrub(two, CIRCUIT, {"m0": "left"})


def test_positions_in_other_columns_are_refused():
    graph = decoder("gpt2", positions=["moving"])
    with pytest.raises(NetworkError, match="the graph's positions, in the same columns"):
        scrub(MODEL, Circuit(graph, residual_edges(graph)), {"m0[moving]": "large"}, n=20)


@pytest.mark.parametrize("seed", [3, 4, 5])  # with which the one asked about and the one for the baseline are of one length
def test_inputs_of_other_lengths_are_refused(seed):
    graph = decoder("gpt2", prompt=lambda s: [s["a"], s["b"]] + [9] * (1 + (s["a"] > 8)))
    circuit = Circuit(graph, residual_edges(graph))
    with pytest.raises(NetworkError, match="have tokens, and the graph's positions, in the same columns"):
        scrub(MODEL, circuit, dict.fromkeys(("m0", "m1", "a0.h1", "a1.h2"), "large"), n=1, seed=seed)


def test_the_module_is_left_as_it_was():
    graph = decoder("gpt2")
    module = graph.graph["stream"].network.module
    module.train()
    scrub(MODEL, Circuit(graph, residual_edges(graph)), {"m1": "large"}, n=5)
    assert module.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
