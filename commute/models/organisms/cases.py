"""Cases: a causal model as what ReLU units can check, one case a unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from commute.causal.batches import Column
from commute.causal.domains import Finite
from commute.causal.equations import Equation
from commute.causal.model import CausalModel
from commute.errors import NetworkError, check

COMBINATIONS = 2**20  # of the parents' values of one variable at most
UNITS = 2**14  # cases of one variable at most

Tables = dict[str, tuple[tuple[str, ...], Column]]  # for each variable its parents, and its codes [parent 1's values, …]


@dataclass(frozen=True, eq=False)
class Cases:
    """A mechanism as cases, no two of which are met by the same values of the parents.

    Attributes:
        met: for each parent which of its values meet which case, [cases, values of the parent] of bool. A case holds where each
            parent meets it.
        values: the code of the variable's value in each case, [cases].
        otherwise: the code where no case holds.
        size: how many values the variable has.
    """

    met: Mapping[str, Column]
    values: Column
    otherwise: int
    size: int

    @property
    def parents(self) -> tuple[str, ...]:
        """The variables that are read."""
        return tuple(self.met)

    def alternatives(self, several: Sequence[Mapping[str, Column]]) -> "Cases":
        """Each case split into as many as there are alternatives, where `met` of some parents is replaced.

        Args:
            several: for each alternative what takes the place of `met`, [cases, values of the parent]. A parent that an
                alternative does not name meets its cases as before, and always where it is new.
        """
        sizes = {p: x.shape[1] for met in [*several, self.met] for p, x in met.items()}
        anyway = {p: np.ones((len(self.values), n), dtype=bool) for p, n in sizes.items()}
        complete = [{**anyway, **self.met, **met} for met in several]
        met = {p: np.concatenate([each[p] for each in complete]) for p in sizes}
        return Cases(met, np.tile(self.values, len(several)), self.otherwise, self.size)


def sizes_of(model: CausalModel) -> dict[str, int]:
    """How many values each variable has.

    Raises:
        NetworkError: for what is no causal model, and listing the variables whose domains are not finite.
    """
    if not isinstance(model, CausalModel):
        raise NetworkError(f"an organism is made of a CausalModel; given {model!r}")
    domains = {v: model.known_domain(v) for v in model.graph}
    problems = [
        f"{v!r} has the domain {d}; it must be a Finite" if d else f"the domain of {v!r} is not known; give it as domains="
        for v, d in domains.items()
        if not isinstance(d, Finite)
    ]
    check(problems, NetworkError, f"compiling {model.name!r}")
    return {v: len(d) for v, d in domains.items() if isinstance(d, Finite)}


def tables_of(model: CausalModel) -> Tables:
    """The parents of each variable that a mechanism sets, and its table of codes [parent 1's values, parent 2's, …].

    Raises:
        NetworkError: listing the variables whose domains are not finite, or whose tables are too large.
    """
    sizes = sizes_of(model)
    large = {v: n for v, e in model.equations.items() if (n := prod(sizes[p] for p in e.parents)) > COMBINATIONS}
    check(
        [
            f"the parents of {v!r} have {n:,} combinations of values; at most {COMBINATIONS:,} can be tabulated"
            for v, n in large.items()
        ],
        NetworkError,
        f"compiling {model.name!r}",
    )
    return {v: (e.parents, _tabulated(e)) for v, e in model.equations.items()}


def _tabulated(equation: Equation) -> Column:
    """The table of an equation over finite parents, which it may be too large to have made by itself."""
    if equation.table is not None:
        return equation.table.astype(np.int64)
    shape = equation.shape or ()
    columns = {p: d.grid(shape, i) for i, (p, d) in enumerate(equation.domains.items()) if isinstance(d, Finite)}
    return equation.evaluate(columns, prod(shape)).astype(np.int64).reshape(shape)


def cases_of(model: CausalModel) -> dict[str, Cases]:
    """The cases of each variable that a mechanism sets, in causal order: all combinations but those with the commonest value.

    Raises:
        NetworkError: as of `tables_of`, and for variables with too many cases.
    """
    sizes = sizes_of(model)
    tables = {v: (parents, table, _commonest(table)) for v, (parents, table) in tables_of(model).items()}
    check_units({v: int((table != most).sum()) for v, (_, table, most) in tables.items()}, model.name)
    return {v: _listed(parents, table, most, sizes[v]) for v, (parents, table, most) in tables.items()}


def check_units(units: Mapping[str, int], name: str) -> None:
    """Raise a NetworkError that lists the variables with too many cases."""
    problems = [
        f"{v!r} takes {n:,} units; at most {UNITS:,} are made, so give it fewer parents or values"
        for v, n in units.items()
        if n > UNITS
    ]
    check(problems, NetworkError, f"compiling {name!r}")


def _commonest(table: Column) -> int:
    return int(np.bincount(table.reshape(-1)).argmax())


def _listed(parents: Sequence[str], table: Column, otherwise: int, size: int) -> Cases:
    codes = table.reshape(-1)
    rows = np.flatnonzero(codes != otherwise)
    places = np.unravel_index(rows, table.shape) if parents else ()
    met = {p: place[:, None] == np.arange(n) for p, place, n in zip(parents, places, table.shape, strict=True)}
    return Cases(met, codes[rows], otherwise, size)
