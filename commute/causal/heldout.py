"""Pairs that were not seen before: by drawing seen ones again, or from inputs whose values were held out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from commute.causal.algebra import remade
from commute.causal.batches import Batch, Column
from commute.causal.composed import named
from commute.causal.domains import Domain, Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs, concatenated
from commute.errors import PairsError, check, unknown
from commute.runs.seeds import stream

Heldout = Literal["pairs", "values"]
Part = Literal["train", "select", "verify"]

_DIVISIBLE = 6  # values from which on a domain is divided, so that every part has two
_ROUNDS = 16  # rounds of drawing before a kind of pair counts as not to be had
_AT_ONCE = 4  # pairs drawn in a round at most, as a multiple of those asked for


def check_heldout(heldout: object) -> list[str]:
    """Say so if `heldout` is no way to hold pairs out."""
    return [] if heldout in get_args(Heldout) else [unknown("way to hold out", heldout, get_args(Heldout))]


def pair_keys(model: CausalModel, pairs: Pairs) -> Column:
    """A number for each pair, [pairs] of uint64: equal for equal pairs, in every process, and different for others.

    It is a hash of the base, the source of each variable, and the names, in whatever order the variables are; two pairs that
    differ share it with a chance of about 2**-64. Pairs of other sets of variables are other pairs.

    Args:
        model: encodes the labels, so keys are compared only with keys of the same model.
        pairs: the pairs.

    Raises:
        ModelError: for a label outside of the model's domains.
    """
    sides = {("base",): pairs.base} | {("source", v): pairs.sources[v] for v in sorted(pairs.sources)}
    coded = {side: model.columns(batch)[0] for side, batch in sides.items()}
    return _hashed({(*side, v): columns[v] for side, columns in coded.items() for v in model.inputs})


def unseen(draw: Callable[[int], Pairs], model: CausalModel, n: int, seen: Column) -> tuple[Pairs, int]:
    """Draw `n` pairs of which none was seen, as far as possible, and count those that were.

    A pair that was seen is replaced by one that was not, of the same kind: it changes the output or does not, like the first, and
    takes every variable from the same value to the same value (real numbers, of which hardly two agree, do not count). So each
    kind stays as frequent as `draw` makes it, rare ones too, and given its kind a pair is an independent draw from those not
    seen. Where no such pair turns up, as when all of a small domain were seen, the first stays.

    Args:
        draw: draws so many pairs of one set of variables; asked for a few times `n` at once at most.
        model: the model, or the one whose inputs were divided to draw from, with which the keys were made.
        n: how many pairs.
        seen: the keys of pairs seen before, as of `pair_keys`.

    Returns:
        The pairs, exactly `draw(n)` where none of these was seen, and how many of them were seen.

    Raises:
        PairsError: when `seen` holds no such keys.
    """
    if getattr(seen, "dtype", None) != np.uint64:  # others would be compared as floats, which are too coarse
        raise PairsError(f"seen is an array of the keys that pair_keys gives, of uint64; given {seen!r}")
    drawn = draw(n)
    if not len(seen):
        return drawn, 0
    pending = np.flatnonzero(np.isin(pair_keys(model, drawn), seen))
    if not len(pending):
        return drawn, 0
    wanted = _kinds(model, drawn)
    parts, place = [drawn], np.arange(n)  # where each row stands in all parts together
    size = len(pending)
    for _ in range(_ROUNDS):
        size = min(2 * size, _AT_ONCE * n)
        fresh = draw(size)
        fresh = fresh[~np.isin(pair_keys(model, fresh), seen)]
        served, used = _matched(wanted[pending], _kinds(model, fresh))
        place[pending[served]] = sum(map(len, parts)) + np.arange(len(used))
        parts.append(fresh[used])
        pending = np.delete(pending, served)
        if not len(pending):
            break
    return replace(concatenated(parts)[place], independent=drawn.independent), len(pending)


def held_out(model: CausalModel, part: Part, seed: int) -> CausalModel:
    """The model on a part of its inputs, such that the parts have no value in common.

    The values of each finite input domain with at least 6 are divided at random: half to train, a quarter to select and a quarter
    to verify, at least 2 each. Inputs with the same values are divided in the same way, so that an object is held out in every
    place. Other domains stay whole, and so do the domains of all variables that mechanisms set, even where the values left
    do not reach all of it.

    Args:
        model: the model; pairs drawn of a part are pairs of it.
        part: which part.
        seed: of the division; parts belong together when their seed is the same.

    Raises:
        PairsError: when no input's domain can be divided.
    """
    subject = f"holding out values of {model.name!r}"
    check([] if part in get_args(Part) else [unknown("part", part, get_args(Part))], PairsError, subject)
    domains = {v: model.domain(v) for v in model.inputs}
    divisible = {v: d for v, d in domains.items() if isinstance(d, Finite) and len(d) >= _DIVISIBLE}
    if not divisible:
        told = ", ".join(f"{v} in {d}" for v, d in domains.items())
        raise PairsError(f"{subject}: no input has {_DIVISIBLE} values or more to divide ({told}); use heldout='pairs'")
    first = {frozenset(d): v for v, d in reversed(divisible.items())}  # of inputs with the same values, the first
    kept = {labels: _part_of(divisible[v], part, stream(seed, "heldout", v)) for labels, v in first.items()}
    inputs: dict[str, Domain] = {v: Finite(filter(kept[frozenset(d)].__contains__, d)) for v, d in divisible.items()}
    mechanisms = {v: named(model.equations[v]) for v in model.graph if v in model.equations}
    return remade(model, mechanisms, name=f"{model.name} ({part})", inputs={**domains, **inputs})


def _part_of(domain: Finite, part: Part, generator: np.random.Generator) -> frozenset[object]:
    """The labels of one part, of three that have none in common and all together."""
    quarter = max(2, len(domain) // 4)
    select, verify, train = np.split(generator.permutation(len(domain)), [quarter, 2 * quarter])
    codes = {"train": train, "select": select, "verify": verify}[part]
    return frozenset(domain.values[code] for code in codes)


def _kinds(model: CausalModel, pairs: Pairs) -> Column:
    """A number for each pair that says whether the output changes, and each variable's value before and after, [pairs]."""
    base = _values(model, pairs.base, pairs.variables)
    after = {v: _values(model, source, [v])[v] for v, source in pairs.sources.items()}
    columns = {(side, v): x for side, batch in (("before", base), ("after", after)) for v, x in batch.items()}
    told: dict[tuple[str, ...], Column] = {place: x for place, x in columns.items() if x.dtype.kind != "f"}
    return _hashed({**told, ("changed",): pairs.changed})


