"""Stores: room for what is kept of a network, in memory up to a budget and beyond it in files."""

import os
import tempfile
import weakref
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import NetworkError


class Store:
    """Makes room for tensors, as long as they are used.

    Beyond the budget a tensor is a file that is mapped into memory, of which the operating system keeps in memory what it has
    room for. The file has no name, so that it is gone with the last use of the tensor, also when the process is killed.

    Args:
        memory: bytes of tensors in memory, on all devices together.
        folder: of the files; None is the system's folder for temporary files.
    """

    def __init__(self, memory: int, folder: Path | None = None) -> None:
        self.memory = memory
        self.folder = folder
        self.held = 0

    def empty(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor of a shape and of the type of `like`: on its device, or, beyond the budget, a file.

        Raises:
            NetworkError: when there is no room for the file.
        """
        size = prod(shape) * like.element_size()
        if self.held + size <= self.memory or not size:
            room = torch.empty(tuple(shape), dtype=like.dtype, device=like.device)
            self.held += size
            weakref.finalize(room, self._release, size)
            return room
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix="commute-") as file:
                if hasattr(os, "posix_fallocate"):  # a mapped file that finds no room later would end the process
                    os.posix_fallocate(file.fileno(), 0, size)
                return torch.from_file(file.name, shared=True, size=prod(shape), dtype=like.dtype).reshape(tuple(shape))
        except OSError as error:
            folder = self.folder or tempfile.gettempdir()
            raise NetworkError(
                f"no room for {size:,} bytes in {folder}: {error}; raise memory= of the network, which is {self.memory:,} bytes, "
                "or name a folder with room as spill="
            ) from error

    def spread(self, values: Tensor, rows: Column) -> Tensor:
        """Values [distinct, …] at the places of rows [batch] among them, [batch, …]."""
        room = self.empty((len(rows), *values.shape[1:]), values)
        places = torch.from_numpy(rows).to(room.device)
        return torch.index_select(values.to(room.device), 0, places, out=room)

    def _release(self, size: int) -> None:
        self.held -= size
