"""Which of two failing pairs is smaller, and which values of an input come before another.

A pair is smaller when fewer variables are interchanged, then when its sources differ from its base in fewer inputs, then when it
comes first where pairs are listed in the domains' order: by the base's inputs, then by each source's. In a finite domain that is
the order of its labels. In an interval a number that is a multiple of a higher power of ten comes first, 0 before all, and of
those alike the lower one: 0, 10, 20, …, 1, 2, …, 0.1, 0.2, ….
"""

from collections.abc import Sequence
from decimal import Decimal
from math import ceil, floor

import numpy as np

from commute.causal.batches import Column
from commute.causal.domains import Domain, Finite, Interval
from commute.proofs.replaying import Codes

LISTED = 64  # values of an input that are gone through one by one; of more, some
_FIRST = 32  # of more values, so many of the first
_ROUND = 10**6  # stands for the power of ten that 0 is a multiple of


def sizes(codes: Codes, domains: Sequence[Domain]) -> Codes:
    """What pairs [pairs, sides, inputs] are compared by, first column first, [pairs, columns]."""
    moved = (codes[:, 1:] != codes[:, :1]).sum((1, 2))
    places = [p for side in range(codes.shape[1]) for i, d in enumerate(domains) for p in _places(codes[:, side, i], d)]
    return np.stack([np.full(len(codes), codes.shape[1]), moved, *places], 1).astype(np.float64)


def _places(column: Column, domain: Domain) -> list[Column]:
    if isinstance(domain, Finite):
        return [column]
    numbers, index = np.unique(column, return_inverse=True)
    return [-np.array([_power(x) for x in numbers.tolist()])[index], column]


def _power(x: float) -> int:
    """The highest power of ten that a number, as it is written, is a multiple of."""
    exponent = Decimal(repr(x)).normalize().as_tuple().exponent
    return exponent if x and isinstance(exponent, int) else _ROUND


def order(size: Codes) -> Column:
    """The rows of what pairs are compared by, smallest first."""
    rows: Column = np.lexsort(size.T[::-1])
    return rows


def smaller(size: Codes, than: Codes) -> Column:
    """Which rows are smaller than one other, [pairs] of bool."""
    differs = size != than
    first = differs.argmax(1)
    less: Column = np.take_along_axis(size, first[:, None], 1)[:, 0] < than[first]
    less &= differs.any(1)
    return less


def earlier(x: float, domain: Domain) -> list[float]:
    """Values that come before one: all of a finite domain up to `LISTED`, else some near the first and some near itself."""
    if isinstance(domain, Interval):
        return _simpler(x, domain)
    code = int(x)
    if code <= LISTED:
        return [float(y) for y in range(code)]
    halves = {code >> k for k in range(1, code.bit_length())} | {code - (1 << k) for k in range(code.bit_length())}
    return [float(y) for y in sorted({*range(_FIRST), *halves} - {code})]


def _simpler(x: float, domain: Interval) -> list[float]:
    """Of multiples of each power of ten down to that of a number: the lowest ones, and those around the number."""
    found = {0.0: None} if 0 in domain and x else {}
    lowest = _power(x) if x else 0
    highest = floor(np.log10(max(abs(domain.low), abs(domain.high))))
    for power in range(highest, lowest - 1, -1) if x else ():
        unit = Decimal(1).scaleb(power)
        start, stop = ceil(Decimal(domain.low) / unit), floor(Decimal(domain.high) / unit)
        near = floor(Decimal(x) / unit)
        chosen = [*range(start, min(stop, start + _FIRST // 2) + 1), near - 1, near, near + 1]
        numbers = [float(n * unit) for n in chosen if start <= n <= stop]
        found |= dict.fromkeys(y for y in numbers if y in domain and (power > lowest or y < x))
    found.pop(x, None)
    return list(found)


def others(x: float, domain: Domain) -> list[float]:
    """Other values than one: all of a small finite domain, else some that are evenly spread."""
    if isinstance(domain, Interval):
        values = np.linspace(domain.low, domain.high, LISTED + 1).tolist()
    elif len(domain) <= LISTED + 1:
        values = [float(y) for y in range(len(domain))]
    else:
        values = np.unique(np.linspace(0, len(domain) - 1, LISTED).round()).tolist()
    return [y for y in values if y != x]
