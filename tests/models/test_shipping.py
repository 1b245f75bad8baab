import io
import pickle
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load
from torch import nn

import commute as cm
from commute.errors import NetworkError
from commute.models.answers import Generated
from commute.models.network import Network
from commute.models.shipping import Packed, as_bytes, from_bytes, packed, unpacked
from tests.models import families

INPUTS = {v: np.arange(16) * (i + 1) % 8 for i, v in enumerate("abcd")}
PROMPTS = {"x": np.array(["Mary", "John", "Anna", "Mary"]), "y": np.array(["John", "Mary", "Mary", "Anna"])}


class Odd(nn.Module):
    """Tensors of every kind: tied, views, expanded, transposed, complex, of half precision, frozen, empty, in containers."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.first.weight = nn.Parameter(torch.randn(4, 4, generator=generator))
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.randn(4, 4, generator=generator).T, requires_grad=False)
        self.scale = nn.Parameter(torch.randn(4, generator=generator).bfloat16())
        self.register_buffer("table", torch.arange(12, dtype=torch.int8).reshape(3, 4))
        self.register_buffer("unsaved", torch.randn(4, generator=generator), persistent=False)
        self.register_buffer("empty", torch.empty(0, 3))
        self.row = self.table[1]
        self.wide = torch.tensor([[2.0]]).expand(3, 4)
        self.kept = {"turns": [torch.randn(4, dtype=torch.complex64, generator=generator)], "mask": torch.tensor([True, False])}
        self.kept["turns"][0].note = "by position"
        self.dropout = nn.Dropout(0.5)
        self.eval()
        self.dropout.train()

    def forward(self, x):
        x = self.second(self.first(x)) @ self.frozen + self.scale.float() + self.unsaved + self.row + self.wide[0]
        return (x * self.kept["turns"][0]).real


def odd(module=None):
    shift = torch.tensor([0.0, 1.0, 2.0, 3.0])
    return Network(
        module or Odd(),
        encode=lambda inputs: torch.from_numpy(np.stack([inputs[v] for v in "abcd"], 1)).float() + shift,
        decode=lambda output: output.argmax(-1),
        name="odd",
        batch_size=5,
        memory=1 << 20,
        positions={"last": lambda inputs: np.full(len(inputs["a"]), 3)},
    )


def story(family="gpt2", answers=("Mary", "John", "Anna")):
    return Network.from_transformers(
        families.model(family), families.tokenizer(), prompts="{x} gave {y} to", answers=answers, batch_size=2
    )


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and torch.equal(a, b)


def test_every_kind_of_tensor_arrives_as_it_was():
    sent, got = Odd(), unpacked(packed(odd(Odd()))).module
    for name, own in [*sent.named_parameters(), *sent.named_buffers()]:
        there = dict([*got.named_parameters(), *got.named_buffers()])[name]
        assert same(own, there), name
        assert type(there) is type(own)
        assert there.requires_grad == own.requires_grad
    assert not got.frozen.requires_grad
    assert got.wide.stride() == (0, 0)
    assert same(sent.wide, got.wide)
    assert same(sent.kept["turns"][0], got.kept["turns"][0])
    assert got.kept["turns"][0].note == "by position"
    assert list(got.state_dict()) == list(sent.state_dict())
    assert [m.training for m in got.modules()] == [m.training for m in sent.modules()]


def test_what_is_tied_or_shares_memory_still_does():
    got = unpacked(packed(odd())).module
    assert got.first.weight is got.second.weight
    with torch.no_grad():
        got.table[1] = 9
    assert got.row.tolist() == [9] * 4
    assert got.table.untyped_storage().data_ptr() == got.row.untyped_storage().data_ptr()


def test_memory_travels_once_and_apart_from_the_skeleton():
    module = nn.Linear(64, 64, bias=False)
    tied = nn.Sequential(module, module, nn.Linear(64, 64, bias=False))
    tied[2].weight = nn.Parameter(module.weight.detach().T)  # another tensor over the same memory
    one, three = (Network(m, encode=odd().encode, decode=np.asarray) for m in (module, tied))
    assert len(packed(three).weights) == len(packed(one).weights)
    assert len(packed(three).skeleton) < 64 * 64
    assert sum(x.numel() for x in load(packed(three).weights).values()) == 64 * 64 * 4 + 4 * 4  # and what encode captured


def test_the_network_gives_the_same_answers_and_options():
    sent = odd()
    got = unpacked(packed(sent))
    assert np.array_equal(got.run(INPUTS), sent.run(INPUTS))
    assert (got.name, got.batch_size, got.memory, got.spill, got.finish) == ("odd", 5, 1 << 20, None, None)
    assert got.positions["last"](INPUTS).tolist() == [3] * 16
    site = cm.Site("first")
    assert torch.equal(got.activations(INPUTS, [site])[site], sent.activations(INPUTS, [site])[site])


def test_a_network_of_the_zoo_and_its_folder(tmp_path):
    sent = cm.zoo.hierarchical_equality()
    sent = Network(sent.module, encode=sent.encode, decode=sent.decode, spill=tmp_path)
    got = unpacked(packed(sent))
    assert got.spill == tmp_path
    assert np.array_equal(got.run(INPUTS), sent.run(INPUTS))
    where = tmp_path / "here"
    where.mkdir()
    given = packed(Network(sent.module, encode=sent.encode, decode=sent.decode, spill=where))
    where.rmdir()
    with pytest.raises(NetworkError, match="spill must be a folder"):
        unpacked(given)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_language_models_answer_the_same(family):
    sent = story(family)
    got = unpacked(packed(sent))
    assert list(got.run(PROMPTS)) == list(sent.run(PROMPTS))
    assert set(got.positions) == {"x", "y", "end"}
    sites = [
        cm.Site(path, position)
        for path in [next(k for k, _ in sent.module.named_modules() if k.endswith("mlp"))]
        for position in ("y", "end")
    ]
    for site in sites:
        assert torch.equal(got.activations(PROMPTS, [site])[site], sent.activations(PROMPTS, [site])[site])


def test_written_answers_come_from_the_module_that_arrived():
    sent = story(answers=Generated(["Mary", "John"]))
    got = unpacked(packed(sent))
    assert got.finish.model is got.module
    assert list(got.run(PROMPTS)) == list(sent.run(PROMPTS))


def test_what_a_network_keeps_of_passes_does_not_travel():
    sent = story()
    before = packed(sent)
    sent.sweep(PROMPTS, PROMPTS, [cm.Site("transformer.h.0.mlp", "end")])
    sent.encode({"x": np.array([f"Mary {i}" for i in range(200)]), "y": np.array(["John"] * 200)})
    assert sent.traces
    after = packed(sent)
    assert after.key == before.key
    got = unpacked(after)
    assert not got.traces
    assert not got.confirmed
    assert got.measured is None
    assert got.store.held == 0
    assert got.positions.find.__self__ is got.encode


def test_the_module_is_left_as_found():
    module = Odd()
    module.first.register_forward_hook(double)
    found = {k: (id(x), x.clone(), x.requires_grad) for k, x in [*module.named_parameters(), *module.named_buffers()]}
    kept = [dict(vars(m)) for m in module.modules()]
    got = unpacked(packed(odd(module)))
    for k, x in [*module.named_parameters(), *module.named_buffers()]:
        assert (id(x), x.requires_grad) == (found[k][0], found[k][2])
        assert torch.equal(x, found[k][1])
    for m, before in zip(module.modules(), kept, strict=True):
        assert vars(m).keys() == before.keys()
        assert all(vars(m)[k] is before[k] for k in before)
    assert np.array_equal(got.run(INPUTS), odd(module).run(INPUTS))  # with the user's hook


def double(module, args, output):
    return output * 2


def test_tensors_made_in_inference_mode_and_with_gradients_arrive_plain():
    module = Odd()
    with torch.inference_mode():
        module.rotations = torch.ones(4)
    module.answer = module.scale * 2  # part of a graph, which stays
    got = unpacked(packed(odd(module))).module
    assert not got.rotations.is_inference()
    assert got.answer.is_leaf
    assert got.answer.requires_grad
    got.rotations.add_(1)
    assert module.rotations.tolist() == [1] * 4


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.data())
def test_any_view_of_one_memory_arrives(shape, data):
    memory = torch.arange(64, dtype=torch.int16)
    stride = [data.draw(st.integers(0, 5)) for _ in shape]
    offset = data.draw(st.integers(0, 20))
    module = nn.Identity()
    module.view, module.whole = memory.as_strided(shape, stride, offset), memory
    got = unpacked(packed(Network(module, encode=np.asarray, decode=np.asarray))).module
    assert same(got.view, module.view)
    assert got.view.storage_offset() == offset
    got.whole.fill_(5)
    assert (got.view == 5).all()


def test_tensors_that_are_no_plain_memory_are_all_named():
    module = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    module.register_buffer("graph", torch.eye(3).to_sparse())
    module[1].lazy = torch.ones(2, dtype=torch.complex64).conj()
    own = torch.ones(2).as_subclass(Own)
    with pytest.raises(NetworkError) as raised:
        packed(Network(module, encode=lambda x: own, decode=np.asarray, name="net"))
    for part in ("'net'", "'0.weight' [2, 2] is on the meta device", "'0.bias'", "'graph' [3, 3] is sparse", "'1.lazy'", "a Own"):
        assert part in str(raised.value)


class Own(torch.Tensor):
    pass


def test_what_cannot_be_pickled_is_told():
    module = nn.Identity()
    module.lock = threading.Lock()
    with pytest.raises(NetworkError, match="'Identity' cannot be sent .*lock.*open files and locks"):
        packed(Network(module, encode=np.asarray, decode=np.asarray))
    with pytest.raises(NetworkError, match="the function .*<lambda>' cannot be sent"):
        as_bytes(lambda: module)


def test_without_cloudpickle_importable_functions_travel_and_others_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    sent = cm.zoo.hierarchical_equality()
    assert np.array_equal(unpacked(packed(sent)).run(INPUTS), sent.run(INPUTS))
    assert list(unpacked(packed(story())).run(PROMPTS)) == list(story().run(PROMPTS))
    with pytest.raises(NetworkError, match="pip install commute\\[cluster\\].* into a module"):
        packed(odd())


def test_functions_travel_with_cloudpickle():
    factor = 3
    assert from_bytes(as_bytes(lambda x: factor * x))(4) == 12
    assert from_bytes(as_bytes(double)) is double


def test_what_is_lacking_on_arrival_is_told(monkeypatch):
    file = io.BytesIO()
    module = type(sys)("only_there")
    module.f = type("f", (), {"__module__": "only_there", "__qualname__": "f"})
    monkeypatch.setitem(sys.modules, "only_there", module)
    pickle.Pickler(file).dump((module.f, {}))
    monkeypatch.delitem(sys.modules, "only_there")
    with pytest.raises(NetworkError, match="the network cannot be rebuilt .*only_there.*install here"):
        unpacked(Packed(file.getvalue(), packed(odd()).weights, ""))
    with pytest.raises(NetworkError, match="the function cannot be rebuilt .*only_there"):
        from_bytes(file.getvalue())


def test_the_key_tells_weights_and_skeletons_apart():
    module = Odd()
    keys = [packed(odd(module)).key]
    with torch.no_grad():
        module.scale[0] += 1
    keys.append(packed(odd(module)).key)
    module.dropout.p = 0.25
    keys.append(packed(odd(module)).key)
    assert len(set(keys)) == 3
    assert packed(odd(module)).key == keys[-1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_go_back_to_their_gpu():
    sent = odd(Odd().to("cuda"))
    got = unpacked(packed(sent)).module
    assert got.first.weight.device.type == "cuda"
    assert torch.equal(got.first.weight, sent.module.first.weight)


def test_without_their_device_tensors_arrive_on_the_cpu(monkeypatch):
    from commute.models.shipping import _device

    assert _device("cpu") == torch.device("cpu")
    assert _device("cuda:999") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert _device("cuda:1") == torch.device("cuda:1")
    assert _device("cuda:2") == torch.device("cpu")
