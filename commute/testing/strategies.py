"""Hypothesis strategies: random causal models, and settings, interventions, interchanges and pairs of a model."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from commute.causal.batches import rows_of
from commute.causal.domains import Finite
from commute.causal.inputs import Condition, Inputs
from commute.causal.mechanisms import Coded
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs, make_pairs

if TYPE_CHECKING:
    from commute.causal.batches import Column

LABELS: tuple[tuple[Hashable, ...], ...] = (
    (False, True),
    ("red", "green", "blue"),
    (0, 1, 2, 3),
    (-1, 5),
    ((0, 1), (1, 0)),
    (None, "some"),
    (0.5, 1.5, 2.5),
)


def domains(labels: Sequence[tuple[Hashable, ...]] = LABELS) -> st.SearchStrategy[Finite]:
    """Finite domains of two to four labels of different kinds."""
    return st.sampled_from(labels).map(Finite)


@st.composite
def models(
    draw: st.DrawFn, *, inputs: int = 3, mechanisms: int = 4, parents: int = 3, labels: Sequence[tuple[Hashable, ...]] = LABELS
) -> CausalModel:
    """Models of any DAG shape with at most so many inputs, mechanisms, and parents of each; mechanisms are random tables.

    Inputs are x0, x1, …, other variables v0, v1, …. Shrinks to fewer variables, fewer parents and first labels.
    """
    known = {f"x{i}": draw(domains(labels)) for i in range(draw(st.integers(1, inputs)))}
    names = list(known)
    tables: dict[str, Coded] = {}
    for i in range(draw(st.integers(1, mechanisms))):
        read = draw(st.lists(st.sampled_from(list(known)), min_size=1, max_size=parents, unique=True))
        table = draw(tables_over({p: known[p] for p in read}, draw(domains(labels))))
        tables[f"v{i}"], known[f"v{i}"] = table, table.domain
    return CausalModel("random", {v: known[v] for v in names}, tables, domains={v: t.domain for v, t in tables.items()})


@st.composite
def tables_over(draw: st.DrawFn, parents: dict[str, Finite], domain: Finite) -> Coded:
    """Mechanisms over given parents with values in a domain."""
    shape = tuple(map(len, parents.values()))
    seed = draw(st.integers(0, 2**32 - 1))
    codes: Column = np.random.default_rng(seed).integers(len(domain), size=shape) if seed else np.zeros(shape, dtype=np.int64)
    return Coded(parents, codes, domain)


def settings(model: CausalModel, *, given: Condition | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Settings of a model's inputs, a label each.

    With `given`, a partial setting or a function of variables as for `cm.pairs`, those that meet it: each is as easily found as
    any other where the inputs can be listed, else others are drawn and left out.
    """
    if given is None:
        return st.fixed_dictionaries({v: _labels(model, v) for v in model.inputs})
    inputs = Inputs(model, given)
    if inputs.finite:
        listed = model.labels(inputs.listed)
        return st.integers(0, rows_of(listed) - 1).map(
            lambda row: {v: column[row : row + 1].tolist()[0] for v, column in listed.items()}
        )
    fixed = given if isinstance(given, Mapping) else {}
    drawn = st.fixed_dictionaries({v: st.just(fixed[v]) if v in fixed else _labels(model, v) for v in model.inputs})
    return drawn.filter(lambda setting: bool(inputs.meets(model.columns(setting)[0], 1)[0]))


def batches(model: CausalModel, *, rows: int = 5) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Batches of one to `rows` settings, as lists."""
    listed = st.lists(settings(model), min_size=1, max_size=rows)
    return listed.map(lambda each: {v: [one[v] for one in each] for v in model.inputs})


def variables(model: CausalModel, *, least: int = 0) -> st.SearchStrategy[list[str]]:
    """Different variables of a model, at least so many."""
    return st.lists(st.sampled_from(list(model.graph)), min_size=least, unique=True)


@st.composite
def interventions(draw: st.DrawFn, model: CausalModel) -> dict[str, Any]:
    """Hard interventions: values for some variables, inputs and outputs among them."""
    return {v: draw(_labels(model, v)) for v in draw(variables(model))}


@st.composite
def interchanges(
    draw: st.DrawFn, model: CausalModel, among: Iterable[str], *, given: Condition | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A base, and a source for one or more of the variables `among`, such as those of an alignment.

        @given(interchanges(algorithm, alignment))
        def test_left_alone(interchange):
            base, sources = interchange
            answer = network.interchange(base, {alignment[v]: source for v, source in sources.items()})

    Bases and sources meet the condition `given`. Shrinks to one variable, and to the first labels.
    """
    setting = settings(model, given=given)
    chosen = draw(st.lists(st.sampled_from(list(among)), min_size=1, unique=True))
    return draw(setting), {v: draw(setting) for v in chosen}


@st.composite
def pairs(draw: st.DrawFn, model: CausalModel, *, rows: int = 5) -> Pairs:
    """Interchange pairs: one to `rows` bases, with sources for some variables."""
    n = draw(st.integers(1, rows))
    sides = st.lists(settings(model), min_size=n, max_size=n)
    batch = sides.map(lambda each: model.columns({v: [one[v] for one in each] for v in model.inputs})[0])
    sources = {v: draw(batch) for v in draw(variables(model, least=1))}
    return make_pairs(model, draw(batch), sources, design="given", independent=False)


def _labels(model: CausalModel, variable: str) -> st.SearchStrategy[Any]:
    domain = model.domain(variable)
    return st.sampled_from(domain.values) if isinstance(domain, Finite) else st.floats(domain.low, domain.high)
