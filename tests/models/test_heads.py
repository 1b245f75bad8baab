"""Sites of heads against the weights of those heads, cut out by hand in each family."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as tf
from torch import nn

import commute as cm
from commute.errors import NetworkError
from commute.models.heads import head_sites
from tests.models import families

ROWS, LENGTH, LAYERS = 3, 6, 2
HEADS, GROUPS, WIDTH = 4, 2, 4  # of all families, if they group heads at all
IDS = torch.randint(6, families.VOCABULARY, (2 * ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
FULL = torch.ones(2 * ROWS, LENGTH, dtype=torch.long)
# Rows of one length padded on both sides, which a site of all positions can have, and rows of several lengths.
PADDED = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0]] * 2)
MIXED = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]] * 2)
BEFORE_LAST = torch.tensor([4, 3, 4])  # the column of the last token but one, in rows of MIXED
BASE, SOURCE = {"i": np.arange(ROWS)}, {"i": np.arange(ROWS, 2 * ROWS)}
PROJECTED = ("query", "key", "value", "result")

# The projection of each part in a block, where its first head begins in it, and how far its heads are apart.
LLAMA = {"query": ("self_attn.q_proj", 0, 4), "key": ("self_attn.k_proj", 0, 4), "value": ("self_attn.v_proj", 0, 4)}
FUSED = {"query": ("attn.c_attn", 0, 4), "key": ("attn.c_attn", 16, 4), "value": ("attn.c_attn", 32, 4)}
NEOX = {
    "query": ("attention.query_key_value", 0, 12),
    "key": ("attention.query_key_value", 4, 12),
    "value": ("attention.query_key_value", 8, 12),
    "result": ("attention.dense", 0, 4),
}
PHI3 = {"query": ("self_attn.qkv_proj", 0, 4), "key": ("self_attn.qkv_proj", 16, 4), "value": ("self_attn.qkv_proj", 24, 4)}
BERT = {"query": ("attention.self.query", 0, 4), "key": ("attention.self.key", 0, 4), "value": ("attention.self.value", 0, 4)}
PARTS = {
    "gpt2": ("transformer.h", {**FUSED, "result": ("attn.c_proj", 0, 4)}),
    "gpt_neox": ("gpt_neox.layers", NEOX),
    "phi3": ("model.layers", {**PHI3, "result": ("self_attn.o_proj", 0, 4)}),
    "opt": ("model.decoder.layers", {**LLAMA, "result": ("self_attn.out_proj", 0, 4)}),
    "bert": ("bert.encoder.layer", {**BERT, "result": ("attention.output.dense", 0, 4)}),
    "roberta": ("roberta.encoder.layer", {**BERT, "result": ("attention.output.dense", 0, 4)}),
}
OTHERS = ("model.layers", {**LLAMA, "result": ("self_attn.o_proj", 0, 4)})
GROUPED = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3")


def count(family, part):
    return GROUPS if family in GROUPED and part in ("key", "value") else HEADS


def place(family, layer, part, head):
    """The path of a head's projection and where its numbers are in it."""
    blocks, parts = PARTS.get(family, OTHERS)
    path, first, step = parts[part]
    start = first + step * head
    return f"{blocks}.{layer}.{path}", slice(start, start + WIDTH)


def spied(module, mask=FULL):
    """A network whose decode keeps the logits, and what it keeps them in."""
    kept = []

    def decode(output):
        kept.append(output.logits)
        return output.logits[:, 0].argmax(-1)

    def encode(batch):
        rows = torch.from_numpy(batch["i"])
        return {"input_ids": IDS[rows], "attention_mask": mask[rows]}

    return cm.Network(module, encode=encode, decode=decode), kept


def logits(module, do=None, *, mask=FULL):
    """At the real tokens."""
    net, kept = spied(module, mask)
    net.run(BASE, do)
    return kept[0][mask[:ROWS].bool()]


def zeroed(module, path, where, *, part):
    """A copy without what a projection gives of a head or, of results, takes from it."""
    changed = deepcopy(module)
    projection = changed.get_submodule(path)
    turned = type(projection).__name__ == "Conv1D"  # its weight is [in, out]
    with torch.no_grad():
        weight = projection.weight.T if turned else projection.weight
        if part == "result":
            weight[:, where] = 0
        else:
            weight[where] = 0
            if projection.bias is not None:
                projection.bias[where] = 0
    return changed


@pytest.mark.parametrize("part", PROJECTED)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_clearing_a_head_is_clearing_its_weights(family, part):
    model = families.model(family)
    sites = head_sites(model, part)
    assert list(sites) == [(layer, head) for layer in range(LAYERS) for head in range(count(family, part))]
    for (layer, head), site in sites.items():
        without = zeroed(model, *place(family, layer, part, head), part=part)
        for mask in (FULL, PADDED) if layer == 0 else (FULL,):
            expected = logits(without, mask=mask)
            assert torch.allclose(logits(model, {cm.Feature(site): cm.Zero()}, mask=mask), expected, atol=1e-5)
            assert not torch.allclose(logits(model, mask=mask), expected, atol=1e-3)


