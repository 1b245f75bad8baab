"""Whether two causal models are the same function of their inputs."""

import numpy as np

from commute.causal import solver
from commute.causal.abstraction import ENUMERATED, Decision, Disagreement
from commute.causal.batches import Batch, rows_of
from commute.causal.domains import Finite
from commute.causal.grids import blocks, setting
from commute.causal.model import CausalModel
from commute.errors import ModelError, check


def compare(first: CausalModel, second: CausalModel, *, timeout: float) -> tuple[Decision, ...]:
    """For each output, whether the two models give the same for every input.

    Raises:
        ModelError: when inputs, their domains or outputs differ.
    """
    check_comparable(first, second)
    inputs = {v: d for v in first.inputs if isinstance(d := first.domain(v), Finite)}
    total = int(np.prod([len(d) for d in inputs.values()], dtype=float))
    if len(inputs) == len(first.inputs) and total <= ENUMERATED:
        return tuple(_enumerated(first, second, inputs, v) for v in first.outputs)
    return tuple(solver.same_output(first, second, v, timeout) for v in first.outputs)


def check_comparable(first: CausalModel, second: CausalModel) -> None:
    """Raise a ModelError that lists how the inputs or outputs of two models differ."""
    models = [m for m in (first, second) if not isinstance(m, CausalModel)]
    check(
        [f"{m!r} is not a CausalModel; of an operation's model and τ, give the model" for m in models],
        ModelError,
        "comparing causal models",
    )
    problems = [f"{v!r} is an input of one of them only" for v in sorted({*first.inputs} ^ {*second.inputs})]
    problems += [f"{v!r} is an output of one of them only" for v in sorted({*first.outputs} ^ {*second.outputs})]
    for variable in first.inputs:
        if variable in second.inputs:
            one, other = first.domain(variable), second.domain(variable)
            both = isinstance(one, Finite) and isinstance(other, Finite)
            if set(one) != set(other) if both else one != other:  # type: ignore[arg-type]
                problems.append(f"the domain of {variable!r} is {one} in one and {other} in the other")
    check(
        problems, ModelError, f"comparing {first.name!r} with {second.name!r} (see .rename, .merge_variables and .merge_values)"
    )


def _answers(model: CausalModel, other: CausalModel, columns: Batch, variables: tuple[str, ...]) -> Batch:
    """The labels of a model's variables for input columns that are coded as in `other`."""
    labels = other.labels({v: columns[v] for v in other.inputs})
    return model.solve(labels, only=variables)


def _enumerated(first: CausalModel, second: CausalModel, inputs: dict[str, Finite], output: str) -> Decision:
    total = wrong = 0
    found = None
    for columns in blocks(inputs):
        ours = _answers(first, first, columns, (output,))[output]
        theirs = _answers(second, first, columns, (output,))[output]
        differs = ours != theirs
        if found is None and differs.any():
            found = setting(inputs, total + int(np.argmax(differs)))
        total, wrong = total + rows_of(columns), wrong + int(differs.sum())
    if found is None:
        return Decision(output, "holds", total, 0, f"{output!r} is the same for all {total:,} inputs")
    says = f"{output!r} differs for {wrong:,} of {total:,} inputs"
    return Decision(output, "refuted", total, wrong, says, _shown(first, second, output, found))


def _shown(first: CausalModel, second: CausalModel, output: str, inputs: dict[str, object]) -> Disagreement:
    """The two models' settings for one input."""
    ours, theirs = first.solve(inputs), second.solve(inputs)
    return Disagreement(output, {}, inputs, {v: theirs[v] for v in first.outputs}, {v: ours[v] for v in first.outputs})
