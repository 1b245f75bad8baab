"""Bounds of a program's output by any of the methods that there are, so that they can be compared."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from commute.errors import NetworkError, unknown
from commute.proofs.enclosures import lirpa
from commute.proofs.enclosures.backward import relax
from commute.proofs.enclosures.domains import Box, Domain
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import EXACT, Arithmetic
from commute.proofs.enclosures.zonotope import zonotopes
from commute.proofs.programs.program import Program

Method = Literal["backward", "intervals", "zonotopes", "auto_LiRPA"]
METHODS: tuple[Method, ...] = get_args(Method)


@torch.no_grad()
def bounds(
    program: Program, domains: Sequence[Domain], rows: Tensor, *, method: Method = "backward", arithmetic: Arithmetic = EXACT
) -> Interval:
    """Bounds of linear functions of a program's output in each cell, [cells, rows].

    Args:
        program: to bound.
        domains: what each input ranges over.
        rows: the functions, [rows, width], such as differences of scores.
        method: "backward" for linear bounds, which proofs use; "intervals"; "zonotopes"; or "auto_LiRPA", which has to be
            installed, takes boxes (the hulls of other domains) and proves nothing.
        arithmetic: whose evaluations are bounded beside the exact one; auto_LiRPA bounds the exact one.

    Raises:
        NetworkError: when there is no such method, or auto_LiRPA cannot be imported.
    """
    if method not in METHODS:
        raise NetworkError(unknown("method", method, METHODS))
    if method == "backward":
        return relax(program, domains, arithmetic).bounds(rows)
    if method == "auto_LiRPA":
        return lirpa.bounds(program, [Box(*d.hull().ball()) for d in domains], rows)
    found = zonotopes(program, domains, arithmetic)[-1] if method == "zonotopes" else intervals(program, domains, arithmetic)[-1]
    output = Box(*found.ball()) if isinstance(found, Interval) else found
    lower, upper = output.lower(torch.cat([rows, -rows]).double()).chunk(2, 1)
    return Interval(lower, -upper)
