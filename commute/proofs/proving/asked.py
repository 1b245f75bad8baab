"""What a proof is asked for, checked before anything is done."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from reprlib import repr as short
from typing import Literal, get_args

from commute.alignments.alignment import Alignment
from commute.alignments.variable_sets import variable_sets
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check, unknown
from commute.models.network import Network
from commute.proofs.proving.boxes import Near, unboxable
from commute.proofs.proving.budget import Budget, budget_problems
from commute.proofs.proving.posing import unposable
from commute.runs.events import OnEvent

Method = Literal["auto", "enumeration", "refinement"]
METHODS: tuple[Method, ...] = get_args(Method)
Variables = Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Asked:
    """What `prove` is given; see there.

    Raises:
        ClaimError: listing everything that does not fit.
    """

    algorithm: CausalModel
    network: Network
    alignment: Alignment
    variables: Variables | None
    method: Method
    within: float | None
    near: Near | None
    budget: Budget | str | float | None
    executor: Executor | None
    runs: str | Path | None
    on_event: OnEvent

    def __post_init__(self) -> None:
        check([*self._unfit(), *_misshapen(self.variables)], ClaimError, "the proof")
        check(self._unprovable(), ClaimError, f"a proof about {self.algorithm.name!r}")

    @cached_property
    def sets(self) -> list[tuple[str, ...]]:
        """The sets of variables that are interchanged, a statement each."""
        if self.variables is None:
            return variable_sets(list(self.alignment))
        several = [v for v in self.variables if not isinstance(v, str)]
        return [tuple(own) for own in several] or [tuple(v for v in self.variables if isinstance(v, str))]

    def _unfit(self) -> list[str]:
        """What is wrong with each argument but the variables."""
        wanted = (("algorithm", CausalModel), ("network", Network), ("alignment", Alignment))
        problems = [
            f"{name} must be a cm.{kind.__name__}; given {short(getattr(self, name))}"
            for name, kind in wanted
            if not isinstance(getattr(self, name), kind)
        ]
        if self.method not in METHODS:
            problems.append(unknown("method", self.method, METHODS))
        problems += budget_problems(self.budget)
        if self.executor is not None and not isinstance(self.executor, Executor):
            problems.append(f"executor must be a concurrent.futures.Executor or None; given {short(self.executor)}")
        elif self.executor is not None and self.method == "enumeration":
            problems.append("workers of an executor bound cells, and enumeration bounds none; leave out one of them")
        if self.runs is not None and not isinstance(self.runs, (str, Path)):
            problems.append(f"runs must be a folder or None; given {self.runs!r}")
        elif self.runs is not None and Path(self.runs).exists() and not Path(self.runs).is_dir():
            problems.append(f"runs must be a folder; {self.runs} is a file")
        if not callable(self.on_event):
            problems.append(f"on_event must be a function of an event; given {self.on_event!r}")
        if self.within is not None and (self.executor is not None or self.runs is not None or self.method == "enumeration"):
            problems.append("a proof about boxes (within=) is by refinement in this process; leave out executor, runs and method")
        if self.near is not None and self.within is None:
            problems.append("near= is about all numbers close to those of some settings; say by within= how close")
        return problems

    def _unprovable(self) -> list[str]:
        """What does not fit in the statements, or between them."""
        given = [list(own) for own in self.sets]
        problems = [
            f"{own!r} is given twice among the variables" for i, own in enumerate(given) if sorted(own) in map(sorted, given[:i])
        ]
        for own in self.sets:
            if self.within is None:
                problems += unposable(self.algorithm, self.alignment, own)
            else:
                problems += unboxable(self.algorithm, self.alignment, own, self.within, self.near)
        aligned = [v for own in self.sets for v in own if v in self.alignment]
        problems += self.network.unknown_sites(f.site for v in aligned for f in self.alignment.parts(v))
        return list(dict.fromkeys(problems))


def _misshapen(variables: object) -> list[str]:
    """Say so if variables are neither a set nor a list of sets."""
    if variables is None:
        return []
    if isinstance(variables, Sequence) and not isinstance(variables, str) and variables:
        names = [isinstance(v, str) for v in variables]
        listed = [isinstance(v, Sequence) and not isinstance(v, str) and all(isinstance(x, str) for x in v) for v in variables]
        if all(names) or all(listed):
            return []
        if any(names) and any(listed):
            return [f"variables are one set or a list of sets, not both; given {variables!r}"]
    return [f'variables are a set such as ["left"], or a list of such sets; given {short(variables)}']
