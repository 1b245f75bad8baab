"""Checks of what measurements of circuits are given."""

from collections.abc import Sequence
from numbers import Real
from reprlib import repr  # noqa: A004  # of arrays and graphs the beginning

import numpy as np
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import ClaimError, check, not_counts
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.runs import Runs


def check_measured(
    circuits: Sequence[object],
    runs: object,
    behaviour: object,
    *,
    confidence: object = 0.99,
    also: Sequence[str] = (),
    **counts: object,
) -> None:
    """Check what every measurement of circuits is given.

    Args:
        circuits: that are measured.
        runs: inputs.
        behaviour: of these.
        confidence: of bounds.
        also: what else is wrong.
        counts: what must be a number of things.

    Raises:
        ClaimError: listing all that is wrong.
    """
    problems = [p for circuit in circuits for p in _foreign(circuit, runs)]
    if not isinstance(runs, Runs):
        problems.append(f"runs must be Runs.of(graph, inputs, instead); given {repr(runs)}")
    if not isinstance(behaviour, Behaviour):
        problems.append(f"behaviour must be Behaviour.of(runs, measure); given {repr(behaviour)}")
    elif isinstance(runs, Runs):
        problems += behaviour.misfits(runs)
    problems += [*not_confidence(confidence), *not_counts(**counts), *also]
    check(problems, ClaimError, "the measurement of a circuit")


def _foreign(circuit: object, runs: object) -> list[str]:
    """Why something is no circuit of what is run."""
    if wrong := not_circuit(circuit):
        return wrong
    if isinstance(circuit, Circuit) and isinstance(runs, Runs) and circuit.graph is not runs.graph:
        return [f"{circuit} is of another computation graph than the runs; make both of one graph"]
    return []


def not_circuit(circuit: object, name: str = "circuit") -> list[str]:
    """Say that something is no circuit."""
    return [] if isinstance(circuit, Circuit) else [f"{name} must be a cm.Circuit; given {repr(circuit)}"]


def not_confidence(confidence: object) -> list[str]:
    """Say that something is no confidence of a bound."""
    sure = is_number(confidence) and 0.5 <= confidence < 1  # type: ignore[operator]  # noqa: PLR2004
    return [] if sure else [f"confidence must be at least 0.5 and below 1; given {confidence!r}"]


def is_number(x: object) -> bool:
    """Whether something is one real number; truth values are none."""
    return isinstance(x, Real) and not isinstance(x, bool)


def numbers_of(given: object) -> Column:
    """A list of numbers as an array [numbers]; an empty one for anything else."""
    try:
        found = np.asarray(given.detach().cpu().double() if isinstance(given, Tensor) else given)
    except (TypeError, ValueError, RuntimeError):  # such as lists of different lengths
        return np.empty(0)
    return found.astype(np.float64) if found.ndim == 1 and found.dtype.kind in "biuf" else np.empty(0)
