"""Sweeps against passes in full: the same numbers, the cost that is told, and nothing replayed that cannot be."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import commute as cm
from commute.models.engine import engine_of
from tests.models import families

PAIRS, LENGTH = 3, 6


def spied(module, encode, scores, **options):
    """A network whose decode keeps the scores that it sees."""
    kept = []
    net = cm.Network(module, encode=encode, decode=lambda x: [kept.append(scores(x)), scores(x).argmax(-1)][1], **options)
    return net, kept


def by_interchange(net, kept, base, source, features):
    """The scores of one interchange after another, by passes in full."""
    found = {}
    for feature in features:
        kept.clear()
        net.interchange(base, {feature: source})
        found[feature] = torch.cat(kept)
    return found


def assert_same(net, kept, base, source, features, *, atol=1e-4):
    """A sweep gives the answers of single interchanges, and they are not the answers to the base."""
    expected = by_interchange(net, kept, base, source, features)
    kept.clear()
    swept = net.sweep(base, source, features)
    seen = torch.cat(kept)
    for feature in features:
        scores = expected[feature]
        gaps = [(seen[i : i + len(scores)] - scores).abs().max() for i in range(len(seen) - len(scores) + 1)]
        assert min(gaps) < atol, feature
        assert (swept.answers[feature] == scores.argmax(-1).numpy()).all() or min(gaps) > 0
    return swept


def prompts(family, *, side="left", pairs=PAIRS):
    """Token ids of mixed lengths, padded on one side, for bases and sources."""
    model = families.model(family)
    ids = torch.randint(6, families.VOCABULARY, (2 * pairs, LENGTH), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([LENGTH, LENGTH - 1, LENGTH - 2] * 2 * pairs)[: 2 * pairs, None]
    columns = torch.arange(LENGTH)[None]
    mask = columns < lengths if side == "right" else columns >= LENGTH - lengths

    def encode(batch):
        rows = torch.from_numpy(batch["i"])
        places = (mask[rows].long().cumsum(1) - 1).clamp(min=0)
        call = {"input_ids": ids[rows], "attention_mask": mask[rows].long(), "position_ids": places}
        return call if family == "bert" else {**call, "use_cache": False}

    def scores(output):
        return output.logits[:, -1].float()

    return model, encode, scores, {"i": np.arange(pairs)}, {"i": np.arange(pairs, 2 * pairs)}


BLOCKS = {
    "gpt2": ("transformer.h.{}", "attn.c_proj", "mlp"),
    "gpt_neox": ("gpt_neox.layers.{}", "attention.dense", "mlp"),
    "bert": ("bert.encoder.layer.{}", "attention.output.dense", "intermediate"),
}
LLAMA = ("model.layers.{}", "self_attn.o_proj", "mlp")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3", "bert"])
def test_every_family_residual_heads_and_mlp(family, side):
    """The residual stream, a head (a part of what the output projection takes) and the MLP, at several positions."""
    model, encode, scores, base, source = prompts(family, side=side)
    net, kept = spied(model, encode, scores)
    block, attention, mlp = BLOCKS.get(family, LLAMA)
    features = []
    for layer in (0, 1):
        path = block.format(layer)
        for position in (-1, 1):
            features.append(cm.Feature(net.site(path, position=position)))
            features.append(cm.Feature(net.site(f"{path}.{attention}", position=position, head=1, heads=4, input=True)))
            features.append(cm.Feature(net.site(f"{path}.{mlp}", position=position), dims=(0, 2, 5)))
    listed = {s.path: s.shape for s in net.sites("*", inputs=base)}
    assert all(listed[f.site.path][:2] == (PAIRS, LENGTH) for f in features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        swept = assert_same(net, kept, base, source, features)
    assert net.replays
    assert 1 <= swept.cost.ratio < 1.6  # rows of unlike lengths share passes


class Tower(nn.Module):
    """Blocks with a residual stream; `kind` names what the blocks do."""

    def __init__(self, kind, depth, seed):
        super().__init__()
        torch.manual_seed(seed)
        make = {
            "mlp": lambda: nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)),
            "convolution": lambda: nn.Conv1d(5, 5, 3, padding=1),
            "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True),
        }[kind]
        self.blocks = nn.ModuleList([make() for _ in range(depth)])
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean(1))


@settings(max_examples=30)
@given(
    kind=st.sampled_from(["mlp", "convolution", "transformer"]),
    depth=st.integers(1, 3),
    seed=st.integers(0, 99),
    rows=st.integers(1, 5),
    data=st.data(),
)
def test_random_networks_and_interventions_by_plain_hooks_the_engine_and_pyvene(kind, depth, seed, rows, data):
    """Three ways to make the same interchange, over random networks, sites, positions and subspaces."""
    module = Tower(kind, depth, seed).eval()
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(2 * rows, 5, 8, generator=draws)
    net, kept = spied(module, lambda b: inputs[torch.from_numpy(b["i"])], lambda x: x)
    base, source = {"i": np.arange(rows)}, {"i": np.arange(rows, 2 * rows)}
    inner = [p for p, _ in module.named_modules() if p.startswith("blocks.") and "self_attn" not in p]
    path = data.draw(st.sampled_from(inner))
    seen = []
    handle = module.get_submodule(path).register_forward_hook(lambda m, i, o: seen.append(o.shape))
    module(inputs)
    handle.remove()
    if not seen:  # the fast path of a transformer layer does not call its parts
        return
    position, rank = data.draw(st.sampled_from([0, 2, -1])), data.draw(st.integers(1, 8))
    width = seen[0][-1]
    q = torch.linalg.qr(torch.randn(width, min(rank, width), generator=draws)).Q
    feature = cm.Feature(net.site(path, position=position), cm.Orthogonal(q))

    taken = []
    with torch.no_grad():
        handle = module.get_submodule(path).register_forward_hook(lambda m, i, o: taken.append(o.clone()))
        module(inputs[rows:])
        handle.remove()

        def patch(m, i, o):
            o = o.clone()
            o[:, position] += (taken[0][:, position] - o[:, position]) @ q @ q.T
            return o

        handle = module.get_submodule(path).register_forward_hook(patch)
        by_hand = module(inputs[:rows])
        handle.remove()
    from commute.alignments.pyvene_engine import pyvene_interchange

    for act in (
        lambda: net.interchange(base, {feature: source}),
        lambda: net.sweep(base, source, [feature]),
        lambda: pyvene_interchange(net, base, {feature: source}),
    ):
        kept.clear()
        act()
        assert torch.allclose(torch.cat(kept)[-rows:], by_hand, atol=1e-5)


def test_the_cost_is_what_torch_counts():
    """What a sweep says it spent on bases and patched rows, against every operation that torch saw."""
    pairs = 8
    model, encode, scores, _, _ = prompts("gpt2", pairs=pairs)

    def full(batch):
        return {"input_ids": encode(batch)["input_ids"], "use_cache": False}

    net, _ = spied(model, full, scores)
    base, source = {"i": np.arange(pairs)}, {"i": np.arange(pairs, 2 * pairs)}
    sites = [net.site(f"transformer.h.{i}", position=p) for i in (0, 1) for p in (2, -1)]
    net.sweep(base, source, sites)  # traces and compares
    with FlopCounterMode(display=False) as counter:
        swept = net.sweep(base, source, sites)
    assert swept.cost.spent == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert 1 <= swept.cost.ratio < 1.25
    in_full = 2 * pairs * len(sites) * net.traces[next(iter(net.traces))].whole.flops
    assert swept.cost.spent < 0.4 * in_full


def passes_in_full(module, encode=None, **options):
    """A sweep of two sites where replaying must not be used, and what plain interchanges give."""
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    net, kept = spied(module, encode or (lambda b: inputs[torch.from_numpy(b["i"])]), lambda x: x, **options)
    base, source = {"i": np.arange(4)}, {"i": np.arange(4, 8)}
    return net, kept, base, source


class Remembers(nn.Module):
    """Its answer depends on how often its first part ran."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = Counts(), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last(self.second(x)) + (1 if self.first.ran % 2 else -1)


