"""Sparse autoencoders as SAE Lens writes them (https://github.com/decoderesearch/SAELens)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from commute.alignments.featurizers.sparse_autoencoder import Activation, SparseAutoencoder
from commute.errors import AlignmentError, check

_ACTIVATIONS: dict[str, Activation] = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu"}  # by architecture
_WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")


def load_sae_lens(folder: Path) -> SparseAutoencoder:
    """What `SparseAutoencoder.load` does."""
    try:
        config = json.loads((folder / "cfg.json").read_text())
        stored = load_file(folder / "sae_weights.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise AlignmentError(f"{folder} holds no autoencoder of SAE Lens: {type(error).__name__}: {error}") from error
    if not isinstance(config, dict):
        raise AlignmentError(f"{folder}/cfg.json must hold a mapping; it holds {type(config).__name__}")
    weights = {name: x.to(torch.promote_types(x.dtype, torch.float32)) for name, x in stored.items()}
    architecture, k = _architecture(config)
    check(_unsupported(config, architecture) or _unexpected(weights, config, architecture), AlignmentError, str(folder))
    encoder, encoder_bias, decoder, decoder_bias = (weights[name] for name in _WEIGHTS)
    made = SparseAutoencoder(
        encoder,
        encoder_bias,
        decoder,
        decoder_bias,
        activation=_ACTIVATIONS[architecture],
        k=k if architecture == "topk" else None,
        threshold=weights.get("threshold"),
        center=config.get("apply_b_dec_to_input", True),
    )
    return _rescaled(made) if architecture == "topk" and config.get("rescale_acts_by_decoder_norm") else made


def _rescaled(sae: SparseAutoencoder) -> SparseAutoencoder:
    """The same with activations that are multiplied by the norms of their directions, which then have length 1."""
    norms = sae.decoder.norm(dim=1)
    return replace(
        sae,
        encoder=sae.encoder * norms,
        encoder_bias=sae.encoder_bias * norms,
        decoder=sae.decoder / norms.where(norms > 0, 1)[:, None],
    )


def _architecture(config: Mapping[str, Any]) -> tuple[str, Any]:
    """The architecture and k; before version 6 an autoencoder with the activation function topk could be called standard."""
    options = config.get("activation_fn_kwargs")
    k = options.get("k") if isinstance(options, dict) else None
    architecture = config.get("architecture", "standard")
    if architecture == "standard" and _activation_function(config) == "topk":
        architecture = "topk"
    return str(architecture), config.get("k") if k is None else k


def _activation_function(config: Mapping[str, Any]) -> Any:
    return config.get("activation_fn_str", config.get("activation_fn", "relu"))


def _unsupported(config: Mapping[str, Any], architecture: str) -> list[str]:
    """What the config asks for that is not supported."""
    problems = []
    if architecture not in _ACTIVATIONS:
        problems.append(f"the architecture {architecture!r} is not supported; {', '.join(_ACTIVATIONS)} are")
    function = _activation_function(config)
    if function not in (("relu", "topk") if architecture == "topk" else ("relu",)):
        problems.append(f"the activation function {function!r} is not supported; relu and topk are")
    options = config.get("activation_fn_kwargs") or {}
    if not isinstance(options, dict) or set(options) - {"k"}:
        problems.append(f"activation_fn_kwargs may give k alone; given {options!r}")
    normalized = config.get("normalize_activations")
    if normalized in ("expected_average_only_in", True):
        problems.append(
            "the activations were scaled by their average norm in training, and the factor is not in the file; fold it in with "
            "SAE Lens (fold_activation_norm_scaling_factor) and save again"
        )
    elif normalized not in (None, False, "none"):
        problems.append(f"normalize_activations {normalized!r} is not supported; 'none' is")
    reshaped = config.get("reshape_activations", "hook_z" if "hook_z" in str(config.get("hook_name")) else "none")
    if reshaped != "none":
        problems.append(f"reshape_activations {reshaped!r} is not supported; 'none' is")
    return problems


def _unexpected(weights: Mapping[str, Tensor], config: Mapping[str, Any], architecture: str) -> list[str]:
    """Which tensors are missing, not known or not of the size that the config says."""
    expected = (*_WEIGHTS, "threshold") if architecture == "jumprelu" else _WEIGHTS
    missing = [name for name in expected if name not in weights]
    problems = [f"sae_weights.safetensors has no {', '.join(missing)}; it has {', '.join(weights)}"] if missing else []
    without_effect = {name for name in ("scaling_factor",) if name in weights and torch.allclose(weights[name], torch.ones(()))}
    if unused := sorted({*weights} - {*expected} - without_effect):
        problems.append(f"sae_weights.safetensors has {', '.join(unused)}, which {architecture!r} does not use")
    if not missing:
        shape = weights["W_enc"].shape
        problems += [
            f"cfg.json says that {name} is {config[name]}, but W_enc [d_in, d_sae] is {list(shape)}"
            for name, n in zip(("d_in", "d_sae"), shape, strict=False)
            if config.get(name, n) != n
        ]
    return problems
