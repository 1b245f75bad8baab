"""Whether two causal models are the same function of their inputs."""

from collections.abc import Mapping
from math import prod

import numpy as np

from commute.causal import solver
from commute.causal.abstraction import ENUMERATED, Decision, Disagreement
from commute.causal.batches import rows_of
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
    if len(inputs) == len(first.inputs) and prod(map(len, inputs.values())) <= ENUMERATED:
        return _enumerated(first, second, inputs)
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


def _enumerated(first: CausalModel, second: CausalModel, inputs: Mapping[str, Finite]) -> tuple[Decision, ...]:
    """Go through every input once, for all outputs."""
    total = 0
    wrong = dict.fromkeys(first.outputs, 0)
    found: dict[str, dict[str, object]] = {}
    for columns in blocks(inputs):
        labels = first.labels(columns)
        ours, theirs = (model.solve(labels, only=first.outputs) for model in (first, second))
        for output in first.outputs:
            differs = ours[output] != theirs[output]
            if output not in found and differs.any():
                found[output] = setting(inputs, total + int(np.argmax(differs)))
            wrong[output] += int(differs.sum())
        total += rows_of(columns)
    return tuple(_decided(first, second, v, total, wrong[v], found.get(v)) for v in first.outputs)


def _decided(
    first: CausalModel, second: CausalModel, output: str, total: int, wrong: int, found: Mapping[str, object] | None
) -> Decision:
    if found is None:
        return Decision(output, "holds", total, 0, f"{output!r} is the same for all {total:,} inputs")
    says = f"{output!r} differs for {wrong:,} of {total:,} inputs"
    return Decision(output, "refuted", total, wrong, says, _shown(first, second, output, found))


def _shown(first: CausalModel, second: CausalModel, output: str, inputs: Mapping[str, object]) -> Disagreement:
    """The two models' settings for one input."""
    ours, theirs = first.solve(inputs), second.solve(inputs)
    return Disagreement(output, {}, inputs, {v: theirs[v] for v in first.outputs}, {v: ours[v] for v in first.outputs})