class Counts(nn.Module):
    ran = 0

    def forward(self, x):
        self.ran += 1
        return x


def test_side_effects_end_replaying_with_a_warning():
    net, _, base, source = passes_in_full(Remembers())
    site = net.site("second")
    with pytest.warns(cm.ReplayWarning, match="every pass is made in full"):
        net.sweep(base, source, [site])
    assert not net.replays


def test_hooks_of_the_user_still_run():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    module[0].register_forward_hook(lambda m, i, o: o + 1)
    net, kept, base, source = passes_in_full(module)
    assert_same(net, kept, base, source, [cm.Feature(net.site(p)) for p in "012"])
    assert len(module[0]._forward_hooks) == 1


def test_a_shared_module_and_one_run_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.step, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
            self.alias = self.step

        def forward(self, x):
            return self.last(torch.tanh(self.step(torch.tanh(self.alias(torch.tanh(self.step(x)))))))

    net, kept, base, source = passes_in_full(Twice())
    features = [cm.Feature(net.site("step", call=i), dims=(0, 1)) for i in range(3)] + [cm.Feature(net.site("last", input=True))]
    assert_same(net, kept, base, source, features)
    with pytest.raises(cm.CommuteError, match="say which time with call=0 … 2"):
        net.sweep(base, source, [net.site("step")])


