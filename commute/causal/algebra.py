"""The algebra of abstraction: simpler models, each with the map τ under which it abstracts the first (2301.04709)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from commute.causal.composed import Component, Joint, Same, chained, composed, named
from commute.causal.domains import Domain, Finite
from commute.causal.mechanisms import Mechanism
from commute.causal.model import CausalModel
from commute.causal.tau import Tau
from commute.errors import ModelError, check, unknown

_JOINT_VALUES = 2**20  # values of a merged variable at most


def marginalize(model: CausalModel, variables: Iterable[str]) -> tuple[CausalModel, Tau]:
    """The model without some variables: their children read what they read.

    Raises:
        ModelError: for unknown variables and inputs, or when no output is left.
    """
    gone = listed(variables)
    problems = [unknown("variable", v, model.graph) for v in gone if v not in model.graph]
    problems += [f"{v!r} is an input; its value comes from outside, so it cannot be left out" for v in gone if v in model.inputs]
    if not problems and set(model.outputs) <= set(gone):
        problems.append("no output would be left")
    check(problems, ModelError, f"marginalizing variables of {model.name!r}")
    inner = {v: named(e) for v, e in model.equations.items() if v in gone}
    mechanisms = {v: chained(named(e), inner) for v, e in model.equations.items() if v not in gone}
    name = f"{model.name} without {', '.join(gone)}" if gone else model.name
    made = remade(model, mechanisms, name=name, outputs=[v for v in model.outputs if v not in gone])
    return made, Tau({v: Same(v) for v in made.graph})


def merge_variables(model: CausalModel, merged: Mapping[str, Sequence[str]]) -> tuple[CausalModel, Tau]:
    """The model with each set of variables in `merged` replaced by one variable, whose values are tuples.

    Raises:
        ModelError: for unknown or repeated variables, a name in use, inputs merged with other variables, domains that are not
            finite, or a merge that makes the graph cyclic.
    """
    cells = {new: listed(old) for new, old in mapping(merged).items()}
    _check_cells(model, cells)
    cell_of = {v: new for new, old in cells.items() for v in old}
    domains = {new: _joint(model, old) for new, old in cells.items()}
    component = {v: Component(new, i) for new, old in cells.items() for i, v in enumerate(old)}
    within: dict[str, dict[str, Mechanism]] = {new: {} for new in cells}  # each member by what is outside of its cell
    mechanisms: dict[str, Mechanism] = {}
    for variable, equation in model.equations.items():
        new = cell_of.get(variable)
        outside = {v: c for v, c in component.items() if new is None or cell_of[v] != new}
        mechanism = composed(named(equation), outside)
        if new is None:
            mechanisms[variable] = mechanism
            continue
        within[new][variable] = mechanism
        if len(within[new]) == len(cells[new]):
            mechanisms[new] = chained(Joint(tuple(cells[new])), within[new])
    inputs = {new: domains[new] if new in domains else model.domain(new) for new in (cell_of.get(v, v) for v in model.inputs)}
    outputs = list(dict.fromkeys(cell_of.get(v, v) for v in model.outputs))
    name = f"{model.name} with {', '.join(cells)} merged" if cells else model.name
    made = remade(model, mechanisms, name=name, inputs=inputs, outputs=outputs, domains=domains)
    return made, Tau({v: Joint(tuple(cells[v])) if v in cells else Same(v) for v in made.graph})


def rename(model: CausalModel, names: Mapping[str, str]) -> tuple[CausalModel, Tau]:
    """The model with variables under other names.

    Raises:
        ModelError: for unknown variables and names that would occur twice.
    """
    new = {v: mapping(names).get(v, v) for v in model.graph}
    problems = [f"the name of a variable is a text; given {v!r}" for v in new.values() if not isinstance(v, str)]
    check(problems, ModelError, f"renaming variables of {model.name!r}")
    problems = [unknown("variable", v, model.graph) for v in names if v not in model.graph]
    problems += [f"there would be two variables {v!r}" for v in dict.fromkeys(new.values()) if [*new.values()].count(v) > 1]
    check(problems, ModelError, f"renaming variables of {model.name!r}")
    read = {v: Same(new[v]) for v in model.graph if new[v] != v}
    made = remade(
        model,
        {new[v]: composed(named(e), read) for v, e in model.equations.items()},
        inputs={new[v]: model.domain(v) for v in model.inputs},
        outputs=[new[v] for v in model.outputs],
        domains={new[v]: d for v in model.equations if (d := model.known_domain(v)) is not None},
    )
    return made, Tau({new[v]: Same(v) for v in model.graph})


def remade(
    model: CausalModel,
    mechanisms: Mapping[str, Mechanism],
    *,
    name: str | None = None,
    inputs: Mapping[str, Domain] | None = None,
    outputs: Sequence[str] | None = None,
    domains: Mapping[str, Domain] | None = None,
) -> CausalModel:
    """A model with new mechanisms; what is not given stays, and so do the domains of variables that have a mechanism still."""
    known = {v: d for v in mechanisms if v in model.graph and (d := model.known_domain(v)) is not None}
    return CausalModel(
        name or model.name,
        {v: model.domain(v) for v in model.inputs} if inputs is None else inputs,
        mechanisms,
        model.outputs if outputs is None else outputs,
        {**known, **{v: d for v, d in (domains or {}).items() if v in mechanisms}},
    )


def listed(variables: Iterable[str]) -> list[str]:
    """Variables as a list."""
    if isinstance(variables, str) or not isinstance(variables, Iterable):
        raise ModelError(f"variables are a list of names; given {variables!r}")
    return list(variables)


def mapping(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What maps variables, as it is."""
    if not isinstance(given, Mapping) or not all(isinstance(v, str) for v in given):
        raise ModelError(f"what becomes of variables is a mapping from their names; given {given!r}")
    return given


