"""Posing: what is claimed of a network, as a statement about numbers."""

from collections.abc import Sequence

import torch

from commute.alignments.alignment import Alignment
from commute.causal.batches import rows_of
from commute.causal.inputs import LISTED, Inputs
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check
from commute.models.network import Network
from commute.proofs.enclosures.rounding import stored
from commute.proofs.programs.patched import patched_program
from commute.proofs.programs.split import split
from commute.proofs.proving.sides import enclosed, merged
from commute.proofs.proving.statement import Answers, Statement, listed, misfits

_MOST = 2**63 - 1  # combinations of a base and sources


@torch.no_grad()
def posed(algorithm: CausalModel, network: Network, alignment: Alignment, variables: Sequence[str]) -> Statement:
    """That interchanging variables gives the algorithm's answer for every base and all sources.

    What an input brings depends on it alone and is computed once, with a bound on its rounding. Inputs that bring the same are
    merged.

    Args:
        algorithm: with finite inputs and one output.
        network: the network.
        alignment: where the variables are.
        variables: that are interchanged, each from a source of its own.

    Raises:
        ClaimError: listing what does not fit.
        NetworkError: when the network is no program; see `patched_program`.
    """
    check(unposable(algorithm, alignment, variables), ClaimError, f"a proof about {algorithm.name!r}")
    inputs = listed(algorithm)
    patched = patched_program(algorithm, network, alignment, variables)
    parts = split(patched.program)
    entries = patched.entries(algorithm.labels(inputs))
    answers = Answers.of(algorithm, variables, inputs, patched.labels)
    arithmetic = stored(patched.program)
    sides = tuple(
        merged(*enclosed(program, entries, arithmetic).ball(), group)
        for program, group in zip(parts.sides, answers.groups, strict=True)
    )
    return Statement(tuple(variables), patched, parts.joint, sides, answers.expected, inputs, entries)


def unposable(algorithm: CausalModel, alignment: Alignment, variables: Sequence[str]) -> list[str]:
    """What does not fit in a statement about every base and source, a sentence each."""
    problems = misfits(algorithm, alignment, variables)
    if not Inputs(algorithm).finite:
        problems.append(f"the inputs must be finite, with at most {LISTED:,} settings, for all to be listed")
    elif (pairs := rows_of(listed(algorithm)) ** (1 + len(variables))) > _MOST:
        told = f"{', '.join(variables)} from sources of their own make {pairs:,} combinations with a base"
        problems.append(f"{told}; at most {_MOST:,} are counted, so interchange fewer variables")
    return problems