def test_a_sweep_leaves_the_module_as_it_was():
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).train()
    own = module[0].forward
    module[0].forward = lambda x: own(x) * 2  # as accelerate does
    before = module[0].forward
    net, kept, base, source = passes_in_full(module)
    assert_same(net, kept, base, source, [cm.Feature(net.site(p)) for p in "012"])
    assert module[0].forward is before
    assert "forward" not in module[2].__dict__
    assert all(m.training for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    with pytest.raises(cm.CommuteError, match="the bases have 4 rows and the sources 1"):
        net.sweep(base, {"i": [5]}, [net.site("0")])
    with pytest.raises(cm.CommuteError, match="no site '3'"):
        net.sweep(base, source, [cm.Site("3")])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model, encode, scores, base, source = prompts("llama")
    net, kept = spied(model.to(dtype), encode, scores)
    features = [cm.Feature(net.site(f"model.layers.{i}", position=-1)) for i in (0, 1)]
    assert_same(net, kept, base, source, features, atol=0.2)
    assert next(model.parameters()).dtype == dtype


def test_small_memory_gives_the_same_answers():
    model, encode, scores, base, source = prompts("llama")
    whole, _ = spied(model, encode, scores)
    sites = [whole.site(f"model.layers.{i}", position=-1) for i in (0, 1)]
    expected = whole.sweep(base, source, sites)
    small, _ = spied(model, encode, scores, memory=1)
    found = small.sweep(base, source, sites)
    assert all((found.answers[s] == expected.answers[s]).all() for s in sites)


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 4, 5], [2, 5], [5]])
def test_a_model_that_looks_ahead_is_found_out_in_every_mix_of_positions(positions):
    """Its attention sees later columns, so that what comes before a patch is not the base's."""
    model, encode, scores, base, source = prompts("llama")
    model.config.is_causal = False
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    net, kept = spied(model, lambda b: {"input_ids": encode(b)["input_ids"], "use_cache": False}, scores)
    features = [cm.Feature(net.site("model.layers.0", position=p)) for p in positions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cm.ReplayWarning)
        assert_same(net, kept, base, source, features)
    assert not net.replays


def test_what_reads_a_mask_as_a_number_does_not_keep_all_results():
    """Models of transformers ask whether anything is masked; only that mask is then needed for good."""
    model, encode, scores, base, _ = prompts("llama")
    net, _ = spied(model, encode, scores)
    with torch.no_grad():
        calls = engine_of(net, base).trace.by_place
    first = calls["model.layers.0", 0]
    assert first.known
    assert first.until <= calls["model.layers.1", 0].end