def _joint(model: CausalModel, variables: Sequence[str]) -> Finite:
    """The tuples of the variables' values."""
    return Finite(product(*(d.values for v in variables if isinstance(d := model.domain(v), Finite))))


def _check_cells(model: CausalModel, cells: Mapping[str, Sequence[str]]) -> None:
    """Raise a ModelError that lists why the variables cannot be merged so."""
    members = [v for old in cells.values() for v in old]
    problems = [unknown("variable", v, model.graph) for v in members if v not in model.graph]
    problems += [f"{v!r} is merged twice" for v in dict.fromkeys(members) if members.count(v) > 1]
    problems += [f"{new!r} merges no variables" for new, old in cells.items() if not old]
    problems += [f"the name {new!r} is in use" for new in cells if new in model.graph and new not in cells[new]]
    check(problems, ModelError, f"merging variables of {model.name!r}")
    for new, old in cells.items():
        domains = {v: model.known_domain(v) for v in old}
        endless = [v for v, d in domains.items() if not isinstance(d, Finite)]
        if endless:
            problems.append(f"{new!r} needs finite domains, which {endless} lack")
        elif prod(len(d) for d in domains.values() if isinstance(d, Finite)) > _JOINT_VALUES:
            problems.append(f"{new!r} would have more than {_JOINT_VALUES:,} values")
        if len({v in model.inputs for v in old}) > 1:
            problems.append(f"{new!r} merges inputs with variables that mechanisms set")
    cell_of = {v: new for new, old in cells.items() for v in old}
    from networkx import DiGraph, find_cycle, is_directed_acyclic_graph, selfloop_edges

    graph = DiGraph((cell_of.get(p, p), cell_of.get(v, v)) for p, v in model.graph.edges)
    graph.remove_edges_from(list(selfloop_edges(graph)))
    if not is_directed_acyclic_graph(graph):
        cycle = [edge[0] for edge in find_cycle(graph)]
        problems.append(f"the merge makes a cycle: {' -> '.join([*cycle, cycle[0]])}; merge what lies between as well")
    check(problems, ModelError, f"merging variables of {model.name!r}")
