"""Evidence about a circuit, and what follows from it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from commute.alignments.binomial import Count, count
from commute.causal.abstraction import Status
from commute.errors import ClaimError, NetworkError, NoCircuitError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import moved, stream_of
from commute.models.reinitialised import reinitialised
from commute.proofs.circuits.judged import Judged
from commute.proofs.circuits.measures import Minimality
from commute.proofs.circuits.random_circuits import random_circuit
from commute.proofs.circuits.values import values
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

if TYPE_CHECKING:
    import networkx as nx

Repeat = Callable[..., Circuit]  # a graph, and a seed -> the circuit that the same search finds there, of the same size

_CHANGED, _UNCHANGED = "changed", "unchanged"
_SAYS = {
    _CHANGED: "inputs that the network answers otherwise when nothing is kept",
    _UNCHANGED: "inputs that it answers alike even then",
}
_SHUFFLED = "re-initialised network"
_SHUFFLES = 8  # copies at most, of which one has to have answers that change when nothing is kept


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
    generator = stream(seed, "verify", "circuit", "random")
    drawn = [random_circuit(circuit.graph, len(circuit), generator) for _ in range(controls)]
    answered = [count(x) for x in values(judged.runs, judged.behaviour, drawn)[:, judged.changed].astype(bool)]
    says = f"the best of {controls} circuits of {len(circuit)} edges, made of random paths to the output"
    best = max(answered, key=lambda c: c.correct)
    return _control("random circuits", best, says, confidence=1 - (1 - confidence) / (controls + 1), at_least=at_least)


def shuffled_network(
    circuit: Circuit, judged: Judged, *, repeat: Repeat | None, confidence: float, at_least: float, seed: int
) -> Evidence:
    """The same search, or the same edges, on a copy of the network with shuffled weights that some answers hang on."""
    says = f"{'the same edges' if repeat is None else 'what the same search finds'} on a copy with shuffled weights"
    why = "no weight changes when weights are shuffled"
    for shuffle in range(_SHUFFLES):
        try:
            copy = reinitialised(stream_of(circuit.graph).network, stream(seed, "verify", "circuit", _SHUFFLED, str(shuffle)))
            if copy is None:
                continue
            graph = moved(circuit.graph, copy)
            other = Circuit(graph, circuit.edges) if repeat is None else _repeated(repeat, graph, seed)
            found = Judged.of(Circuit(graph, circuit.edges) if other is None else other, judged.pairs)
        except NetworkError as error:  # such as NaN, which other weights may give
            why = str(error)
            continue
        if not found.changed.any():
            why = "no input has another answer when nothing is kept"
        elif other is None:
            nothing = f"{says}: no circuit at all"
            return Evidence("control", "statistical", _SHUFFLED, (), None, 0.0, 1.0, passed=True, says=nothing)
        elif len(other) < len(circuit):
            why = f"it has fewer edges than the {len(circuit)} of the claim: {len(other)}"
        else:
            level = 1 - (1 - confidence) / 2
            return _control(_SHUFFLED, count(found.right[found.changed]), says, confidence=level, at_least=at_least)
    return _unmeasured(f"{says}: of {_SHUFFLES} shuffles none can be judged: {why}")


def _repeated(repeat: Repeat, graph: "nx.DiGraph[str]", seed: int) -> Circuit | None:
    """The circuit that the same search finds; None where it finds none.

    Raises:
        ClaimError: when the search gives something else.
    """
    try:
        found = repeat(graph, seed=seed)
    except NoCircuitError:
        return None
    if not isinstance(found, Circuit) or found.graph is not graph:
        raise ClaimError(
            f"repeat must give a Circuit of the graph that it is given, such as found.repeat(size); it gave {found!r}"
        )
    return found


def _control(name: str, found: Count, says: str, *, confidence: float, at_least: float) -> Evidence:
    lower, upper = found.lower(confidence), found.upper(confidence)
    return Evidence("control", "statistical", name, (), found, lower, upper, upper < at_least, says)


def _unmeasured(says: str) -> Evidence:
    return Evidence("control", "statistical", _SHUFFLED, (), None, 0.0, 1.0, None, says, warning=True)


def left_over(circuit: Circuit, judged: Judged, *, confidence: float) -> Evidence:
    """How many answers are kept without the circuit; it decides nothing."""
    (kept,) = values(judged.runs, judged.behaviour, [circuit.complement])
    left = count(kept[judged.changed].astype(bool))
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
        if e.passed is False and e.count and e.count.total:
            found.append(f"{e.title}: this control may reach the claim (up to {e.upper:.4f}, {e.count}), so it says too little")
        elif e.warning:
            found.append(f"{e.title}: {e.says}; without this control no claim holds")
    return found
