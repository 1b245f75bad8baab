"""Circuits proved over every base and every other input."""

import copy
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import commute as cm
from commute.causal.batches import take
from commute.causal.inputs import Inputs
from commute.errors import ClaimError, NetworkError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import computation_graph, graph_of, residual_edges, stream_of
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.runs import Runs
from commute.models.sites import Tap
from commute.proofs.circuits.proving import prove_circuit
from commute.proofs.circuits.rerouted import FLOWING, LEFT_OUT, NOTHING, rerouted
from commute.proofs.circuits.staying import prove_staying
from commute.proofs.proving.certificate import Certificate
from commute.recheck import Rejected, recheck
from tests.models import families

N = 3
NUMBERS = dict.fromkeys("ab", cm.Finite(range(N)))
SUM = cm.CausalModel("sum", NUMBERS, {"out": lambda a, b: (a + b) % N})
INPUTS = SUM.labels(Inputs(SUM).listed)
BASES, OTHERS = (take(INPUTS, i) for i in np.indices((N * N, N * N)).reshape(2, -1))
PORTS = {
    "writes": [Writes(("input",), Tap("join")), Writes(("m0",), Tap("out0")), Writes(("m1",), Tap("out1"))],
    "reads": [Reads(("m0",), Tap("in0", input=True)), Reads(("m1",), Tap("in1", input=True)), Reads(("logits",), Tap("last"))],
}
REAL = dict.fromkeys("xy", cm.Interval(0, 1))
WITHOUT_M1 = ("input->m0", "m0->logits", "m0->m1", "input->m1")


class Residual(nn.Module):
    """Two hidden layers beside a stream."""

    def __init__(self, width, hidden, act=nn.ReLU):
        super().__init__()
        self.join, self.act = nn.Linear(2 * N, width), act()
        self.in0, self.out0 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.in1, self.out1 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.last, self.head = nn.Identity(), nn.Linear(width, N)

    def forward(self, x):
        x = self.join(x)
        x = x + self.out0(self.act(self.in0(x)))
        x = x + self.out1(self.act(self.in1(x)))
        return self.head(self.last(x))


def one_hot(batch):
    return torch.cat([torch.eye(N)[torch.from_numpy(batch[v]).long()] for v in "ab"], 1)


def network(module, encode=one_hot):
    return cm.Network(module, encode=encode, decode=lambda scores: scores.argmax(-1))


@pytest.fixture(scope="module")
def adder():
    """Answers the sum, which m0 makes; m1 writes of what it reads to where nothing reads it, and a little to the answer."""
    module = Residual(10, N * N)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module.join.weight[: 2 * N] = torch.eye(2 * N)
        for a, b in np.ndindex(N, N):
            k = N * a + b
            module.in0.weight[k, a] = module.in0.weight[k, N + b] = 1
            module.in0.bias[k] = -1
            module.out0.weight[2 * N + (a + b) % N, k] = 1
            module.in1.weight[k, : 2 * N] = torch.arange(2 * N) - k / 2
            module.out1.weight[9, k] = 1
            module.out1.weight[2 * N + k % N, k] = 2.0**-9
        module.head.weight[:, 2 * N : 3 * N] = torch.eye(N)
    return computation_graph(network(module), INPUTS, **PORTS)


@pytest.fixture(scope="module")
def scrambled():
    """Nothing in particular."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Residual(6, 5)
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(3)
    return computation_graph(network(module), INPUTS, **PORTS)


class Attention(nn.Module):
    """One head that reads queries, keys and values of its own, and the answer at the last of two positions."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Embedding(N, 4), nn.RMSNorm(4)
        self.place = nn.Parameter(torch.randn(2, 4))
        self.begin, self.q, self.k, self.v, self.o = nn.Identity(), *(nn.Linear(4, 4, bias=False) for _ in range(4))
        self.last, self.head = nn.Identity(), nn.Linear(4, N)

    def forward(self, x):
        x = self.begin(self.embed(x) + self.place)
        y = self.norm(x)
        pattern = (self.q(y) @ self.k(y).transpose(-1, -2)).softmax(-1)
        return self.head(self.last(x + self.o(pattern @ self.v(y)))[:, -1])


