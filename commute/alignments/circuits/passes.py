"""Passes with gradients: what each reader of a stream reads, how a behaviour changes with it, and what each writer adds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, rows_of, take
from commute.errors import NetworkError
from commute.models.circuits.exchanging import change_of
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.stream import Stream, also
from commute.models.hooks import Visit, undisturbed
from commute.models.sites import Tap

_SPAN = 1e-3  # of the longest vector, by which one that a writer is to add may miss all that it can add
_ROUNDINGS = 8  # of what it adds of itself, by which it may miss that also


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass of several runs of the same inputs, kept for gradients.

    Attributes:
        stream: the stream.
        output: what `decode` takes, of rows of runs · batch, run after run.
        places: the axes of the stream besides its width, (runs, batch, …).
        written: what each writer added in the last run, before it was moved, [writers, batch, …, width], without gradients.
        entries: the stream at the entries of readers behind a norm, without gradients.
        held: what gradients are taken with respect to: the values of readers' taps, and what whole readers read at their entries.
    """

    stream: Stream
    output: object
    places: tuple[int, ...]
    written: Tensor
    entries: dict[Tap, Tensor]
    held: dict[Tap, Tensor]

    def slopes(self, of: Tensor) -> Iterator[tuple[list[str], Tensor]]:
        """How a number changes with what readers read, the mean over runs, [readers, batch, …, width], with the readers' names.

        The gradient of a value is carried back through the weights and the norm before it, for all readers of one stream at once.
        """
        if not of.requires_grad:
            raise NetworkError(
                "the scores that decode chooses by do not depend on what the nodes read in a way that has gradients; patch edges "
                "instead of attributing, or decode without turning scores into numbers of another kind"
            )
        found = torch.autograd.grad(of, list(self.held.values()), allow_unused=True, materialize_grads=True)
        slopes = {tap: x.reshape(*self.places, -1) for tap, x in zip(self.held, found, strict=True)}
        groups: dict[tuple[Tap, str | None], list[Reads]] = {}
        for read in self.stream.reads:
            groups.setdefault((read.entry, read.norm if read.tap else None), []).append(read)
        for (entry, norm), reads in groups.items():
            runs = range(self.places[0])  # one after the other, so that what is held stays in a processor's cache
            total = reduce(Tensor.add_, (self._back(entry, norm, reads, slopes, run) for run in runs))
            yield [node for read in reads for node in read.nodes], total / len(runs)

    def _back(self, entry: Tap, norm: str | None, reads: Sequence[Reads], slopes: Mapping[Tap, Tensor], run: int) -> Tensor:
        """The gradients of one run, [readers, batch, …, width]."""
        normed = torch.cat([_before_weights(read, slopes[read.tap or entry][run]) for read in reads])
        if norm is None:
            return normed
        return _before_norm(self.stream.network.module.get_submodule(norm), self.entries[entry][run], normed)


def check_graded(subject: str) -> None:
    """Raise where nothing that is computed has gradients."""
    if torch.is_inference_mode_enabled():
        raise NetworkError(f"{subject} takes gradients, and there are none in torch.inference_mode(); call it outside")


