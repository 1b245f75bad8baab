"""What the engine leaves out: bases that are known, bases that do not matter, columns and modules after the last that is read."""

import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import commute as cm
from commute.models.cuts import decides
from commute.models.engine import engine_of
from commute.models.hooks import undisturbed
from commute.models.prepared import prepared
from commute.models.store import Store
from tests.models.test_sweep import assert_same, by_interchange, prompts, spied


class Layers(nn.Module):
    """Rows of four numbers through three layers; with `residual`, each is added to what it is given."""

    def __init__(self, *, residual=False, inplace=False):
        super().__init__()
        torch.manual_seed(0)
        self.residual, self.inplace = residual, inplace
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.acts = nn.ModuleList(nn.Tanh() for _ in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = x * 1
        for layer, act in zip(self.layers, self.acts, strict=True):
            if self.inplace:
                x += act(layer(x))
            else:
                x = act(layer(x)) + (x if self.residual else 0)
        return self.head(x)


VALUES = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def repeated(module, rows=600):
    """A network over six distinct inputs, and bases and sources in which each occurs many times."""
    net, kept = spied(module, lambda b: VALUES[torch.from_numpy(b["i"])], lambda x: x)
    draws = np.random.default_rng(0)
    return net, kept, {"i": draws.integers(6, size=rows)}, {"i": draws.integers(6, size=rows)}


def by_hand(module, path, base, source, change):
    with torch.no_grad():
        taken = []
        handle = module.get_submodule(path).register_forward_hook(lambda m, i, o: taken.append(o.clone()))
        module(VALUES[torch.from_numpy(source["i"])])
        handle.remove()
        handle = module.get_submodule(path).register_forward_hook(lambda m, i, o: change(o, taken[0]))
        output = module(VALUES[torch.from_numpy(base["i"])])
        handle.remove()
    return output


@pytest.mark.parametrize("kind", [{}, {"residual": True}, {"inplace": True}])
@pytest.mark.parametrize("path", ["layers.0", "acts.1", "layers.2", "head"])
@pytest.mark.parametrize("whole", [True, False])
def test_interchanges_of_repeated_rows_are_those_by_hand(kind, path, whole):
    module = Layers(**kind)
    net, _, base, source = repeated(module)
    width = 3 if path == "head" else 4
    q = torch.linalg.qr(torch.randn(width, 2, generator=torch.Generator().manual_seed(2))).Q
    feature = cm.Feature(net.site(path)) if whole else cm.Feature(net.site(path), cm.Orthogonal(q))
    expected = by_hand(module, path, base, source, lambda o, s: s if whole else o + (s - o) @ q @ q.T)
    assert (net.interchange(base, {feature: source}) == expected.argmax(-1).numpy()).all()
    with undisturbed(module):
        ready = prepared(net, base, [[feature.site]], patches=10)[0]
        values = net.activations(source, [feature])[feature]
        output = net.call(base, {feature: values}) if ready is None else ready.output(np.arange(600), {feature: values})
    assert torch.allclose(output, expected, atol=1e-5)
    assert net.replays


def decided(module, path, **options):
    net, _, base, source = repeated(module)
    feature = cm.Feature(net.site(path), **options)
    return decides(net, base, feature, source)


def test_bases_do_not_matter_where_all_passes_through_the_site():
    assert decided(Layers(), "layers.1")
    assert decided(Layers(residual=True), "head")
    assert not decided(Layers(residual=True), "layers.1")  # the rest of the base goes past it
    assert not decided(Layers(), "layers.1", dims=(0, 1, 2))
    rank = torch.eye(4)[:, :3].contiguous()
    assert not decided(Layers(), "layers.1", featurizer=cm.Orthogonal(rank))


def test_what_cannot_be_seen_passing_by_is_found_by_comparing():
    class Hidden(Layers):
        """Its inputs go past the layers by way of numpy, which no operation of torch shows."""

        def forward(self, x):
            return super().forward(x) + torch.from_numpy(x.numpy().sum(1, keepdims=True))

    module = Hidden()
    net, _, base, source = repeated(module)
    feature = cm.Feature(net.site("layers.1"))
    expected = by_hand(module, "layers.1", base, source, lambda o, s: s)
    assert not decided(Hidden(), "layers.1")
    assert (net.interchange(base, {feature: source}) == expected.argmax(-1).numpy()).all()


def test_a_million_pairs_need_as_many_passes_as_distinct_sources():
    module = Layers()
    net, kept, base, source = repeated(module, rows=5000)
    net.interchange(base, {cm.Feature(net.site("layers.1")): source})
    assert sum(map(len, kept)) == 6


def test_gradients_flow_through_what_is_replayed():
    module = Layers(residual=True)
    net, _, base, source = repeated(module)
    free = torch.randn(4, 2, generator=torch.Generator().manual_seed(3), requires_grad=True)
    found = []
    for use in (True, False):
        with undisturbed(module):
            feature = cm.Feature(net.site("acts.1"), cm.Orthogonal(torch.linalg.qr(free).Q))
            values = feature.read(net.activations(source, [feature.site])[feature.site])
            ready = prepared(net, base, [[feature.site]], patches=10)[0]
            output = ready.output(np.arange(600), {feature: values}) if use else net.call(base, {feature: values})
        free.grad = None
        output.square().sum().backward()
        found.append(free.grad.clone())
    assert found[0].abs().max() > 0.1
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-3)
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("side", ["left", "right"])
def test_sources_are_read_up_to_the_last_site_and_column(side):
    """The flops that are spent are those of the layers and columns that are needed, and the values those of passes in full."""
    model, encode, _, base, _ = prompts("llama", side=side, pairs=8)
    net, _ = spied(model, encode, lambda x: x.logits[:, -1])
    sites = [net.site("model.layers.0", position=p) for p in (0, 1)]
    with undisturbed(model), torch.no_grad():
        engine = engine_of(net, base)
        rows = torch.arange(8)
        with FlopCounterMode(display=False) as counter:
            found = engine.read(rows, [cm.Feature(s) for s in sites])
        whole = net.activations(base, sites)
    for x, site in zip(found, sites, strict=True):
        assert torch.allclose(x, whole[site], atol=1e-5)
    needed = 8 * engine.flops_until([cm.Feature(s) for s in sites], rows)
    assert counter.get_total_flops() == pytest.approx(needed, rel=0.1)
    assert needed < 0.5 * 8 * engine.trace.flops


