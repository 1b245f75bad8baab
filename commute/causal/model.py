"""Causal models: the algorithm that a network is believed to run, as a graph with mechanisms."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from commute.causal.batches import Batch, as_column, is_batch
from commute.causal.domains import Domain, Finite, Interval
from commute.causal.mechanisms import (
    Equation,
    Mechanism,
    Table,
    decoded,
    named_mechanisms,
    parents_of,
    tabulated,
)
from commute.errors import ModelError, check, unknown

Setting = Mapping[str, Any]  # a value for each variable: one label, or for a batch an array [batch]


class CausalModel:
    """Variables, each an input or set by a mechanism from its parents (a deterministic acyclic causal model, 2301.04709).

    Args:
        name: what the algorithm is called.
        inputs: the input variables and their domains, in order.
        mechanisms: functions, whose name is the variable and whose parameters are its parents, and mappings from a variable's
            name to such a function.
        outputs: the variables that a network's behaviour is compared on; the ones without children if not given.
        domains: domains of variables that mechanisms set. A finite domain is found by itself where the parents are finite and
            have at most 2**17 combinations of values.

    Raises:
        ModelError: listing every problem of the model: unknown parents, cycles, names used twice, a mechanism that raises or
            leaves its domain.
    """

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Domain],
        mechanisms: Sequence[Mechanism | Mapping[str, Mechanism]] | Mapping[str, Mechanism],
        outputs: Sequence[str] | None = None,
        domains: Mapping[str, Domain] | None = None,
    ) -> None:
        if not isinstance(inputs, Mapping) or not inputs:
            raise ModelError(f"the causal model {name!r}: inputs maps the name of each input to its domain; given {inputs!r}")
        functions, problems = named_mechanisms(mechanisms)
        parents: dict[str, tuple[str, ...]] = {}
        for variable, function in functions.items():
            parents[variable], wrong = parents_of(variable, function, {*inputs, *functions})
            problems += wrong
        problems += _structure_problems(inputs, parents, outputs, domains or {})
        check(problems, ModelError, f"the causal model {name!r}")

        self.name = name
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(inputs)
        self.graph.add_nodes_from(functions)
        self.graph.add_edges_from((p, v) for v in functions for p in parents[v])
        self.inputs = tuple(inputs)
        sinks = tuple(v for v in functions if not self.graph.out_degree(v))
        self.outputs = sinks if outputs is None else tuple(outputs)
        self.internal = tuple(v for v in functions if v not in self.outputs)
        self._functions = functions
        self._declared = dict(domains or {})
        self._domains: dict[str, Domain | None] = {**dict.fromkeys(functions), **inputs, **(domains or {})}
        self._equations = self._tabulate(parents)

    def _tabulate(self, parents: Mapping[str, tuple[str, ...]]) -> dict[str, Equation]:
        """The equations in causal order; fills in the domains that tables reveal."""
        equations: dict[str, Equation] = {}
        problems: list[str] = []
        broken: set[str] = set()  # what follows a broken mechanism cannot be judged
        for variable in nx.lexicographical_topological_sort(self.graph, key=list(self.graph).index):
            if variable in self.inputs:
                continue
            near = {v: self._domains[v] for v in (*parents[variable], variable)}
            equation = Equation(variable, self._functions[variable], parents[variable], near)
            if broken.isdisjoint(parents[variable]):
                try:
                    equation = tabulated(equation)
                except ModelError as error:
                    problems.append(str(error))
                    broken.add(variable)
            else:
                broken.add(variable)
            equations[variable] = equation
            self._domains[variable] = equation.domains[variable]
        check(problems, ModelError, f"the causal model {self.name!r}")
        return equations

    @classmethod
    def from_graph(
        cls,
        graph: nx.DiGraph,
        mechanisms: Mapping[str, Mechanism],
        *,
        name: str | None = None,
        outputs: Sequence[str] | None = None,
    ) -> "CausalModel":
        """The model on an existing graph, whose variables carry their domains as the node attribute `domain`.

        Variables without a mechanism are the inputs and need a domain. Each mechanism's parameters must be its parents in the
        graph.

        Raises:
            ModelError: listing every edge or domain on which the graph and the mechanisms differ.
        """
        name = name or graph.name or "model"
        problems = [unknown("variable in the graph", v, graph) for v in mechanisms if v not in graph]
        known: dict[str, Domain] = {v: d for v, d in graph.nodes(data="domain") if d is not None}
        for variable in graph:
            drawn = set(graph.predecessors(variable))
            if variable not in mechanisms:
                if drawn:
                    problems.append(f"{variable!r} has parents {sorted(drawn)} in the graph but no mechanism")
                elif variable not in known:
                    problems.append(f"the input {variable!r} needs a domain: graph.add_node({variable!r}, domain=…)")
                continue
            named = set(parents_of(variable, mechanisms[variable], graph)[0])
            if named != drawn:
                problems.append(f"{variable!r} has parents {sorted(drawn)} in the graph, {sorted(named)} in its mechanism")
        check(problems, ModelError, f"the causal model {name!r}")
        inputs = {v: known[v] for v in graph if v not in mechanisms}
        internal = {v: d for v, d in known.items() if v in mechanisms}
        return cls(name, inputs, {v: mechanisms[v] for v in graph if v in mechanisms}, outputs, internal)

    def __repr__(self) -> str:
        sides = [", ".join(side) for side in (self.inputs, self.internal, self.outputs) if side]
        return f"CausalModel({self.name!r}: {' -> '.join(sides)})"

    @property
    def equations(self) -> Mapping[str, Equation]:
        """The equation of each variable that a mechanism sets, in causal order."""
        return self._equations

    def known_domain(self, variable: str) -> Domain | None:
        """The domain of a variable, or None where none was declared and none could be found by tabulating."""
        if variable not in self._domains:
            raise ModelError(f"the causal model {self.name!r}: {unknown('variable', variable, self._domains)}")
        return self._domains[variable]

    def domain(self, variable: str) -> Domain:
        """The domain of a variable.

        Raises:
            ModelError: when the variable is unknown, or its domain was not declared and is not found by tabulating.
        """
        domain = self.known_domain(variable)
        if domain is None:
            raise ModelError(f"the domain of {variable!r} is not known; give it as domains={{{variable!r}: Finite(…)}}")
        return domain

    def solve(self, inputs: Setting, do: Setting | None = None) -> dict[str, Any]:
        """The value of every variable given the inputs, with the variables in `do` set instead of computed.

        Args:
            inputs: one setting (a label for each input) or a batch (an array or list [batch] for each input).
            do: for a variable a value, an array [batch] of values, or a function that receives the variable's old mechanism
                and returns a new one (a soft intervention).

        Returns:
            One label a variable for a setting, one array [batch] a variable for a batch.

        Raises:
            ModelError: listing every unknown or missing variable and value outside its domain.
        """
        hard, soft = _split(do or {})
        if soft:
            return self._softened(soft, hard).solve(inputs, hard)
        columns, rows, single = self.columns(inputs, hard)
        fixed = {v: columns[v] for v in hard}
        given = {v: columns[v] for v in self.inputs}
        return self.labels(self.evaluate(given, fixed, rows), single=single)

    def interchange(self, base: Setting, sources: Mapping[str, Setting]) -> dict[str, Any]:
        """Solve for `base` with each variable of `sources` set to the value that it takes for its own source.

        This is the interchange intervention of 2301.04709, for several sources at once. `base` and each source are one setting
        or batches of the same length; shapes and errors are those of `solve`.
        """
        for variable in sources:
            self.known_domain(variable)
        return self.solve(base, {v: self.solve(source)[v] for v, source in sources.items()})

    def _softened(self, soft: Mapping[str, Callable[[Mechanism], Mechanism]], hard: Iterable[str]) -> "CausalModel":
        """The model with soft interventions made; the variables that are set as well become constants of their old domain."""
        wrong = [unknown("mechanism", v, self._functions) for v in soft if v not in self._functions]
        check(wrong, ModelError, f"an intervention on the causal model {self.name!r}")
        finite = {v: d for v in hard if v in self._functions and isinstance(d := self._domains.get(v), Finite)}
        cut: dict[str, Mechanism] = {v: Table({}, np.zeros((), dtype=np.int64), d) for v, d in finite.items()}
        domains = {**self._declared, **finite}
        mechanisms = {**self._functions, **{v: change(self._functions[v]) for v, change in soft.items()}, **cut}
        return CausalModel(self.name, {v: self.domain(v) for v in self.inputs}, mechanisms, self.outputs, domains)

    def extended(self, mechanisms: Mapping[str, Mechanism]) -> "CausalModel":
        """The same model with mechanisms added or replaced; its outputs stay.

        Raises:
            ModelError: as for a new model.
        """
        inputs = {v: self.domain(v) for v in self.inputs}
        return CausalModel(self.name, inputs, {**self._functions, **mechanisms}, self.outputs, self._declared)

    # The functions below work on columns: codes of finite variables, values of the others.

    def columns(self, inputs: Setting, do: Setting | None = None) -> tuple[Batch, int, bool]:
        """The columns of `inputs` and `do`, the number of rows, and whether it was one setting and not a batch."""
        do = do or {}
        problems = [f"the input {v!r} is missing" for v in self.inputs if v not in inputs and v not in do]
        problems += [unknown("input", v, self.inputs) for v in inputs if v not in self.inputs]
        problems += [unknown("variable", v, self._domains) for v in do if v not in self._domains]
        check(problems, ModelError, f"a setting of the causal model {self.name!r}")
        given = {**inputs, **do}
        batches = {v: as_column(x) for v, x in given.items() if is_batch(x)}
        lengths = {v: len(x) for v, x in batches.items()}
        if len(set(lengths.values())) > 1:
            raise ModelError(f"the arrays of a batch must have one length; given {lengths}")
        rows = next(iter(lengths.values()), 1)
        columns: Batch = {}
        for variable, value in given.items():
            if batches and variable in inputs and variable not in batches:
                problems.append(f"the input {variable!r} is one label and others are arrays; repeat it for each row")
                continue
            column = batches[variable] if variable in batches else as_column([value])
            domain = self._domains[variable]
            try:
                encoded = column if domain is None else domain.encode(column)
                columns[variable] = encoded if variable in batches else np.broadcast_to(encoded, (rows,))
            except ModelError as error:
                problems.append(f"{variable!r}: {error}")
        check(problems, ModelError, f"a setting of the causal model {self.name!r}")
        return columns, rows, not batches

    def evaluate(self, given: Batch, fixed: Batch, rows: int) -> Batch:
        """Every variable's column from the inputs' columns, with the columns in `fixed` in place of computed ones."""
        columns = {**given, **fixed}
        for variable, equation in self._equations.items():
            if variable not in fixed:
                columns[variable] = equation.evaluate(columns, rows)
        return columns

    def labels(self, columns: Batch, *, single: bool = False) -> dict[str, Any]:
        """The labels of columns, in the model's order: arrays [batch], or plain labels for a single setting."""
        ordered = {v: decoded(columns[v], self._domains[v]) for v in self.graph if v in columns}
        return {v: column.tolist()[0] for v, column in ordered.items()} if single else ordered


