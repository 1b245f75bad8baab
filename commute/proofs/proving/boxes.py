"""Boxes: what is claimed of all numbers near those of some inputs."""

from collections.abc import Callable, Mapping, Sequence
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
    """What can be proved, for all numbers near those of each base and each source, of interchanging variables.

    Args:
        algorithm: with one output.
        network: the network.
        alignment: where the variables are.
        variables: that are interchanged, each from a source of its own.
        within: epsilon, how far each number that the network begins with may be from that of the input.
        budget: of work.
        near: the inputs in the middle of the boxes, as `posed_boxes` takes them.
        on_round: is told after each round.

    Raises:
        ClaimError: listing what does not fit.
        NetworkError: when the network is no program; see `patched_program`.
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
    about = f"a proof about boxes of {algorithm.name!r}"
    check(_problems(algorithm, alignment, variables, within, near), ClaimError, about)
    inputs = listed(algorithm) if near is None else _settings(algorithm, near)
    count, sides = rows_of(inputs), 1 + len(variables)
    if not 0 < count**sides <= _MOST:
        told = f"there are {count:,} inputs, which makes {count**sides:,} boxes; give from 1 to {_MOST:,}"
        raise ClaimError(f"{about}: {told}, by near=, a batch of fewer inputs")
    patched = patched_program(algorithm, network, alignment, variables)
    answers = Answers.of(algorithm, variables, inputs, patched.labels)
    entries = patched.entries(algorithm.labels(inputs))
    return BoxStatement(tuple(variables), patched, answers, inputs, entries, float(within))


def _settings(algorithm: CausalModel, near: Near) -> Batch:
    """Settings of all inputs, as columns of codes."""
    try:
        columns = near if isinstance(near, Mapping) else {v: [x[v] for x in near] for v in algorithm.inputs}
        found, rows, _ = algorithm.columns({v: as_column(x) for v, x in columns.items()})
    except (ModelError, KeyError, TypeError) as error:
        raise ClaimError(
            f"near= must have settings of {', '.join(algorithm.inputs)}, as columns or one by one: {error}"
        ) from error
    return {v: np.broadcast_to(found[v], rows) for v in algorithm.inputs}


def _problems(
    algorithm: CausalModel, alignment: Alignment, variables: Sequence[str], within: object, near: Near | None
) -> list[str]:
    problems = misfits(algorithm, alignment, variables)
    if isinstance(within, bool) or not isinstance(within, (int, float)) or within < 0 or not isfinite(within):
        problems.append(f"within must be a finite number of at least 0; given {within!r}")
    if near is None and not Inputs(algorithm).finite:
        problems.append("its inputs cannot be listed; give near=, a batch of inputs, the settings whose boxes are meant")
    return problems
