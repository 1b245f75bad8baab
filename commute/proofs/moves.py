"""Changes to a pair that may make it smaller, as candidates to try at once."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import isqrt
from typing import Any

import numpy as np

from commute.causal.domains import Domain, Finite
from commute.proofs.replaying import Codes
from commute.proofs.smallness import earlier, others

_SUBSETS = 8  # inputs in which sources differ from the base, up to which every subset of them is taken back
_PAIRED = 2**14  # candidates that change two places at once, at most

Place = np.ndarray[Any, np.dtype[np.bool_]]  # inputs of some sides, which hold one value and change together


def restored(pair: Codes) -> Codes:
    """A pair [sides, inputs] with sources taken back to the base in some inputs, or the base brought to a source."""
    moved = np.argwhere(pair != pair[:1])
    sizes = range(1, len(moved) + 1) if len(moved) <= _SUBSETS else (1, len(moved) - 1, len(moved))
    found = []
    for size in sizes:
        for chosen in combinations(moved.tolist(), size):
            sides, inputs = np.array(chosen).T
            found += [_set(pair, (sides, inputs), pair[0, inputs])]
    for side in range(1, len(pair)):
        found += [_set(pair, (side,), pair[0]), _set(pair, (0,), pair[side])]
        found += [_set(pair, (0, i), pair[side, i]) for i in np.flatnonzero(pair[side] != pair[0])]
    return np.array(found).reshape(-1, *pair.shape)


def _set(pair: Codes, where: tuple[Any, ...], values: Any) -> Codes:
    changed = pair.copy()
    changed[where] = values
    return changed


def lowered(pair: Codes, domains: Sequence[Domain]) -> Codes:
    """A pair with one value, in one place or in several that hold it, replaced by an earlier one."""
    found = [
        np.where(place, y, pair)
        for place in _distinct([*_places(pair), *_alike(pair, domains)])
        for y in earlier(*_held(pair, domains, place))
    ]
    return np.array(found).reshape(-1, *pair.shape)


def doubly(pair: Codes, domains: Sequence[Domain]) -> Codes:
    """A pair with the values in two places replaced by any others, as many as there is room for: earlier ones first."""
    places = [p for p in _distinct(list(_places(pair))) if _wide(domains, p)]
    couples = [(one, other) for one, other in combinations(places, 2) if not (one & other).any()]
    most = isqrt(_PAIRED // max(len(couples), 1))
    values = [_replacements(*_held(pair, domains, p))[:most] for p in places]
    known = {p.tobytes(): v for p, v in zip(places, values, strict=True)}
    found = []
    for one, other in couples:
        grid = np.array(list(product(known[one.tobytes()], known[other.tobytes()]))).reshape(-1, 2)
        changed = np.where(one, grid[:, :1, None], pair)
        found.append(np.where(other, grid[:, 1:, None], changed))
    return np.concatenate(found) if found else np.empty((0, *pair.shape))


def _replacements(x: float, domain: Domain) -> list[float]:
    return list(dict.fromkeys([*earlier(x, domain), *others(x, domain)]))


def _places(pair: Codes) -> Iterator[Place]:
    """Each input of each side, and each input of all sides that hold what the base holds there."""
    shared = pair == pair[0]
    for i in range(pair.shape[1]):
        for side in range(len(pair)):
            yield _only(pair, side, i)
        yield shared & (np.arange(pair.shape[1]) == i)


def _only(pair: Codes, side: int, i: int) -> Place:
    place = np.zeros(pair.shape, dtype=bool)
    place[side, i] = True
    return place


def _alike(pair: Codes, domains: Sequence[Domain]) -> Iterator[Place]:
    """All inputs of one domain that hold the same value, in all sides and in each."""
    kinds = np.array([domains.index(d) for d in domains])
    for kind in np.unique(kinds):
        for x in np.unique(pair[:, kinds == kind]):
            everywhere = (pair == x) & (kinds == kind)
            yield everywhere
            for side in range(len(pair)):
                yield everywhere & (np.arange(len(pair)) == side)[:, None]


def _distinct(places: Sequence[Place]) -> list[Place]:
    return list({p.tobytes(): p for p in places if p.any()}.values())


def _held(pair: Codes, domains: Sequence[Domain], place: Place) -> tuple[float, Domain]:
    side, i = np.argwhere(place)[0]
    return float(pair[side, i]), domains[i]


def _wide(domains: Sequence[Domain], place: Place) -> bool:
    domain = domains[np.argwhere(place)[0][1]]
    return not isinstance(domain, Finite) or len(domain) > 1