@pytest.fixture(scope="module")
def attention():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Attention()
        with torch.no_grad():
            module.o.weight.mul_(4)
    net = network(module, lambda batch: torch.from_numpy(np.stack([batch[v] for v in "ab"], 1)).long())
    entry = Tap("norm", input=True)
    read = {x: getattr(module, x).weight.detach().T[None] for x in "qkv"}
    reads = [Reads((f"a0<{x}>",), entry, "norm", Tap(x), w) for x, w in read.items()]
    writes = [Writes(("input",), Tap("begin")), Writes(("a0",), Tap("o"))]
    return computation_graph(net, INPUTS, positions=[-1], writes=writes, reads=[*reads, Reads(("logits",), Tap("last"))])


def agreement(circuit):
    """The share of all pairs on which the circuit answers as the network does on the base, and the first of the others."""
    same = Runs.of(circuit.graph, BASES, OTHERS).labels(circuit) == stream_of(circuit.graph).network.run(BASES)
    first = None if same.all() else divmod(int(np.flatnonzero(~same)[0]), N * N)
    return Fraction(int(same.sum()), len(same)), first


def of(certificate):
    """What is known of the circuit."""
    outcome = certificate.outcomes[-1]
    assert outcome.variables == (LEFT_OUT,)
    return outcome


def test_a_true_circuit_is_proved(adder):
    certificate = prove_circuit(Circuit(adder, WITHOUT_M1), SUM)
    assert (certificate.level, certificate.lower, certificate.upper) == ("exact", 1, 1)
    assert of(certificate).total == len(BASES["a"])
    assert of(certificate).first is None


@pytest.fixture(scope="module")
def misread(adder):
    """A wrong circuit, in which all that m0 reads is another input's, and its certificate."""
    circuit = Circuit(adder, ["input->m1", "m1->logits", "m0->logits"])
    return circuit, prove_circuit(circuit, SUM)


def test_a_wrong_circuit_has_the_share_of_others_with_its_answer(misread):
    """It answers the other input's sum, which is that of a third of all."""
    _, certificate = misread
    assert (certificate.level, certificate.lower, certificate.upper) == ("exact", Fraction(1, N), Fraction(1, N))
    assert of(certificate).first == (0, 1)
    assert "wrong first for the base (a=0, b=0) with edges left out from (a=0, b=1)" in str(certificate)


@pytest.mark.parametrize(("method", "left"), [("enumeration", ("m0->logits",)), ("refinement", ("input->m0", "m1->logits"))])
def test_a_proof_finds_what_running_all_pairs_finds(scrambled, method, left):
    circuit = Circuit(scrambled, [e for e in map("->".join, residual_edges(scrambled)) if e not in left])
    share, first = agreement(circuit)
    certificate = prove_circuit(circuit, SUM, method=method)
    assert (certificate.lower, certificate.upper, of(certificate).first) == (share, share, first)
    assert 0 < share < 1


def test_a_transformer_is_proved_position_by_position(attention):
    edges = [e for e in residual_edges(attention) if e not in {("input[*]", "a0<v>[*]"), ("input[-1]", "a0<k>[-1]")}]
    circuit = Circuit(attention, edges)
    share, first = agreement(circuit)
    certificate = prove_circuit(circuit, SUM)
    assert (certificate.lower, certificate.upper, of(certificate).first) == (share, share, first)
    assert 0 < share < 1


def test_an_algorithm_may_say_what_is_right(scrambled):
    circuit = Circuit(scrambled, WITHOUT_M1)
    right = Runs.of(scrambled, BASES, OTHERS).labels(circuit) == SUM.solve(BASES)["out"]
    certificate = prove_circuit(circuit, SUM, answers="algorithm")
    assert len(certificate.outcomes) == 1
    assert certificate.lower == certificate.upper == Fraction(int(right.sum()), len(right)) != agreement(circuit)[0]


def test_the_network_is_run_as_the_circuit_is(attention):
    circuit = Circuit(attention, [e for e in residual_edges(attention) if e[0] != "input[*]"])
    net = rerouted(circuit, INPUTS)
    (left,), (nothing,) = FLOWING.parts(LEFT_OUT), FLOWING.parts(NOTHING)
    whole, own = stream_of(attention).network.run(BASES), Runs.of(attention, BASES, OTHERS).labels(circuit)
    assert (whole != own).any()
    assert net.interchange(BASES, {left: OTHERS}).tolist() == own.tolist()
    assert net.interchange(BASES, {nothing: OTHERS}).tolist() == net.run(BASES).tolist() == whole.tolist()


