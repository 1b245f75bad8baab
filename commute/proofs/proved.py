"""The item "proof" of a battery: bounds on IIA over every pair, as evidence beside what was sampled."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, nextafter

import numpy as np

from commute.alignments.binomial import Count
from commute.causal.batches import take
from commute.causal.inputs import Inputs
from commute.causal.interventions import Setting
from commute.causal.model import CausalModel
from commute.errors import CommuteError
from commute.proofs.claimed import Claimed
from commute.proofs.counterexample import Counterexample, shown
from commute.proofs.evidence import Evidence, title
from commute.proofs.prove import prove
from commute.proofs.proving.budget import Budget
from commute.proofs.proving.outcome import Outcome, Work
from commute.proofs.replaying import replay
from commute.proofs.shown import Proved, ProvedAt
from commute.proofs.shrinking import shrunk

EVERY_PAIR = "every pair"
_POINTS = 200  # moments of a proof that are kept to be drawn


@dataclass(frozen=True)
class Proofs:
    """What was proved of a claim.

    Attributes:
        evidence: for each set of variables.
        shown: what came of each, to be told.
        outcomes: of which a counterexample can be made.
    """

    evidence: tuple[Evidence, ...] = ()
    shown: tuple[Proved, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


def proofs_of(claimed: Claimed, budget: Budget | str | float | None) -> Proofs:
    """Prove what can be proved of every set of variables within a budget.

    In a run the certificate is saved as `certificate/` and the proof under way kept in `proof/`. Where the claim is none that can
    be proved, the one piece of evidence says why.
    """
    keep = claimed.runs
    try:
        certificate = prove(
            claimed.algorithm,
            claimed.network,
            claimed.alignment,
            budget=budget,
            runs=keep and keep / "proof",
            on_event=claimed.on_event,
        )
    except CommuteError as error:  # an operation without bounds, inputs that cannot be listed, several outputs
        return Proofs((unproved(claimed, str(error)),))
    if keep is not None:
        certificate.save(keep / "certificate")
    outcomes = certificate.outcomes
    return Proofs(
        tuple(evidence_of(o, claimed.at_least) for o in outcomes),
        tuple(shown_of(o, claimed.algorithm) for o in outcomes),
        outcomes,
    )


def unproved(claimed: Claimed, why: str) -> Evidence:
    """That there is no proof, which decides nothing."""
    says = f"there is no proof of this claim: {why}"
    return Evidence("proof", "sound", EVERY_PAIR, tuple(claimed.alignment), None, 0.0, 1.0, None, says, warning=True)


def evidence_of(outcome: Outcome, at_least: float) -> Evidence:
    """The bounds of a proof. It passes where the lower one reaches the claim, and speaks against it where the upper one does not.

    What is claimed is the decimal number that was written, 9/10 for 0.9, since the bounds are exact.
    """
    claim = Fraction(repr(float(at_least)))
    passed = True if outcome.lower >= claim else False if outcome.upper < claim else None
    complete = not outcome.undecided
    return Evidence(
        "proof",
        "exact" if complete else "sound",
        EVERY_PAIR,
        outcome.variables,
        Count(int(outcome.right), outcome.total) if complete else None,
        _float(outcome.lower, -inf),
        _float(outcome.upper, inf),
        passed,
        _proved(outcome).says,
    )


def _float(x: Fraction, towards: float) -> float:
    """The nearest number on the side of `towards`, so that bounds stay bounds."""
    near = float(x)
    beyond = near < x if towards > 0 else near > x
    return nextafter(near, towards) if beyond else near


def shown_of(outcome: Outcome, algorithm: CausalModel) -> Proved:
    """An outcome as a verdict keeps it."""
    if outcome.first is None:
        return _proved(outcome)
    base, sources = _settings(outcome, algorithm)
    told = "".join(f", {v} from {shown(source)}" for v, source in sources.items())
    return _proved(outcome, f"base {shown(base)}{told}")


def _proved(outcome: Outcome, first: str = "") -> Proved:
    total, right, wrong = outcome.total, int(outcome.right), int(outcome.wrong)  # pairs, of which there are whole numbers
    work = tuple(
        ProvedAt(w.bounds + w.evaluated, int(w.right) / total, (total - int(w.wrong)) / total) for w in thinned(outcome.work)
    )
    effort = outcome.classes, outcome.bounds, outcome.evaluated
    return Proved(outcome.variables, total, right, wrong, outcome.within_rounding, *effort, first, work)


def thinned(work: Sequence[Work]) -> list[Work]:
    """At most `_POINTS` moments, the first and the last and others that are evenly spread on a logarithmic scale of work."""
    if len(work) <= _POINTS:
        return list(work)
    done = [w.bounds + w.evaluated for w in work]
    wanted = np.geomspace(max(done[0], 1), max(done[-1], 1), _POINTS - 1)[:-1]
    places = {0, len(work) - 1, *(max(bisect_right(done, x) - 1, 0) for x in wanted.tolist())}
    return [work[i] for i in sorted(places)]


def _settings(outcome: Outcome, algorithm: CausalModel) -> tuple[Setting, dict[str, Setting]]:
    """The first wrong pair of an outcome, in labels."""
    rows = algorithm.labels(take(Inputs(algorithm).listed, np.array(outcome.first)))
    base, *sources = [{v: column[i : i + 1].tolist()[0] for v, column in rows.items()} for i in range(len(outcome.variables) + 1)]
    return base, dict(zip(outcome.variables, sources, strict=True))


def counterexample_in(proofs: Proofs, claimed: Claimed) -> Counterexample | None:
    """The first wrong pair of the set that has the lowest IIA, made as small as it goes.

    None where no wrong pair is known, or the network's own rounding gives the algorithm's answer after all.
    """
    for outcome in sorted(proofs.outcomes, key=lambda o: o.upper):
        if outcome.first is not None:
            base, sources = _settings(outcome, claimed.algorithm)
            found = replay(claimed.algorithm, claimed.network, claimed.alignment, base, sources)
            if found.differs:
                example = Counterexample(
                    title(outcome.variables, EVERY_PAIR), found.base, found.sources, found.expected, found.answered
                )
                return shrunk(claimed.algorithm, claimed.network, claimed.alignment, example)
    return None
