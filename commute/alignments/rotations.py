"""Orthonormal columns as functions of free parameters, for many rotations at once."""

from typing import Literal

import torch
from torch import Tensor

Parametrisation = Literal["qr", "cayley", "exponential", "householder"]
Parameters = dict[str, Tensor]


def free_parameters(kind: Parametrisation, start: Tensor, generator: torch.Generator) -> Parameters:
    """Parameters whose `orthonormal` are the columns that `start` [width, dims] spans, in its order.

    All but `qr` move away from a fixed `base` (a trivialisation, 1909.09501), completed at random.
    """
    if kind == "qr":
        return {"free": start.clone().requires_grad_()}
    width, dims = start.shape
    more = torch.randn(width, width - dims, generator=generator).to(start)
    base, signs = torch.linalg.qr(torch.cat([start, more], 1))
    base = base * signs.diagonal().sign()
    free = torch.zeros_like(start)
    if kind == "householder":
        free.diagonal().fill_(-1.0)  # its sign is the reflections'; no gradient reaches it
    return {"free": free.requires_grad_(), "base": base}


def orthonormal(kind: Parametrisation, parameters: Parameters) -> Tensor:
    """Orthonormal columns, [items, width, dims], of the parameters of items, stacked.

    `qr` is the orthonormal factor with the sign of each column of the free matrix; `cayley` is (I + A/2)(I - A/2)⁻¹ and
    `exponential` exp(A) for a skew-symmetric A; `householder` is a product of reflections.
    """
    free = parameters["free"]
    if kind == "qr":
        q, r = torch.linalg.qr(free)
        signed: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        return signed
    if kind == "householder":
        below = free.tril(-1)
        q = torch.linalg.householder_product(below, 2 / (1 + below.square().sum(-2)))
        signs = free.diagonal(dim1=-2, dim2=-1).detach().sign()
        return torch.matmul(parameters["base"], q * signs.unsqueeze(-2))
    width, dims = free.shape[-2:]
    below = torch.nn.functional.pad(free.tril(), (0, width - dims))
    skew = below - below.mT
    if kind == "exponential":
        return parameters["base"] @ torch.matrix_exp(skew)[..., :dims]
    eye = torch.eye(width, dtype=free.dtype, device=free.device)
    return torch.matmul(parameters["base"], torch.linalg.solve(eye - skew / 2, eye + skew / 2)[..., :dims])