@pytest.mark.parametrize("positions", [None, [0, -1]])
def test_a_language_model_is_run_as_the_circuit_is(positions):
    prompts = {"prompts": lambda s: [s["a"], s["b"], 7, s["a"], 9], "answers": {str(i): [i] for i in range(6, 12)}}
    net = cm.Network.from_transformers(families.model("qwen2"), None, **prompts)
    base = {"a": np.arange(6, 10), "b": np.arange(10, 14)}
    other = {v: x[::-1].copy() for v, x in base.items()}
    graph = computation_graph(net, base, positions=positions)
    circuit = Circuit(graph, residual_edges(graph)[1::3])
    own = Runs.of(graph, base, other).labels(circuit)
    assert (own != net.run(base)).any()
    assert rerouted(circuit, base).interchange(base, {FLOWING.parts(LEFT_OUT)[0]: other}).tolist() == own.tolist()


def test_what_is_proved_is_rechecked_with_the_networks_weights(misread, tmp_path):
    circuit, certificate = misread
    certificate.save(tmp_path)
    save_file(stream_of(circuit.graph).network.module.state_dict(), tmp_path / "weights")
    report = recheck(tmp_path, tmp_path / "weights")
    assert (report.level, report.lower, report.upper, report.network) == ("exact", Fraction(1, N), Fraction(1, N), True)
    assert certificate.record["kept"] == [list(edge) for edge in circuit.edges]


def test_a_certificate_that_says_another_share_is_rejected(misread, tmp_path):
    _, certificate = misread
    record = json.loads(json.dumps(certificate.record))
    told, pairs = record["statements"][-1], len(BASES["a"])
    counts = certificate.tensors[told["tree"]["counts"]].clone()
    counts[0] += torch.tensor([1, -1, 0])
    told |= {"right": told["right"] + 1, "wrong": told["wrong"] - 1}
    told |= {"lower": f"{told['right']}/{pairs}", "upper": f"{told['right']}/{pairs}"}
    record |= {"lower": told["lower"], "upper": told["upper"]}
    Certificate(record, {**certificate.tensors, told["tree"]["counts"]: counts}).save(tmp_path)
    with pytest.raises(Rejected, match="right, wrong and within rounding"):
        recheck(tmp_path)


def test_answers_of_another_network_are_rejected(misread, tmp_path):
    """What the whole network answers is part of what is rechecked."""
    _, certificate = misread
    (table,) = (v["table"] for v in certificate.record["algorithm"]["variables"] if v["name"] == "right answer")
    turned = (certificate.tensors[table] + 1) % N
    Certificate(certificate.record, {**certificate.tensors, table: turned}).save(tmp_path)
    with pytest.raises(Rejected):
        recheck(tmp_path)


def test_a_budget_leaves_bounds(scrambled):
    circuit = Circuit(scrambled, ["input->m0", "m0->logits", "input->m1"])
    share, _ = agreement(circuit)
    found = of(prove_circuit(circuit, SUM, budget="10 bounds"))
    assert found.lower <= share <= found.upper
    assert found.undecided


def test_equal_scores_leave_pairs_undecided(adder):
    """Where two choices have one score the network has no answer there, and so neither has the circuit."""
    net = stream_of(adder).network
    tied = copy.deepcopy(net.module)
    with torch.no_grad():
        tied.head.weight[1] = tied.head.weight[2] = tied.head.weight[1:].sum(0)
    graph = computation_graph(network(tied), INPUTS, **PORTS)
    certificate = prove_circuit(Circuit(graph, [*WITHOUT_M1, "m1->logits"]), SUM)
    assert (certificate.level, certificate.lower, certificate.upper) == ("sound", Fraction(1, N), 1)


def test_answers_that_rounding_makes_are_refused():
    module = Residual(6, 5)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module.join.weight[0, 0], module.join.bias[0], module.head.weight[0, 0] = 1, 2.0**25, 1
        module.head.bias[:] = torch.tensor([-(2.0**25), 0.5, -1])  # 2**25 + 1 is 2**25 in float32
    graph = computation_graph(network(module), INPUTS, **PORTS)
    with pytest.raises(ClaimError, match="for 0.333 of all inputs the network answers as it does by rounding alone"):
        prove_circuit(Circuit(graph, WITHOUT_M1), SUM)


class Sine(nn.Module):
    def forward(self, x):
        return x.sin()


def test_an_operation_without_bounds_is_named():
    graph = computation_graph(network(Residual(6, 5, Sine)), INPUTS, **PORTS)
    with pytest.raises(NetworkError, match="sin"):
        prove_circuit(Circuit(graph, WITHOUT_M1), SUM)


