"""What is claimed of a circuit, as an interchange claim: whatever else flows along edges left out, the answer stays."""

from collections.abc import Hashable, Mapping
from reprlib import repr as short
from typing import Literal, get_args

from commute.causal.batches import Batch, Column, as_column
from commute.causal.domains import Finite
from commute.causal.inputs import LISTED, Inputs
from commute.causal.mechanisms import Constant, Table
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check, unknown
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import stream_of
from commute.models.network import Network
from commute.proofs.circuits.rerouted import LEFT_OUT, NOTHING, rerouted

Answers = Literal["network", "algorithm"]  # whose answer for a base is right
_ANSWER = "right answer"
_OWN = (_ANSWER, NOTHING, LEFT_OUT)


def as_interchange(circuit: Circuit, inputs: CausalModel, answers: Answers) -> tuple[CausalModel, Network]:
    """An algorithm and a network, of which `FLOWING` is the alignment; the algorithm's answer depends on nothing that flows.

    Args:
        circuit: the circuit.
        inputs: a causal model whose inputs are the network's; they must be finite.
        answers: what is right for a base: the whole network's answer, or the one output of the model.

    Raises:
        ClaimError: listing everything that does not fit.
        NetworkError: where the positions of the circuit's nodes depend on the input.
    """
    check(_unfit(circuit, inputs, answers), ClaimError, "the proof of a circuit")
    batch = inputs.labels(Inputs(inputs).listed)
    right = _by_network(circuit, batch) if answers == "network" else _by_algorithm(inputs, batch)
    return _algorithm(inputs, batch, right, repr(circuit)), rerouted(circuit, batch)


def _unfit(circuit: object, inputs: object, answers: object) -> list[str]:
    problems = [] if isinstance(circuit, Circuit) else [f"circuit must be a cm.Circuit; given {short(circuit)}"]
    if answers not in get_args(Answers):
        problems.append(unknown("answers", answers, get_args(Answers)))
    if not isinstance(inputs, CausalModel):
        return [*problems, f"inputs must be a cm.CausalModel, whose inputs are the network's; given {short(inputs)}"]
    if not Inputs(inputs).finite:
        problems.append(f"the inputs must be finite, with at most {LISTED:,} settings, for all to be listed")
    problems += [f"no input may be called {v!r}, which the proof has a meaning for" for v in _OWN if v in inputs.inputs]
    if answers == "algorithm" and len(inputs.outputs) != 1:
        problems.append(f"the algorithm must have one output; it has {', '.join(inputs.outputs)}")
    return problems


def _by_network(circuit: Circuit, batch: Batch) -> Column:
    found = stream_of(circuit.graph).network.run(batch)
    if isinstance(found, Mapping):
        raise ClaimError(f"a proof is about a network with one output; it has {', '.join(found)}")
    return as_column(found)


def _by_algorithm(inputs: CausalModel, batch: Batch) -> Column:
    (output,) = inputs.outputs
    return as_column(inputs.solve(batch, only=[output])[output])


def _algorithm(inputs: CausalModel, batch: Batch, right: Column, name: str) -> CausalModel:
    table: dict[Hashable, Hashable] = dict(
        zip(zip(*(batch[v].tolist() for v in inputs.inputs), strict=True), right.tolist(), strict=True)
    )
    return CausalModel(
        name,
        {v: inputs.domain(v) for v in inputs.inputs},
        {_ANSWER: Table(inputs.inputs, table), NOTHING: Constant((), 0), LEFT_OUT: Constant((), 0)},
        outputs=[_ANSWER],
        domains={_ANSWER: Finite(dict.fromkeys(table.values()))},
    )
