"""Laws that every causal model keeps, on random models."""

from itertools import product

import numpy as np
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import commute as cm
from commute.causal.grids import blocks, setting
from commute.testing.strategies import LABELS, batches, domains, interventions, models, pairs, settings, tables_over, variables

law = examples(max_examples=300)


def interpreted(model, inputs, do):
    """Solve by calling each mechanism once: the definition."""
    values = {**inputs, **{v: x for v, x in do.items() if v in model.inputs}}
    for variable, equation in model.equations.items():
        values[variable] = do[variable] if variable in do else equation.function(**{p: values[p] for p in equation.parents})
    return {v: values[v] for v in model.graph}


@law
@given(st.data())
def test_compiled_is_interpreted(data):
    model = data.draw(models())
    batch, do = data.draw(batches(model)), data.draw(interventions(model))
    solved = model.solve(batch, do)
    for row in range(len(batch[model.inputs[0]])):
        by_hand = interpreted(model, {v: batch[v][row] for v in model.inputs}, do)
        assert by_hand == {v: solved[v][row : row + 1].tolist()[0] for v in model.graph}
        assert by_hand == model.solve({v: batch[v][row] for v in model.inputs}, do)


@law
@given(st.data())
def test_interchange_with_oneself_is_the_identity(data):
    model = data.draw(models())
    base = data.draw(settings(model))
    assert model.interchange(base, dict.fromkeys(data.draw(variables(model)), base)) == model.solve(base)


@law
@given(st.data())
def test_interchange_sets_what_the_source_gives(data):
    model = data.draw(models())
    base = data.draw(settings(model))
    sources = {v: data.draw(settings(model)) for v in data.draw(variables(model))}
    values = {v: interpreted(model, source, {})[v] for v, source in sources.items()}
    assert model.interchange(base, sources) == interpreted(model, base, values)


@law
@given(st.data())
def test_disjoint_interventions_commute(data):
    """Setting A and then B is setting B and then A; a soft intervention holds what the first one set."""
    model = data.draw(models())
    inputs, do = data.draw(settings(model)), data.draw(interventions(model))
    split = data.draw(st.integers(0, len(do)))
    one, other = dict(list(do.items())[:split]), dict(list(do.items())[split:])
    assert model.solve(inputs, {**one, **other}) == model.solve(inputs, {**other, **one})
    held = {v: x for v, x in one.items() if v not in model.inputs}
    soft = {v: (lambda _, x=x: lambda: x) for v, x in held.items()}
    hard = {v: x for v, x in do.items() if v not in held}
    assert model.solve(inputs, {**soft, **hard}) == model.solve(inputs, do)


@law
@given(st.data())
def test_the_last_write_wins(data):
    """An interchange takes values from a run in which the variable itself was set: what was computed before does not matter."""
    model = data.draw(models())
    base, source, do = data.draw(settings(model)), data.draw(settings(model)), data.draw(interventions(model))
    taken = model.interchange(base, {v: cm.Source(source, do=do) for v in do})
    assert taken == model.solve(base, do)


@law
@given(st.data())
def test_do_on_an_ancestor_that_is_cut_off_has_no_effect(data):
    model = data.draw(models())
    inputs = data.draw(settings(model))
    ancestor = data.draw(st.sampled_from(list(model.graph)))
    value = data.draw(st.sampled_from(model.domain(ancestor).values))
    children = {v: data.draw(st.sampled_from(model.domain(v).values)) for v in model.graph.successors(ancestor)}
    with_it, without = model.solve(inputs, {ancestor: value, **children}), model.solve(inputs, children)
    assert {v: x for v, x in with_it.items() if v != ancestor} == {v: x for v, x in without.items() if v != ancestor}


@law
@given(st.data())
def test_all_edges_of_a_variable_together_are_the_variable(data):
    """A path-specific interchange through every child does to all other variables what the whole interchange does."""
    model = data.draw(models())
    base, source = data.draw(settings(model)), data.draw(settings(model))
    variable = data.draw(st.sampled_from(list(model.graph)))
    edges = model.interchange(base, {(variable, child): source for child in model.graph.successors(variable)})
    whole = model.interchange(base, {variable: source})
    assert {**edges, variable: whole[variable]} == whole
    assert edges[variable] == model.solve(base)[variable]


@law
@given(st.data())
def test_one_edge_is_what_its_child_alone_sees(data):
    model = data.draw(models())
    assume(model.graph.edges)
    base, source = data.draw(settings(model)), data.draw(settings(model))
    parent, child = data.draw(st.sampled_from(list(model.graph.edges)))
    equation = model.equations[child]
    before = model.solve(base)
    seen = {**before, parent: model.solve(source)[parent]}
    value = equation.function(**{p: seen[p] for p in equation.parents})
    assert model.interchange(base, {(parent, child): source}) == model.solve(base, {child: value})


@law
@given(st.data())
def test_a_nested_source_is_the_run_it_describes(data):
    """Interchanging with a source that is itself interchanged is taking the values of that interchanged run."""
    model = data.draw(models())
    base, source, inner = (data.draw(settings(model)) for _ in range(3))
    outside, inside = data.draw(variables(model)), data.draw(variables(model))
    run = model.interchange(source, dict.fromkeys(inside, inner))
    nested = cm.Source(source, sources=dict.fromkeys(inside, inner))
    assert model.interchange(base, dict.fromkeys(outside, nested)) == model.solve(base, {v: run[v] for v in outside})


