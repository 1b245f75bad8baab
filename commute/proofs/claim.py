"""Claims: an algorithm, a network, and where or how to look for their alignment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import isfunction
from pathlib import Path
from reprlib import repr as short
from typing import Any

from commute.alignments.alignment import Alignment
from commute.alignments.spec import Search, undefined
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check, not_counts
from commute.models.network import Network
from commute.proofs.battery import Battery, battery_problems
from commute.proofs.diagnostics import Rival, rival_problems
from commute.proofs.proving.budget import Budget, budget_problems
from commute.proofs.run import run_claim
from commute.proofs.sampling import Sampling, Until
from commute.proofs.verdict import Verdict
from commute.runs.events import OnEvent, ignore


@dataclass(frozen=True, eq=False)
class Claim:
    """That a network runs an algorithm.

    Attributes:
        algorithm: what it is believed to run.
        network: the network.
        alignment: where each variable is, or
        search: how to find it.
        at_least: the interchange intervention accuracy that every slice must have.
        confidence: of the verdict.
        n: fresh pairs for each set of variables.
        battery: `quick`, `standard` or `thorough`, or a list of items; see `verify`.
        until: stop drawing pairs when the claim is decided, or when bounds are so close.
        at_most: pairs for each set of variables with `until`.
        tried: how many alignments this one was chosen among by their verdicts.
        rivals: other algorithms with the same inputs and outputs, by name; see `Rival`.
        budget: of the item "proof": seconds, "10m", "50000 bounds" or a `Budget`; None is until every pair is decided.

    Raises:
        ClaimError: listing everything that is wrong.
    """

    algorithm: CausalModel
    network: Network
    alignment: Alignment | None = field(default=None, kw_only=True)
    search: Search | None = field(default=None, kw_only=True)
    at_least: float = field(default=0.95, kw_only=True)
    confidence: float = field(default=0.99, kw_only=True)
    n: int = field(default=4000, kw_only=True)
    battery: Battery = field(default="standard", kw_only=True)
    until: Until | None = field(default=None, kw_only=True)
    at_most: int | None = field(default=None, kw_only=True)
    tried: int = field(default=1, kw_only=True)
    rivals: Mapping[str, CausalModel | Rival] = field(default_factory=dict, kw_only=True)
    budget: Budget | str | float | None = field(default="10m", kw_only=True)

    def __post_init__(self) -> None:
        check(self._problems(), ClaimError, "the claim")

    def _problems(self) -> list[str]:
        wanted = (
            ("algorithm", CausalModel),
            ("network", Network),
            *((name, kind) for name, kind in (("alignment", Alignment), ("search", Search)) if getattr(self, name) is not None),
        )
        problems = [
            f"{name} must be a cm.{kind.__name__}; given {short(getattr(self, name))}"
            for name, kind in wanted
            if not isinstance(getattr(self, name), kind)
        ]
        if (self.alignment is None) == (self.search is None):
            problems.append("a claim has either an alignment or a search for one")
        for name, share in (("at_least", self.at_least), ("confidence", self.confidence)):
            if not isinstance(share, (int, float)) or not 0 < share < 1:
                problems.append(f"{name} must lie between 0 and 1; given {share!r}")
        problems += battery_problems(self.battery) + self.sampling.problems() + not_counts(tried=self.tried)
        problems += budget_problems(self.budget)
        if not problems and self.search is not None:
            problems += self.search.problems(self.algorithm, self.network)
        if not problems and self.alignment is not None:
            problems += undefined(list(self.alignment), self.algorithm)
            problems += self.network.unknown_sites(self.alignment.sites)
        if not problems:
            problems += rival_problems(self.rivals, self.algorithm, self.variables)
        return problems

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are claimed to be in the network."""
        return tuple(self.search.variables if self.alignment is None and self.search else self.alignment or ())

    @property
    def sampling(self) -> Sampling:
        """How many pairs are drawn."""
        return Sampling(self.n, self.until, self.at_most)

    def verify(self, *, seed: int = 0, runs: str | Path | None = None, on_event: OnEvent = ignore) -> Verdict:
        """Search if need be, then judge on fresh pairs; with `runs`, keep the run in a folder of it and continue one begun there.

        See `verify` for what a verdict means and `run_claim` for what is kept.
        """
        return run_claim(self, seed=seed, runs=runs, on_event=on_event).verdict


@dataclass(frozen=True)
class ClaimFunction:
    """A function that makes a claim, found by name in a file of claims. Its parameters can be given on the command line."""

    function: Callable[..., Claim]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, **parameters: Any) -> Claim:
        """The claim with these parameters."""
        made = self.function(**parameters)
        if not isinstance(made, Claim):
            raise ClaimError(f"the claim {self.name!r} must return a cm.Claim; it returned {made!r}")
        return made


def claim(function: Callable[..., Claim]) -> ClaimFunction:
    """Mark a function as a claim, to be run by `commute run FILE::name`.

    Raises:
        ClaimError: for anything but a function.
    """
    if not isfunction(function):
        raise ClaimError(f"@cm.claim marks a function that returns a cm.Claim; given {function!r}")
    return ClaimFunction(function)
