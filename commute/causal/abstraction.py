"""Deciding constructive abstraction between two causal models, one high-level variable at a time.

τ(Solve(L_i)) = Solve(H_ω(i)) for every input and every intervention i that sets whole cells (2301.04709) holds exactly when each
high-level variable is right with all other cells set to anything: then its low-level cell, solved from the others, must stand for
what its high-level mechanism says. So the settings of the cells around one variable are gone through, never pairs of settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.composed import Same
from commute.causal.domains import Domain, Finite, Interval, any_label
from commute.causal.equations import Equation, decoded
from commute.causal.grids import blocks, setting
from commute.causal.model import CausalModel
from commute.causal.tau import Tau

Status = Literal["holds", "refuted", "inconclusive"]
ENUMERATED = 2**28  # settings around one variable that are gone through at most; beyond, a solver is asked


@dataclass(frozen=True)
class Disagreement:
    """Two settings that should be one: what τ makes of a low-level run, and the high-level run that corresponds to it.

    Attributes:
        variable: the high-level variable in which they differ.
        do: the low-level intervention.
        low: the low-level setting under it.
        mapped: what `low` stands for.
        high: the high-level setting under the corresponding intervention.
    """

    variable: str
    do: Mapping[str, Any]
    low: Mapping[str, Any]
    mapped: Mapping[str, Any]
    high: Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """What was found about one high-level variable.

    Attributes:
        variable: the variable.
        status: `holds`, `refuted` or `inconclusive`.
        settings: how many low-level settings around it were gone through.
        wrong: how many of them the two models disagree on.
        says: in words.
        disagreement: where they disagree, if they do.
        solver: whether it was left to a solver.
    """

    variable: str
    status: Status
    settings: int
    wrong: int
    says: str
    disagreement: Disagreement | None = None
    solver: bool = False


@dataclass(frozen=True, eq=False)
class Around:
    """What there is around one high-level variable: what its low-level cell depends on, and the cells that it should depend on.

    Attributes:
        high: the model that abstracts.
        low: the model that is abstracted.
        tau: the map from its settings.
        variable: the high-level variable.
        cells: the other high-level variables that it or its cell reads from.
        fixed: low-level variables in those cells.
        free: low-level inputs outside of other cells.
    """

    high: CausalModel
    low: CausalModel
    tau: Tau
    variable: str
    cells: tuple[str, ...]
    fixed: tuple[str, ...]
    free: tuple[str, ...]

    @property
    def is_input(self) -> bool:
        """Whether the high-level variable is an input."""
        return self.variable in self.high.inputs

    @cached_property
    def domains(self) -> dict[str, Domain | None]:
        """The domains of the low-level variables that can take any value here."""
        return {v: self.low.known_domain(v) for v in (*self.free, *self.fixed)}

    @cached_property
    def finite(self) -> dict[str, Finite] | None:
        """The domains, where their combinations can be gone through."""
        known = {v: d for v, d in self.domains.items() if isinstance(d, Finite)}
        return known if len(known) == len(self.domains) and prod(map(len, known.values())) <= ENUMERATED else None

    @cached_property
    def readers(self) -> dict[str, Equation]:
        """For the variable and the other cells, the equation that reads its value from the cell (π)."""
        return {v: self.tau.equation(v, self.low) for v in (self.variable, *self.cells)}

    def read(self, variable: str, columns: Batch) -> Column:
        """What cells stand for, as codes of the high-level domain (-1 or NaN where it is outside), or labels if there is none."""
        reader = self.readers[variable]
        return _found(reader.evaluate(columns, rows_of(columns)), reader.domain, self.high.known_domain(variable))

    def mapped(self, columns: Batch) -> Column:
        """What the cell of the variable stands for when it is solved from the settings around it."""
        solved = self.low.evaluate({}, columns, rows_of(columns), self.tau.cell(self.variable))
        return self.read(self.variable, solved)

    def others(self, columns: Batch) -> tuple[Batch, Column]:
        """The values of the other cells, and on which settings all of them stand for one."""
        values = {v: self.read(v, columns) for v in self.cells}
        defined = [_defined(x, self.high.known_domain(v)) for v, x in values.items()]
        return values, np.logical_and.reduce([np.ones(rows_of(columns), dtype=bool), *defined])


def around(high: CausalModel, low: CausalModel, tau: Tau, variable: str) -> Around:
    """What there is around one high-level variable."""
    owner = {v: h for h in high.graph for v in tau.cell(h)}
    fixed: set[str] = set()
    free: set[str] = set()
    waiting, seen = list(tau.cell(variable)), set(tau.cell(variable))
    while waiting:
        v = waiting.pop()
        if owner.get(v, variable) != variable:
            fixed.add(v)
        elif v in low.inputs:
            free.add(v)
        else:
            waiting += set(low.equations[v].parents) - seen
            seen |= set(low.equations[v].parents)
    parents = () if variable in high.inputs else high.equations[variable].parents
    cells = tuple(h for h in high.graph if h in {owner[v] for v in fixed} | set(parents))
    fixed |= {v for h in cells for v in tau.cell(h)}
    free |= set() if fixed or free else {low.inputs[0]}  # what depends on nothing is seen in any setting
    ordered = [tuple(v for v in low.graph if v in part) for part in (fixed, free)]
    return Around(high, low, tau, variable, cells, *ordered)


def enumerated(a: Around, domains: Mapping[str, Finite]) -> Decision:
    """Go through every setting around one variable."""
    total = wrong = start = 0
    first = None
    reference = _reference(a, domains) if a.is_input else {}
    for columns in blocks(domains):
        values, defined = a.others(columns)
        rows = np.flatnonzero(defined)
        if a.is_input:
            expected = a.mapped({**columns, **{v: np.full_like(columns[v], code) for v, code in reference.items()}})[rows]
        else:
            expected = _high_answer(a, take(values, rows), len(rows))
        differs = a.mapped(columns)[rows] != expected
        total, wrong = total + len(rows), wrong + int(differs.sum())
        if first is None and differs.any():
            first = start + int(rows[np.argmax(differs)])
        start += len(defined)
    if first is None:
        return Decision(a.variable, "holds", total, 0, f"{a.variable!r} is right in all {total:,} settings of what it depends on")
    says = f"{a.variable!r} is wrong in {wrong:,} of {total:,} settings of what it depends on"
    held = {v: domains[v].values[code] for v, code in reference.items()}
    return Decision(a.variable, "refuted", total, wrong, says, disagreement(a, setting(domains, first), held))


def is_onto(a: Around) -> Decision | None:
    """Whether the variable's cell stands for each of its values, decided without a solver; None where that cannot be told so.

    Without it τ is no map onto the high-level settings, which constructive abstraction asks for.
    """
    domain = a.high.known_domain(a.variable)
    low = {v: a.low.known_domain(v) for v in a.tau.cell(a.variable)}
    cell = {v: d for v, d in low.items() if isinstance(d, Finite)}
    if domain is None or (isinstance(a.tau.parts[a.variable], Same) and [*low.values()] == [domain]):
        return onto(a)
    if len(cell) < len(low) or prod(map(len, cell.values())) > ENUMERATED:
        return None
    if isinstance(domain, Interval):
        return missed(a, _between(np.unique(np.concatenate([a.read(a.variable, x) for x in blocks(cell)])), domain))
    met = np.zeros(len(domain) + 1, dtype=bool)  # the last place is for what is outside of the domain
    for columns in blocks(cell):
        met[a.read(a.variable, columns)] = True
    return onto(a) if met[:-1].all() else missed(a, domain.values[int(np.argmin(met[:-1]))])


def onto(a: Around) -> Decision:
    """That every value of the variable is reached."""
    return Decision(a.variable, "holds", 0, 0, f"every value of {a.variable!r} is reached")


def missed(a: Around, value: Any) -> Decision:
    """That a value of the variable is not reached."""
    says = f"no low-level setting stands for {a.variable}={value!r}; leave values that do not occur out of its domain"
    return Decision(a.variable, "refuted", 0, 0, says)


def _between(values: Column, domain: Interval) -> float:
    """A number of the interval that is not among finitely many."""
    inner = np.array([domain.low, *values[~np.isnan(values)], domain.high])
    place = int(np.argmax(np.diff(inner)))
    return float(inner[place] + (inner[place + 1] - inner[place]) / 2)


def disagreement(a: Around, found: Mapping[str, Any], reference: Mapping[str, Any]) -> Disagreement | None:
    """The two whole settings that differ, given labels of the variables around one; None where they do not differ after all.

    For an input of the high-level model, `reference` are labels of the other cells' variables that give it another value.
    """
    inputs = {v: {**found, **reference}.get(v, any_label(a.low.domain(v))) for v in a.low.inputs}
    before = a.tau(a.low.solve(inputs))
    for do in ({v: found[v] for v in a.fixed if a.is_input or v not in a.low.inputs}, reference):
        low = a.low.solve(inputs, do)
        mapped = a.tau(low)
        given = {v: before[v] if v == a.variable else mapped[v] for v in a.high.inputs}
        given = {v: x if x in a.high.domain(v) else any_label(a.high.domain(v)) for v, x in given.items()}
        high = a.high.solve(given, {v: mapped[v] for v in a.cells if v not in a.high.inputs})
        if mapped[a.variable] != high[a.variable]:
            return Disagreement(a.variable, do, low, mapped, high)
    return None


def _high_answer(a: Around, values: Batch, rows: int) -> Column:
    equation = a.high.equations[a.variable]
    coded = {v: x.astype(d.code_type) if isinstance(d := a.high.known_domain(v), Finite) else x for v, x in values.items()}
    return equation.evaluate(coded, rows)


def _reference(a: Around, domains: Mapping[str, Finite]) -> dict[str, int]:
    """The first codes of the other cells' variables for which all of them stand for a value."""
    for columns in blocks({v: domains[v] for v in a.fixed}):
        rows = np.flatnonzero(a.others(columns)[1])
        if len(rows):
            return {v: int(x[rows[0]]) for v, x in columns.items()}
    return dict.fromkeys(a.fixed, 0)  # then nothing is compared


def _found(values: Column, own: Domain | None, domain: Domain | None) -> Column:
    if isinstance(own, Finite) and domain is not None:
        return domain.find(own.decode(np.arange(len(own))))[values]
    labels = decoded(values, own)
    return labels if domain is None else domain.find(labels)


def _defined(found: Column, domain: Domain | None) -> Column:
    if isinstance(domain, Finite):
        return found >= 0
    return ~np.isnan(found) if isinstance(domain, Interval) else np.ones(len(found), dtype=bool)
