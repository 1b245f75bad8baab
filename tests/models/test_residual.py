import pytest
import torch
from torch import nn

import commute as cm


def network(module, **positions):
    return cm.Network(module, encode=lambda batch: batch["x"], decode=lambda x: x, positions=positions)


class Decoder(nn.Module):
    """Layers with lists of their own, beside a shorter list."""

    def __init__(self):
        super().__init__()
        self.few = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
        self.layers = nn.ModuleList(
            nn.ModuleDict({"experts": nn.ModuleList(nn.Linear(2, 2) for _ in range(9))}) for _ in range(3)
        )


def test_the_residual_stream_is_what_each_layer_gives_at_each_position():
    found = network(Decoder(), subject=lambda batch: torch.zeros(1)).residual(positions=(-1, "subject"))
    assert [str(s) for s in found] == [f"layers.{i}[{p}]" for i in range(3) for p in ("-1", "subject")]
    assert [str(s) for s in network(Decoder()).residual()] == ["layers.0", "layers.1", "layers.2"]


def test_transformer_lens_has_hook_points_for_it():
    module = nn.Module()
    module.blocks = nn.ModuleList(nn.ModuleDict({"mlp": nn.Linear(2, 2)}) for _ in range(2))
    for block in module.blocks:
        block.hook_resid_post = nn.Identity()
    assert [str(s) for s in network(module).residual(positions=[3])] == [f"blocks.{i}.hook_resid_post[3]" for i in range(2)]


def test_a_network_without_layers_and_unknown_positions_are_told():
    with pytest.raises(cm.CommuteError, match="there is no nn.ModuleList of layers"):
        network(nn.Linear(2, 2)).residual()
    with pytest.raises(cm.CommuteError, match="named position 'subjct'; did you mean 'subject'"):
        network(Decoder(), subject=lambda batch: 0).residual(positions=["subjct"])


def test_transformers_own_layers_are_found():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=2, n_embd=4, n_head=1, vocab_size=5, n_positions=4, bos_token_id=0, eos_token_id=0)
    found = network(GPT2LMHeadModel(config)).residual(positions=[-1])
    assert [str(s) for s in found] == ["transformer.h.0[-1]", "transformer.h.1[-1]"]
