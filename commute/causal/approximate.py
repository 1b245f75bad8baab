"""How far one causal model is from abstracting another (approximate abstraction, 1906.11583)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log, sqrt
from typing import Any

import numpy as np

from commute.causal.algebra import listed
from commute.causal.batches import BLOCK, Batch, Column, rows_of, take
from commute.causal.equations import Equation, decoded
from commute.causal.inputs import Condition, Inputs
from commute.causal.model import CausalModel
from commute.causal.tau import Tau
from commute.errors import ModelError, check, not_counts, unknown
from commute.runs.seeds import stream

Distance = Callable[[Mapping[str, Column], Mapping[str, Column]], Column]

_ALL = 2**26  # bases with sources that are gone through at most


@dataclass(frozen=True)
class Approximation:
    """The error of an approximate abstraction.

    Attributes:
        expected: the mean distance, over the distribution.
        interval: bounds on the expected distance, which is itself where all was gone through; else Hoeffding's at `confidence`,
            and None where no largest distance was stated.
        maximum: the largest distance met: the largest there is if all was gone through, else a lower bound of it.
        worst: where it was met: the base, the sources, what τ makes of the low-level run, and the high-level run; empty where
            no distance is above 0.
        settings: how many bases with sources were compared.
        exact: whether those are all there are.
        confidence: of the interval.
    """

    expected: float
    interval: tuple[float, float] | None
    maximum: float
    worst: Mapping[str, Mapping[str, Any]]
    settings: int
    exact: bool
    confidence: float


def approximation(
    high: CausalModel,
    low: CausalModel,
    mapping: Tau | Mapping[str, Any],
    *,
    variables: Sequence[str] | None = None,
    distance: Distance | None = None,
    largest: float | None = None,
    n: int | None = None,
    given: Condition | None = None,
    seed: int = 0,
    confidence: float = 0.99,
) -> Approximation:
    """The distance between what τ makes of low-level runs and the high-level runs, under interchanges: expected and maximal.

    The distribution: a base and, for each of the variables, a source, all independent and uniform among the low-level inputs. The
    low-level run sets each variable's cell to its values in the source's run; the high-level run starts from what the base stands
    for, and sets the variable to what the source stands for. With the default distance the expected one is 1 - IIA.

    Args:
        high: the model that abstracts.
        low: the model that is abstracted.
        mapping: τ; see `Tau`.
        variables: high-level variables to interchange, all at once; the internal ones if not given; none for no intervention.
        distance: from two batches of high-level settings, arrays of labels [batch] by variable (τ of the low-level run, then the
            high-level run), to distances [batch] of at least 0; if not given, 1 where some output differs and 0 elsewhere.
        largest: the largest value that the distance can have, for an interval.
        n: how many bases with sources to draw; all are gone through if not given.
        given: bases and sources are low-level inputs that meet this condition.
        seed: of what is drawn.
        confidence: of the interval.

    Raises:
        ModelError: when the map does not fit, a variable is unknown, distances are not numbers of at least 0, or there are too
            many settings to go through; and when τ gives a value outside of its high-level domain.
    """
    tau = Tau(mapping)
    tau.fits(high, low)
    chosen = high.internal if variables is None else listed(variables)
    problems = [unknown("variable", v, high.graph) for v in chosen if v not in high.graph]
    problems += [] if n is None else not_counts(n=n)
    if not isinstance(confidence, (int, float)) or not 0 < confidence < 1:
        problems.append(f"confidence must lie between 0 and 1; given {confidence!r}")
    if largest is not None and (not isinstance(largest, (int, float)) or not largest > 0):
        problems.append(f"largest must be a number of more than 0; given {largest!r}")
    if largest is not None and distance is None:
        problems.append("largest is of a distance of your own; the default one is at most 1")
    check(problems, ModelError, "the error of an abstraction")
    inputs = Inputs(low, given)
    measure = distance or _differing(high)
    readers = {v: tau.equation(v, low) for v in high.graph}
    total, means = 0, []
    worst: tuple[float, dict[str, dict[str, Any]]] = 0.0, {}
    for base, sources in _settings(inputs, chosen, n, seed):
        mapped, above = _runs(high, low, readers, base, sources)
        distances = _checked(measure, mapped, above)
        row = int(np.argmax(distances))
        if distances[row] > worst[0]:
            worst = float(distances[row]), _shown(low, base, sources, mapped, above, row)
        means.append(float(distances.sum()))
        total += len(distances)
    expected = fsum(means) / total
    bound = 1.0 if distance is None else largest
    if bound is not None and worst[0] > bound:
        raise ModelError(f"a distance of {worst[0]} is more than the largest that was stated, {bound}")
    interval = (expected, expected) if n is None else _hoeffding(expected, total, bound, confidence)
    return Approximation(expected, interval, worst[0], worst[1], total, n is None, confidence)


def _settings(inputs: Inputs, variables: Sequence[str], n: int | None, seed: int) -> Iterator[tuple[Batch, dict[str, Batch]]]:
    """Bases with sources, in blocks of columns."""
    if n is not None:
        generator = stream(seed, "approximation")
        for start in range(0, n, BLOCK):
            rows = min(BLOCK, n - start)
            yield inputs.sample(generator, rows), {v: inputs.sample(generator, rows) for v in variables}
        return
    if not inputs.finite:
        raise ModelError(f"the inputs of {inputs.model.name!r} cannot all be gone through; draw some with n=")
    total = rows_of(inputs.listed) ** (1 + len(variables))
    if total > _ALL:
        raise ModelError(f"there are {total:,} bases with sources, too many to go through; draw some with n=, or restrict given=")
    for start in range(0, total, BLOCK):
        yield inputs.product(variables, start, min(start + BLOCK, total))


def _runs(
    high: CausalModel, low: CausalModel, readers: Mapping[str, Equation], base: Batch, sources: Mapping[str, Batch]
) -> tuple[dict[str, Column], dict[str, Column]]:
    """High-level settings: what the low-level runs stand for, and the high-level runs; arrays of labels."""
    rows = rows_of(base)
    ran = {v: low.evaluate(source, {}, rows, readers[v].parents) for v, source in sources.items()}
    low_run = low.evaluate(base, {p: ran[v][p] for v in sources for p in readers[v].parents}, rows)
    before = low.evaluate(base, {}, rows)

    def read(variable: str, columns: Batch) -> Column:
        return decoded(readers[variable].evaluate(columns, rows), readers[variable].domain)

    start = {v: read(v, before) for v in high.inputs}
    return {v: read(v, low_run) for v in high.graph}, high.solve(start, {v: read(v, ran[v]) for v in sources})


def _differing(high: CausalModel) -> Distance:
    return lambda mapped, above: np.logical_or.reduce([mapped[v] != above[v] for v in high.outputs]).astype(float)


def _checked(measure: Distance, mapped: Mapping[str, Column], above: Mapping[str, Column]) -> Column:
    """The distances, [batch]."""
    rows = rows_of(mapped)
    try:
        distances = np.asarray(measure(mapped, above))
    except Exception as error:  # whatever the user's function raises
        raise ModelError(f"the distance raised {type(error).__name__}: {error}; it is given two mappings of arrays") from error
    if distances.dtype.kind not in "biuf" or distances.shape != (rows,) or not (distances >= 0).all():
        found = f"{distances.dtype} of shape {list(distances.shape)}"
        raise ModelError(f"a distance gives {rows} numbers of at least 0, one a setting; given {found}")
    return distances.astype(float)


def _hoeffding(expected: float, n: int, largest: float | None, confidence: float) -> tuple[float, float] | None:
    if largest is None:
        return None
    width = largest * sqrt(log(2 / (1 - confidence)) / (2 * n))
    return max(expected - width, 0.0), min(expected + width, largest)


def _shown(
    low: CausalModel,
    base: Batch,
    sources: Mapping[str, Batch],
    mapped: Mapping[str, Column],
    above: Mapping[str, Column],
    row: int,
) -> dict[str, dict[str, Any]]:
    at = slice(row, row + 1)
    told = {"base": low.labels(take(base, at), single=True)}
    told |= {f"source of {v}": low.labels(take(source, at), single=True) for v, source in sources.items()}
    return told | {name: {v: x[at].tolist()[0] for v, x in run.items()} for name, run in (("mapped", mapped), ("high", above))}
