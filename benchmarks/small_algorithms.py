"""Algorithms of a few variables over inputs that are few enough for every base and source to be gone through."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import commute as cm
from commute.causal.library import hierarchical_equality, modular_addition


@cache
def algorithms() -> tuple[cm.CausalModel, ...]:
    """Every algorithm at every size."""
    return tuple(made(size) for made, sizes in SIZES.items() for size in sizes)


def _model(name: str, size: int, inputs: str, values: int, mechanisms: Mapping[str, Callable[..., Any]]) -> cm.CausalModel:
    return cm.CausalModel(f"{name} {size}", dict.fromkeys(inputs, cm.Finite(range(values))), dict(mechanisms))


def three_numbers(modulus: int) -> cm.CausalModel:
    """A sum of three, one after the other."""
    return _model(
        "sum of three",
        modulus,
        "abc",
        modulus,
        {"partial": lambda a, b: (a + b) % modulus, "answer": lambda partial, c: (partial + c) % modulus},
    )


def chain(values: int) -> cm.CausalModel:
    """Two variables, the second computed from the first."""
    return _model(
        "chain",
        values,
        "abcd",
        values,
        {
            "first": lambda a, b: (a + b) % values,
            "second": lambda first, c: max(c, first),
            "answer": lambda second, d: (second + d) % values,
        },
    )


def tree(leaves: int) -> cm.CausalModel:
    """Conjunctions of pairs, of which any is enough; each is true of a quarter of inputs."""
    both = [(f"x{i}", f"y{i}") for i in range(leaves // 2)]
    inputs = {v: cm.Finite((0, 1)) for pair in both for v in pair}
    pairs = {f"both{i}": cm.Table(p, {(x, y): x * y for x in (0, 1) for y in (0, 1)}) for i, p in enumerate(both)}
    settings = [tuple(k >> i & 1 for i in range(len(both))) for k in range(2 ** len(both))]
    answer = cm.Table(tuple(pairs), {s: int(any(s)) for s in settings})
    return cm.CausalModel(f"tree {leaves}", inputs, {**pairs, "answer": answer})


def parity(inputs: int) -> cm.CausalModel:
    """Exclusive or of two exclusive ors; with five inputs the second is of three."""
    second = (lambda c, d: c ^ d) if inputs == 4 else (lambda c, d, e: c ^ d ^ e)
    return _model(
        "parity",
        inputs,
        "abcde"[:inputs],
        2,
        {"left": lambda a, b: a ^ b, "right": second, "answer": lambda left, right: left ^ right},
    )


def largest(values: int) -> cm.CausalModel:
    """The largest of three numbers, by way of the larger of the first two."""
    return _model(
        "largest",
        values,
        "abc",
        values,
        {"larger": lambda a, b: max(b, a), "answer": lambda larger, c: max(c, larger)},
    )


def conditional(values: int) -> cm.CausalModel:
    """The second number where the first is large, else the third."""
    return _model(
        "conditional",
        values,
        "abc",
        values,
        {"large": lambda a: int(2 * a >= values), "answer": lambda large, b, c: b if large else c},
    )


def comparison(values: int) -> cm.CausalModel:
    """Whether one sum is larger than another."""
    return _model(
        "comparison",
        values,
        "abcd",
        values,
        {"left": lambda a, b: a + b, "right": lambda c, d: c + d, "answer": lambda left, right: int(left > right)},
    )


def majority(votes: int) -> cm.CausalModel:
    """Whether two of three gates are true."""
    return _model(
        "majority",
        votes,
        "abcdef",
        2,
        {
            "x": lambda a, b: a & b,
            "y": lambda c, d: c | d,
            "z": lambda e, f: int(e == f),
            "answer": lambda x, y, z: int(x + y + z >= 2),
        },
    )


def count(modulus: int) -> cm.CausalModel:
    """How many of four are true; with modulus 3, none and three of them are answered alike."""
    return _model(
        "count",
        modulus,
        "abcde",
        2,
        {"ones": lambda a, b, c, d: a + b + c + d, "answer": lambda ones, e: (ones + e) % modulus},
    )


def alarm(inputs: int) -> cm.CausalModel:
    """A variable that is rarely true: all of the inputs but the last."""
    names = "abcdef"[:inputs]
    raised = (lambda a, b, c, d: a & b & c & d) if inputs == 5 else (lambda a, b, c, d, e: a & b & c & d & e)
    answer = (lambda alarm, e: alarm ^ e) if inputs == 5 else (lambda alarm, f: alarm ^ f)
    return _model("alarm", inputs, names, 2, {"alarm": raised, "answer": answer})


SIZES: Mapping[Callable[[int], cm.CausalModel], tuple[int, ...]] = {
    hierarchical_equality: (2, 3, 4),
    modular_addition: (3, 5, 7, 11),
    three_numbers: (3, 4, 5),
    chain: (2, 3),
    tree: (4, 6),
    parity: (4, 5),
    largest: (3, 4, 5),
    conditional: (3, 4, 5),
    comparison: (2, 3),
    majority: (3,),
    count: (3, 5),
    alarm: (5, 6),
}