def test_nothing_after_the_last_site_runs():
    module = Layers()
    net, kept, _, _ = repeated(module)
    base, source = {"i": np.arange(3)}, {"i": np.arange(3, 6)}
    feature = cm.Feature(net.site("layers.0"), dims=(0, 1))
    net.sweep(base, source, [feature])
    ran = []
    forward = nn.Tanh.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Tanh, "forward", lambda self, x: [ran.append(len(x)), forward(self, x)][1])
        assert_same(net, kept, base, source, [feature])
    assert ran.count(3) == 3 * 2 + 3  # two passes in full by hand, and one patched pass; none for bases and sources
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_modules_that_were_given_a_forward_are_run_to_the_end():
    """What accelerate puts around a module moves its weights away when the module is done."""
    module = Layers()
    own, ended = module.head.forward, []
    module.head.forward = lambda x: [own(x), ended.append(len(x))][0]
    net, _, _, _ = repeated(module)
    base, source = {"i": np.arange(3)}, {"i": np.arange(3, 6)}
    net.sweep(base, source, [cm.Feature(net.site("layers.0"), dims=(0, 1))])
    before = len(ended)
    net.sweep(base, source, [cm.Feature(net.site("layers.0"), dims=(0, 1))])
    assert len(ended) - before == 3  # bases, sources and patched rows


def test_a_store_keeps_in_memory_what_it_may_and_the_rest_in_files(tmp_path):
    store = Store(1000, tmp_path)
    inside, outside = store.empty((10, 10), torch.zeros(1)), store.empty((200, 3), torch.zeros(1, dtype=torch.float64))
    assert store.held == 400
    outside[:] = torch.arange(600.0).reshape(200, 3)
    assert outside.shape == (200, 3)
    assert outside[torch.tensor([0, 199]), 1].tolist() == [1, 598]
    assert not list(tmp_path.iterdir())  # the file has no name any more
    del inside
    gc.collect()
    assert store.held == 0


def test_a_file_that_finds_no_room_is_an_error(tmp_path):
    with pytest.raises(cm.CommuteError, match="no room for .* name a folder with room as spill="):
        Store(0, tmp_path).empty((1 << 60,), torch.zeros(1))
    with pytest.raises(cm.CommuteError, match="spill must be a folder that is there"):
        cm.Network(Layers(), encode=lambda b: b["i"], decode=lambda x: x, spill=tmp_path / "none")


def test_activations_beyond_the_memory_are_the_same(tmp_path):
    rows = {"i": np.arange(6)}
    kinds = []
    for memory in (1 << 30, 1):
        net = cm.Network(
            Layers(), encode=lambda b: VALUES[torch.from_numpy(b["i"])], decode=lambda x: x.argmax(-1), memory=memory,
            spill=tmp_path, batch_size=2,
        )  # fmt: skip
        kinds.append(net.activations(rows, [net.site("acts.1")])[net.site("acts.1")])
        assert net.store.held == (6 * 4 * 4 if memory > 1 else 0)
    assert torch.equal(*kinds)