def hooked(module, path, see, batch, *, into=False, mask=FULL):
    """The logits of the plain module, where what `see` makes of a module's value takes its place."""
    target = module.get_submodule(path)
    if into:
        handle = target.register_forward_pre_hook(lambda _, args: see(args[0]))
    else:
        handle = target.register_forward_hook(lambda _, __, output: see(output))
    rows = torch.from_numpy(batch["i"])
    with torch.no_grad():
        output = module(input_ids=IDS[rows], attention_mask=mask[rows])
    handle.remove()
    return output.logits[mask[rows].bool()]


def assert_interchanged(module, site, path, where, *, into=False, mask=FULL):
    """The interchange at a site is the source's numbers at `where` in a module's value, by plain hooks."""
    taken = []
    hooked(module, path, taken.append, SOURCE, into=into, mask=mask)

    def patch(value):
        value = value.clone()
        value[where] = taken[0][where]
        return value

    net, kept = spied(module, mask)
    net.interchange(BASE, {cm.Feature(site): SOURCE})
    expected = hooked(module, path, patch, BASE, into=into, mask=mask)
    assert torch.allclose(kept[-1][mask[:ROWS].bool()], expected, atol=1e-5)
    assert not torch.allclose(logits(module, mask=mask), expected, atol=1e-4)


@pytest.mark.parametrize("part", PROJECTED)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_an_interchange_changes_the_numbers_of_its_head_and_position(family, part):
    model = families.model(family)
    head = count(family, part) - 1
    site = head_sites(model, part, layers=[0], position=-2)[0, head]
    path, where = place(family, 0, part, head)
    at = (torch.arange(ROWS)[:, None], BEFORE_LAST[:, None], torch.arange(where.start, where.stop)[None])
    assert_interchanged(model, site, path, at, into=part == "result", mask=MIXED)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("part", PROJECTED)
def test_one_name_of_a_projection_may_have_two_layouts(part, shared, monkeypatch):
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": HEADS, "n_positions": 64, "vocab_size": families.VOCABULARY}
    config = tf.GPTBigCodeConfig(**sizes, multi_query=shared, bos_token_id=families.BOS, eos_token_id=families.EOS)
    monkeypatch.setitem(families.FAMILIES, "gpt_bigcode", lambda: tf.GPTBigCodeForCausalLM(config))
    model = families.model("gpt_bigcode")
    starts = {"query": 0, "key": 16, "value": 20} if shared else {"query": 0, "key": 4, "value": 8}
    step = WIDTH if shared or part == "result" else 3 * WIDTH
    sites = head_sites(model, part)
    assert len(sites) == (1 if shared and part in ("key", "value") else HEADS)
    for (_, head), site in sites.items():
        start = starts.get(part, 0) + step * head
        path = f"transformer.h.0.attn.{'c_proj' if part == 'result' else 'c_attn'}"
        expected = logits(zeroed(model, path, slice(start, start + WIDTH), part=part))
        assert torch.allclose(logits(model, {cm.Feature(site): cm.Zero()}), expected, atol=1e-5)