def _values(model: CausalModel, inputs: Batch, variables: Sequence[str]) -> Batch:
    columns, rows, _ = model.columns(inputs)
    solved = model.evaluate(columns, {}, rows, variables)
    return {v: solved[v] for v in variables}


def _hashed(columns: Mapping[tuple[str, ...], Column]) -> Column:
    """A hash of each row of columns and of their names, [batch] of uint64."""
    import pandas as pd
    from pandas.util import hash_array, hash_pandas_object

    signless = [x + 0.0 if x.dtype.kind == "f" else x for x in columns.values()]  # -0.0 equals 0.0 and has other bits
    rows = hash_pandas_object(pd.DataFrame(dict(enumerate(signless))), index=False).to_numpy()
    hashed: Column = rows ^ hash_array(np.array([repr(list(columns))], dtype=object))
    return hashed


def _matched(wanted: Column, found: Column) -> tuple[Column, Column]:
    """Rows of `wanted`, and for each a row of `found` of the same kind, no row twice."""
    import pandas as pd

    sides = [pd.DataFrame({"kind": kinds, "row": np.arange(len(kinds))}) for kinds in (wanted, found)]
    ranked = [side.assign(rank=side.groupby("kind").cumcount()) for side in sides]
    both = ranked[0].merge(ranked[1], on=["kind", "rank"])
    return both["row_x"].to_numpy(), both["row_y"].to_numpy()
