"""Rivals: whether the network runs the claim's algorithm rather than another that does as well (2502.20914)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from commute.alignments.accuracy import agrees, interchanged
from commute.alignments.binomial import count
from commute.alignments.fingerprint import source_of
from commute.causal.batches import take
from commute.causal.distinguishing import distinguishing_pairs
from commute.causal.equivalence import check_comparable
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.errors import ModelError, unknown
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.lines import measured, not_measured
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

if TYPE_CHECKING:
    from commute.causal.pairs import Pairs

_FEW = 30  # pairs that tell the two apart, below which the smallest such pairs are looked at as well
_SMALLEST = 100
_PROBES = 256  # inputs by which algorithms without tables are told apart, besides by their source
_HALF = 0.5  # share answered as the claim says, above which the rival must have less


@dataclass(frozen=True)
class Rival:
    """Another algorithm that the network might run.

    Attributes:
        algorithm: with the claim's inputs and outputs.
        variables: for aligned variables of the claim the rival's variable that is in the same place; where none is named, all
            aligned ones under their own names.
    """

    algorithm: CausalModel
    variables: Mapping[str, str] = field(default_factory=dict)

    def named(self, variables: Sequence[str]) -> dict[str, str]:
        """The rival's variable for each of the aligned variables that it is compared in."""
        return dict(self.variables) or {v: v for v in variables}


def as_rival(given: CausalModel | Rival) -> Rival:
    """A rival; of an algorithm, with all variables under their own names."""
    return Rival(given) if isinstance(given, CausalModel) else given


def rival_record(given: CausalModel | Rival) -> dict[str, Any]:
    """What tells a rival from others, as JSON values: its name, its variables and a hash of the algorithm."""
    rival = as_rival(given)
    model = rival.algorithm
    try:
        text = model.to_json()
    except ModelError:  # mechanisms without a table
        domains = {v: str(model.known_domain(v)) for v in model.graph}
        answers = model.solve(model.labels(Inputs(model).sample(stream(0, "rival"), _PROBES)))
        told = {v: x.tolist() for v, x in answers.items()}  # functions on one line have the same source
        text = repr([domains, list(model.graph.edges), [source_of(e.function) for e in model.equations.values()], told])
    return {"algorithm": model.name, "variables": dict(rival.variables), "hash": sha256(text.encode()).hexdigest()}


def rival_problems(rivals: Mapping[str, CausalModel | Rival], algorithm: CausalModel, variables: Sequence[str]) -> list[str]:
    """What does not fit of rivals to an algorithm with these variables aligned, a sentence each."""
    if not isinstance(rivals, Mapping):
        return [f"rivals are a mapping from names to other algorithms; given {rivals!r}"]
    return [f"the rival {name!r}: {x}" for name, r in rivals.items() for x in _problems(as_rival(r), algorithm, variables)]


def _problems(rival: Any, algorithm: CausalModel, variables: Sequence[str]) -> list[str]:
    if not isinstance(rival, Rival):
        return [f"give a CausalModel, or a Rival(algorithm, variables); given {rival!r}"]
    if not isinstance(rival.algorithm, CausalModel):
        return [f"its algorithm must be a CausalModel; given {rival.algorithm!r}"]
    if not isinstance(rival.variables, Mapping):
        return [f"its variables are a mapping from the claim's to its own; given {rival.variables!r}"]
    found = []
    try:
        check_comparable(algorithm, rival.algorithm)
    except ModelError as error:
        found.append(str(error))
    named = rival.named(variables)
    found += [unknown("aligned variable", v, variables) for v in named if v not in variables]
    found += [
        f"{unknown('variable', v, rival.algorithm.graph)} (for {own!r})"
        for own, v in named.items()
        if v not in rival.algorithm.graph
    ]
    return found


def rivals(claimed: Claimed) -> list[Evidence]:
    """For each rival, each variable and all together: how the network answers where the two differ."""
    return [line for name, rival in claimed.rivals.items() for line in _against(claimed, f"rival {name}", rival)]


def _against(claimed: Claimed, name: str, rival: Rival) -> list[Evidence]:
    named = rival.named(list(claimed.alignment))
    sets = [{v: other} for v, other in named.items()] + ([named] if len(named) > 1 else [])
    lines = [_compared(claimed, name, rival.algorithm, chosen) for chosen in sets]
    if any(line.count for line in lines):
        return lines
    says = "no pair was drawn whose interchange tells it from the claim: what holds for one of them holds for the other"
    return [not_measured(name, (), says, warning=True)]


def _compared(claimed: Claimed, name: str, rival: CausalModel, named: Mapping[str, str]) -> Evidence:
    drawn = claimed.fresh.pairs(list(named), claimed.n, stream(claimed.seed, "diagnostic", name, *named))
    theirs = rival.interchange(drawn.base, {named[v]: x for v, x in drawn.sources.items()}, only=rival.outputs)
    apart = ~agrees(theirs, drawn.expected)
    if not apart.any():
        return not_measured(name, list(named), f"of {len(drawn)} pairs none tells the two apart")
    answered = interchanged(claimed.network, claimed.alignment, drawn[apart])
    ours, its = count(agrees(answered, drawn[apart].expected)), count(agrees(answered, take(theirs, apart)))
    says = (
        f"of {len(drawn)} pairs {ours.total} tell the two apart; the network answers {ours.correct} of these as the claim says "
        f"and {its.correct} as the rival does"
    )
    if ours.total < _FEW:
        says += _smallest(claimed, rival, named)
    return measured(claimed, name, list(named), ours, says, warning=ours.lower(claimed.confidence) <= _HALF)


def _smallest(claimed: Claimed, rival: CausalModel, named: Mapping[str, str]) -> str:
    """How the network does on the smallest pairs that tell the two apart, which are no independent draws."""
    pairs: Pairs = distinguishing_pairs(claimed.algorithm, rival, named, _SMALLEST, seed=claimed.seed)
    if not len(pairs):
        return ""
    right = count(agrees(interchanged(claimed.network, claimed.alignment, pairs), pairs.expected))
    return f"; of the smallest pairs that do, it answers {right} as the claim says"
