"""Designs: how interchange pairs are chosen from a model's inputs."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from commute.causal.batches import BLOCK, Batch, Column, rows_of, take
from commute.causal.by_value import ByValue, codes
from commute.causal.inputs import ROUNDS, Condition, Inputs, draw_until
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs, answers, make_pairs
from commute.errors import PairsError, check, not_counts, unknown
from commute.runs.seeds import stream

Design = Literal["balanced", "uniform", "exhaustive"]

EXHAUSTIVE_ROWS = 2**24  # pairs that the exhaustive design builds at once, at most
_COUNTED = 2**62  # pairs whose places numpy can count
_QUICK_ROUNDS = 8  # draws a row before a listed domain is searched for what is rare
_SEARCHED = 2**27  # bases evaluated at most in that search
_TRIED = 10_000  # interchanges tried before a variable counts as without effect


def pairs(
    model: CausalModel,
    variables: Sequence[str],
    n: int | None = None,
    *,
    design: Design = "balanced",
    seed: int | np.random.Generator = 0,
    given: Condition | None = None,
    one_source: bool = False,
) -> Pairs:
    """Bases and, for each variable, sources, with the algorithm's answers after the interchange.

    Designs:
        - `uniform`: bases and sources drawn independently and uniformly. Rows are independent.
        - `balanced`: every value of each intervened variable equally often in its sources; half of the interchanges change the
          output and half do not, wherever the values allow both; among the bases that do, rare values of the variables are as
          likely to be tried as common ones; uniform otherwise. Rows are independent.
        - `exhaustive`: every base with every source, in the domain's order. Rows share bases and sources, so they are not
          independent; `n` is not given. At most 2**24 pairs; `exhaustive` goes through more of them in blocks.

    Args:
        model: the algorithm.
        variables: the variables to set, each from a source of its own, all at once.
        n: the number of pairs.
        design: as above.
        seed: an integer, or a generator to draw from.
        given: bases and sources are drawn from the inputs that meet this partial setting or function.
        one_source: every variable takes its value from the same source; not for the exhaustive design.

    Raises:
        PairsError: for unknown names, when nothing meets `given`, when no interchange of the variables can change the output, or
            when the domain is too large to be exhausted.
    """
    problems = _misnamed(model, variables)
    if design not in get_args(Design):
        problems.append(unknown("design", design, get_args(Design)))
    elif (n is None) != (design == "exhaustive"):
        problems.append(f"n says how many pairs to draw, for every design but exhaustive; given n={n}, design={design!r}")
    problems += [] if n is None else not_counts(n=n)
    if one_source and design == "exhaustive":
        problems.append("the exhaustive design has a source for each variable; draw pairs with one_source by another design")
    check(problems, PairsError, f"pairs of {model.name!r}")
    inputs = Inputs(model, given)
    if n is None:
        rows = _exhaustive_rows(inputs, variables)
        if rows > EXHAUSTIVE_ROWS:
            raise PairsError(
                f"there are {rows:,} pairs of {model.name!r}, more than the {EXHAUSTIVE_ROWS:,} that are built at once; go "
                "through them with cm.exhaustive, draw a sample, or restrict the inputs with given="
            )
        return _exhaustive(inputs, variables, 0, rows)
    generator = seed if isinstance(seed, np.random.Generator) else stream(seed, "pairs")
    groups = [tuple(variables)] if one_source else [(v,) for v in variables]
    drawn = {group: (inputs if design == "uniform" else ByValue(inputs, group)).sample(generator, n) for group in groups}
    sources = {v: source for group, source in drawn.items() for v in group}
    values = {v: model.evaluate(source, {}, n)[v] for v, source in sources.items()}
    base = inputs.sample(generator, n) if design == "uniform" else _bases(inputs, values, generator)
    return make_pairs(model, base, sources, design=design, independent=True)


def bases_for(model: CausalModel, values: Batch, *, seed: int | np.random.Generator) -> Batch:
    """Bases [batch] in which to set variables to `values` [batch]: half change the output where possible, as in `balanced`."""
    generator = seed if isinstance(seed, np.random.Generator) else stream(seed, "bases")
    encoded = {v: model.domain(v).encode(x) for v, x in values.items()}
    return model.labels(_bases(Inputs(model), encoded, generator))


def exhaustive(
    model: CausalModel, variables: Sequence[str], *, given: Condition | None = None, rows: int = BLOCK
) -> Iterator[Pairs]:
    """Every base with every source of each variable, in the domain's order, `rows` pairs at a time.

    A block is made when it is asked for, so memory does not grow with the number of pairs.

    Raises:
        PairsError: for unknown names, and inputs that cannot be listed.
    """
    check([*_misnamed(model, variables), *not_counts(rows=rows)], PairsError, f"pairs of {model.name!r}")
    inputs = Inputs(model, given)
    total = _exhaustive_rows(inputs, variables)
    return (_exhaustive(inputs, variables, start, min(start + rows, total)) for start in range(0, total, rows))


def _misnamed(model: CausalModel, variables: Sequence[str]) -> list[str]:
    if not isinstance(model, CausalModel):
        raise PairsError(f"pairs are drawn of a CausalModel; given {model!r}")
    if isinstance(variables, str) or not isinstance(variables, Collection) or not variables:
        return [f"variables is a list of one or more names; given {variables!r}"]
    problems = [unknown("variable", v, model.graph) for v in variables if v not in model.graph]
    return problems + [f"{v!r} is named twice" for i, v in enumerate(variables) if v in variables[:i]]


def _exhaustive_rows(inputs: Inputs, variables: Sequence[str]) -> int:
    rows: int = rows_of(inputs.listed) ** (1 + len(variables))
    if rows >= _COUNTED:
        raise PairsError(f"there are {rows:.2g} pairs of {inputs.model.name!r}, too many to count; draw a sample")
    return rows


def _exhaustive(inputs: Inputs, variables: Sequence[str], start: int, stop: int) -> Pairs:
    return make_pairs(inputs.model, *inputs.product(variables, start, stop), design="exhaustive", independent=False)


def _bases(inputs: Inputs, values: Batch, generator: np.random.Generator) -> Batch:
    """Bases of which half change the output when each row's values are set, wherever some base does."""
    model, n = inputs.model, rows_of(values)
    bases = ByValue(inputs, tuple(values))
    wanted = generator.integers(2, size=n).astype(bool)
    combinations, combination = np.unique([codes(x) for x in values.values()], axis=1, return_inverse=True)
    searchable = inputs.finite and combinations.shape[1] * rows_of(inputs.listed) <= _SEARCHED
    drawn, pending = draw_until(
        n,
        lambda rows: bases.sample(generator, len(rows)),
        lambda columns, rows: answers(model, columns, take(values, rows))[1] == wanted[rows],
        rounds=_QUICK_ROUNDS if searchable else ROUNDS,
    )
    if searchable:
        pending = _search(bases, values, wanted, drawn, pending, combination.reshape(-1), generator)
    if wanted[pending].sum() == wanted.sum() and not _can_change(bases, generator):
        raise PairsError(
            f"no interchange of {', '.join(values)} was found that changes the output of {model.name!r}, so changed and "
            "unchanged pairs cannot be balanced; look again at the model, leave it out of what is aligned, or draw pairs of your "
            "own by design='uniform'"
        )
    return drawn  # a row that is still pending cannot be as wanted: its last draw is of the other kind


