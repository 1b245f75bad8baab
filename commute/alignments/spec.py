"""What a search looks for, where and how: a value that can be kept with what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from commute.alignments.das import DAS
from commute.alignments.feature import Feature
from commute.alignments.training import TrainingPairs
from commute.causal.model import CausalModel
from commute.errors import not_counts, unknown
from commute.models.network import Network
from commute.models.sites import Site


@runtime_checkable
class Method(Protocol):
    """A way to fit features at a site; a frozen dataclass, so that it can be saved."""

    def fit(
        self, site: Site, train: Sequence[TrainingPairs], select: Sequence[TrainingPairs], generator: np.random.Generator
    ) -> Mapping[str, Feature]:
        """The feature of each variable at `site`."""


METHODS: dict[str, type[DAS]] = {"DAS": DAS}


@dataclass(frozen=True)
class Search:
    """What to search for and where.

    Attributes:
        variables: the variables to align, all at one site.
        sites: the sites to try.
        method: how features are fitted at a site.
        n: pairs to train on for each set of variables; half as many are drawn to select by.
    """

    variables: Sequence[str]
    sites: Sequence[Site]
    method: Method = field(default_factory=DAS)
    n: int = 4096

    def problems(self, algorithm: CausalModel, network: Network) -> list[str]:
        """What is wrong with the search for this algorithm and network."""
        found = not_counts(n=self.n)
        if self.n == 1:
            found.append("n must be at least 2, to train on and to select by; given 1")
        if isinstance(self.method, type) or not isinstance(self.method, Method):
            found.append(f"method must be a search method such as DAS(dims=8); given {self.method!r}")
        if isinstance(self.variables, str) or not isinstance(self.variables, Sequence) or not self.variables:
            found.append(f"variables is a list of one or more names; given {self.variables!r}")
        else:
            found += undefined(self.variables, algorithm)
        if not isinstance(self.sites, Sequence) or not self.sites:
            found.append(f"sites is a list of one or more sites (network.sites(…)); given {self.sites!r}")
        else:
            found += [f"sites must be Site values (network.sites(…)); given {s!r}" for s in self.sites if not isinstance(s, Site)]
            found += network.unknown_sites(s for s in self.sites if isinstance(s, Site))
        return found or self._below(algorithm)

    def _below(self, algorithm: CausalModel) -> list[str]:
        """Variables that cannot be at one site, since an interchange of the upper one there cannot reach the lower one."""
        from networkx import descendants

        return [
            f"{lower!r} is below {upper!r} in the graph, so an interchange of {upper!r} cannot reach it at the same site; search "
            "for each by itself"
            for upper in self.variables
            for lower in self.variables
            if lower in descendants(algorithm.graph, upper)
        ]

    def to_record(self) -> dict[str, Any]:
        """The search as JSON values."""
        method = {"kind": type(self.method).__name__, **asdict(self.method)}  # type: ignore[call-overload]
        return {"variables": list(self.variables), "sites": [s.to_record() for s in self.sites], "method": method, "n": self.n}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Search":
        """The search that `to_record` wrote."""
        options = dict(record["method"])
        method = METHODS[options.pop("kind")](**options)
        return cls(tuple(record["variables"]), tuple(Site.from_record(s) for s in record["sites"]), method, record["n"])


def undefined(variables: Sequence[str], algorithm: CausalModel) -> list[str]:
    """Which of the variables an alignment cannot be about: unknown ones, and ones whose values are not known."""
    problems = [unknown("variable", v, algorithm.graph) for v in variables if v not in algorithm.graph]
    return problems + [
        f"the domain of {v!r} is not known, so its values cannot be told apart; give it as domains={{{v!r}: Finite(…)}}"
        for v in variables
        if v in algorithm.graph and algorithm.known_domain(v) is None
    ]
