"""What the standard battery costs, against plain IIA on as many pairs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch.utils.flop_counter import FlopCounterMode

import commute as cm
from benchmarks.bars import Figure
from benchmarks.small_algorithms import chain, majority
from commute.alignments.variable_sets import variable_sets
from commute.causal.library import hierarchical_equality

N = 4000
MOST = 4  # times what plain IIA costs
_RUNS = 3  # of which the fastest counts


@dataclass(frozen=True, eq=False)
class _Network:
    algorithm: cm.CausalModel
    network: cm.Network
    alignment: cm.Alignment


def figures() -> list[Figure]:
    """Seconds and module-FLOPs of the battery over those of plain IIA, on several networks, and the demo's verdict in seconds."""
    demo, found = _demo()
    start = time.perf_counter()
    cm.verify(demo.algorithm, demo.network, found)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    cm.verify(demo.algorithm, demo.network, demo.alignment)
    print(f"     the demo's verdict: {seconds:.1f} s, {time.perf_counter() - start:.1f} s of it without the controls' searches")
    told = [Figure("verdict on the demo network, searches of the controls included", seconds, 20, "s")]
    for name, network in {"demo": demo, **dict(_organisms())}.items():
        told += list(_against_plain(name, network))
    return told


def _against_plain(name: str, of: _Network) -> Iterator[Figure]:
    sets = variable_sets(list(of.alignment))

    def plain() -> None:
        for chosen in sets:
            cm.interchange_accuracy(of.algorithm, of.network, of.alignment, cm.pairs(of.algorithm, chosen, N))

    def battery() -> None:
        cm.verify(of.algorithm, of.network, of.alignment, n=N)

    (seconds, flops), (most_seconds, most_flops) = _measured(plain), _measured(battery)
    print(f"     {name}: plain IIA {seconds:.3f} s, {flops:,} FLOPs; the battery {most_seconds:.3f} s, {most_flops:,} FLOPs")
    yield Figure(f"{name}: standard battery against plain IIA, module-FLOPs", most_flops / flops, MOST, "times")
    yield Figure(f"{name}: the same, seconds", most_seconds / seconds, MOST, "times")


def _measured(run: Callable[[], None]) -> tuple[float, int]:
    with FlopCounterMode(display=False) as counter:
        run()
    taken = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken), int(counter.get_total_flops())


def _demo() -> tuple[_Network, cm.Alignment]:
    """The demo network with the alignment that its search finds, without the search for it and with."""
    algorithm, network = hierarchical_equality(), cm.zoo.hierarchical_equality()
    found = cm.search(algorithm, network, variables=["left", "right"], sites=network.sites("*relu*"), method=cm.DAS(dims=8)).best
    return _Network(algorithm, network, cm.Alignment(found.features)), found


def _organisms() -> Iterator[tuple[str, _Network]]:
    for model in (hierarchical_equality(4), majority(3), chain(3)):
        organism = cm.organisms.compile(model)
        yield f"organism of {model.name}", _Network(model, organism.network, organism.alignment)
