"""Interchanges by pyvene and alignments that go there and back; each trap of pyvene is shown beside."""

import json
import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.alignments.from_pyvene import from_pyvene
from commute.alignments.pyvene_engine import pyvene_interchange
from commute.alignments.to_pyvene import load_pyvene, to_pyvene
from commute.models.hooks import undisturbed

pyvene = load_pyvene()
pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # pyvene's masks


def rotation(width, rank, seed=0):
    return torch.linalg.qr(torch.randn(width, rank, generator=torch.Generator().manual_seed(seed))).Q


TABLE = torch.randn(100, 20, generator=torch.Generator().manual_seed(0))  # an input is a row of it


def drawn(n, seed=0):
    return {"x": np.arange(n) + 20 * seed}


def vectors(batch):
    return TABLE[torch.from_numpy(batch["x"]), :6]


def objects(batch):
    return TABLE[torch.from_numpy(batch["x"])].reshape(-1, 4, 5)


def watched(module, encode=None, decode=None, **options):
    """A network and the list of what its decode is given."""
    given = []

    def decoded(output):
        given.append(output.logits if hasattr(output, "logits") else output)
        return (given[-1] if given[-1].ndim == 2 else given[-1][:, -1]).argmax(-1)

    return cm.Network(module, encode=encode or vectors, decode=decoded, **options), given


def both(network, given, base, sources):
    """The logits of pyvene's engine and of ours, and those without an interchange."""
    given.clear()
    theirs = pyvene_interchange(network, base, sources)
    ours = network.interchange(base, sources)
    assert np.array_equal(theirs, ours)
    network.run(base)
    size = len(given) // 3
    return [torch.cat(given[i * size : (i + 1) * size]) for i in range(3)]


def agree(network, given, base, sources):
    theirs, ours, alone = both(network, given, base, sources)
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert not torch.allclose(ours, alone, atol=1e-4)


# Small networks ------------------------------------------------------------------------------------------------------------


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))


