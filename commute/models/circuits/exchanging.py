"""Exchanging: what is added to what readers read, where some of what writers add is to be something else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import NetworkError


def change_of(instead: Tensor, added: Tensor) -> Tensor:
    """What writers are to carry instead, less what they add, [writers, batch, …, width].

    Raises:
        NetworkError: when the two have other positions.
    """
    if instead.shape[2:] != added.shape[2:]:
        raise NetworkError(
            f"what edges carry instead has the shape {list(instead.shape[2:])} for each input, what nodes write here "
            f"{list(added.shape[2:])}; give inputs of one length, or a network with memory= or batch_size= for all in one pass"
        )
    return instead - added


@dataclass(frozen=True)
class Chosen:
    """Which changes are added up for some readers: those that are not kept, or those that are, taken from the sum of all.

    In a small circuit of a large network nearly all vectors are then added up once for all readers.

    Attributes:
        begin: the first group of writers that reach them.
        end: the last.
        kept: whether those that are kept are taken from the sum of all, as they are fewer than those that are not.
        columns: of each group with any, which of its writers, and their places among all.
    """

    begin: int
    end: int
    kept: bool
    columns: dict[int, tuple[list[int], list[int]]]

    @classmethod
    def of(cls, kept: Column, edges: Column, sizes: Sequence[int]) -> "Chosen":
        """From the shares kept, [readers, writers, …], which writers there are, [writers], and the sizes of groups so far."""
        ends = np.cumsum([0, *sizes]).tolist()
        shares = kept[:, : ends[-1]].reshape(len(kept), ends[-1], -1)
        some, less = (edges[: ends[-1]] & (shares != share).any((0, 2)) for share in (0, 1))
        groups = [i for i, start in enumerate(ends[:-1]) if edges[start]]
        if not groups:
            return cls(0, 0, kept=False, columns={})
        few = bool(some.sum() < less.sum())
        chosen = some if few else less
        found = {i: np.flatnonzero(chosen[ends[i] : ends[i + 1]]).tolist() for i in groups}
        columns = {i: (own, [ends[i] + x for x in own]) for i, own in found.items() if own}
        return cls(groups[0], groups[-1], few, columns)

    def exchanged(self, kept: Tensor, changes: Sequence[Tensor], totals: Sequence[Tensor]) -> Tensor:
        """What is added to what readers read, [readers, batch, …, width].

        Args:
            kept: the share of each writer that reaches each reader, [readers, writers, …].
            changes: of each group of writers so far, [writers, batch, …, width].
            totals: their sums up to each group, [batch, …, width].
        """
        every = totals[self.end] - totals[self.begin - 1] if self.begin else totals[self.end]
        found = (every if self.kept else torch.zeros_like(every)).expand(len(kept), *every.shape)
        shares = -kept if self.kept else 1 - kept
        for i, (own, columns) in self.columns.items():
            found = found + _weighed(shares[:, columns], changes[i][own])
        return found


def _weighed(shares: Tensor, change: Tensor) -> Tensor:
    """Sums of changes by shares, [readers, batch, …, width]."""
    if shares.ndim == 2:  # noqa: PLR2004  # [readers, writers]
        return (shares @ change.flatten(1)).reshape(len(shares), *change.shape[1:])
    letters = "bp"[: shares.ndim - 2]
    shares = shares.expand(*shares.shape[:2], *change.shape[1 : shares.ndim - 1])
    return torch.einsum(f"rs{letters},s{letters}...->r{letters}...", shares, change)
