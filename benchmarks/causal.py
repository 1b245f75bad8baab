"""Counterfactual answers of causal models, and deciding abstraction: `python -m benchmarks.causal`."""

import os
import sys
import time
import tracemalloc
from statistics import median

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # before numpy is imported

import numpy as np

import commute as cm
from benchmarks.bars import Figure, at_least, report

VALUES = 20
BATCH = 1_000_000  # pairs in one call; a call of 200,000 pairs, on cold caches, takes a quarter to a third longer a pair
ROWS = 4_000  # of the batch, given to pyvene one by one
RUNS = 9


def main() -> int:
    """Print the figures beside their bars."""
    return report([*_interchanges(), *_abstracts()])


def _interchanges() -> list[Figure]:
    """Both systems in turn on the same pairs, on one core; the ratio is taken run by run, since a machine's speed drifts."""
    ours, theirs = cm.library.hierarchical_equality(VALUES), _pyvene_model()
    generator = np.random.default_rng(0)
    base, source = ({v: generator.integers(VALUES, size=BATCH) for v in "abcd"} for _ in range(2))
    bases, sources = ([{v: int(x[i]) for v, x in batch.items()} for i in range(ROWS)] for batch in (base, source))
    rates, ratios = [], []
    for _ in range(RUNS):
        start = time.perf_counter()
        slow = [theirs.run_interchange(b, {"left": s})["same"] for b, s in zip(bases, sources, strict=True)]
        each_slow = (time.perf_counter() - start) / ROWS
        start = time.perf_counter()
        fast = ours.interchange(base, {"left": source}, only=["same"])["same"]
        each = (time.perf_counter() - start) / BATCH
        if fast[:ROWS].tolist() != slow:
            sys.exit("the two systems answer differently")
        rates.append(1 / each / 1e6)
        ratios.append(each_slow / each)
    return [
        at_least("single-source interchanges, hierarchical equality with 20 values", median(rates), 5, "million a second"),
        at_least("the same against pyvene's run_interchange in a loop", median(ratios), 500, "times as fast"),
    ]


def _pyvene_model() -> object:
    from pyvene import CausalModel

    objects, truth = list(range(VALUES)), [False, True]
    return CausalModel(
        ["a", "b", "c", "d", "left", "right", "same"],
        {**dict.fromkeys("abcd", objects), **dict.fromkeys(("left", "right", "same"), truth)},
        {**{v: [] for v in "abcd"}, "left": ["a", "b"], "right": ["c", "d"], "same": ["left", "right"]},
        {
            **{v: lambda: 0 for v in "abcd"},
            "left": lambda a, b: a == b,
            "right": lambda c, d: c == d,
            "same": lambda left, right: left == right,
        },
    )


def _abstracts() -> list[Figure]:
    """A million settings around one variable: the last digit of a sum of six digits, with the sums of three left out."""
    figures = []
    for digits in (4, 6):
        low, high, tau = _sums(digits)
        start = time.perf_counter()
        verdict = cm.abstracts(high, low, tau)
        took = time.perf_counter() - start
        tracemalloc.start()
        cm.abstracts(high, low, tau)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        settings = verdict.evidence[-1].count.total
        if not verdict or settings != 10**digits:
            sys.exit(f"expected that it holds in {10**digits} settings: {verdict}")
        figures += [Figure(f"abstracts, {settings:,} settings", took, 10, "s"), Figure("  memory at its peak", peak, 64, "MiB")]
    return figures


def _sums(digits: int) -> tuple[cm.CausalModel, cm.CausalModel, cm.Tau]:
    names = [f"d{i}" for i in range(digits)]
    half = digits // 2
    mechanisms = {
        "left": cm.Table(names[:half], _digit_sums(half)),
        "right": cm.Table(names[half:], _digit_sums(digits - half)),
        "last": lambda left, right: (left + right) % 10,
    }
    low = cm.CausalModel("sums", dict.fromkeys(names, cm.Finite(range(10))), mechanisms)
    high, tau = low.marginalize(["left", "right"])
    return low, high, tau


def _digit_sums(digits: int) -> dict[tuple[int, ...], int]:
    from itertools import product

    return {row: sum(row) % 10 for row in product(range(10), repeat=digits)}


if __name__ == "__main__":
    sys.exit(main())
