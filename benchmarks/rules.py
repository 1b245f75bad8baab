"""Rules by which a claim is accepted or not: ours, and those in common use."""

import time
from dataclasses import dataclass

import numpy as np

import commute as cm
from benchmarks.claims_of_organisms import Case
from commute.alignments.accuracy import agreement
from commute.errors import CommuteError
from commute.runs.seeds import stream

AT_LEAST = 0.95
REFUSED = "refused"  # with an error that says why the claim cannot be judged


@dataclass(frozen=True)
class Ours:
    """What `cm.verify` says.

    Attributes:
        status: `holds`, `refuted`, `inconclusive` or `refused`.
        reason: the first it gives.
        seconds: it took.
    """

    status: str
    reason: str
    seconds: float


def ours(case: Case, n: int, seed: int) -> Ours:
    """The verdict of the standard battery."""
    start = time.perf_counter()
    try:
        verdict = cm.verify(case.algorithm, case.network, case.alignment, at_least=AT_LEAST, battery="standard", n=n, seed=seed)
        told: tuple[str, str] = verdict.status, verdict.reasons[0]
    except CommuteError as error:
        told = REFUSED, str(error)
    return Ours(*told, time.perf_counter() - start)


@dataclass(frozen=True)
class Plain:
    """Interchange intervention accuracy on uniform pairs.

    Attributes:
        iia: over single interchanges of every variable.
        worst: the lowest of that, of each variable on the pairs that it changes, and of joint interchanges.
    """

    iia: float
    worst: float


def plain(case: Case, n: int, seed: int) -> Plain:
    """IIA on `n` uniform pairs of each variable, and as many joint ones."""
    variables = list(case.alignment)
    right, changed = [], []
    for v in variables:
        drawn = cm.pairs(case.algorithm, [v], n, design="uniform", seed=stream(seed, "benchmark", "IIA", v))
        right.append(agreement(case.network, case.alignment, drawn))
        changed.append(drawn.changed)
    iia = float(np.mean(right))
    rates = [float(r[c].mean()) for r, c in zip(right, changed, strict=True) if c.any()]
    joint = cm.pairs(case.algorithm, variables, n, design="uniform", seed=stream(seed, "benchmark", "IIA", "joint"))
    return Plain(iia, min(iia, *rates, float(agreement(case.network, case.alignment, joint).mean())))