def _search(
    bases: ByValue,
    values: Batch,
    wanted: Column,
    drawn: Batch,
    pending: Column,
    combination: Column,
    generator: np.random.Generator,
) -> Column:
    """Give each pending row a base from all those that are as wanted for its values; return the rows that have none."""
    listed = bases.inputs.listed
    impossible = []
    for group in np.unique(combination[pending]):
        rows = pending[combination[pending] == group]
        fixed = {v: np.broadcast_to(x[rows[0]], (rows_of(listed),)) for v, x in values.items()}
        changed = answers(bases.inputs.model, listed, fixed)[1]
        for kind in (False, True):
            asking, fitting = rows[wanted[rows] == kind], np.flatnonzero(changed == kind)
            if not len(fitting):
                impossible.append(asking)
                continue
            weight = bases.weights[fitting]
            chosen = generator.choice(fitting, size=len(asking), p=weight / weight.sum())
            for v, column in take(listed, chosen).items():
                drawn[v][asking] = column
    return np.concatenate(impossible) if impossible else pending[:0]


def _can_change(bases: ByValue, generator: np.random.Generator) -> bool:
    """Whether any of many interchanges of the variables changes the output."""
    model = bases.inputs.model
    drawn = {v: ByValue(bases.inputs, (v,)).sample(generator, _TRIED) for v in bases.variables}
    values = {v: model.evaluate(source, {}, _TRIED)[v] for v, source in drawn.items()}
    return bool(answers(model, bases.sample(generator, _TRIED), values)[1].any())