class Tokens(nn.Module):
    """Four tokens [batch, 4, 5], with a module that never runs and one whose output is its input."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(5, 5)
        self.same = nn.Dropout(0.5)
        self.head = nn.Linear(20, 3)
        self.unused = nn.Identity()

    def forward(self, x):
        x = self.mix(x)
        return self.head((torch.tanh(self.same(x)) + x).flatten(1))


def tokens(**options):
    return watched(Tokens(), objects, **options)


TOKENS = drawn(6), drawn(6, seed=1)


# The engine ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "featurizer", "dims"),
    [
        ("relu1", cm.Identity(), None),
        ("relu1", cm.Identity(), (3, 1, 20)),
        ("relu2", cm.Orthogonal(rotation(32, 3)), None),
        ("linear3", cm.Orthogonal(rotation(32, 32)), None),
        ("linear2", cm.Orthogonal(rotation(32, 32)), (0, 5, 31)),
        ("embed", cm.Orthogonal(rotation(32, 20)), (4, 2, 19)),
        ("embed", cm.Identity(), (0, 9, 31)),
    ],
)
def test_features_of_the_zoo_give_our_numbers(path, featurizer, dims):
    zoo = cm.zoo.hierarchical_equality()
    given = []
    network = cm.Network(zoo.module, encode=zoo.encode, decode=lambda x: [given.append(x), x.argmax(-1).bool()][1], batch_size=40)
    pairs = cm.pairs(cm.library.hierarchical_equality(), ["left"], 64, seed=1)
    agree(network, given, pairs.base, {cm.Feature(network.site(path), featurizer, dims): pairs.sources["left"]})


def test_several_features_and_single_settings():
    network, given = watched(plain())
    q = cm.Orthogonal(rotation(6, 4))
    site, later = network.site("1"), network.site("2", input=True)
    sources = {
        cm.Feature(site, q, (0, 2)): drawn(5, seed=1),
        cm.Feature(site, q, (3,)): drawn(5, seed=2),
        cm.Feature(later, cm.Identity(), (1, 5)): drawn(5, seed=3),
    }
    agree(network, given, drawn(5), sources)
    agree(network, given, drawn(5), dict(reversed(sources.items())))
    assert pyvene_interchange(network, drawn(5), {}).shape == (5,)
    single = {"x": 1}, {cm.Feature(site): {"x": 30}}
    label = pyvene_interchange(network, *single)
    assert label == network.interchange(*single)
    assert isinstance(label, int)


@pytest.mark.parametrize(
    "position", [0, -1, (2, 0), slice(1, None), "third", np.array([3, 0, 1, 1, 2, 0]), np.array([[0, 1]] * 6), None]
)
@pytest.mark.parametrize("batch_size", [4, 1024])
def test_positions(position, batch_size):
    network, given = tokens(positions={"third": lambda batch: np.arange(len(batch["x"])) % 4}, batch_size=batch_size)
    site = network.site("mix", position=position)
    width = network.activations(TOKENS[0], [site])[site].shape[1]
    for feature in [
        cm.Feature(site),
        cm.Feature(site, cm.Identity(), (0, width - 1)),
        cm.Feature(site, cm.Orthogonal(rotation(width, 3))),
        cm.Feature(site, cm.Orthogonal(rotation(width, width)), (1, 2)),
    ]:
        agree(network, given, TOKENS[0], {feature: TOKENS[1]})


@dataclass(frozen=True, eq=False)
class Cubed:
    """A featurizer that pyvene does not have."""

    def to_features(self, vectors):
        return vectors.sign() * vectors.abs() ** (1 / 3), vectors[:, :0]

    def from_features(self, features, rest):
        return features**3

    def tensors(self):
        return {}


def test_other_featurizers_and_heads_go_as_functions():
    network, given = tokens()
    agree(network, given, TOKENS[0], {cm.Feature(network.site("mix", position=(0, 2)), Cubed(), (1, 4, 7)): TOKENS[1]})
    agree(network, given, TOKENS[0], {cm.Feature(network.site("mix", position=1, head=3, heads=5)): TOKENS[1]})


# Transformers --------------------------------------------------------------------------------------------------------------


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=16, n_embd=16, n_layer=2, n_head=4, initializer_range=0.5))


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    size = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 24, "initializer_range": 0.5}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, **size))


IDS = torch.randint(1, 30, (40, 7), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.randint(5, 8, (40,), generator=torch.Generator().manual_seed(1))


def tokenized(batch):
    """Prompts of 5 to 7 tokens, padded on the left."""
    mask = torch.arange(7) >= 7 - LENGTHS[batch["x"], None]
    return {"input_ids": IDS[batch["x"]] * mask, "attention_mask": mask.long()}


def prompts(module):
    """A language model; `subject` is a place of its own in each prompt."""
    return watched(module, tokenized, positions={"subject": lambda batch: batch["x"] % 3})


@pytest.mark.parametrize(
    ("model", "sites"),
    [
        (gpt2, ["transformer.h.0", "transformer.h.1.mlp.act", "transformer.wte"]),
        (llama, ["model.layers.0", "model.layers.1.mlp.up_proj", "model.layers.1.input_layernorm"]),
    ],
)
def test_transformers_give_our_numbers(model, sites):
    network, given = prompts(model())
    for path in sites:
        for position in (1, "subject", slice(-2, None)):
            site = network.site(path, position=position, input=path.endswith("layernorm"))
            width = network.activations(drawn(5), [site])[site].shape[1]
            for q in (rotation(width, 5), rotation(width, width)):
                agree(network, given, drawn(5), {cm.Feature(site, cm.Orthogonal(q), (0, 1, 4)): drawn(5, seed=1)})
        agree(network, given, drawn(5), {cm.Feature(site): drawn(5, seed=1)})


def test_elements_heads_and_keyword_inputs_of_transformers():
    network, given = prompts(llama())
    attention, output = "model.layers.0.self_attn", "model.layers.0.self_attn.o_proj"
    for site in [
        network.site(attention, position="subject", element=0),
        network.site(attention, position=-1, input=True),
        network.site(output, position=-1, input=True, head=2, heads=4),
    ]:
        agree(network, given, drawn(5), {cm.Feature(site): drawn(5, seed=1)})


# Traps: what pyvene does, and that it does not reach the user ---------------------------------------------------------------


def naive(module, path, intervention):
    """pyvene as its users have it: on their own module."""
    module.config = SimpleNamespace(to_dict=dict)
    if not hasattr(module, "device"):
        module.device = torch.device("cpu")
    return pyvene.IntervenableModel([{"component": f"{path}.output", "intervention": intervention}], module)


def test_hooks_of_others_stay_and_act():
    network, given = watched(plain())
    seen = []
    network.module[1].register_forward_hook(lambda m, a, output: [seen.append(1), output * 3][1])
    network.module[0].register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    hooks = [list(m._forward_hooks.values()) + list(m._forward_pre_hooks.values()) for m in network.module]
    base, source = drawn(4), drawn(4, seed=1)
    agree(network, given, base, {cm.Feature(network.site("1"), cm.Identity(), (0, 1)): source})
    assert hooks == [list(m._forward_hooks.values()) + list(m._forward_pre_hooks.values()) for m in network.module]
    assert sum(map(len, hooks)) == 2
    assert seen
    to_pyvene(cm.Feature(network.site("1")), network)(
        {"input": torch.zeros(2, 6)}, [{"input": torch.ones(2, 6)}], unit_locations=None
    )
    assert hooks == [list(m._forward_hooks.values()) + list(m._forward_pre_hooks.values()) for m in network.module]
    naive(network.module, "1", pyvene.VanillaIntervention())({"input": torch.zeros(2, 6)}, [{"input": torch.ones(2, 6)}])
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.module)


def test_networks_are_not_frozen():
    network, given = watched(plain())
    network.module.train()
    network.module[2].bias.requires_grad_(False)
    before = [p.requires_grad for p in network.module.parameters()], [m.training for m in network.module.modules()]
    feature = cm.Feature(network.site("1"))
    agree(network, given, drawn(4), {feature: drawn(4, seed=1)})
    model = to_pyvene(feature, network)
    assert before == ([p.requires_grad for p in network.module.parameters()], [m.training for m in network.module.modules()])
    assert not any(p.requires_grad for p in model.model.parameters())
    assert not hasattr(network.module, "config")
    naive(network.module, "1", pyvene.VanillaIntervention())
    assert not any(p.requires_grad for p in network.module.parameters())


def test_a_failing_pass_leaves_no_hooks():
    network, _ = watched(plain())
    network.module[2].register_forward_hook(lambda m, a, output: 1 / 0 if bool((a[0] == 7).any()) else None)
    base, source = drawn(4), drawn(4, seed=1)

    class Seven(Cubed):
        def from_features(self, features, rest):
            return torch.full_like(features, 7)

    with pytest.raises(cm.CommuteError, match=r"pyvene or the module of .* raised ZeroDivisionError"):
        pyvene_interchange(network, base, {cm.Feature(network.site("1"), Seven()): source})
    assert [len(m._forward_hooks) for m in network.module] == [0, 0, 1]


def test_positions_of_the_first_row_are_not_reused():
    network, given = tokens()
    places = np.array([0, 1, 2, 3, 0, 1])
    feature = cm.Feature(network.site("mix", position=0))
    rowwise = cm.Feature(network.site("mix", position=places))
    agree(network, given, TOKENS[0], {feature: TOKENS[1]})  # pyvene remembers that a location was a number
    agree(network, given, TOKENS[0], {rowwise: TOKENS[1]})
    ours = given[1]
    model = naive(network.module, "mix", pyvene.VanillaIntervention())
    base, source = ({"x": network.encode(x)} for x in TOKENS)
    each = [[[p] for p in places.tolist()]]
    with undisturbed(network.module), torch.no_grad():
        assert torch.allclose(model(base, [source], {"sources->base": (each, each)})[1], ours, atol=1e-5)
        model(base, [source], {"sources->base": 0})
        assert not torch.allclose(model(base, [source], {"sources->base": (each, each)})[1], ours, atol=1e-3)


def test_features_of_one_row_are_not_exchanged_in_another():
    network, given = tokens()
    site, rows = network.site("mix", position=0), []
    for row, dim in enumerate((0, 3)):
        part = ({"x": x["x"][row : row + 1]} for x in TOKENS)
        agree(network, given, next(part), {cm.Feature(site, cm.Identity(), (dim,)): next(part)})
        rows.append(given[0])
    model = naive(network.module, "mix", pyvene.VanillaIntervention(embed_dim=5))
    base, source = ({"x": objects(x)[:2]} for x in TOKENS)
    _, united = model(base, [source], {"sources->base": ([[[0], [0]]], [[[0], [0]]])}, subspaces=[[[0], [3]]])
    assert not torch.allclose(united, torch.cat(rows), atol=1e-3)


def test_sources_are_as_many_as_bases():
    network, _ = watched(plain())
    feature, one = cm.Feature(network.site("1")), drawn(1, seed=1)
    with pytest.raises(cm.CommuteError, match="the base has 4 rows and the sources at {'1': 1}"):
        pyvene_interchange(network, drawn(4), {feature: one})
    model = naive(network.module, "1", pyvene.RotatedSpaceIntervention(embed_dim=6))
    model.interventions["comp_1_output_unit_pos_nunit_1#0"].rotate_layer.weight = rotation(6, 6)
    _, silent = model({"input": vectors(drawn(4))}, [{"input": vectors(one)}])
    assert silent.shape == (4, 3)


def test_sites_that_do_not_run_are_told():
    network, _ = tokens()
    with pytest.raises(cm.CommuteError, match="the site unused cannot be used: its module did not run"):
        pyvene_interchange(network, TOKENS[0], {cm.Feature(network.site("unused")): TOKENS[1]})
    model = naive(network.module, "unused", pyvene.VanillaIntervention())
    base, source = ({"x": network.encode(x)} for x in TOKENS)
    assert torch.equal(model(base, [source])[1], network.module.eval()(**base))


def test_a_write_stays_at_its_site():
    network, given = tokens()
    feature = cm.Feature(network.site("same"))
    agree(network, given, TOKENS[0], {feature: TOKENS[1]})
    model = naive(network.module, "same", pyvene.VanillaIntervention())
    base, source = ({"x": network.encode(x)} for x in TOKENS)
    with torch.no_grad():
        assert not torch.allclose(
            model(base, [source])[1], given[1], atol=1e-3
        )  # dropout hands on its input, in which pyvene writes


def test_the_weights_of_a_loaded_mlp_stay(tmp_path):
    from pyvene.models.mlp.modelings_mlp import MLPConfig, MLPForClassification

    torch.manual_seed(0)
    config = MLPConfig(h_dim=6, n_layer=2, num_classes=3, pdrop=0.0, activation_function="gelu_new")
    trained, loaded = MLPForClassification(config), MLPForClassification(config)
    for parameter in trained.parameters():
        nn.init.normal_(parameter)
    torch.save(trained.state_dict(), tmp_path / "mlp.bin")
    loaded.load_state_dict(torch.load(tmp_path / "mlp.bin", weights_only=True))
    network, given = watched(loaded, lambda batch: {"inputs_embeds": vectors(batch)[:, None], "return_dict": True})
    feature = cm.Feature(network.site("mlp.h.0", position=0), cm.Orthogonal(rotation(6, 2)))
    agree(network, given, drawn(4), {feature: drawn(4, seed=1)})
    twin = to_pyvene(feature, network).model
    for name, weight in trained.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])
        assert torch.equal(weight, twin.state_dict()[name])


def test_nothing_is_drawn_from_the_global_stream():
    network, _ = watched(plain())
    feature = cm.Feature(network.site("1"), cm.Orthogonal(rotation(6, 6)))
    state = torch.random.get_rng_state()
    pyvene_interchange(network, drawn(4), {feature: drawn(4, seed=1)})
    from_pyvene(to_pyvene(feature, network))
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_pyvene_cannot_take_is_told():
    network, _ = tokens()
    base, source = TOKENS
    for feature, given, message in [
        (cm.Feature(cm.Site("nowhere")), source, "there is no site 'nowhere'"),
        (cm.Feature(network.site("mix", call=0)), source, "in its only call"),
        (cm.Feature(network.site("mix")), cm.Source(source), "plain inputs"),
        (
            cm.Feature(network.site("mix"), cm.Orthogonal(rotation(5, 2))),
            source,
            r"it is for vectors \[batch, 5\]; given \[1, 20\]",
        ),
        (cm.Feature(network.site("mix", position=4)), source, "there are 4"),
    ]:
        with pytest.raises(cm.CommuteError, match=message):
            pyvene_interchange(network, base, {feature: given})


# There and back ------------------------------------------------------------------------------------------------------------


def same(one, other):
    assert list(one) == list(other)
    for v in one:
        assert (one[v].site, one[v].dims, type(one[v].featurizer)) == (other[v].site, other[v].dims, type(other[v].featurizer))
        if isinstance(one[v].featurizer, cm.Orthogonal):
            assert torch.allclose(one[v].featurizer.directions, other[v].featurizer.directions, atol=1e-6)


SITE = cm.Site("1")
LOW, SQUARE = cm.Orthogonal(rotation(6, 4)), cm.Orthogonal(rotation(6, 6))
KINDS = {
    "VanillaIntervention": {"v": cm.Feature(SITE)},
    "SigmoidMaskIntervention": {"v": cm.Feature(SITE, cm.Identity(), (4, 1)), "w": cm.Feature(SITE, cm.Identity(), (0,))},
    "RotatedSpaceIntervention": {"v": cm.Feature(SITE, SQUARE)},
    "SigmoidMaskRotatedSpaceIntervention": {"v": cm.Feature(SITE, SQUARE, (5, 2)), "w": cm.Feature(SITE, SQUARE, (0, 1))},
    "LowRankRotatedSpaceIntervention": {"v": cm.Feature(SITE, LOW, (3, 0)), "w": cm.Feature(SITE, LOW, (1, 2))},
}


@pytest.mark.parametrize("kind", KINDS)
def test_alignments_return_from_pyvene(kind, tmp_path):
    network, given = watched(plain())
    alignment = cm.Alignment(KINDS[kind])
    base, sources = drawn(5), {v: drawn(5, seed=i + 1) for i, v in enumerate(alignment)}
    model = to_pyvene(alignment, network, inputs=base)
    assert {type(x).__name__ for x in model.interventions.values()} == {kind}
    _, theirs = model({"input": vectors(base)}, [{"input": vectors(x)} for x in sources.values()])
    network.interchange(base, {alignment[v]: x for v, x in sources.items()})
    assert torch.allclose(theirs, given[-1], atol=1e-5)
    same(alignment, from_pyvene(model))
    model.save(str(tmp_path / "saved"))
    same(alignment, from_pyvene(tmp_path / "saved"))
    with pytest.raises(Exception):  # noqa: B017, PT011  # pyvene itself knows only the models of its list
        pyvene.IntervenableModel.load(str(tmp_path / "saved"), model.model)


def test_a_feature_and_all_that_a_site_says_return(tmp_path):
    network, _ = tokens(positions={"third": lambda batch: np.zeros(len(batch["x"]), int)})
    for position in (-1, slice(1, None), (0, 2), "third", np.array([0, 1])):
        feature = cm.Feature(network.site("mix", position=position, input=True), cm.Orthogonal(rotation(10, 3)))
        to_pyvene(feature, network).save(str(tmp_path))
        same({"": feature}, {"": from_pyvene(tmp_path)})


def test_directions_that_no_variable_uses_are_made_up(tmp_path):
    network, _ = watched(plain())
    alignment = cm.Alignment({"v": cm.Feature(SITE, LOW, (3, 1))})
    to_pyvene(alignment, network).save(str(tmp_path))
    back = from_pyvene(tmp_path)["v"]
    assert back.dims == (3, 1)
    assert back.featurizer.directions.shape == (6, 4)
    assert torch.allclose(back.featurizer.directions[:, [3, 1]], LOW.directions[:, [3, 1]], atol=1e-6)


def test_pyvene_loads_what_it_can_name(tmp_path):
    network, given = prompts(gpt2())
    feature = cm.Feature(network.site("transformer.h.1.mlp", position=2), cm.Orthogonal(rotation(16, 3)))
    model = to_pyvene(feature, network)
    model.save(str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["representations"][0][:2] == [1, "mlp_output"]
    loaded = pyvene.IntervenableModel.load(str(tmp_path), model.model)
    same({"": feature}, {"": from_pyvene(loaded)})
    agree(network, given, drawn(5), {feature: drawn(5, seed=1)})
    calls = tokenized(drawn(5)), tokenized(drawn(5, seed=1))
    source, base = ([[[int(p)] for p in 2 + 7 - LENGTHS[x["x"]]]] for x in (drawn(5, seed=1), drawn(5)))
    _, output = loaded(calls[0], [calls[1]], {"sources->base": (source, base)})
    assert torch.allclose(output.logits[:, -1], given[1][:, -1], atol=1e-5)


def test_boundaries_and_masks_are_hardened(tmp_path):
    boundless = pyvene.BoundlessRotatedSpaceIntervention(embed_dim=6)
    boundless.set_intervention_boundaries(0.55)
    masked = pyvene.SigmoidMaskIntervention(embed_dim=6)
    masked.mask.data = torch.tensor([-0.2, 0.1, -0.3, 0.4, 0.0, -1.0])
    module = plain()
    module.config = SimpleNamespace(to_dict=dict)
    model = pyvene.IntervenableModel(
        [{"component": "0.output", "intervention": boundless}, {"component": "1.output", "intervention": masked}], module
    )
    model.save(str(tmp_path))
    for saved in (model, tmp_path):
        found = from_pyvene(saved, sites=[cm.Site("0"), SITE], variables=["v", "w"])
        assert (found["v"].dims, found["w"].dims) == ((0, 1, 2, 3), (1, 3))
        assert torch.allclose(found["v"].featurizer.directions, boundless.rotate_layer.weight)
    assert from_pyvene(masked, sites=[SITE]) == cm.Feature(SITE, cm.Identity(), (1, 3))
    masked.mask.data.fill_(-1)
    with pytest.raises(cm.CommuteError, match="off everywhere"):
        from_pyvene(masked, sites=[SITE])


def test_linked_subspaces_of_pyvene():
    module = plain()
    module.config = SimpleNamespace(to_dict=dict)
    shared = pyvene.RotatedSpaceIntervention(embed_dim=6, subspace_partition=[[0, 2], [2, 6]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pyvene.IntervenableModel(
            [{"component": "1.output", "intervention": shared, "intervention_link_key": 0}] * 2, module
        )
    found = from_pyvene(model, sites=[SITE] * 2, variables=["v", "w"], subspaces=[[0], [1]])
    assert (found["v"].dims, found["w"].dims) == ((0, 1), (2, 3, 4, 5))
    assert found["v"].featurizer is found["w"].featurizer
    low = pyvene.LowRankRotatedSpaceIntervention(embed_dim=6, low_rank_dimension=3)
    coordinate = from_pyvene(low, sites=[SITE], subspaces=[[2]])
    assert torch.allclose(coordinate.featurizer.directions, low.rotate_layer.weight[:, 2:])


def test_what_cannot_be_an_alignment_is_told(tmp_path):
    network, _ = tokens()
    low = pyvene.LowRankRotatedSpaceIntervention(embed_dim=6, low_rank_dimension=3)
    parted = pyvene.RotatedSpaceIntervention(embed_dim=6, subspace_partition=[[0, 2], [2, 6]])
    module = plain()
    module.config = SimpleNamespace(to_dict=dict)
    twice = pyvene.IntervenableModel([{"component": "1.output", "intervention": low}] * 2, module)
    for given, message in [
        ((low, {}), "pyvene keeps no positions; give sites"),
        ((low, {"sites": [SITE, SITE]}), "one for each of the intervention; given 2"),
        ((parted, {"sites": [SITE]}), "has 2 subspaces; say which"),
        ((pyvene.ZeroIntervention(), {"sites": [SITE]}), "is a ZeroIntervention, which is no feature"),
        ((pyvene.VanillaIntervention(source_representation=torch.zeros(6)), {"sites": [SITE]}), "sets a constant"),
        ((twice, {"sites": [SITE, SITE], "variables": ["v", "w"]}), "not orthogonal to each other"),
        ((twice, {"sites": [SITE, cm.Site("0")]}), "has no names"),
        ((tmp_path, {}), "does not hold what pyvene saved"),
    ]:
        with pytest.raises(cm.CommuteError, match=message):
            from_pyvene(given[0], **given[1])
    for feature, message in [
        (cm.Feature(network.site("mix", head=0, heads=5)), "without head"),
        (cm.Feature(network.site("mix"), Cubed()), "no counterpart of the featurizer Cubed"),
        (cm.Feature(network.site("mix", position=(0, 1)), cm.Identity(), (1,)), "masks all alike"),
        (cm.Feature(network.site("mix", position=0), cm.Identity(), (1,)), "the width of mix"),
    ]:
        with pytest.raises(cm.CommuteError, match=message):
            to_pyvene(feature, network)


class Code:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_no_code_in_a_folder_is_run(tmp_path):
    network, _ = watched(plain())
    to_pyvene(KINDS["RotatedSpaceIntervention"]["v"], network).save(str(tmp_path))
    (file,) = tmp_path.glob("*.bin")
    torch.save({"embed_dim": Code()}, file)
    with pytest.raises(cm.CommuteError, match="UnpicklingError"):
        from_pyvene(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["intervention_types"] = ["<class 'os.system'>"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(cm.CommuteError, match="there is no intervention that is a feature 'system'"):
        from_pyvene(tmp_path)