def test_positions_that_depend_on_the_input_are_refused(attention):
    net, stream = stream_of(attention).network, stream_of(attention)
    named = cm.Network(net.module, encode=net.encode, decode=net.decode, positions={"first": lambda batch: batch["a"] % 2})
    graph = graph_of(replace(stream, network=named), ["first"])
    circuit = Circuit(graph, [e for e in residual_edges(graph) if e[0] != "input[*]"])
    with pytest.raises(NetworkError, match="the positions first are at other tokens in some inputs"):
        prove_circuit(circuit, SUM)


def test_a_network_of_several_outputs_is_refused(adder):
    net = cm.Network(stream_of(adder).network.module, encode=one_hot, decode=lambda x: {"sum": x.argmax(-1), "odd": x[:, 1] > 0})
    graph = computation_graph(net, INPUTS, **PORTS)
    with pytest.raises(ClaimError, match="a network with one output; it has sum, odd"):
        prove_circuit(Circuit(graph, WITHOUT_M1), SUM)


def test_all_that_does_not_fit_is_told(adder):
    with pytest.raises(ClaimError) as error:
        prove_circuit("m0", SUM, answers="algoritm")
    assert "circuit must be a cm.Circuit; given 'm0'" in str(error.value)
    assert "did you mean 'algorithm'?" in str(error.value)
    with pytest.raises(ClaimError, match="inputs must be a cm.CausalModel"):
        prove_circuit(Circuit(adder, WITHOUT_M1), INPUTS)
    open_ended = cm.CausalModel("open", {"a": cm.Interval(0, 1)}, {"x": lambda a: a, "y": lambda a: a}, domains=REAL)
    with pytest.raises(ClaimError) as error:
        prove_circuit(Circuit(adder, WITHOUT_M1), open_ended, answers="algorithm")
    assert "the inputs must be finite" in str(error.value)
    assert "the algorithm must have one output; it has x, y" in str(error.value)
    with pytest.raises(ClaimError, match="there is no method 'refine'"):
        prove_circuit(Circuit(adder, WITHOUT_M1), SUM, method="refine")


def runs_with(circuit, mixtures):
    """Whether the answer of each base stays where edges left out carry mixtures of what they carry for inputs, [bases]."""
    stream, batch = stream_of(circuit.graph), INPUTS
    mask = Runs.of(circuit.graph, batch, batch).mask(circuit)[..., 0]
    whole, stays = stream.network.run(batch), np.ones(N * N, dtype=bool)
    with torch.no_grad():
        written = stream.written(batch)
        for weights in mixtures:
            output = stream.run(batch, mask, torch.einsum("wi...,i->w...", written, weights)[:, None])
            stays &= stream.network.decode(output).numpy() == whole
    return stays


@pytest.mark.parametrize("left", [("m0->logits",), ("m0->m1", "input->logits")])
def test_an_answer_that_stays_does_for_every_input_and_mixture(scrambled, left):
    circuit = Circuit(scrambled, [e for e in map("->".join, residual_edges(scrambled)) if e not in left])
    found = prove_staying(circuit, SUM, budget="500 bounds")
    drawn = torch.distributions.Dirichlet(torch.full((N * N,), 0.3)).sample((64,))
    stays = runs_with(circuit, [*torch.eye(N * N), *drawn])
    assert not stays.all()
    assert not (found.stays & ~stays).any()
    assert not (found.stays & found.changes).any()
    assert (found.lower, found.upper) == (Fraction(int(found.stays.sum()), 9), 1 - Fraction(int(found.changes.sum()), 9))


def test_answers_of_a_true_circuit_stay_and_of_a_wrong_one_change(adder, misread):
    true = prove_staying(Circuit(adder, WITHOUT_M1), SUM)
    assert true.stays.all()
    assert not true.changes.any()
    wrong = prove_staying(misread[0], SUM)
    assert wrong.changes.all()
    assert not wrong.stays.any()
    assert "the answer stays for 9 of 9 bases, and changes for 0" in str(true)


def test_what_a_budget_leaves_open_neither_stays_nor_changes(scrambled):
    circuit = Circuit(scrambled, ["input->m0", "m0->logits", "input->m1"])
    assert prove_staying(circuit, SUM, budget="2000 bounds").changes.any()
    found = prove_staying(circuit, SUM, budget="1 bounds")
    assert found.lower < found.upper
