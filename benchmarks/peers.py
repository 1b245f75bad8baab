"""The same interchanges in pyvene 0.1.8, each in the fastest way found that it offers.

Its results are those of plain hooks under transformers 5, where a block's output is a tensor. Ways of calling it that give other
results, and are therefore not used:

- a `CollectIntervention` without `keep_last_dim` keeps only the first `max_number_of_units` positions, one by default;
- `{"sources->base": p}` marks the `IntervenableModel` for good: a later call with a position for each pair uses the first pair's;
- source representations passed as a dictionary are emptied by the call.

Each call also removes every forward hook on the model, others' included, and building an `IntervenableModel` puts the model in
evaluation mode and takes `requires_grad` off its parameters.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

TUTORIAL_BATCH = 6_400
BATCH = 16_384  # pairs at once in `full_site`: of the powers of two the fastest on 2 cores, three times as fast as one million


def residual_sweep(model: Any, base: Tensor, source: Tensor, positions: Sequence[int]) -> dict[tuple[int, int], Tensor]:
    """Logits at the last token, [pairs, vocabulary], with a block's output at one position taken from the source, for each.

    The source runs once, for all layers and positions; then the base runs once for each. The usual call, which is given the
    source's tokens, runs both each time.

    Args:
        model: a causal language model of transformers that pyvene knows: GPT-2, Llama, Gemma, Qwen 2, …
        base: token ids, [pairs, tokens].
        source: token ids, likewise.
        positions: tokens counted from 0.
    """
    from pyvene import CollectIntervention, IntervenableModel

    blocks = [{"layer": layer, "component": "block_output"} for layer in range(model.config.num_hidden_layers)]
    base_inputs, source_inputs = ({"input_ids": x, "logits_to_keep": 1} for x in (base, source))
    logits = {}
    with torch.no_grad():
        collect = IntervenableModel([{**b, "intervention": CollectIntervention(keep_last_dim=True)} for b in blocks], model)
        (_, kept), _ = collect(source_inputs, unit_locations=None, use_cache=False)
        for layer, block in enumerate(blocks):
            patch = IntervenableModel(block, model)  # a VanillaIntervention
            for p in positions:
                where, what = {"sources->base": (None, p)}, kept[layer][:, [p]]
                _, out = patch(base_inputs, unit_locations=where, source_representations=what, use_cache=False)
                logits[layer, p] = out.logits[:, -1]
    return logits


def usual_sweep(model: Any, base: Tensor, source: Tensor, positions: Sequence[int]) -> dict[tuple[int, int], Tensor]:
    """As `residual_sweep`, by the call that pyvene's documentation shows: the source's tokens are given, and run, each time."""
    from pyvene import IntervenableModel

    logits = {}
    with torch.no_grad():
        for layer in range(model.config.num_hidden_layers):
            patch = IntervenableModel({"layer": layer, "component": "block_output"}, model)  # a VanillaIntervention
            for p in positions:
                where = {"sources->base": p}
                _, out = patch(
                    {"input_ids": base, "logits_to_keep": 1}, [{"input_ids": source}], unit_locations=where, use_cache=False
                )
                logits[layer, p] = out.logits[:, -1]
    return logits


def full_site(module: nn.Module, base: Tensor, source: Tensor, path: str, batch: int = BATCH) -> Tensor:
    """The module's outputs on the base inputs, with the whole output of the submodule at `path` taken from the source inputs.

    Args:
        module: a module of one argument.
        base: its inputs, [pairs, …].
        source: its inputs, likewise.
        path: the submodule's name, as in `named_modules`.
        batch: pairs at once.
    """
    from pyvene import IntervenableModel

    take = {"component": f"inner.{path}.output", "intervention": lambda _, source: source}
    swap = IntervenableModel([take], _Configured(module))
    with torch.no_grad():
        pairs = zip(base.split(batch), source.split(batch), strict=True)
        return torch.cat([swap({"x": b}, [{"x": s}], unit_locations=None)[1] for b, s in pairs])


def tutorial_full_site(model: Any, base: Tensor, source: Tensor, layer: int, batch: int = TUTORIAL_BATCH) -> Tensor:
    """As `full_site`, by the call of pyvene's tutorial on networks of this kind: a position for each pair, in nested lists.

    Args:
        model: made by `as_pyvene`.
        base: what the first layer takes, [pairs, 1, width].
        source: likewise.
        layer: whose activations are exchanged.
        batch: pairs at once; the tutorial's.
    """
    from pyvene import IntervenableModel

    swap = IntervenableModel({"layer": layer, "component": "mlp_activation"}, model)  # a VanillaIntervention
    logits = []
    with torch.no_grad():
        for b, s in zip(base.split(batch), source.split(batch), strict=True):
            places = [[[0]] * len(b)]
            _, out = swap({"inputs_embeds": b}, [{"inputs_embeds": s}], {"sources->base": (places, places)})
            logits.append(out[0])
    return torch.cat(logits)


def as_pyvene(layers: Sequence[nn.Linear], head: nn.Linear) -> Any:
    """Layers with ReLU, and a head, as a network of the kind that pyvene's tutorial makes."""
    from pyvene.models.mlp.modelings_mlp import MLPConfig, MLPForClassification

    width = head.in_features
    config = MLPConfig(h_dim=width, n_layer=len(layers), num_classes=head.out_features, activation_function="relu", pdrop=0.0)
    model = MLPForClassification(config).eval()
    model.mlp.h.load_state_dict({f"{i}.ff1.{k}": x for i, layer in enumerate(layers) for k, x in layer.state_dict().items()})
    model.score.load_state_dict(head.state_dict())
    return model


class _Configured(nn.Module):
    """A module as pyvene takes it: with a configuration, and called by keyword."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.config = SimpleNamespace(to_dict=dict)

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)
