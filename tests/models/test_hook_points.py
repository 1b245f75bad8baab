"""Modules that only give a value a name, as the hook points of TransformerLens: patches there by plain hooks and by ours."""

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from tests.models.test_sweep import spied

WIDTH, HEADS, LENGTH, WORDS = 16, 4, 6, 11
TOKENS = torch.randint(WORDS, (8, LENGTH), generator=torch.Generator().manual_seed(0))
PATTERN = (("position_axis", 2), ("head_axis", 1))
BASE, SOURCE = {"i": np.arange(4)}, {"i": np.arange(4, 8)}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.hook_q, self.hook_k, self.hook_v, self.hook_z = (nn.Identity() for _ in range(4))
        self.hook_attn_scores, self.hook_pattern = nn.Identity(), nn.Identity()

    def forward(self, x):
        q, k, v = (
            hook(part(x).unflatten(-1, (HEADS, -1)))  # [batch, position, head, width of a head]
            for hook, part in ((self.hook_q, self.q), (self.hook_k, self.k), (self.hook_v, self.v))
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k)
        future = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        pattern = self.hook_pattern(self.hook_attn_scores(scores.masked_fill(future, -1e9)).softmax(-1))
        return self.o(self.hook_z(torch.einsum("bhqk,bkhd->bqhd", pattern, v)).flatten(2))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 24), nn.Linear(24, WIDTH)
        self.hook_pre, self.hook_post = nn.Identity(), nn.Identity()

    def forward(self, x):
        return self.out(self.hook_post(torch.relu(self.hook_pre(self.into(x)))))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.mlp = Attention(), Mlp()
        self.hook_resid_pre, self.hook_resid_mid, self.hook_resid_post = (nn.Identity() for _ in range(3))
        self.hook_attn_out, self.hook_mlp_in, self.hook_mlp_out = (nn.Identity() for _ in range(3))

    def forward(self, x):
        x = self.hook_resid_pre(x)
        x = self.hook_resid_mid(x + self.hook_attn_out(self.attn(x)))
        return self.hook_resid_post(x + self.hook_mlp_out(self.mlp(self.hook_mlp_in(x))))


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.hook_embed = nn.Embedding(WORDS, WIDTH), nn.Identity()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.unembed = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens):
        x = self.hook_embed(self.embed(tokens))
        for block in self.blocks:
            x = block(x)
        return self.unembed(x)

    def run_with_hooks(self, tokens, fwd_hooks):
        """The logits with functions of the values at hook points, as the library's."""
        handles = [self.get_submodule(k).register_forward_hook(lambda m, i, o, f=f: f(o, None)) for k, f in fwd_hooks]
        with torch.no_grad():
            logits = self(tokens)
        for handle in handles:
            handle.remove()
        return logits


def encode(batch):
    return TOKENS[torch.from_numpy(batch["i"])]


def last(logits):
    return logits[:, -1]


def by_hand(model, path, part):
    """The last logits for the bases with a part of a value taken from the sources, by the model's own hooks."""
    kept = []
    model.run_with_hooks(encode(SOURCE), fwd_hooks=[(path, lambda value, hook: kept.append(value.clone()))])

    def patch(value, hook):
        value = value.clone()
        value[part] = kept[0][part]
        return value

    return last(model.run_with_hooks(encode(BASE), fwd_hooks=[(path, patch)])).detach()


def assert_all_same(model, parts):
    """Interchanges and sweeps at sites against `by_hand`, for {site's path and options: the part of the value there}."""
    net, kept = spied(model, encode, last)
    expected = {}
    for (path, options), part in parts.items():
        site = net.site(path, **dict(options))
        expected[site] = by_hand(model, path, part)
        kept.clear()
        net.interchange(BASE, {cm.Feature(site): SOURCE})
        assert torch.allclose(torch.cat(kept), expected[site], atol=1e-5), site
    kept.clear()
    swept = net.sweep(BASE, SOURCE, list(expected))
    seen = torch.cat(kept)
    rows = [seen[i : i + 4] for i in range(len(seen) - 3)]
    for site, scores in expected.items():
        assert min((x - scores).abs().max() for x in rows) < 1e-5, site
        assert (swept.answers[site] == scores.argmax(-1).numpy()).all(), site
    assert len(torch.stack(list(expected.values())).unique(dim=0)) > len(expected) / 2
    return net


def parts_of(block):
    """What is patched in a block: the residual stream, heads and attention patterns, everywhere and at a position."""
    whole = ["hook_resid_pre", "hook_resid_mid", "hook_mlp_in", "hook_mlp_out", "hook_attn_out", "mlp.hook_post"]
    found = {}
    for position, at in ((None, slice(None)), (2, 2), (-1, -1)):
        place = (("position", position),)
        found |= {(f"{block}.{path}", place): (slice(None), at) for path in whole}
        for i, path in enumerate(("hook_q", "hook_k", "hook_v", "hook_z")):
            found[f"{block}.attn.{path}", (*place, ("head", i))] = slice(None), at, i
        for path in ("hook_attn_scores", "hook_pattern"):
            found[f"{block}.attn.{path}", (*place, ("head", 1), *PATTERN)] = slice(None), 1, at
    return found