def passed(stream: Stream, batch: Batch, instead: Tensor, shares: Tensor, moved: Sequence[Writes]) -> Pass:
    """Run a network on the same inputs once for each share, all in one pass, so that gradients can be taken.

    Args:
        stream: the stream.
        batch: inputs.
        instead: what writers are moved towards, [writers, batch or 1, …, width].
        shares: how much of what a moved writer adds is its own in each run, [runs].
        moved: which writers are.

    Raises:
        NetworkError: when inputs and what writers are moved towards have other positions.
    """
    n = rows_of(batch)
    places = (len(shares), n, *instead.shape[2:-1])
    gone = 1 - shares.to(instead).reshape(-1, *[1] * (instead.ndim - 1))
    written: list[Tensor] = []
    entries: dict[Tap, Tensor] = {}
    held: dict[Tap, Tensor] = {}
    visits: dict[Tap, Visit] = {}

    def write(writes: Writes, value: Tensor) -> Tensor | None:
        if not written:  # rows and positions may be in one axis later on
            change_of(instead[: len(writes.nodes), :1], writes.of(value[:1].detach(), (1, *value.shape[1:-1])))
        start = sum(map(len, written))
        laid = value.detach().reshape(*places, -1)
        written.append(writes.of(laid[-1], laid.shape[1:-1]))
        if writes not in moved:
            return None
        own = writes.of(laid, laid.shape[:-1])  # [writers, runs, batch, …, width]
        change = gone * (instead[start : start + len(own), None] - own)
        least = _ROUNDINGS * torch.finfo(own.dtype).eps * float(own.abs().amax())
        return value + _value_of(writes, change.flatten(1, 2), laid.shape[-1], least).reshape(value.shape)

    def see(entry: Tap, x: Tensor) -> None:
        entries[entry] = x.detach().reshape(*places, -1)

    def hold(tap: Tap, value: Tensor) -> Tensor:
        held[tap] = value.clone() if value.requires_grad else value.detach().clone().requires_grad_()
        return held[tap].clone()  # what follows may work in place

    for w in stream.writes:
        also(visits, w.tap, partial(write, w))
    for tap in dict.fromkeys(r.entry for r in stream.reads if r.tap is not None and r.norm is not None):
        also(visits, tap, partial(see, tap))
    for tap in dict.fromkeys(r.tap or r.entry for r in stream.reads):
        also(visits, tap, partial(hold, tap))
    with undisturbed(stream.network.module), torch.enable_grad():
        output = stream.visited(take(batch, np.tile(np.arange(n), len(shares))), visits)
    return Pass(stream, output, places, torch.cat(written), entries, held)


def _value_of(writes: Writes, added: Tensor, width: int, least: float) -> Tensor:
    """The value [batch, …, width] with which nodes add [node, batch, …, width]: the shortest, by a pseudo-inverse of weights.

    It may miss what is to be added by `least`, to which that is rounded.
    """
    if writes.weight is None:
        return added[0]
    wide = torch.promote_types(added.dtype, torch.float32)  # there is no pseudo-inverse in half precision
    weight, to_add = writes.weight.to(added).to(wide), added.to(wide)
    parts = torch.einsum("n...w,nwp->n...p", to_add, torch.linalg.pinv(weight))
    missed = torch.einsum("n...p,npw->n...w", parts, weight) - to_add
    if float(missed.abs().amax()) > max(_SPAN * float(to_add.abs().amax()), least):
        raise NetworkError(
            f"what {writes.nodes[0]} and its like are to add instead is nothing that they could add by their own weights, so "
            "there is no path of activations to it; attribute along inputs, or ablate by other inputs"
        )
    laid = parts.to(added).movedim(0, -2).flatten(-2)  # [batch, …, node and part]
    if writes.columns is None:
        return laid
    value = laid.new_zeros(*laid.shape[:-1], width)
    value[..., writes.columns.flatten()] = laid
    return value


def _before_weights(read: Reads, slope: Tensor) -> Tensor:
    """From the gradient of a value [batch, …, value] to that of the normed streams that came into it, [node, batch, …, width]."""
    if read.weight is None:
        return slope[None]
    nodes, _, part = read.weight.shape
    parts = slope.reshape(*slope.shape[:-1], nodes, part) if read.columns is None else slope[..., read.columns]
    return torch.einsum("...np,nwp->n...w", parts, read.weight.to(slope))


def _before_norm(norm: nn.Module, stream: Tensor, slopes: Tensor) -> Tensor:
    """From gradients behind a norm to those before it, [node, batch, …, width]."""
    with undisturbed(norm), torch.enable_grad():
        x = stream.detach().requires_grad_()
        (found,) = torch.autograd.grad(norm.forward(x), x, slopes, is_grads_batched=True)
    return found
