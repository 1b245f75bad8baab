"""Verifying a circuit: whether along its edges everything flows that the network's answers hang on."""

from collections.abc import Mapping
from inspect import signature

from commute.causal.batches import distinct, rows_of
from commute.causal.interventions import Setting
from commute.causal.model import CausalModel
from commute.errors import ClaimError, CommuteError, check, not_counts
from commute.models.ablations import Mean, Zero
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import Edge, residual_edges, stream_of
from commute.models.circuits.instead import not_instead
from commute.models.rows import batched
from commute.proofs.circuits.judged import Elsewhere, Judged, Pairs
from commute.proofs.circuits.judging import Repeat, decided, left_over, matters, random_circuits, shuffled_network, slices
from commute.proofs.circuits.measures import minimality
from commute.proofs.shown import KeptEdge
from commute.proofs.verdict import Verdict
from commute.runs.events import Decided, OnEvent, ignore
from commute.runs.seeds import stream

_FEWEST = 4  # rows of a batch: two pairs


def verify_circuit(
    circuit: Circuit,
    inputs: CausalModel | Setting,
    *,
    instead: Elsewhere = None,
    at_least: float = 0.95,
    confidence: float = 0.99,
    n: int = 1000,
    controls: int = 20,
    repeat: Repeat | None = None,
    tested: int | None = None,
    seed: int = 0,
    on_event: OnEvent = ignore,
) -> Verdict:
    """Whether a circuit is sufficient: whether the network answers alike when all other edges carry something else.

    The claim is that on a share of `at_least` of fresh pairs of an input and another the circuit's answer is the whole network's:
    among pairs for which nothing kept gives another answer, and among the others. It `holds` when both are shown, and when no
    control may reach the claim on the former: random circuits with as many edges, and the same search on a network whose weights
    are shuffled (without `repeat` the same edges there). It is `refuted` when one of the two shares is shown to be less. Which
    edges are shown to matter within the circuit, and what is left without it, is told beside that and decides nothing.

    Args:
        circuit: what is claimed.
        inputs: a causal model whose inputs are the network's, to draw from; or a batch, in whose rows no search has looked.
        instead: what other edges carry: None is what they carry for another input, drawn likewise; or a batch of others for the
            rows of `inputs`, one each; or `Mean(inputs)` or `Zero()`.
        at_least: the share of answers that the circuit must keep.
        confidence: of the verdict.
        n: pairs; of a batch, at most half of its rows where others are drawn from it, too, and else all of them.
        controls: how many random circuits.
        repeat: the search that found the circuit, as a function of a graph and a seed, such as `found.repeat(size)`.
        tested: how many edges, drawn at random, are left out one by one; None is all. Each costs a run of all pairs.
        seed: of every random stream.
        on_event: is told of progress.

    Raises:
        ClaimError: for values out of range.
        NetworkError: when the inputs do not fit the network, or it is not deterministic.
    """
    counts = {"n": n, "controls": controls} | ({} if tested is None else {"tested": tested})
    _check(circuit, inputs, instead, repeat, on_event, at_least=at_least, confidence=confidence, counts=counts)
    pairs, network = Pairs.drawn(inputs, instead, n, seed), stream_of(circuit.graph).network
    network.check_deterministic(pairs.bases)
    judged = Judged.of(circuit, pairs)
    some = None if tested is None else _drawn_edges(circuit, tested, seed)
    evidence = (
        *slices(judged, confidence=confidence, at_least=at_least),
        random_circuits(circuit, judged, controls=controls, confidence=confidence, at_least=at_least, seed=seed),
        shuffled_network(circuit, judged, repeat=repeat, confidence=confidence, at_least=at_least, seed=seed),
        left_over(circuit, judged, confidence=confidence),
        matters(found := minimality(circuit, judged.runs, judged.behaviour, edges=some, confidence=confidence)),
    )
    effects = {e.edge: e.effect.value for e in found.effects}
    status, reasons = decided(evidence, at_least=at_least)
    on_event(Decided(status))
    size = f"{len(circuit)} of {len(residual_edges(circuit.graph))} edges"
    return Verdict(
        status=status,
        reasons=reasons,
        evidence=evidence,
        accuracy=None,
        counterexample=judged.worst,
        algorithm=size,
        network=network.name,
        variables=(),
        sites=(),
        at_least=at_least,
        confidence=confidence,
        seed=seed,
        stated=f"with {size} of {network.name!r} kept and {_elsewhere(pairs, instead)} on all others, at least {at_least} of "
        "answers stay",
        circuit=tuple(KeptEdge(*edge, effects.get(edge)) for edge in circuit.edges),
    )


def _drawn_edges(circuit: Circuit, tested: int, seed: int) -> list[Edge]:
    order = stream(seed, "verify", "circuit", "tested").permutation(len(circuit))[:tested]
    return [circuit.edges[i] for i in sorted(order.tolist())]


def _elsewhere(pairs: Pairs, instead: Elsewhere) -> str:
    """What flows along edges left out; of others that were given how many there are, since few say little of any others."""
    if isinstance(instead, Mapping):
        found = distinct(pairs.others)
        return f"what {len(found[0]) if found else rows_of(pairs.others):,} other inputs have"
    return "a mean" if isinstance(instead, Mean) else "nothing" if isinstance(instead, Zero) else "what another input has"


def _check(
    circuit: object,
    inputs: object,
    instead: object,
    repeat: object,
    on_event: object,
    *,
    at_least: float,
    confidence: float,
    counts: Mapping[str, object],
) -> None:
    problems = [] if isinstance(circuit, Circuit) else [f"circuit must be a cm.Circuit; given {circuit!r}"]
    if not isinstance(inputs, CausalModel):
        try:
            rows = rows_of(batched(inputs)[0])  # type: ignore[arg-type]
            if rows < _FEWEST:
                problems.append(f"inputs must be a causal model, or a batch of {_FEWEST} rows or more; given {rows}")
        except CommuteError as error:
            problems.append(f"inputs must be a causal model to draw from, or a batch; given {type(inputs).__name__}: {error}")
    problems += _not_instead(inputs, instead)
    if not (repeat is None or _takes_seed(repeat)):
        problems.append(f"repeat must be a function of a graph and a seed, such as found.repeat(size); given {repeat!r}")
    if not callable(on_event):
        problems.append(f"on_event must be a function of an event; given {on_event!r}")
    for name, share, least in (("at_least", at_least, 0), ("confidence", confidence, 0.5)):
        if not isinstance(share, (int, float)) or not least < share < 1:
            problems.append(f"{name} must lie between {least} and 1; given {share!r}")
    check(problems + not_counts(**counts), ClaimError, "the claim about a circuit")


def _takes_seed(repeat: object) -> bool:
    if not callable(repeat):
        return False
    try:
        signature(repeat).bind(None, seed=0)
    except TypeError:
        return False
    except ValueError:  # of a function that tells no signature
        return True
    return True


def _not_instead(inputs: object, instead: object) -> list[str]:
    if isinstance(instead, Mapping) and not isinstance(inputs, Mapping):
        return ["instead can be a batch of others only where inputs are a batch, of as many rows"]
    if isinstance(instead, Mapping):
        alike = rows_of(batched(instead)[0]) == rows_of(batched(inputs)[0])  # type: ignore[arg-type]
        return [] if alike else ["instead must have one other input for each row of inputs"]
    if isinstance(instead, Mean):
        return not_instead(instead)
    if not (instead is None or isinstance(instead, Zero)):
        return [f"instead must be None (another input), a batch of others, Mean(inputs) or Zero(); given {instead!r}"]
    return []
