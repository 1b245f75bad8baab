"""What a search looks for, where and how: a value that can be kept with what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from commute.alignments.das import DAS
from commute.alignments.method import Method
from commute.alignments.methods import is_method, method_from_record, method_to_record
from commute.alignments.training import Place
from commute.causal.heldout import Heldout, check_heldout
from commute.causal.model import CausalModel
from commute.errors import AlignmentError, check, not_counts, unknown
from commute.models.network import Network
from commute.models.sites import Site


@dataclass(frozen=True)
class Halving:
    """Spending most of a search where it pays: all is tried with few steps, and the best of it with more (1502.07943).

    Attributes:
        coarse: places are left out at once whose whole vector, taken from a source, moves the answer less often than this share
            of the place that moves it most; 0 leaves none out. What moves nothing holds nothing that matters.
        keep: the share of items that goes on to the next rung: those with the highest IIA, and of equals those of fewer dims.
        rungs: how often items are trained, each time with 1/keep as many steps, at last with all.
    """

    coarse: float = 0.25
    keep: float = 1 / 3
    rungs: int = 3

    def __post_init__(self) -> None:
        low = not_counts(rungs=self.rungs)
        if not isinstance(self.keep, (int, float)) or not 0 < self.keep < 1:
            low.append(f"keep must lie between 0 and 1; given {self.keep!r}")
        if not isinstance(self.coarse, (int, float)) or not 0 <= self.coarse <= 1:
            low.append(f"coarse must lie from 0 to 1; given {self.coarse!r}")
        check(low, AlignmentError, "Halving")


@dataclass(frozen=True)
class Search:
    """What to search for and where.

    Attributes:
        variables: the variables to align, all at one place.
        sites: the places to try, each a site, or several sites that hold the variables together.
        method: how features are fitted at a place.
        n: pairs to train on for each set of variables; half as many are drawn to select by.
        heldout: what is held out of training for selection, and of both for verification: `pairs`, or `values` of the inputs.
        halving: how a large grid is thinned out; None tries all of it in full.
    """

    variables: Sequence[str]
    sites: Sequence[Site | Sequence[Site]]
    method: Method = field(default_factory=DAS)
    n: int = 4096
    heldout: Heldout = "pairs"
    halving: Halving | None = None

    @property
    def places(self) -> list[Place]:
        """The sites, each as a tuple of sites, once."""
        return list(dict.fromkeys((s,) if isinstance(s, Site) else tuple(s) for s in self.sites))

    def problems(self, algorithm: CausalModel, network: Network) -> list[str]:
        """What is wrong with the search for this algorithm and network."""
        found = not_counts(n=self.n) + check_heldout(self.heldout)
        if self.n == 1:
            found.append("n must be at least 2, to train on and to select by; given 1")
        if not is_method(self.method):
            found.append(f"method must be a search method such as DAS(dims=8); given {self.method!r}")
        if self.halving is not None and not isinstance(self.halving, Halving):
            found.append(f"halving must be a Halving(); given {self.halving!r}")
        elif self.halving is not None and is_method(self.method) and not hasattr(self.method, "steps"):
            found.append(f"halving is for methods that are trained in steps; {type(self.method).__name__} is not")
        if isinstance(self.variables, str) or not isinstance(self.variables, Sequence) or not self.variables:
            found.append(f"variables is a list of one or more names; given {self.variables!r}")
        else:
            found += undefined(self.variables, algorithm)
            found += [f"{v!r} is named twice" for i, v in enumerate(self.variables) if v in self.variables[:i]]
        found += self._misplaced(network)
        return found or self._below(algorithm)

    def _misplaced(self, network: Network) -> list[str]:
        if not isinstance(self.sites, Sequence) or isinstance(self.sites, str) or not self.sites:
            return [f"sites is a list of one or more sites (network.sites(…)); given {self.sites!r}"]
        said = "sites must be Site values (network.sites(…)), or lists of them that belong together; given "
        wrong = [
            f"{said}{s!r}"
            for s in self.sites
            if not isinstance(s, Site) and (not isinstance(s, Sequence) or not s or not all(isinstance(x, Site) for x in s))
        ]
        if wrong:
            return wrong
        overlapping = [
            f"the sites {x} and {y} of one place overlap"
            for place in self.places
            for i, x in enumerate(place)
            for y in place[:i]
            if x.overlaps(y)
        ]
        return network.unknown_sites(s for place in self.places for s in place) + overlapping

    def _below(self, algorithm: CausalModel) -> list[str]:
        """Variables that cannot be at one place, since an interchange of the upper one there cannot reach the lower one."""
        from networkx import descendants

        return [
            f"{lower!r} is below {upper!r} in the graph, so an interchange of {upper!r} cannot reach it at the same site; search "
            "for each by itself"
            for upper in self.variables
            for lower in self.variables
            if lower in descendants(algorithm.graph, upper)
        ]

    def to_record(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The search as JSON values, and the tensors of its method."""
        method, tensors = method_to_record(self.method)
        places = [[site.to_record() for site in place] for place in self.places]
        record = {
            "variables": list(self.variables),
            "sites": places,
            "method": method,
            "n": int(self.n),
            "heldout": self.heldout,
            "halving": self.halving and asdict(self.halving),
        }
        return record, tensors

    @classmethod
    def from_record(cls, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Search":
        """The search that `to_record` wrote."""
        places = [tuple(Site.from_record(s) for s in place) for place in record["sites"]]
        return cls(
            tuple(record["variables"]),
            tuple(p[0] if len(p) == 1 else p for p in places),
            method_from_record(record["method"], tensors),
            record["n"],
            record["heldout"],
            record["halving"] and Halving(**record["halving"]),
        )


@dataclass(frozen=True)
class Found:
    """How an alignment was found.

    Attributes:
        search: what was searched for.
        seed: of its random streams.
        candidates: how many items it was chosen among.
        place: where it was found; a selection may have left out some of its sites.
    """

    search: Search
    seed: int
    candidates: int
    place: Place


def undefined(variables: Sequence[str], algorithm: CausalModel) -> list[str]:
    """Which of the variables an alignment cannot be about: unknown ones, and ones whose values are not known."""
    problems = [unknown("variable", v, algorithm.graph) for v in variables if v not in algorithm.graph]
    return problems + [
        f"the domain of {v!r} is not known, so its values cannot be told apart; give it as domains={{{v!r}: …}}, cm.Finite(…) of "
        "its values, or cm.Interval(…) where it is a real number"
        for v in variables
        if v in algorithm.graph and algorithm.known_domain(v) is None
    ]
