"""Causal models: the algorithm that a network is believed to run, as a graph with mechanisms."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from commute.causal.batches import BLOCK, Batch, Column, joined
from commute.causal.coding import coded, encoded
from commute.causal.domains import Domain, Finite, any_label
from commute.causal.equations import Equation, decoded
from commute.causal.interventions import Setting, Source, Target, shown, unknown_targets, variable_of
from commute.causal.mechanisms import Constant, Mechanism, named_mechanisms, parents_of
from commute.causal.structure import differences, structure_problems
from commute.errors import ModelError, check, unknown

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes

    from commute.causal.drawing import Do
    from commute.causal.tau import Tau

_CHECKED_AT_ONCE = 2**12  # combinations of the parents' values up to which a mechanism is tabulated when its model is made


class CausalModel:
    """Variables, each an input or set by a mechanism from its parents (a deterministic acyclic causal model, 2301.04709).

    Args:
        name: what the algorithm is called.
        inputs: the input variables and their domains, in order.
        mechanisms: functions, whose name is the variable and whose parameters are its parents, and mappings from a variable's
            name to such a function, to a sympy expression whose free symbols are the parents, or to a `Table`.
        outputs: the variables that a network's behaviour is compared on; the ones without children if not given.
        domains: domains of variables that mechanisms set. A finite domain is found by itself where the parents are finite and
            have at most 2**17 combinations of values.

    Mechanisms are compiled to tables when they are first needed, small ones at once.

    Raises:
        ModelError: listing every problem of the model: unknown parents, cycles, names used twice, a mechanism that raises or
            leaves its domain.
    """

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Domain],
        mechanisms: Sequence[Mechanism | Mapping[str, Any]] | Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        domains: Mapping[str, Domain] | None = None,
    ) -> None:
        if not isinstance(inputs, Mapping) or not inputs:
            raise ModelError(f"the causal model {name!r}: inputs maps the name of each input to its domain; given {inputs!r}")
        if isinstance(outputs, str) or not isinstance(outputs, (Sequence, type(None))):
            raise ModelError(f"the causal model {name!r}: outputs is a list of names; given {outputs!r}")
        if not isinstance(domains, (Mapping, type(None))):
            raise ModelError(f"the causal model {name!r}: domains maps variables to domains; given {domains!r}")
        functions, problems = named_mechanisms(mechanisms)
        self._build(name, inputs, functions, outputs, domains or {}, problems, {})

    def _build(
        self,
        name: str,
        inputs: Mapping[str, Domain],
        functions: Mapping[str, Mechanism],
        outputs: Sequence[str] | None,
        domains: Mapping[str, Domain],
        problems: list[str],
        known: Mapping[str, Equation],
    ) -> None:
        """Make the model; equations among `known` that are still the same are kept, with what they have compiled."""
        import networkx as nx  # takes its time to import

        parents: dict[str, tuple[str, ...]] = {}
        for variable, function in functions.items():
            parents[variable], wrong = parents_of(variable, function, {*inputs, *functions})
            problems += wrong
        problems += structure_problems(inputs, parents, outputs, domains)
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
        self._functions = dict(functions)
        self._given = dict(inputs)
        self._declared = dict(domains)
        self._equations = self._linked(parents, known)
        self._check_small()

    def _linked(self, parents: Mapping[str, tuple[str, ...]], known: Mapping[str, Equation]) -> dict[str, Equation]:
        """The equations in causal order, each holding on to those of its parents."""
        from networkx import lexicographical_topological_sort

        equations: dict[str, Equation] = {}
        order = {v: i for i, v in enumerate(self.graph)}
        for variable in lexicographical_topological_sort(self.graph, key=order.__getitem__):
            if variable in self._given:
                continue
            near = {p: equations[p] if p in equations else self._given[p] for p in parents[variable]}
            fresh = Equation(variable, self._functions[variable], near, self._declared.get(variable))
            old = known.get(variable)
            equations[variable] = old if old is not None and old.is_same(fresh) else fresh
        return equations

    def _check_small(self) -> None:
        """Tabulate what is small, so that mistakes in it show when the model is made."""
        problems: list[str] = []
        unjudged: set[str] = set()  # variables whose domain cannot be told without the work that is put off, or at all
        for variable, equation in self._equations.items():
            small = unjudged.isdisjoint(equation.parents) and prod(equation.shape or ()) <= _CHECKED_AT_ONCE
            try:
                _ = equation.table if small else None
            except ModelError as error:
                problems.append(str(error))
                small = False
            if not small and equation.declared is None:
                unjudged.add(variable)
        check(problems, ModelError, f"the causal model {self.name!r}")

    @classmethod
    def from_graph(
        cls,
        graph: "nx.DiGraph",
        mechanisms: Mapping[str, Any],
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
        from networkx import DiGraph

        if not isinstance(graph, DiGraph) or not isinstance(mechanisms, Mapping):
            raise ModelError(f"from_graph takes a networkx.DiGraph and a mapping of mechanisms; given {graph!r}, {mechanisms!r}")
        name = name or graph.name or "model"
        known: dict[str, Domain] = {v: d for v, d in graph.nodes(data="domain") if d is not None}
        problems = differences(graph, mechanisms, known)
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
        if variable not in self.graph:
            raise ModelError(f"the causal model {self.name!r}: {unknown('variable', variable, self.graph)}")
        return self._given[variable] if variable in self._given else self._equations[variable].domain

    def domain(self, variable: str) -> Domain:
        """The domain of a variable.

        Raises:
            ModelError: when the variable is unknown, or its domain was not declared and is not found by tabulating.
        """
        domain = self.known_domain(variable)
        if domain is None:
            raise ModelError(f"the domain of {variable!r} is not known; give it as domains={{{variable!r}: Finite(…)}}")
        return domain

    def solve(self, inputs: Setting, do: Mapping[Any, Any] | None = None, *, only: Sequence[str] | None = None) -> dict[str, Any]:
        """The value of every variable given the inputs, with the variables in `do` set instead of computed.

        Args:
            inputs: one setting (a label for each input) or a batch (an array or list [batch] for each input).
            do: for a variable a value, an array [batch] of values, or a function that receives the variable's old mechanism
                and returns a new one (a soft intervention). For an edge `(variable, child)` a value or an array: what that child
                alone sees of the variable.
            only: the variables to return; others are not decoded, nor computed where they are not needed.

        Returns:
            One label a variable for a setting, one array [batch] a variable for a batch.

        Raises:
            ModelError: listing every unknown or missing variable and value outside its domain.
        """
        return self._answered(Source(inputs, do or {}), only)

    def interchange(
        self, base: Setting, sources: "Mapping[Any, Setting | Source]", *, only: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Solve for `base` with each variable of `sources` set to the value that it takes for its own source.

        This is the interchange intervention of 2301.04709, for several sources at once. Base and sources are settings or batches
        of one length; a source that is one setting serves every row. A source may be a `Source`, a run that is itself intervened
        on; an edge `(variable, child)` in place of a variable exchanges only what that child sees. Errors are those of `solve`.
        """
        return self._answered(Source(base, sources=sources), only)

    def _answered(self, run: Source, only: Sequence[str] | None) -> dict[str, Any]:
        """The labels of a run; a long batch is solved in blocks, whose columns stay in a processor's cache."""
        lengths = run.lengths
        if len(lengths) == 1 and max(lengths) > BLOCK:
            try:
                starts = range(0, max(lengths), BLOCK)
                parts = [self._solved(run.rows(slice(i, i + BLOCK)), only).labels(only) for i in starts]
                return {v: joined([part[v] for part in parts]) for v in parts[0]}
            except ModelError:  # told again below, where rows are counted from the beginning
                pass
        return self._solved(run, only).labels(only)

    def _solved(self, run: Source, wanted: Sequence[str] | None = None) -> "_Solved":
        """A run, as far as the wanted variables need it."""
        problems = [f"variables are given as a list of names; given {wanted!r}"] if isinstance(wanted, str) else []
        problems += [f"{shown(t)} is both set and interchanged" for t in run.sources if t in run.do]
        problems += unknown_targets(self.graph, [*run.do, *run.sources, *(wanted or ())])
        soft = {t: x for t, x in run.do.items() if callable(x)}
        problems += [f"a function changes a mechanism, but {shown(t)} is none" for t in soft if t not in self._functions]
        check(problems, ModelError, f"an intervention on the causal model {self.name!r}")
        hard = {t: x for t, x in run.do.items() if t not in soft}
        model = self._softened(soft, [*hard, *run.sources]) if soft else self
        taken = {}
        for target, source in run.sources.items():
            seen = variable_of(target)
            found = self._solved(source if isinstance(source, Source) else Source(source), [seen])
            taken[target] = found.column(seen, model.known_domain(seen)), found.single
        columns, rows, single = model.columns(run.inputs, hard, taken)
        fixed = {t: columns[t] for t in (*hard, *taken)}
        given = {v: columns[v] for v in model.inputs}
        return _Solved(model, model.evaluate(given, fixed, rows, wanted), single=single)

    def _softened(self, soft: Mapping[Any, Callable[[Mechanism], Mechanism]], targets: Iterable[Target]) -> "CausalModel":
        """The model with soft interventions made; the variables that are set as well become constants of their old domain."""
        kept = {v: d for v in targets if v in self._equations and (d := self.known_domain(v)) is not None}
        cut = {v: Constant(self._equations[v].parents, any_label(d)) for v, d in kept.items()}
        changed = {v: self._changed(v, change) for v, change in soft.items()}
        model = self._remade({**self._functions, **changed, **cut}, {**self._declared, **kept})
        parents = [t[0] for t in targets if isinstance(t, tuple) and t[0] in self._equations]
        both = {p: (self.known_domain(p), model.known_domain(p)) for p in parents}
        seen = {p: old.united(new) for p, (old, new) in both.items() if isinstance(old, Finite) and isinstance(new, Finite)}
        return self._remade({**self._functions, **changed, **cut}, {**self._declared, **seen, **kept}) if seen else model

    def _changed(self, variable: str, change: Callable[[Mechanism], Mechanism]) -> Mechanism:
        try:
            return change(self._functions[variable])
        except Exception as error:  # whatever the user's function raises
            told = f"the intervention on {variable!r} raised {type(error).__name__}: {error}; it is given the old mechanism"
            raise ModelError(f"an intervention on the causal model {self.name!r}: {told}") from error

    def extended(self, mechanisms: Mapping[str, Any]) -> "CausalModel":
        """The same model with mechanisms added or replaced; its outputs stay.

        Raises:
            ModelError: as for a new model.
        """
        return self._remade({**self._functions, **mechanisms}, self._declared)

    def _remade(self, mechanisms: Mapping[str, Any], domains: Mapping[str, Domain]) -> "CausalModel":
        functions, problems = named_mechanisms(mechanisms)
        model = CausalModel.__new__(CausalModel)
        model._build(  # noqa: SLF001  # of the same class
            self.name, self._given, functions, self.outputs, domains, problems, self._equations
        )
        return model

    def marginalize(self, variables: Iterable[str]) -> "tuple[CausalModel, Tau]":
        """The model without some variables, and τ; see `commute.causal.algebra.marginalize`."""
        from commute.causal.algebra import marginalize

        return marginalize(self, variables)

    def merge_variables(self, merged: Mapping[str, Sequence[str]]) -> "tuple[CausalModel, Tau]":
        """The model with sets of variables merged into one each, and τ; see `commute.causal.algebra.merge_variables`."""
        from commute.causal.algebra import merge_variables

        return merge_variables(self, merged)

    def merge_values(self, merged: Mapping[str, Mapping[Hashable, Hashable]]) -> "tuple[CausalModel, Tau]":
        """The model with values of variables merged, and τ; see `commute.causal.value_merge.merge_values`."""
        from commute.causal.value_merge import merge_values

        return merge_values(self, merged)

    def rename(self, names: Mapping[str, str]) -> "tuple[CausalModel, Tau]":
        """The model with variables under other names, and τ; see `commute.causal.algebra.rename`."""
        from commute.causal.algebra import rename

        return rename(self, names)

    def plot(self, *, setting: Setting | None = None, do: "Do" = (), ax: "Axes | None" = None) -> "Axes":
        """Draw the graph, with the values of a setting and interventions highlighted; see `commute.causal.drawing.plot`."""
        from commute.causal.drawing import plot

        return plot(self, setting=setting, do=do, ax=ax)

    def to_dot(self, *, setting: Setting | None = None, do: "Do" = ()) -> str:
        """The same drawing as Graphviz text; see `commute.causal.drawing.to_dot`."""
        from commute.causal.drawing import to_dot

        return to_dot(self, setting=setting, do=do)

    def _repr_html_(self) -> str:
        from commute.causal.drawing import to_html

        return to_html(self)

    def to_json(self) -> str:
        """The model as JSON; see `commute.causal.stored.to_json`."""
        from commute.causal.stored import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> "CausalModel":
        """The model that `to_json` wrote; see `commute.causal.stored.from_json`."""
        from commute.causal.stored import from_json

        return from_json(text)

    # The functions below work on columns: codes of finite variables, values of the others.

    def columns(
        self,
        inputs: Setting,
        do: Mapping[Any, Any] | None = None,
        taken: Mapping[Any, tuple[Column, bool]] | None = None,
    ) -> tuple[dict[Any, Column], int, bool]:
        """The columns of inputs and interventions, the number of rows, and whether it was one setting and not a batch.

        `taken` are columns that are coded already, each with whether it is one setting.
        """
        do, taken = do or {}, taken or {}
        problems = [f"the input {v!r} is missing" for v in self.inputs if v not in inputs and v not in do and v not in taken]
        problems += [unknown("input", v, self.inputs) for v in inputs if v not in self.inputs]
        problems += unknown_targets(self.graph, do)
        subject = f"a setting of the causal model {self.name!r}"
        check(problems, ModelError, subject)
        domains = {t: self.known_domain(variable_of(t)) for t in (*inputs, *do)}
        return coded(inputs, do, taken, domains, subject)

    def evaluate(self, given: Batch, fixed: Mapping[Any, Column], rows: int, wanted: Iterable[str] | None = None) -> Batch:
        """Every variable's column from the inputs' columns, with the columns in `fixed` in place of computed ones.

        With `wanted`, only what those variables need.
        """
        columns = {**given, **{t: x for t, x in fixed.items() if isinstance(t, str)}}
        edges = {t: x for t, x in fixed.items() if isinstance(t, tuple)}
        needed = self.needed(wanted, columns) if wanted is not None else self._equations
        for variable, equation in self._equations.items():
            if variable in needed and variable not in columns:
                seen = {p: edges[p, variable] for p in equation.parents if (p, variable) in edges} if edges else {}
                columns[variable] = equation.evaluate({**columns, **seen} if seen else columns, rows)
        return columns

    def needed(self, wanted: Iterable[str], known: Iterable[str]) -> set[str]:
        """The variables to compute for the wanted ones when others are known."""
        needed = set(wanted) - set(known)
        for variable in reversed(self._equations):
            if variable in needed:
                needed |= set(self._equations[variable].parents) - set(known)
        return needed

    def labels(self, columns: Mapping[Any, Column], *, single: bool = False) -> dict[str, Any]:
        """The labels of columns, in the model's order: arrays [batch], or plain labels for a single setting."""
        ordered = {v: decoded(columns[v], self.known_domain(v)) for v in self.graph if v in columns}
        return {v: column.tolist()[0] for v, column in ordered.items()} if single else ordered


@dataclass(frozen=True)
class _Solved:
    """A run that was solved: the columns of `model`, which a soft intervention may have changed."""

    model: CausalModel
    columns: Batch
    single: bool

    def labels(self, only: Sequence[str] | None = None) -> dict[str, Any]:
        kept = self.columns if only is None else {v: self.columns[v] for v in only}
        return self.model.labels(kept, single=self.single)

    def column(self, variable: str, domain: Domain | None) -> Column:
        """A variable's column, coded by `domain`."""
        own = self.model.known_domain(variable)
        column = self.columns[variable]
        return column if own == domain else encoded(decoded(column, own), domain)
