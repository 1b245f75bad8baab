"""Evidence about a circuit, and what follows from it."""

from collections.abc import Callable, Sequence

import numpy as np

from commute.alignments.binomial import Count, count
from commute.causal.abstraction import Status
from commute.errors import NetworkError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import moved, residual_edges, stream_of
from commute.models.reinitialised import reinitialised
from commute.proofs.circuits.judged import Judged, same_choice
from commute.proofs.circuits.measures import Minimality
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

Repeat = Callable[..., Circuit]  # a graph, and a seed -> the circuit that the same search finds there, of the same size

_CHANGED, _UNCHANGED = "changed", "unchanged"
_SAYS = {
    _CHANGED: "inputs that the network answers otherwise when nothing is kept",
    _UNCHANGED: "inputs that it answers alike even then",
}
_SHUFFLED = "re-initialised network"


def slices(judged: Judged, *, confidence: float, at_least: float) -> list[Evidence]:
    """The share of answers that are kept, of those that change when nothing is kept, and of the others."""
    level = 1 - (1 - confidence) / len(_SAYS)
    found = []
    for (name, says), rows in zip(_SAYS.items(), (judged.changed, ~judged.changed), strict=True):
        if rows.any():
            right = count(judged.right[rows])
            lower, upper = right.lower(level), right.upper(level)
            passed = True if lower >= at_least else False if upper < at_least else None
            found.append(Evidence("slice", "statistical", name, (), right, lower, upper, passed, says))
    return found


def random_circuits(
    circuit: Circuit, judged: Judged, *, controls: int, confidence: float, at_least: float, seed: int
) -> Evidence:
    """The best of some random circuits of the same size, on pairs that nothing kept answers otherwise."""
    every, generator = residual_edges(circuit.graph), stream(seed, "verify", "circuit", "random")
    drawn = [[every[i] for i in np.sort(generator.choice(len(every), len(circuit), replace=False))] for _ in range(controls)]
    answered = [count(same_choice(s, judged.whole)[judged.changed]) for s in judged.runs.scores(drawn)]
    says = f"the best of {controls} circuits of {len(circuit)} edges drawn at random"
    best = max(answered, key=lambda c: c.correct)
    return _control("random circuits", best, says, confidence=1 - (1 - confidence) / (controls + 1), at_least=at_least)


def shuffled_network(
    circuit: Circuit, judged: Judged, *, repeat: Repeat | None, confidence: float, at_least: float, seed: int
) -> Evidence:
    """The same search, or the same edges, on a copy of the network with shuffled weights."""
    network = stream_of(circuit.graph).network
    try:
        copy = reinitialised(network, stream(seed, "verify", "circuit", _SHUFFLED))
        if copy is None:
            return _none("no weight changes when weights are shuffled", warning=False)
        graph = moved(circuit.graph, copy)
        found = Judged.of(Circuit(graph, circuit.edges) if repeat is None else repeat(graph, seed=seed), judged.pairs)
    except NetworkError as error:
        return _none(f"it cannot be made: {error}", warning=True)
    says = f"{'the same edges' if repeat is None else 'what the same search finds'} on a copy with shuffled weights"
    level = 1 - (1 - confidence) / 2
    return _control(_SHUFFLED, count(found.right[found.changed]), says, confidence=level, at_least=at_least)


def _control(name: str, found: Count, says: str, *, confidence: float, at_least: float) -> Evidence:
    if not found.total:
        return Evidence("control", "statistical", name, (), None, 0.0, 1.0, None, f"{says}: nothing changes its answers")
    lower, upper = found.lower(confidence), found.upper(confidence)
    return Evidence("control", "statistical", name, (), found, lower, upper, upper < at_least, says)


def _none(says: str, *, warning: bool) -> Evidence:
    return Evidence("control", "statistical", _SHUFFLED, (), None, 0.0, 1.0, None, says, warning=warning)


def left_over(circuit: Circuit, judged: Judged, *, confidence: float) -> Evidence:
    """How many answers are kept without the circuit; it decides nothing."""
    (rest,) = judged.runs.scores([circuit.complement])
    left = count(same_choice(rest, judged.whole)[judged.changed])
    lower, upper = left.lower(confidence), left.upper(confidence)
    says = "answers kept when just the circuit is left out, of those that change when nothing is kept"
    return Evidence("diagnostic", "statistical", "all but the circuit", (), left, lower, upper, None, says, lower > 1 / 2)


def matters(found: Minimality) -> Evidence:
    """Which edges are shown to matter within the circuit; it decides nothing."""
    share = 1 - len(found.idle) / len(found.effects)
    return Evidence("diagnostic", "statistical", "minimality", (), None, share, share, None, str(found), unit="of its edges")


def decided(evidence: Sequence[Evidence], *, at_least: float) -> tuple[Status, tuple[str, ...]]:
    """The status, and a sentence for each piece of evidence that it rests on."""
    shares, controls = ([e for e in evidence if e.kind == kind] for kind in ("slice", "control"))
    against = [e for e in shares if e.passed is False]
    if against:
        return "refuted", tuple(
            f"{e.title}: at most {e.upper:.4f} of answers are kept ({e.count}), not {at_least}" for e in against
        )
    unsettled = [*_open(shares), *_uncontrolled(controls)]
    if unsettled:
        return "inconclusive", tuple(unsettled)
    worst = min(shares, key=lambda e: e.lower)
    return "holds", (
        f"the worst slice, {worst.title}, keeps at least {worst.lower:.4f} of answers",
        *(f"the control {e.title} at most {e.upper:.4f}" for e in controls if e.count),
        *(f"not measured: {e.title}, since {e.says}" for e in controls if not e.count),
    )


def _open(shares: Sequence[Evidence]) -> list[str]:
    found = [
        f"{e.title}: between {e.lower:.4f} and {e.upper:.4f} of answers are kept ({e.count}); more pairs are needed"
        for e in shares
        if not e.passed
    ]
    if _CHANGED not in {e.name for e in shares}:
        found.append("with nothing kept the network answers as with everything, so no circuit can be told from none")
    return found


def _uncontrolled(controls: Sequence[Evidence]) -> list[str]:
    found = []
    for e in controls:
        if e.passed is False:
            found.append(f"{e.title}: this control may reach the claim (up to {e.upper:.4f}, {e.count}), so it says too little")
        elif e.warning:
            found.append(f"{e.title}: {e.says}; without this control no claim holds")
    return found
