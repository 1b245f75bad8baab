"""The latents of a sparse autoencoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import as_floats, like, misfits
from commute.errors import AlignmentError, check, not_counts, unknown

Activation = Literal["relu", "topk", "jumprelu"]


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """The latents of a sparse autoencoder (2309.08600; topk 2406.04093; jumprelu 2407.14435), its error kept as the rest.

    Features are activation(x @ encoder + encoder_bias), and stand for features @ decoder + decoder_bias. The encoder does not
    invert the decoder: features that were changed and written are in general others when they are read again.

    Attributes:
        encoder: [width, dictionary].
        encoder_bias: [dictionary].
        decoder: one direction a row, [dictionary, width].
        decoder_bias: [width].
        activation: `relu`; `topk`, the relu of the k largest and else 0; `jumprelu`, the relu of those above their
            threshold and else 0.
        k: how many `topk` keeps.
        threshold: [dictionary], that of `jumprelu`.
        center: whether the decoder's bias is first subtracted from the vectors (`apply_b_dec_to_input` of SAE Lens).

    Raises:
        AlignmentError: for tensors that do not fit each other, or options that do not fit the activation.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    activation: Activation = "relu"
    k: int | None = None
    threshold: Tensor | None = None
    center: bool = True

    def __post_init__(self) -> None:
        given = {
            "encoder": (self.encoder, "width dictionary"),
            "encoder_bias": (self.encoder_bias, "dictionary"),
            "decoder": (self.decoder, "dictionary width"),
            "decoder_bias": (self.decoder_bias, "width"),
        }
        if self.threshold is not None:
            given["threshold"] = self.threshold, "dictionary"
        problems = misfits(**given) + self._unfit_options()
        if not problems and self.k is not None and self.k > self.decoder.shape[0]:
            problems.append(f"k must be at most the size of the dictionary, {self.decoder.shape[0]}; given {self.k}")
        check(problems, AlignmentError, "SparseAutoencoder")

    @classmethod
    def load(cls, folder: str | Path) -> "SparseAutoencoder":
        """Read the `cfg.json` and `sae_weights.safetensors` that SAE Lens writes, of its versions 3 to 6.

        The architectures are `standard`, `topk` and `jumprelu`. Where activations are to be rescaled by the norms of the decoder,
        these become part of the encoder and the decoder, which changes no value.

        Raises:
            AlignmentError: naming what is missing, not as SAE Lens writes it, or not supported.
        """
        from commute.alignments.featurizers.sae_lens import load_sae_lens

        return load_sae_lens(Path(folder))

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.encoder.shape[0]

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The activations [batch, dictionary], and the error of the reconstruction [batch, width]."""
        vectors = as_floats(vectors, self.width, "SparseAutoencoder")
        centered = vectors - like(self.decoder_bias, vectors) if self.center else vectors
        features = self._activated(centered @ like(self.encoder, vectors) + like(self.encoder_bias, vectors))
        return features, vectors - self._decoded(features)

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The rest plus the reconstruction."""
        features = as_floats(features, self.decoder.shape[0], "SparseAutoencoder", "features")
        return rest + self._decoded(features.to(torch.promote_types(features.dtype, rest.dtype)))

    def _activated(self, x: Tensor) -> Tensor:
        if self.threshold is not None:
            return x.relu() * (x > like(self.threshold, x))
        if self.k is not None:
            top = x.topk(self.k, dim=1)
            return torch.zeros_like(x).scatter(1, top.indices, top.values.relu())
        return x.relu()

    def _decoded(self, features: Tensor) -> Tensor:
        return features @ like(self.decoder, features) + like(self.decoder_bias, features)

    def _unfit_options(self) -> list[str]:
        problems = (
            [] if self.activation in get_args(Activation) else [unknown("activation", self.activation, get_args(Activation))]
        )
        if (self.k is not None) != (self.activation == "topk"):
            problems.append(f"k belongs to the activation topk, which needs it; given {self.k!r} for {self.activation!r}")
        elif self.k is not None:
            problems += not_counts(k=self.k)
        if (self.threshold is not None) != (self.activation == "jumprelu"):
            told = "none" if self.threshold is None else "one"
            problems.append(f"threshold belongs to the activation jumprelu, which needs it; given {told} for {self.activation!r}")
        if not isinstance(self.center, bool):
            problems.append(f"center must be True or False; given {self.center!r}")
        return problems
