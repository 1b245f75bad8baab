"""What can be wrong with the graph of a causal model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from commute.causal.domains import Domain, Finite, Interval
from commute.causal.mechanisms import named_mechanisms, parents_of
from commute.errors import unknown

if TYPE_CHECKING:
    import networkx as nx


def structure_problems(
    inputs: Mapping[str, Domain],
    parents: Mapping[str, Iterable[str]],
    outputs: Sequence[str] | None,
    domains: Mapping[str, Domain],
) -> list[str]:
    """Say what is wrong with the names, domains and graph of a model."""
    variables = [*inputs, *(v for v in parents if v not in inputs)]
    problems = [f"the name of a variable is a text; given {v!r}" for v in inputs if not isinstance(v, str)]
    problems += [
        f"the domain of {v!r} must be a Finite or an Interval; given {d!r}"
        for v, d in {**inputs, **domains}.items()
        if not isinstance(d, (Finite, Interval))
    ]
    problems += [f"{v!r} is an input and has a mechanism; it must be one or the other" for v in parents if v in inputs]
    problems += [
        f"the mechanism of {v!r}: {unknown('variable', p, [x for x in variables if x != v])}"
        for v in parents
        for p in parents[v]
        if p not in variables
    ]
    problems += [unknown("variable", v, variables) + " (outputs)" for v in outputs or () if v not in variables]
    problems += [unknown("mechanism", v, parents) + " (domains)" for v in domains if v not in parents]
    if not parents:
        problems.append("there is no mechanism; a model needs at least one")
    problems += [f"{v!r} is listed twice in outputs" for i, v in enumerate(outputs or ()) if v in list(outputs or ())[:i]]
    if outputs is not None and not outputs:
        problems.append("outputs is empty; name at least one variable")
    from networkx import DiGraph, find_cycle, is_directed_acyclic_graph

    graph = DiGraph((p, v) for v in parents for p in parents[v])
    if not is_directed_acyclic_graph(graph):
        cycle = [edge[0] for edge in find_cycle(graph)]
        problems.append(f"there is a cycle: {' -> '.join([*cycle, cycle[0]])}")
    return problems


def differences(graph: "nx.DiGraph", mechanisms: Mapping[str, Any], known: Mapping[str, Domain]) -> list[str]:
    """Say where a graph and the mechanisms of its variables differ; `known` are the domains that it carries."""
    functions, problems = named_mechanisms(mechanisms)
    problems += [unknown("variable in the graph", v, graph) for v in mechanisms if v not in graph]
    for variable in graph:
        drawn = set(graph.predecessors(variable))
        if variable in functions:
            named = set(parents_of(variable, functions[variable], graph)[0])
            if named != drawn:
                problems.append(f"{variable!r} has parents {sorted(drawn)} in the graph, {sorted(named)} in its mechanism")
        elif variable not in mechanisms and drawn:
            problems.append(f"{variable!r} has parents {sorted(drawn)} in the graph but no mechanism")
        elif variable not in mechanisms and variable not in known:
            problems.append(f"the input {variable!r} needs a domain: graph.add_node({variable!r}, domain=…)")
    return problems
