"""Merging values of variables, which is legal only where it is a congruence (2301.04709, value merge)."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from commute.causal.algebra import mapping, remade
from commute.causal.batches import Column, rows_of
from commute.causal.composed import Relabelled, Same, composed, named
from commute.causal.domains import Finite
from commute.causal.grids import blocks, setting
from commute.causal.model import CausalModel
from commute.causal.quotient import clash
from commute.causal.tau import Tau
from commute.errors import ModelError, check, unknown

_CLASSES = 2**24  # classes of a mechanism's parents that are told apart at most
_COMPARED = 2**30  # settings of a mechanism's parents that are gone through at most


@dataclass(frozen=True, eq=False)
class _Merge:
    """New labels for a variable's values."""

    labels: Mapping[Hashable, Hashable]  # the new label of every old one
    domain: Finite
    codes: Column  # the new code of every old one
    first: Mapping[Hashable, Hashable]  # for every new label an old one


def merge_values(model: CausalModel, merged: Mapping[str, Mapping[Hashable, Hashable]]) -> tuple[CausalModel, Tau]:
    """The model with values of variables given the same label; values that are not listed keep theirs.

    Legal only where each variable's new label follows from the new labels of its parents.

    Raises:
        ModelError: for unknown variables and values; and when the merge is not legal, with two settings of a variable's parents
            that become the same while its values stay different.
    """
    subject = f"merging values of {model.name!r}"
    check([unknown("variable", v, model.graph) for v in mapping(merged) if v not in model.graph], ModelError, subject)
    check([p for v, labels in merged.items() for p in _wrong(model, v, labels)], ModelError, subject)
    merges = {v: _merge(model, v, labels) for v, labels in merged.items()}
    check([problem for v in model.equations if (problem := _illegal(model, v, merges))], ModelError, subject)
    unmerged = {v: Relabelled(v, m.first) for v, m in merges.items()}
    mechanisms = {v: composed(named(e), unmerged) for v, e in model.equations.items()}
    relabelled = {v: Relabelled(v, m.labels) for v, m in merges.items()}
    mechanisms |= {v: composed(relabelled[v], {v: m}) for v, m in mechanisms.items() if v in relabelled}
    domains = {v: m.domain for v, m in merges.items()}
    inputs = {v: domains[v] if v in domains else model.domain(v) for v in model.inputs}
    name = f"{model.name} with values of {', '.join(merges)} merged" if merges else model.name
    made = remade(model, mechanisms, name=name, inputs=inputs, domains=domains)
    return made, Tau({v: relabelled.get(v, Same(v)) for v in made.graph})


def _wrong(model: CausalModel, variable: str, labels: object) -> list[str]:
    domain = model.known_domain(variable)
    if not isinstance(domain, Finite) or not isinstance(labels, Mapping):
        return [f"{variable!r} needs a finite domain and a mapping from its values to new ones; given {labels!r}"]
    problems = [f"{unknown('value', x, domain)} of {variable!r}" for x in labels if x not in domain]
    return problems + [
        f"{variable!r}: the new value {x!r} is not hashable" for x in labels.values() if not isinstance(x, Hashable)
    ]


def _merge(model: CausalModel, variable: str, labels: Mapping[Hashable, Hashable]) -> _Merge:
    old = model.domain(variable)
    new = {x: labels.get(x, x) for x in old} if isinstance(old, Finite) else {}
    domain = Finite(dict.fromkeys(new.values()))
    codes = {label: code for code, label in enumerate(domain)}
    first = {label: x for x, label in reversed(new.items())}
    return _Merge(new, domain, np.array([codes[label] for label in new.values()]), first)


def _illegal(model: CausalModel, variable: str, merges: Mapping[str, _Merge]) -> str | None:
    """Why the new label of a variable does not follow from those of its parents, if so."""
    equation = model.equations[variable]
    if not any(p in merges for p in equation.parents):
        return None
    parents = {p: d for p, d in equation.domains.items() if isinstance(d, Finite)}
    own = model.known_domain(variable)
    sizes = [len(merges[p].domain) if p in merges else len(d) for p, d in parents.items()]
    if len(parents) < len(equation.parents) or not isinstance(own, Finite):
        return (
            f"{variable!r} or a parent of it has no finite domain, so whether it is legal cannot be decided; give it in domains="
        )
    if prod(sizes) > _CLASSES or prod(map(len, parents.values())) > _COMPARED:
        return f"the parents of {variable!r} have too many combinations of values to decide whether it is legal"

    def classes() -> Iterator[tuple[Column, Column]]:
        for columns in blocks(parents):
            merged = [merges[p].codes[columns[p]] if p in merges else columns[p] for p in parents]
            value = equation.evaluate(columns, rows_of(columns))
            yield np.ravel_multi_index(merged, sizes), merges[variable].codes[value] if variable in merges else value

    rows = clash(classes(), prod(sizes))
    if rows is None:
        return None
    settings = [setting(parents, row) for row in rows]
    said = [", ".join(f"{p}={x!r}" for p, x in s.items()) for s in settings]
    values = [equation.call([s[p] for p in equation.parents]) for s in settings]
    return (
        f"it is not a congruence: {said[0]} and {said[1]} become the same setting, but {variable!r} is {values[0]!r} at the one "
        f"and {values[1]!r} at the other; merge those as well, or keep the two apart"
    )