def peak_of(act):
    """The most bytes that torch had allocated at once while acting, above what it had before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        act()
    steps = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = np.cumsum([e.nbytes() for e in sorted(steps, key=lambda e: e.start_ns())])
    return int(held.max())


@pytest.mark.parametrize("memory", [1 << 19, 1 << 20, 1 << 22])
@pytest.mark.parametrize("position", [-1, 2])
def test_a_sweep_stays_within_its_memory(memory, position):
    pairs = 128
    model, encode, _, base, source = prompts("llama", pairs=pairs)
    net = cm.Network(model, encode=encode, decode=lambda x: x.logits[:, -1].argmax(-1), memory=memory)
    sites = [net.site(f"model.layers.{i}", position=position) for i in (0, 1)]
    net.sweep(base, source, sites)  # traces and compares
    found = []
    peak = peak_of(lambda: found.append(net.sweep(base, source, sites)))
    assert memory / 20 < peak <= memory
    (swept,) = found
    large = cm.Network(model, encode=encode, decode=lambda x: x.logits[:, -1].argmax(-1))
    expected = large.sweep(base, source, sites)
    assert all((swept.answers[s] == expected.answers[s]).all() for s in sites)


@pytest.mark.parametrize("memory", [1 << 16, 1 << 20])
def test_passes_are_as_large_as_there_is_room_for(memory):
    rows = []
    net = cm.Network(
        Layers(), encode=lambda b: VALUES[torch.from_numpy(b["i"]) % 6], decode=lambda x: [rows.append(len(x)), x.argmax(-1)][1],
        memory=memory,
    )  # fmt: skip
    many = {"i": np.arange(20_000)}
    answers = net.run(many)
    assert sum(rows) == 20_000
    assert memory / 32 < max(rows) * 16 < memory  # bytes of a row of four numbers
    with torch.no_grad():
        expected = net.module(VALUES[np.arange(20_000) % 6]).argmax(-1)
    assert (answers == expected.numpy()).all()


def test_rotations_of_half_precision_sites_are_made_in_single():
    """A rotation in bfloat16 would change the coordinates that are not exchanged by about a hundredth."""
    q = torch.linalg.qr(torch.randn(64, 8, generator=torch.Generator().manual_seed(0))).Q
    vectors, other = (torch.randn(50, 64, generator=torch.Generator().manual_seed(i)).bfloat16() for i in (1, 2))
    feature = cm.Feature(cm.Site("x"), cm.Orthogonal(q))
    changed = feature.write(vectors, feature.read(other))
    exact = vectors.double() + (other.double() - vectors.double()) @ q.double() @ q.double().T
    assert (changed.double() - exact).abs().max() < 1e-5
    back = feature.write(vectors, feature.read(vectors)).to(torch.bfloat16)
    assert (back == vectors).float().mean() > 0.999


def test_a_sweep_of_repeated_bases_runs_each_once():
    module = Layers(residual=True)
    net, kept, base, source = repeated(module)
    features = [cm.Feature(net.site(f"acts.{i}"), dims=(0, 1)) for i in range(3)]
    expected = by_interchange(net, kept, base, source, features)
    swept = net.sweep(base, source, features)
    for feature in features:
        assert (swept.answers[feature] == expected[feature].argmax(-1).numpy()).mean() > 0.99
    assert swept.cost.ratio < 1.05


def test_scores_over_a_large_vocabulary_count_in_the_memory():
    """They have no positions to skip, so that a pass over one column holds as many of them as one over all."""
    import transformers as tf

    pairs, memory = 128, 1 << 22  # the scores of all pairs at both sites are 5 million bytes
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = tf.LlamaConfig(**sizes, vocab_size=5000, max_position_embeddings=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tf.LlamaForCausalLM(config).eval()
    tokens = torch.randint(5000, (2 * pairs, 6), generator=torch.Generator().manual_seed(0))
    net = cm.Network(
        model,
        encode=lambda b: {"input_ids": tokens[torch.from_numpy(b["i"])], "use_cache": False, "logits_to_keep": 1},
        decode=lambda x: x.logits[:, -1].argmax(-1),
        memory=memory,
    )
    base, source = {"i": np.arange(pairs)}, {"i": np.arange(pairs, 2 * pairs)}
    sites = [net.site(f"model.layers.{i}", position=-1) for i in (0, 1)]
    net.sweep(base, source, sites)
    assert memory / 20 < peak_of(lambda: net.sweep(base, source, sites)) <= memory
