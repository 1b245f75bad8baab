"""Models that accelerate has placed on one machine, or that are on a GPU: the numbers of the plain model, and left as found."""

import accelerate
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

import commute as cm
from tests import planted
from tests.models import families
from tests.models.test_sweep import prompts, spied

LAYERS = {"gpt2": "transformer.h", "llama": "model.layers"}
MLP = {"gpt2": "mlp.c_proj", "llama": "mlp.down_proj"}
Q = torch.linalg.qr(torch.randn(16, 4, generator=torch.Generator().manual_seed(0))).Q
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Doubles(ModelHook):
    def post_forward(self, module, output):
        return output * 2


def offloaded(model, family, folder):
    accelerate.cpu_offload(model)


def on_disk(model, family, folder):
    accelerate.dispatch_model(model, halved(model, family, "cpu", "disk"), offload_dir=folder)


def all_on_disk(model, family, folder):
    accelerate.disk_offload(model, folder)


def overridden(model, family, folder):
    """Every module has an overridden forward; that of one gives something else, as its weights do in the plain model."""
    for path, module in model.named_modules():
        add_hook_to_module(module, Doubles() if path == f"{LAYERS[family]}.0.{MLP[family]}" else ModelHook())


def on_gpu(model, family, folder):
    model.to("cuda")


def split(model, family, folder):
    """The first half runs on the CPU, the second on the GPU."""
    accelerate.dispatch_model(model, halved(model, family, "cpu", "cuda:0"), main_device="cpu", force_hooks=True)


def offloaded_from_gpu(model, family, folder):
    accelerate.dispatch_model(model, halved(model, family, "cpu", "cuda:0"), main_device="cuda:0", force_hooks=True)


def halved(model, family, first, second):
    """A device map with the second block, and the norm after it, elsewhere."""
    body, layers = LAYERS[family].split(".")
    paths = [f"{body}.{name}" for name, _ in getattr(model, body).named_children() if name != layers]
    places = dict.fromkeys([*paths, f"{LAYERS[family]}.0", "lm_head"], first)
    return {**places, f"{LAYERS[family]}.1": second, **{p: second for p in paths if p.endswith(("ln_f", ".norm"))}}


def plain(family, *, doubled):
    model = families.model(family)
    if doubled:
        with torch.no_grad():
            for parameter in model.get_submodule(f"{LAYERS[family]}.0.{MLP[family]}").parameters():
                parameter.mul_(2)
    return model


def state(model):
    """All that using a network must leave alone: modules' forwards, hooks and modes, where the weights are and their flags."""
    modules = [
        (m.__dict__.get("forward"), m.__dict__.get("_hf_hook"), len(m._forward_hooks), len(m._forward_pre_hooks), m.training)
        for m in model.modules()
    ]
    return modules, {k: (p.device, p.requires_grad) for k, p in model.named_parameters()}


def features(net, family):
    """The residual stream in a rotation, a head, and neurons, at an early and at the last position."""
    found = []
    for layer in (0, 1):
        path = f"{LAYERS[family]}.{layer}"
        out = {"gpt2": "attn.c_proj", "llama": "self_attn.o_proj"}[family]
        for position in (1, -1):
            found += [
                cm.Feature(net.site(path, position=position), cm.Orthogonal(Q)),
                cm.Feature(net.site(f"{path}.{out}", position=position, head=1, heads=4, input=True)),
                cm.Feature(net.site(f"{path}.{MLP[family]}", position=position), dims=(0, 2, 5)),
            ]
    return found


def gradient(net, base, source, family):
    """Of the scores after an interchange along directions, by those."""
    directions = Q.clone().requires_grad_()
    site = net.site(f"{LAYERS[family]}.0", position=1)
    feature = cm.Feature(site, cm.Orthogonal(directions))
    output = net.call(base, {feature: feature.read(net.activations(source, [site])[site])})
    output.logits[:, -1].float().square().sum().backward()
    return directions.grad


def numbers(model, family):
    """What a network gives in each way of using it, by name."""
    _, encode, scores, base, source = prompts(family)
    net, kept = spied(model, encode, scores)
    chosen = features(net, family)
    net.run(base)
    found = {"run": torch.cat(kept)}
    found |= {f"activation {i}": x for i, x in enumerate(net.activations(source, chosen).values())}
    for i, feature in enumerate(chosen):
        kept.clear()
        net.interchange(base, {feature: source})
        found[f"interchange {i}"] = torch.cat(kept)
    swept = net.sweep(base, source, chosen)
    assert net.replays
    assert 1 <= swept.cost.ratio < 1.6  # what is known is not computed again, keys and values among it
    kept.clear()
    net.sweep(base, source, chosen)
    found["sweep"] = torch.cat(kept)
    found["gradient"] = gradient(net, base, source, family)
    return {k: x.detach().cpu() for k, x in found.items()}


def assert_same(place, family, folder, tolerance):
    model = families.model(family)
    place(model, family, folder)
    expected, found = numbers(plain(family, doubled=place is overridden), family), numbers(model, family)
    for name, x in expected.items():
        assert torch.allclose(found[name], x, rtol=tolerance, atol=tolerance), name
    assert expected["gradient"].abs().max() > 0.1


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("place", [offloaded, on_disk, all_on_disk, overridden])
def test_what_accelerate_has_placed_gives_the_numbers_of_the_plain_model(place, family, tmp_path):
    assert_same(place, family, tmp_path, 1e-5)


@pytest.mark.parametrize("place", [offloaded, on_disk, all_on_disk, overridden])
def test_a_placed_model_is_left_as_it_was_found(place, tmp_path):
    """With weights that are brought in for each pass, each time as new tensors, and some that need no gradient."""
    model = families.model("llama")
    model.train().model.layers[0].requires_grad_(False)
    place(model, "llama", tmp_path)
    before = state(model)
    _, encode, scores, base, source = prompts("llama")
    net, _ = spied(model, encode, scores)
    chosen = features(net, "llama")
    for use in (
        lambda: net.run(base),
        lambda: net.activations(base, chosen),
        lambda: net.interchange(base, {chosen[0]: source}),
        lambda: net.sweep(base, source, chosen),
        lambda: net.check_deterministic(base),
    ):
        use()
        assert state(model) == before


@needs_gpu
@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("place", [on_gpu, split, offloaded_from_gpu])
def test_a_gpu_gives_the_numbers_of_the_cpu(place, family, tmp_path):
    """Rotations and inputs are made on the CPU; in the split model, sites are on both."""
    assert_same(place, family, tmp_path, 1e-3)


@needs_gpu
def test_an_alignment_is_trained_on_a_gpu():
    algorithm, net = planted.algorithm(), planted.network()
    net.module.cuda()
    found = cm.search(algorithm, net, variables=["left"], sites=[planted.SITE], method=cm.DAS(dims=4, steps=60), n=256)
    assert found.to_frame()["iia"].max() > 0.9