def _split(do: Setting) -> tuple[dict[str, Any], dict[str, Callable[[Mechanism], Mechanism]]]:
    """Separate the hard interventions of a `do` from the soft ones."""
    soft = {v: x for v, x in do.items() if callable(x)}
    return {v: x for v, x in do.items() if v not in soft}, soft


def _structure_problems(
    inputs: Mapping[str, Domain],
    parents: Mapping[str, Iterable[str]],
    outputs: Sequence[str] | None,
    domains: Mapping[str, Domain],
) -> list[str]:
    variables = [*inputs, *(v for v in parents if v not in inputs)]
    problems = [
        f"the domain of {v!r} must be a Finite or an Interval; given {d!r}"
        for v, d in {**inputs, **domains}.items()
        if not isinstance(d, (Finite, Interval))
    ]
    problems += [f"{v!r} is an input and has a mechanism; it must be one or the other" for v in parents if v in inputs]
    problems += [
        f"the mechanism of {v!r}: {unknown('variable', p, variables)}" for v in parents for p in parents[v] if p not in variables
    ]
    problems += [unknown("variable", v, variables) + " (outputs)" for v in outputs or () if v not in variables]
    problems += [unknown("mechanism", v, parents) + " (domains)" for v in domains if v not in parents]
    if not parents:
        problems.append("there is no mechanism; a model needs at least one")
    if outputs is not None and not outputs:
        problems.append("outputs is empty; name at least one variable")
    graph = nx.DiGraph((p, v) for v in parents for p in parents[v])
    if not nx.is_directed_acyclic_graph(graph):
        cycle = [edge[0] for edge in nx.find_cycle(graph)]
        problems.append(f"there is a cycle: {' -> '.join([*cycle, cycle[0]])}")
    return problems
