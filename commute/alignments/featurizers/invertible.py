"""A normalising flow."""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import as_floats, like, misfits
from commute.errors import AlignmentError, check, not_counts

_BOUND = 1.0  # of the logarithm of a scale in a layer, so that inverting loses few digits


class Parameters(NamedTuple):
    """The parameters of one flow, or with leading axes those of many: stacked over layers, each a network of one hidden layer."""

    inner: Tensor  # [..., layers, width, hidden]
    inner_bias: Tensor  # [..., layers, hidden]
    scale: Tensor  # [..., layers, hidden, width]
    scale_bias: Tensor  # [..., layers, width]
    shift: Tensor  # [..., layers, hidden, width]
    shift_bias: Tensor  # [..., layers, width]


def forward(parameters: Parameters, x: Tensor) -> Tensor:
    """What a flow makes of vectors [..., batch, width]; leading axes are those of the parameters."""
    for layer in range(parameters.inner.shape[-3]):
        log_scale, shift = _coupling(parameters, layer, x)
        x = x * log_scale.exp() + shift
    return x


def inverse(parameters: Parameters, y: Tensor) -> Tensor:
    """The vectors [..., batch, width] of which `forward` makes y."""
    for layer in reversed(range(parameters.inner.shape[-3])):
        log_scale, shift = _coupling(parameters, layer, y)
        y = (y - shift) * (-log_scale).exp()
    return y


def drawn(width: int, *, layers: int, hidden: int, generator: torch.Generator, flows: tuple[int, ...] = ()) -> Parameters:
    """Parameters of random flows, [*flows, …], from which layers neither vanish nor explode."""

    def normal(*shape: int, over: int) -> Tensor:
        return torch.randn(*flows, layers, *shape, generator=generator, device=generator.device) / sqrt(over)

    return Parameters(
        inner=normal(width, hidden, over=width),
        inner_bias=normal(hidden, over=1),
        scale=normal(hidden, width, over=hidden),
        scale_bias=normal(width, over=width),
        shift=normal(hidden, width, over=hidden),
        shift_bias=normal(width, over=width),
    )


def _coupling(parameters: Parameters, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """The log-scales and shifts [..., batch, width] of every other coordinate, from those that the layer leaves; theirs are 0."""
    p = parameters
    inner, scale, shift = (matrix[..., layer, :, :] for matrix in (p.inner, p.scale, p.shift))
    inner_bias, scale_bias, shift_bias = (bias[..., layer, None, :] for bias in (p.inner_bias, p.scale_bias, p.shift_bias))
    moved = (torch.arange(x.shape[-1], device=x.device) + layer) % 2
    hidden = torch.nn.functional.silu((x * (1 - moved)) @ inner + inner_bias)
    log_scale: Tensor = _BOUND * (hidden @ scale + scale_bias).tanh()
    return moved * log_scale, moved * (hidden @ shift + shift_bias)


@dataclass(frozen=True, eq=False)
class Invertible:
    """The coordinates after a normalising flow of affine coupling layers (RealNVP, 1605.08803).

    A layer scales and shifts every other coordinate by what a small network makes of those between, which the next layer moves.
    With so flexible a view most networks can be aligned with most algorithms, which shows when a claim is vacuous (2507.08802).

    Attributes:
        inner: [layers, width, hidden].
        inner_bias: [layers, hidden].
        scale: [layers, hidden, width], before tanh, which bounds the logarithm of each scale by 1.
        scale_bias: [layers, width].
        shift: [layers, hidden, width].
        shift_bias: [layers, width].

    Raises:
        AlignmentError: for tensors that do not fit each other, or a width of 1.
    """

    inner: Tensor
    inner_bias: Tensor
    scale: Tensor
    scale_bias: Tensor
    shift: Tensor
    shift_bias: Tensor

    def __post_init__(self) -> None:
        problems = misfits(
            inner=(self.inner, "layers width hidden"),
            inner_bias=(self.inner_bias, "layers hidden"),
            scale=(self.scale, "layers hidden width"),
            scale_bias=(self.scale_bias, "layers width"),
            shift=(self.shift, "layers hidden width"),
            shift_bias=(self.shift_bias, "layers width"),
        )
        if not problems and self.width == 1:
            problems.append("a flow needs vectors of a width of at least 2; given 1")
        check(problems, AlignmentError, "Invertible")

    @classmethod
    def random(cls, width: int, *, layers: int = 4, hidden: int = 32, generator: torch.Generator) -> "Invertible":
        """A random flow of vectors [batch, width].

        Args:
            width: of the vectors, at least 2.
            layers: how many coupling layers; two move every coordinate once.
            hidden: width of the network in each layer.
            generator: what it is drawn from.

        Raises:
            AlignmentError: for sizes that are no such numbers.
        """
        check(not_counts(width=width, layers=layers, hidden=hidden), AlignmentError, "Invertible.random")
        return cls(*drawn(width, layers=layers, hidden=hidden, generator=generator))

    @property
    def parameters(self) -> Parameters:
        """The tensors, for `forward` and `inverse`."""
        return Parameters(self.inner, self.inner_bias, self.scale, self.scale_bias, self.shift, self.shift_bias)

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.inner.shape[1]

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What the flow makes of the vectors [batch, width], and nothing left over [batch, 0]."""
        vectors = as_floats(vectors, self.width, "Invertible")
        return forward(self._like(vectors), vectors), vectors[:, :0]

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The vectors of which the flow makes the features."""
        features = as_floats(features, self.width, "Invertible", "features")
        features = features.to(torch.promote_types(features.dtype, rest.dtype))
        return inverse(self._like(features), features)

    def _like(self, x: Tensor) -> Parameters:
        return Parameters(*(like(p, x) for p in self.parameters))
