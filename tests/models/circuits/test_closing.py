"""Closed graphs: nothing but what nodes write tells the output of one input from that of another."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.runs import Runs
from commute.models.sites import Tap
from tests.models import families
from tests.models.circuits import nets

ROWS, ELSE = ({v: np.random.default_rng(seed + i).normal(size=5) for i, v in enumerate("ab")} for seed in (0, 2))


class Block(nn.Module):
    """A hidden layer that adds what it was given to what it makes of it."""

    def __init__(self):
        super().__init__()
        self.f, self.t = nn.Linear(4, 4), nn.Tanh()

    def forward(self, x):
        return x + self.t(self.f(x))


class Blocks(nn.Module):
    """Two blocks one after the other, with a way past them from one of several places, as small as `size`."""

    def __init__(self, past="nothing", size=1.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.e, self.b0, self.b1, self.o = nn.Linear(2, 4), Block(), Block(), nn.Linear(4, 3)
            self.raw, self.skip, self.into = nn.Linear(2, 3), nn.Linear(4, 3), nn.Linear(2, 4)
        self.past, self.size = past, size

    def forward(self, inputs):
        x = self.e(inputs)
        stream = self.b0(x)
        if self.past == "into the stream":
            stream = stream + self.size * self.into(inputs)
        out = self.o(self.b1(stream))
        if self.past == "after an input":
            out = out + self.size * self.skip(x)
        if self.past == "after a block":
            out = out + self.size * self.skip(torch.tanh(stream))
        return out + self.size * self.raw(inputs) if self.past == "before all" else out


def encode(x):
    return torch.tensor(np.stack([x["a"], x["b"]], 1), dtype=torch.float32)


def network(module, **options):
    return cm.Network(module, **{"encode": encode, "decode": lambda y: y.argmax(-1)} | options)


def graph_of(net, *, at="b{}.f", inputs=ROWS, **tap):
    reads = [cm.Reads((f"m{i}",), Tap(at.format(i), input=True), **{k: make(i) for k, make in tap.items()}) for i in range(2)]
    return computation_graph(
        net,
        inputs,
        writes=[cm.Writes(("input",), Tap("e")), *(cm.Writes((f"m{i}",), Tap(f"b{i}.t")) for i in range(2))],
        reads=[*reads, cm.Reads(("logits",), Tap("o", input=True))],
    )


def test_with_nothing_kept_a_closed_graph_gives_what_the_network_gives_for_the_others():
    net = network(Blocks())
    runs = Runs.of(graph_of(net), ROWS, ELSE)
    with torch.no_grad():
        assert_close(runs.scores([[]])[0], net.module(encode(ELSE)))


PAST = ["after an input", "after a block", "before all"]


@pytest.mark.parametrize("size", [0.01, 3.0])
@pytest.mark.parametrize("past", PAST)
def test_what_reaches_the_output_past_all_nodes_is_told(past, size):
    with pytest.raises(NetworkError, match="with all that logits reads given, .* something reaches the output along no edge"):
        graph_of(network(Blocks(past, size)))


@pytest.mark.parametrize("past", PAST[:2])
def test_one_input_shows_what_goes_past_readers(past):
    with pytest.raises(NetworkError, match="something reaches the output along no edge"):
        graph_of(network(Blocks(past)), inputs={"a": [1.0], "b": [2.0]})


def test_what_no_node_adds_for_an_input_is_told():
    with pytest.raises(NetworkError, match="what m1 reads at b1.f.input differs from input to input by more than"):
        graph_of(network(Blocks("into the stream")))


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_few_rows_at_once_show_it_too(batch_size):
    with pytest.raises(NetworkError, match="something reaches the output along no edge"):
        graph_of(network(Blocks("before all"), batch_size=batch_size))


def test_blocks_with_their_skip_inside_cannot_be_read_where_they_begin():
    with pytest.raises(NetworkError, match=r"what m0 reads at b0.input also changes what m1 reads at b1.input, .* first module"):
        graph_of(network(Blocks()), at="b{}")


def test_nor_at_a_tap_there():
    with pytest.raises(NetworkError, match=r"what m0 reads at b0.input also changes what m1 reads"):
        graph_of(network(Blocks()), at="b{}", tap=lambda i: Tap(f"b{i}", input=True))


def test_blocks_are_read_where_they_begin_with_a_tap_of_their_own():
    net = network(Blocks())
    found = graph_of(net, at="b{}", tap=lambda i: Tap(f"b{i}.f", input=True))
    expected = graph_of(net)
    keep = [e for e in residual_edges(found) if e != ("input", "m0")]
    assert_close(*(Runs.of(g, ROWS, ELSE).scores([keep]) for g in (found, expected)))


class Beside(nn.Module):
    """Two blocks side by side, of which the first takes its skip along."""

    def __init__(self):
        super().__init__()
        self.e, self.b0, self.b1, self.o = nn.Linear(2, 4), Block(), Block(), nn.Linear(4, 3)

    def forward(self, x):
        x = self.e(x)
        return self.o(self.b0(x) + self.b1.t(self.b1.f(x)))


def test_the_reader_that_moves_the_stream_is_named():
    reads = [cm.Reads((n,), Tap(t, input=True)) for n, t in (("m0", "b0"), ("m1", "b1.f"), ("logits", "o"))]
    writes = [cm.Writes((n,), Tap(t)) for n, t in (("input", "e"), ("m0", "b0.t"), ("m1", "b1.t"))]
    with pytest.raises(NetworkError, match="what m0 reads at b0.input also changes what logits reads at o.input"):
        computation_graph(network(Beside()), ROWS, writes=writes, reads=reads)


def test_answers_that_are_chosen_otherwise_are_not_compared():
    closed = network(Blocks(), decode=lambda y: [str(x) for x in y.numpy().argmax(-1)])
    assert graph_of(closed).number_of_edges() == 6
    several = network(Blocks(), decode=lambda y: {"one": y.argmax(-1), "two": y.argmin(-1) > 0})
    assert graph_of(several).number_of_edges() == 6


class Masked(Blocks):
    """Scores of which one is ruled out, and one is no number."""

    def forward(self, x):
        out = super().forward(x)
        return torch.stack([out[:, 0], torch.full_like(out[:, 1], -torch.inf), out[:, 2]], 1)


def test_choices_that_are_ruled_out_are_alike():
    assert graph_of(network(Masked())).number_of_edges() == 6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", [*families.CAUSAL, *families.SHARING])
def test_language_models_are_closed(family, dtype):
    for neurons in (False, family != "gemma2"):
        assert computation_graph(nets.decoder(family, dtype=dtype), nets.PROMPTS, neurons=neurons).number_of_edges() > 14


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "phi"])
def test_prompts_of_several_lengths_stand_for_those_of_their_own(family, padding):
    """Where none is alike, as of the first two, each stands for itself."""
    made = partial(nets.decoder, family, prompts=lambda s: [*[s["a"]] * s["n"], 7, 9], padding=padding)
    for n in ([1, 2, 3, 1, 2], [1, 2, 3, 4, 5], [2] * 5):
        batch, others = ({**x, "n": np.array(n)} for x in (nets.PROMPTS, nets.OTHERS))
        net = made()
        runs = Runs.of(computation_graph(net, batch), batch, others)
        assert list(runs.labels([])) == list(net.run(others))


class Ending(nets.Hooked):
    """Scores at the last real token of each row, to which those of its first token are added by themselves."""

    def __init__(self, past):
        super().__init__()
        self.past = past

    def forward(self, tokens, attention_mask):
        out = super().forward(tokens)[torch.arange(len(tokens)), attention_mask.sum(1) - 1]
        return out + self.past * nn.functional.one_hot(tokens[:, 0], nets.WORDS)


def test_rows_stand_for_those_whose_tokens_are_in_the_same_columns():
    lengths = torch.tensor([2, 4, 3, 2, 4])

    def encoded(batch):
        places = torch.arange(nets.LENGTH)
        return {"tokens": nets.tokens_of(batch), "attention_mask": (places < lengths[batch["i"]][:, None]).long()}

    assert computation_graph(network(Ending(0), encode=encoded), nets.BASE).number_of_edges() > 14
    with pytest.raises(NetworkError, match="something reaches the output along no edge"):
        computation_graph(network(Ending(1), encode=encoded), nets.BASE)


def test_answers_are_read_where_the_other_input_has_them():
    def finish(call, out):
        return out[torch.arange(len(out)), call[0].argmax(1)]

    net = network(nets.Hooked(), encode=nets.tokens_of, finish=finish)
    assert len(set(nets.tokens_of(nets.BASE).argmax(1).tolist())) > 1
    assert computation_graph(net, nets.BASE).number_of_edges() > 14


@pytest.mark.parametrize("gated", [False, True])
def test_neurons_of_hook_points_are_patched_by_their_own_weights(gated):
    net = nets.hooked()
    if gated:
        for block in net.module.blocks:
            block.mlp = Gated(block.mlp)
    graph = computation_graph(net, nets.BASE, neurons=True)
    whole = computation_graph(net, nets.BASE)
    runs, layers = (Runs.of(g, nets.BASE, nets.OTHER) for g in (graph, whole))
    into = {e for e in residual_edges(graph) if e[1].startswith("m1")}
    found, expected = (
        runs.scores([set(residual_edges(graph)) - into]),
        layers.scores([[e for e in residual_edges(whole) if e[1] != "m1"]]),
    )
    assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - runs.scores([residual_edges(graph)])).abs().max() > 1e-3


class Gated(nn.Module):
    def __init__(self, plain):
        super().__init__()
        self.W_in, self.W_gate, self.W_out = plain.W_in, nn.Parameter(plain.W_in.detach().flip(1)), plain.W_out
        self.hook_pre, self.hook_pre_linear, self.hook_post = (nn.Identity() for _ in range(3))

    def forward(self, x):
        return self.hook_post(torch.relu(self.hook_pre(x @ self.W_gate)) * self.hook_pre_linear(x @ self.W_in)) @ self.W_out


def test_neurons_behind_a_norm_are_refused():
    net = nets.hooked()
    net.module.blocks[0].mlp.ln = nn.LayerNorm(nets.HIDDEN)
    with pytest.raises(NetworkError, match="the neurons of blocks.0.mlp go through a norm together"):
        computation_graph(net, nets.BASE, neurons=True)


class Plain(nn.Module):
    """A block that adds to the stream, in place or not, and one that takes from it, so that the first numbers are nothing."""

    def __init__(self, *, inplace=False, erased=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.e, self.f, self.t, self.o = nn.Linear(2, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)
        self.inplace, self.gone = inplace, nn.Linear(4, 4, bias=False)
        self.gone.weight.data = -torch.diag((torch.arange(4) < erased).float())

    def forward(self, inputs):
        x = self.e(inputs)
        if self.inplace:
            x += self.t(self.f(x))
        else:
            x = x + self.t(self.f(x))
        return self.o(x + self.gone(x))


def plain(dtype=torch.float32, **options):
    net = cm.Network(Plain(**options).to(dtype), encode=lambda x: encode(x).to(dtype), decode=lambda y: y.argmax(-1))
    writes = [cm.Writes((node,), Tap(path)) for node, path in (("input", "e"), ("m0", "t"), ("m1", "gone"))]
    taps = (("m0", "f"), ("m1", "gone"), ("logits", "o"))
    reads = [cm.Reads((node,), Tap(path, input=True)) for node, path in taps]
    return computation_graph(net, ROWS, writes=writes, reads=reads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_cancels_out_in_the_stream_is_rounding(dtype):
    graph = plain(dtype, erased=2)
    assert len(residual_edges(graph)) == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streams_that_are_added_to_in_place_are_patched_as_others(dtype):
    for keep in ([], [("input", "logits")], [("m0", "m1"), ("m1", "logits")]):
        one, other = (Runs.of(plain(dtype, inplace=inplace), ROWS, ELSE).scores([keep]) for inplace in (False, True))
        assert_close(one, other)
