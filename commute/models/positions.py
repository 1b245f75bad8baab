"""Positions: from what a site asks for to columns of the padded batch that the network sees."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.errors import NetworkError, unknown
from commute.models.calls import Call
from commute.models.sites import Columns, EachRow, Site, Span

Positions = Mapping[str, Callable[[Batch], Any]]  # name -> function from inputs to places among the real tokens, [batch]


@dataclass(frozen=True, eq=False)
class Frame:
    """What the positions of one batch are counted in.

    Attributes:
        inputs: the inputs of the rows.
        rows: the places of the rows in the batch that was given, for positions given row by row, [batch] of int64.
        mask: which columns hold real tokens, [batch, columns] of bool; None where all do.
        named: the network's named positions.
    """

    inputs: Batch
    rows: Column
    mask: Tensor | None = None
    named: Positions = field(default_factory=dict)

    def take(self, rows: Any) -> "Frame":
        """The frame of some of the rows."""
        if isinstance(rows, slice) and rows == slice(None):
            return self
        mask = None if self.mask is None else self.mask[rows]
        return Frame(take(self.inputs, rows), self.rows[rows], mask, self.named)

    def columns(self, site: Site, length: int) -> Columns:
        """The columns of a site on a position axis of `length`, as the network sees it.

        Raises:
            NetworkError: when some row has no such position, naming the row; when rows have unequally many; for unknown names.
        """
        mask = self.mask if self.mask is not None and self.mask.shape[1] == length else None
        position = site.position
        if mask is None and isinstance(position, int):
            if not -length <= position < length:
                raise NetworkError(f"the site {site} asks for position {position}, but there are {length} of them")
            return position % length
        if mask is None and (position is None or isinstance(position, Span)):
            chosen = slice(None) if position is None else position.slice
            if not len(range(length)[chosen]):
                raise NetworkError(f"the site {site} asks for positions {position}, but there are {length} of them")
            return chosen
        real = torch.ones(len(self.rows), length, dtype=torch.bool) if mask is None else mask
        counts = real.sum(1)
        if position is None or isinstance(position, Span):
            return self._spanned(site, real, counts)
        return _placed(site, self._places(site), real, counts)

    def _places(self, site: Site) -> Tensor:
        """Places among the real tokens, [batch, places]."""
        n, position = len(self.rows), site.position
        if isinstance(position, int | tuple):
            return torch.tensor(position).reshape(1, -1).expand(n, -1)
        if isinstance(position, EachRow):
            if len(position.places) <= int(self.rows.max()):
                raise NetworkError(f"the site {site} gives positions for {len(position.places)} rows; the batch has more")
            return torch.tensor(position.places)[torch.from_numpy(self.rows)].reshape(n, -1)
        if isinstance(position, str) and position not in self.named:
            raise NetworkError(f"the site {site}: {unknown('named position', position, self.named)}")
        find = self.named[position] if isinstance(position, str) else position
        places = np.asarray(find(self.inputs))
        if places.dtype.kind not in "iu" or places.shape[:1] != (n,) or places.ndim > 2:  # noqa: PLR2004  # [batch, places]
            raise NetworkError(
                f"the position of {site} must be found as whole numbers [batch], here {n}; given {places.dtype} of shape "
                f"{list(places.shape)}"
            )
        return torch.from_numpy(places.astype(np.int64)).reshape(n, -1)

    def _spanned(self, site: Site, real: Tensor, counts: Tensor) -> Columns:
        """The real columns of a slice, which must be equally many in each row."""
        if site.position is None and bool(real.all()):
            return slice(None)
        chosen = slice(None) if site.position is None else site.position.slice
        places = [torch.arange(int(n))[chosen] for n in counts]
        sizes = {len(p) for p in places}
        if len(sizes) > 1 or 0 in sizes:
            raise NetworkError(
                f"the site {site} has from {min(sizes)} to {max(sizes)} positions in prompts of {int(counts.min())} to "
                f"{int(counts.max())} tokens; choose positions that each prompt has equally many of, by number or by name"
            )
        return _placed(site, torch.stack(places), real, counts)


def frame_of(inputs: Batch, rows: Column | None, call: Call, named: Positions) -> Frame:
    """The frame of a module call; its mask is the call's `attention_mask`, if it has one of shape [batch, columns]."""
    n = rows_of(inputs)
    mask = call.kwargs.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) != n:  # noqa: PLR2004  # [batch, columns]
        mask = None
    return Frame(inputs, np.arange(n) if rows is None else rows, None if mask is None else mask.bool().cpu(), named)


def _placed(site: Site, places: Tensor, real: Tensor, counts: Tensor) -> Columns:
    """Columns of places among the real tokens."""
    lacking = ((places >= counts[:, None]) | (places < -counts[:, None])).any(1)
    if bool(lacking.any()):
        row = int(lacking.nonzero()[0])
        raise NetworkError(
            f"the site {site} asks for position {places[row].tolist() if places.shape[1] > 1 else int(places[row, 0])}, but row "
            f"{row} has {int(counts[row])} positions"
        )
    order = torch.argsort((~real).to(torch.int8), dim=1, stable=True)  # the columns of the real tokens, in order, come first
    columns = order.gather(1, places % counts[:, None])
    first = columns[:1]
    return int(first[0, 0]) if columns.shape[1] == 1 and bool((columns == first).all()) else columns