@law
@given(st.data())
def test_a_soft_intervention_that_keeps_the_mechanism_changes_nothing(data):
    model = data.draw(models())
    inputs, do = data.draw(settings(model)), data.draw(interventions(model))
    kept = data.draw(st.sampled_from(list(model.equations)))
    assume(kept not in do)
    assert model.solve(inputs, {**do, kept: lambda old: old}) == model.solve(inputs, do)


@law
@given(st.data())
def test_exhaustive_is_the_product_and_blocks_are_its_stretches(data):
    model = data.draw(models(inputs=2, labels=[x for x in LABELS if len(x) == 2]))
    chosen = data.draw(st.lists(st.sampled_from(list(model.graph)), min_size=1, max_size=2, unique=True))
    every = [dict(zip(model.inputs, row, strict=True)) for row in product(*(model.domain(v).values for v in model.inputs))]
    listed = cm.pairs(model, chosen, design="exhaustive")
    rows = list(product(every, repeat=1 + len(chosen)))
    assert [_row(listed, i) for i in range(len(listed))] == [(base, dict(zip(chosen, s, strict=True))) for base, *s in rows]
    size = data.draw(st.integers(1, 20))
    parts = list(cm.exhaustive(model, chosen, rows=size))
    assert [len(p) for p in parts[:-1]] == [size] * (len(parts) - 1)
    for v in model.outputs:
        assert [x for p in parts for x in p.expected[v].tolist()] == listed.expected[v].tolist()
    assert [x for p in parts for x in p.changed.tolist()] == listed.changed.tolist()


@law
@given(st.data())
def test_pairs_answer_as_interchange_does(data):
    model = data.draw(models())
    drawn = data.draw(pairs(model))
    for i in range(len(drawn)):
        base, sources = _row(drawn, i)
        after, before = model.interchange(base, sources), model.solve(base)
        assert {v: drawn.expected[v][i : i + 1].tolist()[0] for v in model.outputs} == {v: after[v] for v in model.outputs}
        assert drawn.changed[i] == any(after[v] != before[v] for v in model.outputs)


@law
@given(st.data())
def test_a_value_that_is_asked_for_is_given(data):
    """Where two paths lead from one input to a variable, drawing the parents' values by themselves would often miss it."""
    model = data.draw(models())
    variable = data.draw(st.sampled_from(list(model.graph)))
    value = model.solve(data.draw(settings(model)))[variable]
    drawn = cm.pairs(model, [variable], 20, design="uniform", given={variable: value}, seed=data.draw(st.integers(0, 100)))
    assert model.solve(drawn.base)[variable].tolist() == [value] * 20
    assert model.solve(drawn.sources[variable])[variable].tolist() == [value] * 20


@law
@given(st.data())
def test_blocks_are_the_grid(data):
    sizes = data.draw(st.lists(domains(), min_size=1, max_size=4))
    named = {f"d{i}": d for i, d in enumerate(sizes)}
    rows = data.draw(st.integers(1, 40))
    listed = [dict(zip(named, row, strict=True)) for row in product(*(d.values for d in sizes))]
    found = []
    for columns in blocks(named, rows=rows):
        labels = {v: named[v].decode(x).tolist() for v, x in columns.items()}
        assert 0 < len(next(iter(labels.values()))) <= rows
        found += [dict(zip(labels, row, strict=True)) for row in zip(*labels.values(), strict=True)]
    assert found == listed
    at = data.draw(st.integers(0, len(listed) - 1))
    assert setting(named, at) == listed[at]


@law
@given(st.data())
def test_json_keeps_the_model(data):
    model = data.draw(models())
    again = cm.CausalModel.from_json(model.to_json())
    assert again.to_json() == model.to_json()
    batch, do = data.draw(batches(model)), data.draw(interventions(model))
    before, after = model.solve(batch, do), again.solve(batch, do)
    assert {v: x.tolist() for v, x in before.items()} == {v: x.tolist() for v, x in after.items()}


@law
@given(st.data())
def test_a_mapping_is_the_function_it_lists(data):
    parents = {f"x{i}": d for i, d in enumerate(data.draw(st.lists(domains(), min_size=1, max_size=3)))}
    table = data.draw(tables_over(parents, data.draw(domains())))
    listed = {key: table(*key) for key in product(*(d.values for d in parents.values()))}
    model = cm.CausalModel("listed", parents, {"v": cm.Table(list(parents), listed)})
    for key, value in listed.items():
        assert model.solve(dict(zip(parents, key, strict=True)))["v"] == value


def _row(drawn, i):
    at = lambda batch: {v: x[i : i + 1].tolist()[0] for v, x in batch.items()}  # noqa: E731
    return at(drawn.base), {v: at(source) for v, source in drawn.sources.items()}


def test_codes_are_as_small_as_they_can_be_and_places_in_tables_do_not_overflow():
    many = cm.Finite(range(300))
    model = cm.CausalModel("wide", {"a": many, "b": many}, {"sum": lambda a, b: a + b})
    a, b = (np.random.default_rng(seed).integers(300, size=1000) for seed in (0, 1))
    assert (model.solve({"a": a, "b": b})["sum"] == a + b).all()
    assert model.domain("a").encode(a).dtype == np.uint16
