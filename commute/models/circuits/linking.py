"""Links: which writers of a stream reach which readers, found by adding noise to all that is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch
from commute.errors import NetworkError, check, unknown
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.stream import Stream, also, inside
from commute.models.hooks import Visit
from commute.models.network import Network
from commute.models.sites import Tap
from commute.runs.seeds import stream as seeded

_SAME = 1e-3  # of the largest change of a number of the stream, what other kernels than the network's may explain
_ROUNDINGS = 8  # of the number itself, which in half precision are coarser than that

_CUT = 3  # groups of writers that are left out of a run at either end, to see whether it fits better by far


def linked(network: Network, writes: Sequence[Writes], reads: Sequence[Reads], inputs: Batch) -> Stream:
    """A stream, with the writers that reach each reader: a run of them whose sum the stream is where it reads.

    The network is run as it is, and again with noise added to all that is written. The stream at a reader has then changed by
    what one run of writers changed, whatever the inputs, and also where a writer is idle for them. One that adds nothing at all,
    as with weights of zero, is told by its place in the order.

    Args:
        network: the network.
        writes: in the order in which they run.
        reads: in that order.
        inputs: one or a few.

    Raises:
        NetworkError: when what is read somewhere is no such sum, or not what its weights make of the stream, and for writes and
            reads that do not fit each other.
    """
    check(_problems(network, writes, reads), NetworkError, "writes and reads")
    stream = Stream(network, tuple(writes), tuple(reads), torch.zeros(0, 0))
    plain, noisy = (_passed(stream, inputs, noise=noise) for noise in (False, True))
    check(_misread(stream, noisy), NetworkError, "reads")
    ends = np.cumsum([0, *(len(w.nodes) for w in writes)])
    runs = {entry: _run(reads[_first(stream, entry)].nodes[0], entry, plain, noisy) for entry in plain.streams}
    places, rows = torch.arange(int(ends[-1])), dict[str, Tensor]()
    for read in reads:
        begin, end = runs[read.entry]
        row = (places >= int(ends[begin])) & (places < int(ends[end]))
        for node in read.nodes:
            if not torch.equal(rows.setdefault(node, row), row):
                raise NetworkError(
                    f"{node} reads at {read.entry} and elsewhere what other nodes wrote there; give each place a port of its "
                    f"own, as {node}<a> and {node}<b>"
                )
    return Stream(network, stream.writes, stream.reads, torch.stack(list(rows.values())))


def _problems(network: Network, writes: Sequence[Writes], reads: Sequence[Reads]) -> list[str]:
    """What is wrong with writes and reads before anything is run."""
    wrong = [f"writes are cm.Writes; given {w!r}" for w in writes if not isinstance(w, Writes)]
    wrong += [f"reads are cm.Reads; given {r!r}" for r in reads if not isinstance(r, Reads)]
    if wrong or not writes or not reads:
        return wrong or [f"there must be writes and reads; given {len(writes)} and {len(reads)}"]
    modules = dict(network.module.named_modules())
    taps = [*(w.tap for w in writes), *(r.entry for r in reads), *(r.tap for r in reads if r.tap is not None)]
    paths = dict.fromkeys([*(tap.path for tap in taps), *(r.norm for r in reads if r.norm is not None)])
    problems = [unknown("module", path, modules) for path in paths if path not in modules]
    written = [node for w in writes for node in w.nodes]
    problems += [f"{node} writes {written.count(node)} times" for node in dict.fromkeys(written) if written.count(node) > 1]
    for r in reads:
        problems += [f"{node} reads {r.nodes.count(node)} times at {r.entry}" for node in {*r.nodes} if r.nodes.count(node) > 1]
        if r.tap is not None and any(w.tap == r.tap for w in writes):
            problems.append(f"what {r.nodes[0]} makes of the stream at {r.tap} is itself written; write what comes after it")
    for entry in dict.fromkeys(r.entry for r in reads if r.tap is None):
        here = [r.nodes[0] for r in reads if r.entry == entry]
        if len(here) > 1:
            problems.append(
                f"{' and '.join(here)} all read at {entry}, where one of them changes the whole stream, so what one reads would "
                "reach the others; give each a tap, such as the input of the first module of its own"
            )
    return problems + _aimless(Stream(network, tuple(writes), tuple(reads), torch.zeros(0, 0)))


def _aimless(stream: Stream) -> list[str]:
    """Readers of which nothing comes."""
    last = stream.reads[-1].nodes
    return [
        f"{node} reads, but is not what reads last, and {unknown('writer', node.partition('<')[0], stream.writers)}"
        for node in stream.readers
        if node not in stream.writers and node not in last and not inside(stream, node)
    ]


@dataclass(eq=False)
class _Pass:
    """What was seen in one pass.

    Attributes:
        written: what each group of writers added, [batch, …, width], by its place, in the order in which they ran.
        streams: the stream at each reader's entry, [batch, …, width], with how many groups had written by then.
        values: what is at readers' taps.
    """

    written: dict[int, Tensor] = field(default_factory=dict)
    streams: dict[Tap, tuple[Tensor, int]] = field(default_factory=dict)
    values: dict[Tap, Tensor] = field(default_factory=dict)


def _passed(stream: Stream, batch: Batch, *, noise: bool) -> _Pass:
    """One pass, with noise on all that is written or without.

    Raises:
        NetworkError: when what is written or read does not fit its weights, or runs in another order.
    """
    found, visits, draws = _Pass(), dict[Tap, Visit](), seeded(0, "computation graph")
    places: list[Sequence[int]] = []
    given: list[Tensor] = []

    def disturb(writes: Writes, value: Tensor) -> Tensor:
        laid = _laid(value, writes.nodes[0], writes.tap, places, _needed(writes.weight, writes.columns, 1))
        return noised(laid, writes.columns, draws).reshape(value.shape)

    def write(i: int, writes: Writes, value: Tensor) -> None:
        laid = _laid(value, writes.nodes[0], writes.tap, places, _needed(writes.weight, writes.columns, 1))
        found.written[i] = writes.total(laid, laid.shape[:-1])

    def enter(entry: Tap, x: Tensor) -> None:
        same = bool(given) and given[-1] is x and torch.equal(x, list(found.streams.values())[-1][0].reshape(x.shape))
        before = list(found.streams.values())[-1][1] if same else len(found.written)  # blocks side by side are given one tensor
        given.append(x)
        found.streams[entry] = _laid(x, f"the reader at {entry}", entry, places, None).clone(), before

    def leave(tap: Tap, value: Tensor) -> None:
        found.values[tap] = value.clone()  # what comes after it may work in place

    if noise:
        for w in stream.writes:
            also(visits, w.tap, partial(disturb, w))
    for i, w in enumerate(stream.writes):
        also(visits, w.tap, partial(write, i, w))
    for entry in dict.fromkeys(r.entry for r in stream.reads):
        also(visits, entry, partial(enter, entry))
    for tap in dict.fromkeys(r.tap for r in stream.reads if r.tap is not None):
        also(visits, tap, partial(leave, tap))
    with torch.no_grad():
        stream.visited(batch, visits)
    _check_order(stream, found)
    return found


def _needed(weight: Tensor | None, columns: Tensor | None, axis: int) -> int | None:
    """How many numbers a value must have; None for any number. With columns, at least that many, as a negative number."""
    if weight is None:
        return None
    return len(weight) * weight.shape[axis] if columns is None else -1 - int(columns.max())


def _laid(value: Tensor, node: str, tap: Tap, places: list[Sequence[int]], needed: int | None) -> Tensor:
    """A value as [batch, …, value], with the axes of the first that was written."""
    if not places:
        places.append(value.shape[:-1])
    rows = int(np.prod(places[0]))
    numbers = value.numel() // rows
    if rows * numbers != value.numel() or (needed is not None and not (numbers == needed or numbers >= -needed > 0)):
        raise NetworkError(
            f"at {tap} there is a value of shape {list(value.shape)}, of which {node} "
            + (f"takes {abs(needed)} numbers" if needed is not None else "takes all numbers")
            + f" at each of the places {list(places[0])}; the tap, weight or columns do not fit"
        )
    return value.reshape(*places[0], -1)


def noised(value: Tensor, columns: Tensor | None, draws: np.random.Generator) -> Tensor:
    """A value with noise on some of its columns, in each as large as its numbers are, so that none is lost beside larger ones."""
    some = torch.arange(value.shape[-1]) if columns is None else torch.unique(columns.cpu())
    part = value[..., some].float()
    sizes = part.flatten(0, -2).square().mean(0).sqrt()
    sizes = torch.where(sizes > 0, sizes, sizes[sizes > 0].median() if bool((sizes > 0).any()) else 1.0)
    noise = torch.as_tensor(draws.standard_normal(part.shape), dtype=torch.float32).to(part)
    changed = value.clone()
    changed[..., some] = (part + sizes * noise).to(value)
    return changed


def _check_order(stream: Stream, found: _Pass) -> None:
    i, first = next(iter(found.written.items()))
    for j, parts in found.written.items():
        if parts.shape != first.shape:
            raise NetworkError(
                f"what {stream.writes[j].nodes[0]} writes at {stream.writes[j].tap} has the shape {list(parts.shape)}, what "
                f"{stream.writes[i].nodes[0]} writes {list(first.shape)}, so they do not add up in one stream; the network may "
                "norm what nodes add to it"
            )
    for kind, order, nodes in (
        ("writes", list(found.written), [w.nodes[0] for w in stream.writes]),
        ("reads", [_first(stream, entry) for entry in found.streams], [r.nodes[0] for r in stream.reads]),
    ):
        for one, other in pairwise(order):
            if other < one:
                raise NetworkError(
                    f"{kind} are given in the order in which they run; {nodes[one]} runs before {nodes[other]}, after which it "
                    "is given"
                )


def _first(stream: Stream, entry: Tap) -> int:
    """The first of the groups that read somewhere."""
    return next(i for i, r in enumerate(stream.reads) if r.entry == entry)


def _run(node: str, entry: Tap, plain: _Pass, noisy: _Pass) -> tuple[int, int]:
    """The first and last of the groups of writers by which the stream changes somewhere.

    Each number is compared by itself, so that one large dimension does not hide what the others miss.
    """
    x, y = (found.streams[entry][0].cpu() for found in (plain, noisy))
    before, first, wide = plain.streams[entry][1], next(iter(noisy.written.values())), torch.float64
    change = y.to(wide) - x.to(wide)
    parts = torch.stack([torch.zeros_like(first), *(noisy.written[i] - plain.written[i] for i in sorted(noisy.written)[:before])])
    sums = parts.cpu().to(wide).cumsum(0)
    if change.shape != sums.shape[1:]:
        raise NetworkError(
            f"what {node} reads at {entry} has the shape {list(x.shape)}, what nodes write {list(first.shape)}, so it is no sum "
            "of that"
        )
    size = torch.maximum(x.abs(), y.abs()).to(wide).flatten(0, -2).amax(0)
    allowed = torch.maximum(_ROUNDINGS * torch.finfo(x.dtype).eps * size, _SAME * change.abs().flatten(0, -2).amax(0))

    def missed(begin: int, end: int) -> Tensor:
        return (sums[end] - sums[begin] - change).abs()

    def error(begin: int, end: int) -> float:
        return float((missed(begin, end) / allowed.clamp(min=torch.finfo(wide).tiny)).square().sum())

    if not bool((change.abs() > allowed).any()):
        raise NetworkError(f"nothing that nodes write before it changes what {node} reads at {entry}, so no edge leads there")
    run = next((run for run in _runs(before) if bool((missed(*run) <= allowed).all())), None)
    if run is None:
        raise NetworkError(
            f"what {node} reads at {entry} is not the sum of what nodes before it wrote, so no edge leads to it alone; the "
            "network may norm its stream, or add something that has no node"
        )
    begin, end = run
    cuts = [(begin + i, end - j) for i, j in product(range(_CUT), repeat=2) if 0 < i + j < end - begin]
    best = min(cuts, key=lambda cut: (error(*cut), begin - cut[1] + cut[0]), default=run)
    return best if error(*best) < error(*run) / 4 else run  # a small writer too many, which by itself is within what is allowed


def _runs(before: int) -> Iterator[tuple[int, int]]:
    """All runs of groups of writers, the longest first."""
    for length in range(before, 0, -1):
        for begin in range(before - length, -1, -1):
            yield begin, begin + length


def _misread(stream: Stream, seen: _Pass) -> list[str]:
    """Readers whose values are not what their weights make of the stream."""
    problems = []
    for read in stream.reads:
        if read.tap is None:
            continue
        x, value = seen.streams[read.entry][0], seen.values[read.tap]
        width, places = x.shape[-1], list[Sequence[int]]([x.shape[:-1]])
        if read.weight is not None and read.weight.shape[1] != width:
            problems.append(f"{read.nodes[0]} has weights for {read.weight.shape[1]} numbers; the stream has {width}")
            continue
        _laid(value, read.nodes[0], read.tap, places, width if read.weight is None else _needed(read.weight, read.columns, 2))
        made = read.put(value, read.of(stream.network.module, x[None]))
        least = max(_SAME, _ROUNDINGS * torch.finfo(value.dtype).eps)
        size = value.abs().float().flatten(0, -2).amax(0)
        if not bool(((made.float() - value.float()).abs() <= least * (size + _SAME * size.max())).all()):
            problems.append(
                f"what {', '.join(read.nodes[:3])} make of the stream is not what is at {read.tap}: the weight, bias, columns or "
                "norm is another than the network's"
            )
    return problems
