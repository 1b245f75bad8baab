"""Organisms: networks of which the algorithm and the place of each of its variables are known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from commute.causal.model import CausalModel
from commute.errors import NetworkError, check, unknown
from commute.models.network import Network
from commute.models.sites import Site

if TYPE_CHECKING:
    from commute.alignments.alignment import Alignment

_ORTHONORMAL = 1e-4  # largest entry of |QᵀQ - I|, as featurizers allow


@dataclass(frozen=True, eq=False)
class Subspace:
    """Some directions of the vectors at a site.

    Attributes:
        site: where in the network.
        directions: one direction a column, [width, dims], orthonormal.

    Raises:
        NetworkError: unless the columns are orthonormal to 1e-4.
    """

    site: Site
    directions: Tensor

    def __post_init__(self) -> None:
        problems = [] if isinstance(self.site, Site) else [f"site must be a Site (network.site(…)); given {self.site!r}"]
        q = self.directions
        if not isinstance(q, Tensor) or not q.is_floating_point() or q.ndim != 2:  # noqa: PLR2004  # [width, dims]
            told = f"{q.dtype} {list(q.shape)}" if isinstance(q, Tensor) else type(q).__name__
            problems.append(f"directions must be floating-point columns, [width, dims]; given {told}")
        elif not 0 < q.shape[1] <= q.shape[0]:
            problems.append(f"directions are columns, [width, dims] with 1 <= dims <= width; given {list(q.shape)}")
        elif not (error := _error(q)) <= _ORTHONORMAL:
            problems.append(f"directions must be orthonormal; |QᵀQ - I| reaches {error:.2g}; torch.linalg.qr makes them so")
        check(problems, NetworkError, "a subspace")

    def __repr__(self) -> str:
        return f"Subspace({self.site}, {self.dims} of {self.directions.shape[0]} dims)"

    @property
    def dims(self) -> int:
        """How many directions there are."""
        return self.directions.shape[1]

    def joined(self, other: "Subspace") -> "Subspace":
        """The directions of both, which must be orthogonal to each other.

        Raises:
            NetworkError: when they are not, or the other is at another site.
        """
        if other.site != self.site or other.directions.shape[0] != self.directions.shape[0]:
            raise NetworkError(f"subspaces of one site can be joined; given {self!r} and {other!r}")
        return Subspace(self.site, torch.cat([self.directions, other.directions], 1))


@dataclass(frozen=True, eq=False)
class Organism:
    """A network that is known to compute an algorithm, and where in it the algorithm's variables are.

    Attributes:
        algorithm: what the network computes.
        network: the network.
        subspaces: for each internal variable of the algorithm where it is.
        others: by name, further subspaces, which no variable is in or not all of a variable.

    Raises:
        NetworkError: when a subspace is of no variable, or at a site that the network does not have.
    """

    algorithm: CausalModel
    network: Network
    subspaces: Mapping[str, Subspace]
    others: Mapping[str, Subspace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [unknown("variable", v, self.algorithm.graph) for v in self.subspaces if v not in self.algorithm.graph]
        sites = dict.fromkeys(s.site for s in [*self.subspaces.values(), *self.others.values()])
        check(problems + self.network.unknown_sites(sites), NetworkError, f"the organism of {self.algorithm.name!r}")

    def __repr__(self) -> str:
        return f"Organism({self.algorithm.name!r}: {', '.join(self.subspaces)} in {self.network!r})"

    @property
    def alignment(self) -> "Alignment":
        """The alignment of every variable in `subspaces`; a NetworkError where there is none."""
        from commute.alignments.alignment import Alignment  # to the right of this part: docs/decisions/0017

        if not self.subspaces:
            raise NetworkError(f"the organism of {self.algorithm.name!r} has no internal variable, so there is nothing to align")

        return Alignment.along(self.subspaces)


def _error(columns: Tensor) -> float:
    q = columns.detach().to("cpu", torch.float64)
    return float((q.T @ q - torch.eye(q.shape[1], dtype=q.dtype)).abs().max())
