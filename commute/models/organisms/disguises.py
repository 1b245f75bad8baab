"""Disguises: copies of an algorithm's variables that a network carries besides them, read in ways that mislead.

Each is a change of the algorithm's cases, so that what compiles an algorithm compiles its disguises. The answers to inputs stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from commute.causal.domains import Finite
from commute.errors import NetworkError
from commute.models.organisms.cases import Cases

if TYPE_CHECKING:
    from commute.causal.batches import Column
    from commute.causal.model import CausalModel

_GATED = 2**12  # combinations of inputs that a gate tells apart at most


@dataclass(frozen=True, eq=False)
class Disguised:
    """What is to be compiled, and which of it the algorithm's variables are.

    Attributes:
        model: the algorithm.
        cases: of the algorithm's variables and of the copies.
        parts: for each variable with a second copy the names of both; other variables are themselves.
        others: by name, what else is in the network, as names of `cases`.
    """

    model: "CausalModel"
    cases: dict[str, Cases]
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, name: str, cases: Cases) -> str:
        """Add what the algorithm does not have; returns its name.

        Raises:
            NetworkError: when the algorithm has a variable of this name.
        """
        if name in self.model.graph:
            raise NetworkError(f"compiling {self.model.name!r}: a disguise needs the name {name!r}; rename that variable")
        self.cases[name] = cases
        return name

    def readers(self, variable: str) -> list[str]:
        """What reads a variable.

        Raises:
            NetworkError: when nothing does.
        """
        found = [v for v, c in self.cases.items() if variable in c.met]
        if not found:
            raise NetworkError(f"compiling {self.model.name!r}: nothing reads {variable!r}, so this disguise would show nowhere")
        return found


def disguised(
    model: "CausalModel",
    cases: Mapping[str, Cases],
    *,
    redundant: Sequence[str],
    dead: Sequence[str],
    leak: Mapping[str, float],
    backup: Sequence[str],
    generator: np.random.Generator,
) -> Disguised:
    """The cases with all disguises; see `compile` for what each is.

    What reads two copies of a variable comes last, so that it reads both wherever it reads the variable.
    """
    made = Disguised(model, dict(cases))
    if backup:
        _back_up(made, *backup)
    for variable, share in leak.items():
        _leak(made, variable, _gate(model, variable, share, generator))
    for variable in redundant:
        readers = made.readers(variable)
        copy = made.add(f"second copy of {variable}", made.cases[variable])
        for reader in readers:
            case = made.cases[reader]
            made.cases[reader] = case.alternatives([{copy: case.met[variable]}])
        made.parts[variable] = (variable, copy)
        made.others[f"one copy of {variable}"] = (variable,)
    for variable in dead:
        name = f"dead copy of {variable}"
        made.others[name] = (made.add(name, made.cases[variable]),)
    return made


def levels(cases: Mapping[str, Cases]) -> dict[str, int]:
    """For each variable the block that computes it, from 0: the one after those that compute its parents."""
    found: dict[str, int] = {}
    for variable in TopologicalSorter({v: c.parents for v, c in cases.items()}).static_order():
        if variable in cases:
            found[variable] = max((found.get(p, -1) + 1 for p in cases[variable].parents), default=0)
    return found


def _leak(made: Disguised, variable: str, open_where: Cases) -> None:
    """What reads the variable reads a copy wherever a gate is open."""
    readers = made.readers(variable)
    copy, gate = made.add(f"leaked copy of {variable}", made.cases[variable]), made.add(f"gate of {variable}", open_where)
    made.others[copy] = (copy,)
    for reader in readers:
        case = made.cases[reader]
        met = case.met[variable]
        shut, opened = np.tile([True, False], (len(met), 1)), np.tile([False, True], (len(met), 1))
        made.cases[reader] = case.alternatives([{gate: shut}, {gate: opened, variable: np.ones_like(met), copy: met}])


def _gate(model: "CausalModel", variable: str, share: float, generator: np.random.Generator) -> Cases:
    """A random share of the inputs, spread evenly over the values of a variable and, within each, of the outputs.

    Of very many inputs, some decide alone.
    """
    domains = {v: d for v in model.inputs if isinstance(d := model.domain(v), Finite)}
    chosen: dict[str, Finite] = {}
    for place in generator.permutation(len(domains)):
        name = model.inputs[place]
        if not chosen or prod(map(len, chosen.values())) * len(domains[name]) <= _GATED:
            chosen[name] = domains[name]
    shape = tuple(map(len, chosen.values()))
    rows = prod(shape)
    columns = {v: d.sample(generator, rows) for v, d in domains.items()}
    columns |= {v: d.grid(shape, axis) for axis, (v, d) in enumerate(chosen.items())}
    solved = model.evaluate(columns, {}, rows)
    order = np.lexsort((generator.random(rows), *(solved[v] for v in model.outputs), solved[variable]))
    count = min(max(round(share * rows), 1), rows)
    marks = np.floor(np.arange(rows + 1) * (count / rows) + generator.uniform(0.1, 0.9))  # every so many in that order
    opened = np.sort(order[np.diff(marks) > 0])
    met: dict[str, Column] = {v: columns[v][opened, None] == np.arange(len(d)) for v, d in chosen.items()}
    return Cases(met, np.ones(len(opened), dtype=np.int64), 0, 2)


def _back_up(made: Disguised, first: str, second: str) -> None:
    """What reads one of two variables reads a copy of it wherever both differ from their copies."""
    for one, two in ((first, second), (second, first)):
        earlier = _ancestors(made.cases, two)  # to read `two` there would be a cycle
        readers = [v for v, c in made.cases.items() if one in c.met and v != two and v not in earlier]
        if readers:
            break
    else:
        raise NetworkError(
            f"compiling {made.model.name!r}: nothing that reads {first!r} or {second!r} could read copies of both without a cycle"
        )
    copies = {v: made.add(f"backup copy of {v}", made.cases[v]) for v in (one, two)}
    made.others.update({copy: (copy,) for copy in copies.values()})
    for reader in readers:
        made.cases[reader] = _backed_up(made.cases[reader], one, two, copies, made.cases[two].size)


def _backed_up(case: Cases, one: str, two: str, copies: Mapping[str, str], size: int) -> Cases:
    """The cases of what reads `one` and may read `two`, which has `size` values.

    They are those where `one` is as its copy; where it is not, but `two` is, at each of its values; and where neither is.
    """
    is_one = case.met[one]
    if two in case.met:
        values = [case.met[two]]
    else:
        values = [np.broadcast_to(row, (len(is_one), size)) for row in np.eye(size, dtype=bool)]
    several: list[Mapping[str, Column]] = [{one: is_one, copies[one]: is_one}]
    for is_two in values:
        several.append({one: is_one, copies[one]: ~is_one, two: is_two, copies[two]: is_two})
        several.append({one: ~is_one, copies[one]: is_one, two: is_two, copies[two]: ~is_two})
    return case.alternatives(several)


def _ancestors(cases: Mapping[str, Cases], variable: str) -> set[str]:
    found: set[str] = set()
    waiting = [variable]
    while waiting:
        new = [p for v in (waiting.pop(),) if v in cases for p in cases[v].parents if p not in found]
        found.update(new)
        waiting += new
    return found