def test_residuals_heads_and_patterns_are_patched_as_by_the_hook_points_themselves():
    parts = parts_of("blocks.0") | parts_of("blocks.1")
    net = assert_all_same(Hooked(), parts)
    assert net.replays


def test_hook_points_are_listed_with_what_they_hold():
    net, _ = spied(Hooked(), encode, last)
    listed = {s.path: s.shape for s in net.sites("blocks.0*hook_*", inputs=BASE)}
    stream, each, pattern = (4, LENGTH, WIDTH), (4, LENGTH, HEADS, WIDTH // HEADS), (4, HEADS, LENGTH, LENGTH)
    assert listed == {
        "blocks.0.hook_resid_pre": stream,
        "blocks.0.attn.hook_q": each,
        "blocks.0.attn.hook_k": each,
        "blocks.0.attn.hook_v": each,
        "blocks.0.attn.hook_attn_scores": pattern,
        "blocks.0.attn.hook_pattern": pattern,
        "blocks.0.attn.hook_z": each,
        "blocks.0.hook_attn_out": stream,
        "blocks.0.hook_resid_mid": stream,
        "blocks.0.hook_mlp_in": stream,
        "blocks.0.mlp.hook_pre": (4, LENGTH, 24),
        "blocks.0.mlp.hook_post": (4, LENGTH, 24),
        "blocks.0.hook_mlp_out": stream,
        "blocks.0.hook_resid_post": stream,
    }
    assert list(listed)[:4] == ["blocks.0.hook_resid_pre", *(f"blocks.0.attn.hook_{v}" for v in "qkv")]  # as they run


def test_hooks_of_the_user_come_before_ours_and_are_kept():
    """One at the site itself, one before it and one after it."""
    model, halved = Hooked(), lambda m, i, o: o / 2
    points = [model.blocks[0].hook_resid_pre, model.blocks[0].hook_mlp_out, model.blocks[1].attn.hook_v]
    for point in points:
        point.register_forward_hook(halved)
    parts = {k: v for k, v in parts_of("blocks.0").items() if k[1][0] == ("position", 2)}
    net = assert_all_same(model, parts)
    assert [list(p._forward_hooks.values()) for p in points] == [[halved]] * 3
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 3
    site = net.site("blocks.0.hook_mlp_out")
    kept = []
    model.run_with_hooks(encode(BASE), fwd_hooks=[("blocks.0.hook_mlp_out", lambda value, hook: kept.append(value))])
    assert torch.equal(net.activations(BASE, [site])[site], kept[0].flatten(1))


@pytest.mark.parametrize("position", [None, 2])
def test_a_function_that_works_in_place_changes_only_what_is_after_its_hook_point(position):
    """A hook point gives the very tensor that it takes, which the residual stream goes on with."""
    net, kept = spied(Hooked(), encode, last)
    feature = cm.Feature(net.site("blocks.0.hook_mlp_in", position=position))
    net.run(BASE, {feature: lambda values: values.mul_(0)})
    net.run(BASE, {feature: lambda values: values * 0})
    assert torch.equal(*kept)


SHAPE = {"n_layers": 2, "d_model": WIDTH, "n_ctx": LENGTH, "d_head": WIDTH // HEADS, "n_heads": HEADS, "d_vocab": WORDS}


def bridge():
    """A model of the library from version 4 on, whose modules hold heads side by side, though its own hooks see a head axis."""
    native = pytest.importorskip("transformer_lens.model_bridge.sources.native")
    if not hasattr(native, "boot"):
        pytest.skip("an older transformer_lens")
    parts, side = {}, (("heads", HEADS),)
    for block in ("blocks.0", "blocks.1"):
        for position, at in ((None, slice(None)), (2, 2), (-1, -1)):
            place = (("position", position),)
            for path in ("hook_in", "hook_out", "attn.hook_out", "ln2.hook_in", "mlp.hook_in", "mlp.in.hook_out", "mlp.hook_out"):
                parts[f"{block}.{path}", place] = slice(None), at
            for i, path in enumerate(("q.hook_out", "k.hook_out", "v.hook_out", "o.hook_in")):
                parts[f"{block}.attn.{path}", (*place, ("head", i), *side)] = slice(None), at, i
            parts[f"{block}.attn.hook_pattern", (*place, ("head", 1), *PATTERN)] = slice(None), 1, at
    return native.boot({**SHAPE, "d_mlp": 24, "act_fn": "gelu", "normalization_type": "LN", "seed": 0}), parts


def hooked_transformer():
    """A model of the library up to version 3."""
    library = pytest.importorskip("transformer_lens")
    try:
        make, config = library.HookedTransformer, library.HookedTransformerConfig
    except ImportError:
        pytest.skip("a newer transformer_lens")
    model = make(config(**SHAPE, act_fn="gelu", seed=0, device="cpu", use_hook_mlp_in=True))
    return model, parts_of("blocks.0") | parts_of("blocks.1")


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize("made", [bridge, hooked_transformer])
def test_the_library_itself(made):
    model, parts = made()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws) * 0.3)
    model.eval()(encode(BASE))  # it puts hooks of its own in place when it first runs
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    assert_all_same(model, parts)
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == before