class HookedAttention(nn.Module):
    """Attention with the hook points of TransformerLens, of heads that share keys and values."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.W_Q, self.W_O = nn.Parameter(torch.randn(HEADS, 16, WIDTH)), nn.Parameter(torch.randn(HEADS, WIDTH, 16))
        self.W_K, self.W_V = nn.Parameter(torch.randn(GROUPS, 16, WIDTH)), nn.Parameter(torch.randn(GROUPS, 16, WIDTH))
        for name in ("q", "k", "v", "pattern", "z"):
            setattr(self, f"hook_{name}", nn.Identity())

    def forward(self, x):
        q, k, v = (torch.einsum("bpd,hdw->bphw", x, w) for w in (self.W_Q, self.W_K, self.W_V))
        if self.cfg.ungroup_gqa:
            k, v = (y.repeat_interleave(HEADS // GROUPS, 2) for y in (k, v))
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)
        if not self.cfg.ungroup_gqa:
            k, v = (y.repeat_interleave(HEADS // GROUPS, 2) for y in (k, v))
        pattern = self.hook_pattern((torch.einsum("bqhw,bkhw->bhqk", q, k) / 8).softmax(-1))
        return torch.einsum("bqhw,hwd->bqd", self.hook_z(torch.einsum("bhqk,bkhw->bqhw", pattern, v)), self.W_O)


class Hooked(nn.Module):
    def __init__(self, *, ungroup_gqa=False):
        super().__init__()
        torch.manual_seed(0)
        cfg = SimpleNamespace(n_heads=HEADS, n_key_value_heads=GROUPS, ungroup_gqa=ungroup_gqa)
        self.embed = nn.Embedding(families.VOCABULARY, 16)
        self.blocks = nn.ModuleList(nn.ModuleDict({"attn": HookedAttention(cfg)}) for _ in range(LAYERS))

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = nn.functional.layer_norm(x + block["attn"](x), [16])
        return SimpleNamespace(logits=x @ self.embed.weight.T)


@pytest.mark.parametrize(("part", "weight"), [("query", "W_Q"), ("key", "W_K"), ("value", "W_V"), ("result", "W_O")])
def test_hook_points_have_a_head_axis(part, weight):
    model = Hooked()
    for (layer, head), site in head_sites(model, part).items():
        without = deepcopy(model)
        with torch.no_grad():
            getattr(without.blocks[layer]["attn"], weight)[head] = 0
        expected = logits(without)
        assert torch.allclose(logits(model, {cm.Feature(site): cm.Zero()}), expected, atol=1e-5)
        assert not torch.allclose(logits(model), expected, atol=1e-3)
    assert len(head_sites(model, part)) == LAYERS * (GROUPS if part in ("key", "value") else HEADS)
    assert len(head_sites(Hooked(ungroup_gqa=True), part)) == LAYERS * HEADS


@pytest.mark.parametrize("position", [None, 2])
def test_patterns_are_patched_by_the_query(position):
    model = Hooked()
    sites = head_sites(model, "pattern", position=position)
    assert list(sites) == [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    for (layer, head), site in sites.items():
        where = (slice(None), head, slice(None) if position is None else position)
        assert_interchanged(model, site, f"blocks.{layer}.attn.hook_pattern", where)


def test_layers_are_those_asked_for_by_the_number_in_their_path():
    model = families.model("llama")
    assert list(head_sites(model, "key", layers=[1])) == [(1, 0), (1, 1)]
    model.model.layers[0].self_attn = nn.Identity()
    assert list(head_sites(model, "key")) == [(1, 0), (1, 1)]
    assert list(head_sites(model.model.layers[1].self_attn, "key")) == [(0, 0), (0, 1)]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_pattern_that_is_returned_after_its_use_is_an_error(family):
    with pytest.raises(NetworkError, match="would change nothing; choose .* child 'hook_pattern'"):
        head_sites(families.model(family), "pattern")


def test_a_hook_point_that_nothing_passes_through_is_an_error_when_it_is_patched():
    model = families.model("llama")
    model.model.layers[0].self_attn.hook_pattern = nn.Identity()
    sites = head_sites(model, "pattern", layers=[0])
    with pytest.raises(NetworkError, match="did not run"):
        logits(model, {cm.Feature(sites[0, 0]): cm.Zero()})


def gated():
    model = families.model("llama")
    model.model.layers[0].self_attn.q_proj = nn.Linear(16, 32)
    return model


def of_three():
    model = families.model("gpt2")
    model.transformer.h[0].attn.num_heads = model.config.n_head = 3
    return model


def crossed():
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 4, "vocab_size": 8, "bos_token_id": 0, "eos_token_id": 0}
    return tf.GPT2LMHeadModel(tf.GPT2Config(**sizes, add_cross_attention=True))


def without(name):
    model = Hooked()
    del model.blocks[0]["attn"]._modules[name]
    return model


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        (Hooked, {"part": "valeu"}, "no part of attention heads 'valeu'; did you mean 'value'"),
        (Hooked, {"layers": [1, 2, -1]}, "no attention in layer 2, -1; it is in 0, 1"),
        (lambda: nn.TransformerEncoderLayer(8, 2), {}, r"hook_q, .* q_proj, .* are self_attn \(MultiheadAttention\); name the"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), {}, "modules named like attention are none"),
        (lambda: without("hook_v"), {}, r"blocks.0.attn \(HookedAttention\) has no hook point 'hook_v' for the value"),
        (lambda: HookedAttention(SimpleNamespace()), {}, "how many heads the module itself .* num_attention_heads or"),
        (gated, {"part": "query"}, "'o_proj' takes 16 numbers from 4 heads, and 'q_proj' holds 32 for 4; name its sites with"),
        (of_three, {"part": "result"}, "'c_proj' takes 16 numbers from 3 heads"),
        (crossed, {}, "layer 0 has several attention modules, transformer.h.0.attn .* and transformer.h.0.crossattention"),
    ],
)
def test_heads_that_cannot_be_found_are_errors(made, options, said):
    with pytest.raises(NetworkError, match=said):
        head_sites(made(), **{"part": "value", **options})


def test_a_network_gives_the_sites_of_its_heads():
    model = families.model("llama")
    net = cm.Network(model, encode=lambda b: b["i"], decode=lambda x: x)
    assert net.heads("value", layers=[1], position=-1) == head_sites(model, "value", layers=[1], position=-1)
    with pytest.raises(cm.CommuteError, match="no named position 'subject'"):
        net.heads("value", position="subject")
