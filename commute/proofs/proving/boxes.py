"""Boxes: what is claimed of all numbers near those of some inputs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np

from commute.alignments.alignment import Alignment
from commute.causal.batches import Batch, as_column, rows_of
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.errors import ClaimError, ModelError, check
from commute.models.network import Network
from commute.proofs.programs.patched import patched_program
from commute.proofs.proving.box_refinement import BoxGrowth, refine_boxes
from commute.proofs.proving.box_statement import BoxStatement
from commute.proofs.proving.budget import Budget
from commute.proofs.proving.outcome import Outcome
from commute.proofs.proving.statement import Answers, listed, misfits
from commute.proofs.proving.tree import BoxTree

Near = Mapping[str, Any] | Sequence[Mapping[str, Any]]  # settings of the inputs, as columns or one by one

_MOST = 2**20  # boxes


def boxed(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    variables: Sequence[str],
    *,
    within: float,
    budget: Budget,
    near: Near | None = None,
    on_round: Callable[[BoxGrowth], None] = lambda _: None,
) -> tuple[BoxStatement, Outcome, BoxTree]:
    """What can be proved, within a budget, of the statement that `posed_boxes` makes of the same arguments, which it checks.

    `on_round` is told after each round.
    """
    growth = BoxGrowth.begun(posed_boxes(algorithm, network, alignment, variables, within=within, near=near))
    refine_boxes(growth, budget=budget, on_round=on_round)
    return growth.statement, growth.outcome(), growth.tree()


def posed_boxes(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    variables: Sequence[str],
    *,
    within: float,
    near: Near | None = None,
) -> BoxStatement:
    """That interchanging variables gives the algorithm's answer for all numbers near those of each base and each source.

    The algorithm's answer is taken to be that of the setting in the middle, for its whole box: nothing is asked of the algorithm
    anywhere else, also where its inputs are continuous and its answer changes within the box.

    Args:
        algorithm: with one output.
        network: the network.
        alignment: where the variables are.
        variables: that are interchanged, each from a source of its own.
        within: epsilon, how far each number that the network begins with may be from that of the input.
        near: the settings in the middle of the boxes, as columns or one by one; None are all inputs, in the domain's order.

    Raises:
        ClaimError: listing what does not fit.
        NetworkError: when the network is no program; see `patched_program`.
    """
    problems = unboxable(algorithm, alignment, variables, within, near)
    check(problems, ClaimError, f"a proof about boxes of {algorithm.name!r}")
    inputs = listed(algorithm) if near is None else settings_of(algorithm, near)
    patched = patched_program(algorithm, network, alignment, variables)
    answers = Answers.of(algorithm, variables, inputs, patched.labels)
    entries = patched.entries(algorithm.labels(inputs))
    return BoxStatement(tuple(variables), patched, answers, inputs, entries, float(within))


def settings_of(algorithm: CausalModel, near: Near) -> Batch:
    """Settings of all inputs, as columns of codes.

    Raises:
        ClaimError: when they are none of the algorithm's inputs.
    """
    told = f"near= must have settings of {', '.join(algorithm.inputs)}, as columns or one by one"
    if not isinstance(near, Mapping):
        if not isinstance(near, Sequence) or not all(isinstance(x, Mapping) for x in near):
            raise ClaimError(f"{told}; given {near!r}")
        near = {v: [x[v] for x in near if v in x] for v in dict.fromkeys(chain(algorithm.inputs, *near))}
    try:
        found, rows, _ = algorithm.columns({v: as_column(x) for v, x in near.items()})
    except (ModelError, TypeError) as error:
        raise ClaimError(f"{told}: {error}") from error
    return {v: np.broadcast_to(found[v], rows) for v in algorithm.inputs}


def unboxable(
    algorithm: CausalModel, alignment: Alignment, variables: Sequence[str], within: object, near: Near | None
) -> list[str]:
    """What does not fit in a statement about boxes, a sentence each."""
    problems = misfits(algorithm, alignment, variables)
    if isinstance(within, bool) or not isinstance(within, (int, float)) or within < 0 or not isfinite(within):
        problems.append(f"within must be a finite number of at least 0; given {within!r}")
    if near is None and not Inputs(algorithm).finite:
        problems.append("its inputs cannot be listed; give near=, a batch of inputs, the settings whose boxes are meant")
        return problems
    try:
        count = rows_of(listed(algorithm) if near is None else settings_of(algorithm, near))
    except ClaimError as error:
        return [*problems, str(error)]
    boxes = count ** (1 + len(variables))
    if not 0 < boxes <= _MOST:
        told = f"there are {count:,} inputs, which makes {boxes:,} boxes; give from 1 to {_MOST:,}"
        problems.append(f"{told}, by near=, a batch of fewer inputs")
    return problems
