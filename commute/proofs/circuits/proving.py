"""Proving a circuit: on how many pairs of a base and another input, of all there are, it answers right."""

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from commute.causal.model import CausalModel
from commute.errors import ClaimError
from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.claiming import Answers, as_interchange
from commute.proofs.circuits.rerouted import FLOWING, LEFT_OUT, NOTHING
from commute.proofs.prove import prove
from commute.proofs.proving.asked import Method
from commute.proofs.proving.budget import Budget
from commute.proofs.proving.certificate import Certificate
from commute.runs.events import OnEvent, ignore


def prove_circuit(
    circuit: Circuit,
    inputs: CausalModel,
    *,
    answers: Answers = "network",
    method: Method = "auto",
    budget: Budget | str | float | None = None,
    executor: Executor | None = None,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> Certificate:
    """Bounds on the share of pairs of a base and another input on which a circuit answers right, over all pairs, proved.

    The circuit is run on the base, and along edges that are left out flows what does for the other input. That is an interchange
    of what is written to the stream, so it is proved by `prove`; the last statement is about "edges left out". With the network's
    answers there is one before it, about "nothing left out": that the whole network gives these in exact arithmetic, too.

    Args:
        circuit: the circuit.
        inputs: a causal model whose inputs are the network's; they must be finite.
        answers: what is right for a base: the whole network's answer, or the one output of the model.
        method: as of `prove`.
        budget: as of `prove`.
        executor: as of `prove`.
        runs: as of `prove`.
        on_event: as of `prove`.

    Returns:
        A certificate, whose IIA is that share. The edges of the circuit are in its record, as `kept`.

    Raises:
        ClaimError: listing everything that does not fit; where an answer of the network is what it is by rounding alone.
        NetworkError: naming an operation of the network that has no bounds; when the network is no fixed program, or positions of
            the circuit's nodes depend on the input.
    """
    algorithm, network = as_interchange(circuit, inputs, answers)
    found = prove(
        algorithm,
        network,
        FLOWING,
        variables=[[NOTHING], [LEFT_OUT]] if answers == "network" else [LEFT_OUT],
        method=method,
        budget=budget,
        executor=executor,
        runs=runs,
        on_event=on_event,
    )
    whole = found.outcomes[0]
    if answers == "network" and whole.wrong:
        raise ClaimError(
            f"for {float(1 - whole.upper):.3g} of all inputs the network answers as it does by rounding alone: in exact "
            'arithmetic another score is above that of its answer; give an algorithm, and answers="algorithm"'
        )
    return replace(found, record={**found.record, "kept": [list(edge) for edge in circuit.edges]})
