"""Runs of circuits against networks as they are, against ablated ones, and against a second implementation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.runs import Runs
from commute.models.sites import Tap
from tests.models import families
from tests.models.circuits import nets
from tests.proofs.circuits import additive

FAMILIES = [*families.CAUSAL, "hooked"]
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def made(family):
    """A network, its inputs and others."""
    if family == "hooked":
        return nets.hooked(), nets.BASE, nets.OTHER
    return nets.decoder(family), nets.PROMPTS, nets.OTHERS


@pytest.mark.parametrize("neurons", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_all_edges_change_nothing_and_none_is_the_other_run(family, neurons):
    if neurons and family == "gemma2":
        pytest.skip("its neurons are not told apart")
    net, batch, others = made(family)
    graph = computation_graph(net, batch, neurons=neurons)
    runs = Runs.of(graph, batch, others)
    every = cm.Circuit(graph, residual_edges(graph))
    whole, none = runs.scores([every, []])
    assert_close(whole, runs.readout.scores(net.call(batch), len(whole)), **CLOSE)
    assert_close(none, runs.readout.scores(net.call(others), len(whole)), **CLOSE)
    assert (whole - none).abs().max() > 0.01
    assert list(runs.labels(every)) == list(net.run(batch))
    assert list(runs.labels([])) == list(net.run(others))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_none_is_what_the_mean_or_nothing_gives(family):
    """The stream is a sum, so that its mean over a set is put in place of the last one by a plain hook."""
    net, batch, others = made(family)
    graph = computation_graph(net, batch)
    last = net.module.get_submodule(net.residual()[-1].path)
    seen = []
    with last.register_forward_hook(lambda m, i, o: seen.append(o)):
        net.call(batch)
        net.call(others)
    own, other = seen[-2:]
    for instead, stream in (
        (cm.Mean(others), other.mean(0, keepdim=True).expand_as(own)),
        (cm.Zero(), own - Runs.of(graph, batch, batch).instead.sum(0)),
    ):
        runs = Runs.of(graph, batch, instead)
        readout = runs.readout
        with last.register_forward_hook(lambda m, i, o, stream=stream: stream):
            expected = readout.scores(net.call(batch), len(own))
        assert_close(runs.scores([[]])[0], expected, atol=5e-3, rtol=1e-3)  # nothing but rounding is left to be normed


def test_resampling_draws_rows_of_what_it_is_given():
    net, batch, others = made("hooked")
    graph = computation_graph(net, batch)
    drawn = Runs.of(graph, batch, cm.Resample(others, seed=3)).instead
    rows = Runs.of(graph, others, others).instead
    assert all(any(torch.allclose(drawn[:, i], rows[:, j], atol=1e-5) for j in range(5)) for i in range(5))
    assert torch.equal(drawn, Runs.of(graph, batch, cm.Resample(others, seed=3)).instead)
    assert not torch.equal(drawn, Runs.of(graph, batch, cm.Resample(others, seed=4)).instead)


GRAPH = computation_graph(nets.hooked(), nets.BASE)
EDGES = residual_edges(GRAPH)


@torch.no_grad()
def brute(module, batch, others, kept):
    instead = module.written(nets.tokens_of(others))
    return module.patched(nets.tokens_of(batch), instead, kept)[1][:, -1]


@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=len(EDGES), max_size=len(EDGES)))
def test_any_set_of_edges_is_patched_as_by_putting_streams_together(chosen):
    keep = {edge for edge, yes in zip(EDGES, chosen, strict=True) if yes}
    runs = Runs.of(GRAPH, nets.BASE, nets.OTHER)
    found = runs.scores([keep])[0]
    module = runs.stream.network.module
    expected = brute(module, nets.BASE, nets.OTHER, lambda w, r: torch.full((5, nets.LENGTH), float((w, r) in keep)))
    assert_close(found, expected, **CLOSE)


def test_each_single_edge_is_patched_as_by_putting_streams_together():
    runs = Runs.of(GRAPH, nets.BASE, nets.OTHER)
    found = runs.scores([[e for e in EDGES if e != edge] for edge in EDGES])
    for edge, scores in zip(EDGES, found, strict=True):
        kept = lambda w, r, edge=edge: torch.full((5, nets.LENGTH), float((w, r) != edge))  # noqa: E731
        assert_close(scores, brute(runs.stream.network.module, nets.BASE, nets.OTHER, kept), **CLOSE)
    whole = runs.scores([EDGES])[0]
    assert sum(bool((scores - whole).abs().max() > 1e-3) for scores in found) > len(EDGES) * 0.9


def test_shares_between_all_and_nothing_are_kept():
    runs = Runs.of(GRAPH, nets.BASE, nets.OTHER)
    draws = torch.Generator().manual_seed(0)
    mask = torch.rand(runs.mask([]).shape, generator=draws)
    place = {(runs.stream.writers[w], runs.stream.readers[r]): (r, w) for r, w in runs.stream.edges.nonzero().tolist()}
    kept = lambda w, r: mask[place[w, r]].expand(5, nets.LENGTH)  # noqa: E731
    found = runs.scores([mask, runs.mask(EDGES).float()])
    assert_close(found[0], brute(runs.stream.network.module, nets.BASE, nets.OTHER, kept), **CLOSE)
    assert_close(found[1], runs.scores([EDGES])[0], **CLOSE)


@settings(max_examples=15)
@given(st.data())
def test_positions_are_patched_each_by_itself(data):
    positions = data.draw(st.lists(st.integers(0, nets.LENGTH - 1), min_size=1, max_size=3, unique=True))
    positions = [p if data.draw(st.booleans()) else p - nets.LENGTH for p in positions]
    graph = computation_graph(nets.hooked(), nets.BASE, positions=positions)
    edges = residual_edges(graph)
    dropped = set(data.draw(st.lists(st.sampled_from(edges), max_size=40)))
    runs = Runs.of(graph, nets.BASE, nets.OTHER)
    columns = {p % nets.LENGTH: p for p in positions}

    def kept(w, r):
        places = [columns.get(t, "*") for t in range(nets.LENGTH)]
        return torch.tensor([float((f"{w}[{p}]", f"{r}[{p}]") not in dropped) for p in places]).expand(5, -1)

    found = runs.scores([[e for e in edges if e not in dropped]])[0]
    assert_close(found, brute(runs.stream.network.module, nets.BASE, nets.OTHER, kept), **CLOSE)


@pytest.mark.parametrize("padding", ["left", "right"])
@torch.no_grad()
def test_positions_of_prompts_of_different_length_count_tokens(padding):
    """A name and a number, in rows that are filled up: the key of one head is changed in one column by a plain hook."""
    batch = {**nets.PROMPTS, "n": np.array([1, 2, 1, 3, 1])}
    others = {**nets.OTHERS, "n": batch["n"]}

    made = nets.decoder("gpt2", prompts=lambda s: [*[7] * s["n"], s["a"], s["b"], 7, s["a"], 9], padding=padding)
    net = cm.Network(
        made.module, encode=made.encode, decode=made.decode, finish=made.finish, positions={"name": lambda b: b["n"]}
    )
    graph = computation_graph(net, batch, positions=["name", -2])
    runs = Runs.of(graph, batch, others)
    call = net.encode(batch)
    mask = call["attention_mask"].bool()
    ends = torch.tensor([int(row.nonzero()[-1]) for row in mask])
    place = {"name": torch.tensor([int(row.nonzero()[n]) for row, n in zip(mask, batch["n"], strict=True)]), -2: ends - 1}
    every = residual_edges(graph)
    heads = [w for w in runs.stream.writers if w.startswith("a0")]
    for name, columns in place.items():
        edge = f"a0.h1[{name}]", f"a1.h2<k>[{name}]"
        found = runs.scores([[e for e in every if e != edge]])[0]
        written = [Runs.of(graph, x, x).instead[1 + heads.index("a0.h1")] for x in (batch, others)]
        at = torch.zeros_like(mask, dtype=torch.float32).scatter(1, columns[:, None], 1.0)
        block = net.module.transformer.h[1]
        streams = []
        with block.register_forward_pre_hook(lambda m, args, seen=streams: seen.append(args[0])):
            net.call(batch)
        changed = block.ln_1(streams[0] + at[..., None] * (written[1] - written[0]))
        key = block.attn.c_attn(changed)[..., 24:28]  # of the third head, after all queries

        def put(m, i, o, key=key):
            return torch.cat([o[..., :24], key, o[..., 28:]], -1)

        readout = runs.readout
        with block.attn.c_attn.register_forward_hook(put):
            expected = readout.scores(net.call(batch), 5)
        assert_close(found, expected, **CLOSE)
        assert (found - runs.scores([every])[0]).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi3", "gpt_neox", "gemma2", "opt"])
def test_many_circuits_at_once_are_as_one_by_one(family):
    net, batch, others = made(family)
    for positions in (None, [1, -1]):
        graph = computation_graph(net, batch, positions=positions)
        edges = residual_edges(graph)
        keeps = [edges[::2], edges[1::2], [], edges[: len(edges) // 3]]
        for instead in (others, cm.Mean(others)):
            runs = Runs.of(graph, batch, instead)
            together = runs.scores(keeps)
            for keep, scores in zip(keeps, together, strict=True):
                assert_close(runs.scores([keep])[0], scores, **CLOSE)


def test_passes_of_few_rows_give_the_same():
    found = []
    for size in (None, 2):
        net = nets.hooked(batch_size=size)
        graph = computation_graph(net, nets.BASE, positions=[2])
        runs = Runs.of(graph, nets.BASE, nets.OTHER)
        edges = residual_edges(graph)
        found.append(runs.scores([edges[::2], edges[::3]]))
        assert list(runs.labels(edges[::2])) == found[-1][0].argmax(-1).tolist()
    assert_close(*found, **CLOSE)


@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=len(EDGES), max_size=len(EDGES)))
def test_edges_that_carry_the_same_value_may_be_left_out(chosen):
    keep = [edge for edge, yes in zip(EDGES, chosen, strict=True) if yes]
    runs = Runs.of(GRAPH, nets.BASE, nets.BASE)
    found = runs.scores([keep, EDGES])
    assert_close(found[0], found[1], **CLOSE)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(EDGES), min_size=1))
def test_a_circuit_and_its_complement_are_all_edges_once(edges):
    runs = Runs.of(GRAPH, nets.BASE, nets.OTHER)
    kept = cm.Circuit(GRAPH, [*edges, "input->logits"])
    one, other = runs.mask(kept), runs.mask(kept.complement)
    assert not (one & other).any()
    assert torch.equal((one | other)[..., 0], runs.stream.edges)
    assert [*sorted((*kept.edges, *kept.complement))] == sorted(EDGES)


def test_the_rows_of_runs_can_be_taken():
    for instead in (nets.OTHER, cm.Mean(nets.OTHER)):
        runs = Runs.of(GRAPH, nets.BASE, instead)
        rows = np.array([3, 0])
        expected = runs.scores([EDGES[::2]])[0, rows]
        for chosen in (rows, [3, 0], [-2, -5], rows[::-1].copy()[::-1]):
            assert_close(runs.take(chosen).scores([EDGES[::2]])[0], expected, **CLOSE)
        masked = runs.take([True, False, False, True, False])
        assert_close(masked.scores([EDGES[::2]])[0], expected.flip(0), **CLOSE)
        for wrong in ([5], [0.5], [True], 3, None):
            with pytest.raises(NetworkError, match="rows are numbers from 0 to 4, or a mask of 5 truth values; given"):
                runs.take(wrong)


def several_lengths(**options):
    """Two inputs shorter than others, each in a pass with none of the longest."""
    net = nets.decoder("gpt2", prompts=lambda s: [*[7] * s["n"], s["a"], s["b"], 9], **options)
    n = np.array([1, 0, 1, 3, 3])
    return net, {**nets.PROMPTS, "n": n}, {**nets.OTHERS, "n": n}


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("positions", [None, [0, -1]])
def test_prompts_of_several_lengths_give_the_same_in_passes_of_few_rows(positions, padding):
    found = []
    for size in (None, 1, 2, 3):
        net, batch, others = several_lengths(padding=padding, batch_size=size)
        graph = computation_graph(net, batch, positions=positions)
        runs = Runs.of(graph, batch, others)
        edges = residual_edges(graph)
        found.append((runs.instead, runs.scores([edges[::2], edges[::3]])))
        assert list(runs.labels(edges[::2])) == [runs.choices[i] for i in found[-1][1][0].argmax(-1)]
        assert size is None or all(len(rows) <= max(size, 2) for rows, _ in runs.blocks(size))
        real = runs.stream.tokens(batch)
        assert_close(found[-1][0][:, real], found[0][0][:, real], **CLOSE)
        assert_close(found[-1][1], found[0][1], **CLOSE)


def test_inputs_of_several_lengths_with_no_mask_do_not_fit_into_several_passes():
    made, batch, others = several_lengths()
    net = cm.Network(made.module, encode=lambda b: made.encode(b)["input_ids"], decode=lambda x: x.logits[:, -1].argmax(-1))
    graph = computation_graph(net, batch)
    runs = Runs.of(graph, batch, others)
    net.batch_size = 2
    with pytest.raises(NetworkError, match="give inputs of one length"):
        runs.scores([[]])
    with pytest.raises(NetworkError, match="from 4 to 6 columns in different passes"):
        Runs.of(graph, batch, others)


def test_the_mean_leaves_padding_out():
    net = nets.decoder("gpt2", prompts=lambda s: [*[7] * s["n"], s["a"], s["b"], 9])
    batch = {**nets.PROMPTS, "n": np.array([1, 0, 0, 1, 0])}
    graph = computation_graph(net, batch)
    mean = Runs.of(graph, batch, cm.Mean(batch)).instead
    written = Runs.of(graph, batch, batch).instead
    assert_close(mean[:, 0, 0], written[:, [0, 3], 0].mean(1), **CLOSE)
    assert_close(mean[:, 0, 1:], written[:, :, 1:].mean(1), **CLOSE)


def test_gradients_reach_what_is_kept_and_what_is_carried_instead():
    runs = Runs.of(GRAPH, nets.BASE, nets.OTHER)
    stream = runs.stream
    kept = stream.edges.float().mul(0.7).requires_grad_()
    instead = runs.instead.clone().requires_grad_()
    draws = torch.Generator().manual_seed(0)
    way = torch.randn(5, nets.WORDS, generator=draws)
    (stream.run(nets.BASE, kept, instead)[:, -1] * way).sum().backward()
    assert (kept.grad != 0).sum() == stream.edges.sum()
    assert (instead.grad.flatten(1) != 0).any(1).all()
    step = 1e-2
    r, w = 7, 0
    ends = []
    for sign in (1, -1):
        moved = kept.detach().clone()
        moved[r, w] += sign * step
        with torch.no_grad():
            ends.append(float((stream.run(nets.BASE, moved, runs.instead)[:, -1] * way).sum()))
    assert_close(kept.grad[r, w], torch.tensor((ends[0] - ends[1]) / (2 * step)), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_networks_in_half_precision_have_the_same_graph(family, dtype):
    net, batch = nets.decoder(family, dtype=dtype), nets.PROMPTS
    graph = computation_graph(net, batch)
    assert set(graph.edges) == set(computation_graph(nets.decoder(family), batch).edges)
    runs = Runs.of(graph, batch, nets.OTHERS)
    whole = runs.scores([residual_edges(graph)])[0].float()
    expected = runs.readout.scores(net.call(batch), 5).float()
    assert (whole - expected).abs().max() < 0.1 * expected.abs().max()


def test_networks_that_write_answers_are_run_on_from_the_circuit():
    """Generation goes on from the cache that the patched pass filled."""
    model = families.model("gpt2")
    model.generation_config.eos_token_id = None
    net = cm.Network.from_transformers(
        model,
        families.tokenizer(),
        prompts=lambda s: [s["a"], s["b"], 7, s["a"], 9],
        answers=cm.Generated({str(i): [i] for i in range(6, 14)}, tokens=2),
    )
    graph = computation_graph(net, nets.PROMPTS)
    runs = Runs.of(graph, nets.PROMPTS, nets.OTHERS)
    assert list(runs.labels(residual_edges(graph))) == list(net.run(nets.PROMPTS))
    with pytest.raises(NetworkError, match="argmax"):
        runs.scores([[]])


def test_the_module_is_left_as_it_was_found():
    net, batch, others = made("gpt2")
    net.module.train()
    net.module.transformer.h[1].eval()
    net.module.transformer.h[0].register_forward_hook(lambda m, i, o: None)

    def state():
        modules = [
            (len(m._forward_hooks), len(m._forward_pre_hooks), m.training, m.__dict__.get("forward"))
            for m in net.module.modules()
        ]
        return modules, [p.requires_grad for p in net.module.parameters()]

    before = state()
    graph = computation_graph(net, batch, positions=[-1])
    runs = Runs.of(graph, batch, others)
    runs.scores([residual_edges(graph)[::2]])
    runs.labels([])
    assert state() == before
    with pytest.raises(NetworkError):
        runs.stream.run(batch, torch.ones(1, 1), runs.instead)
    assert state() == before


def test_inputs_that_do_not_fit_are_named():
    net = nets.decoder("gpt2", prompts=lambda s: [*[7] * s.get("n", 1), s["a"], s["b"], 9])
    graph = computation_graph(net, nets.PROMPTS)
    with pytest.raises(NetworkError, match="5 inputs and 4 others"):
        Runs.of(graph, nets.PROMPTS, {k: x[:4] for k, x in nets.OTHERS.items()})
    short = {**nets.PROMPTS, "n": np.array([1, 1, 0, 1, 1])}
    long = {**nets.OTHERS, "n": np.array([1, 1, 1, 1, 1])}
    with pytest.raises(NetworkError, match="row 2 has 3 of 4 columns, the other 4 of 4"):
        Runs.of(graph, short, long)
    with pytest.raises(NetworkError, match="of one length"):
        Runs.of(graph, long, cm.Mean({**nets.PROMPTS, "n": np.array([0, 0, 0, 0, 0])})).scores([[]])
    runs = Runs.of(graph, nets.PROMPTS, nets.OTHERS)
    with pytest.raises(NetworkError, match="no circuits"):
        runs.scores([])
    with pytest.raises(NetworkError, match=r"given \[2, 3, 1\]"):
        runs.scores([torch.zeros(2, 3, 1)])


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        (None, r"instead must be other inputs row by row, Resample\(inputs\), Mean\(inputs\) or Zero\(\); given None"),
        ("zero", "given 'zero'"),
        (cm.Zero, "given <class"),
        (cm.OptimalAblation(), "given OptimalAbl"),
        (cm.Mean(None), r"instead must be Mean\(inputs\), of a batch; given Mean\(None\)"),
        (cm.Resample("x"), r"instead must be Resample\(inputs\), of a batch; given Resample\('x'\)"),
    ],
)
def test_what_edges_cannot_carry_instead_is_told(instead, told):
    with pytest.raises(NetworkError, match=told):
        Runs.of(GRAPH, nets.BASE, instead)


@pytest.mark.parametrize("inputs", [[1, 2], None, 5, np.arange(3)])
def test_inputs_are_a_mapping(inputs):
    with pytest.raises(NetworkError, match="inputs are a mapping from each input to a value, or to an array of values; given"):
        Runs.of(GRAPH, inputs, nets.OTHER)


@pytest.mark.parametrize("keeps", [None, 3, "input->m0", cm.Circuit(GRAPH, EDGES)])
def test_what_is_no_list_of_circuits_is_told(keeps):
    with pytest.raises(NetworkError, match="what is run is a list of circuits, or of lists of edges or nodes; given"):
        Runs.of(GRAPH, nets.BASE, nets.OTHER).scores(keeps)


@pytest.mark.parametrize("share", [5.0, -0.1, np.nan, 1j])
def test_a_mask_keeps_shares_between_nothing_and_all(share):
    runs = Runs.of(GRAPH, nets.BASE, nets.OTHER)
    mask = runs.mask(EDGES).to(torch.tensor(share).dtype)
    mask[runs.index["m0", "logits"]] = share
    with pytest.raises(NetworkError, match="numbers between 0 and 1"):
        runs.scores([runs.mask([]), mask])


def test_positions_that_are_one_are_told():
    graph = computation_graph(nets.hooked(), nets.BASE, positions=[0, -5 + 1])
    graph.graph["positions"] = (0, -5)  # as for other inputs, which are shorter
    with pytest.raises(NetworkError, match="the positions 0 and -5 are the same in row 0"):
        Runs.of(graph, nets.BASE, nets.OTHER).scores([[]])


def test_a_circuit_of_another_graph_is_run_where_its_edges_are_there():
    keep = ["input->m0", "m0->logits"]
    runs, same = Runs.of(GRAPH, nets.BASE, nets.OTHER), computation_graph(nets.hooked(1), nets.BASE)
    assert torch.equal(runs.mask(cm.Circuit(same, keep)), runs.mask(keep))
    places = computation_graph(nets.hooked(), nets.BASE, positions=[0])
    foreign = cm.Circuit(places, ["input[*]->m0[*]", "m0[*]->logits[*]"])
    with pytest.raises(NetworkError, match=r"another computation graph: 2 of its 2 edges, such as input\[\*\]->m0\[\*\]"):
        runs.scores([foreign])


@pytest.mark.parametrize("keep", ["input->m0", 3])
def test_what_is_no_list_of_edges_is_told(keep):
    with pytest.raises(NetworkError, match="what is kept is a circuit, or a list of edges or of nodes; given"):
        Runs.of(GRAPH, nets.BASE, nets.OTHER).mask(keep)


class Rooted(additive.Additive):
    """Its score of "yes" is the root of the weighted sum, or infinitely far below where the sum is 0."""

    def forward(self, x):
        no, yes = super().forward(x).unbind(1)
        return torch.stack([no, torch.where(yes == 0, -torch.inf, yes.sqrt())], 1)


@pytest.mark.parametrize("size", [None, 2])
def test_nan_is_told_with_its_row_and_with_what_makes_it(size):
    part = [Writes((f"p{i}",), Tap(f"parts.{i}")) for i in range(2)]
    net = cm.Network(Rooted((1.0, -1.0)), encode=additive.encode, decode=lambda s: s.argmax(-1), batch_size=size)
    x = {"x0": np.array([4.0, 5.0, 1.0, 7.0, 9.0]), "x1": np.array([1.0, 2.0, 1.0, 3.0, 0.0])}
    graph = computation_graph(net, x, writes=part, reads=[Reads(("logits",), Tap("out", input=True))])
    runs = Runs.of(graph, x, {"x0": np.array([4.0, 5.0, 1.0, 2.0, 9.0]), "x1": x["x1"]})
    keeps = [residual_edges(graph), [("p1", "logits")]]
    assert runs.take(np.array([0, 1, 2])).scores(keeps)[:, 2, 1].tolist() == [-np.inf] * 2  # is no choice, and a number
    for run in (runs.scores, lambda keeps: runs.labels(keeps[-1])):
        with pytest.raises(
            NetworkError, match=r"in row 3 the output is NaN, .* of the 5 that are run here is {'x0': 7.0, 'x1': 3.0}"
        ):
            run(keeps)
    with pytest.raises(NetworkError, match=r"in row 1 the .*\(row 1 of the 2 that are run here is {'x0': 7.0, 'x1': 3.0}\)"):
        runs.take(np.array([1, 3])).scores(keeps)
    own = Runs.of(graph, {**x, "x0": np.array([4.0, 5.0, 1.0, 7.0, -9.0])}, x)
    for run in (own.scores, lambda keeps: own.labels(keeps[0])):
        with pytest.raises(NetworkError, match="in row 4 the network itself, with nothing left out, gives NaN"):
            run(keeps)
