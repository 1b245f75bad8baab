"""Options that methods have in common: how they are checked, kept, and read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import inf
from typing import Any

import numpy as np

from commute.alignments.method import At
from commute.errors import AlignmentError, check, not_counts, unknown


def as_plain(method: Any) -> None:
    """Keep a method's numbers as Python's own, and lists of them as tuples, so that equal options are equal records."""
    for option in fields(method):
        value = getattr(method, option.name)
        if isinstance(value, (list, tuple)):
            object.__setattr__(method, option.name, tuple(map(_plain, value)))
        elif isinstance(value, Mapping):
            object.__setattr__(method, option.name, {v: _plain(x) for v, x in value.items()})
        else:
            object.__setattr__(method, option.name, _plain(value))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def sizes_of(dims: int | Sequence[int] | Mapping[str, int], variables: Sequence[str]) -> list[int]:
    """How many coordinates each variable gets.

    Raises:
        AlignmentError: when a mapping does not name the variables.
    """
    if isinstance(dims, Mapping):
        lacking = [f"dims names no number for {v!r}" for v in variables if v not in dims]
        check(lacking + [unknown("variable", v, variables) for v in dims if v not in variables], AlignmentError, "dims")
        return [dims[v] for v in variables]
    if not isinstance(dims, int):
        raise AlignmentError(f"dims {dims} are tried one after the other by a search; a single fit needs one number")
    return [dims] * len(variables)


def columns_of(dims: int | Sequence[int] | Mapping[str, int], variables: Sequence[str]) -> dict[str, slice]:
    """The coordinates of each variable."""
    sizes = sizes_of(dims, variables)
    return {v: slice(sum(sizes[:i]), sum(sizes[: i + 1])) for i, v in enumerate(variables)}


def fitting_sizes(method: str, dims: int | Sequence[int] | Mapping[str, int], at: At) -> list[int]:
    """As `sizes_of`, for a site that must have as many coordinates.

    Raises:
        AlignmentError: when it is narrower.
    """
    sizes = sizes_of(dims, at.variables)
    if sum(sizes) > at.width:
        n = len(sizes)
        raise AlignmentError(f"{method}(dims={dims}) for {n} variables needs {sum(sizes)} dims; {at.site} has {at.width}")
    return sizes


def check_one_each(at: At, coordinates: int) -> None:
    """Check that a site has a coordinate for each variable.

    Raises:
        AlignmentError: when it has fewer.
    """
    if coordinates < len(at.variables):
        raise AlignmentError(f"{len(at.variables)} variables need a coordinate each; {at.site} has {coordinates}")


def sparsity_problems(sparsity: object) -> list[str]:
    """What is wrong with the weight of a penalty on coordinates."""
    fine = isinstance(sparsity, (int, float)) and sparsity >= 0
    return [] if fine else [f"sparsity must be at least 0; given {sparsity!r}"]


def dims_problems(dims: object) -> list[str]:
    """What is wrong with a number of dims, a list of them, or a mapping from variables."""
    if isinstance(dims, Mapping):
        return not_counts(**{f"dims of {v}": d for v, d in dims.items()}) if dims else ["dims names no variable"]
    if isinstance(dims, Sequence) and not isinstance(dims, str):
        twice = [f"dims lists {d} twice" for i, d in enumerate(dims) if d in dims[:i]]
        return not_counts(**{f"dims[{i}]": d for i, d in enumerate(dims)}) + twice if dims else ["dims lists no number to try"]
    return not_counts(dims=dims)


def trained_problems(steps: object, batch: object, learning_rate: object, restarts: object, patience: object) -> list[str]:
    """What is wrong with the options that all trained methods have."""
    problems = not_counts(steps=steps, batch=batch, restarts=restarts, patience=patience)
    rates = learning_rate if isinstance(learning_rate, Sequence) and not isinstance(learning_rate, str) else [learning_rate]
    wrong = [r for r in rates if not isinstance(r, (int, float)) or isinstance(r, bool) or not 0 < r < inf]
    if wrong or not rates or len(set(rates)) < len(rates):
        problems.append(f"learning_rate must be positive, or a list of such numbers, each once; given {learning_rate!r}")
    return problems
