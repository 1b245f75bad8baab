"""Hypothesis as the driver of a search for failing pairs: it deals blocks to screen, replays kept pairs, and shrinks them.

A pair is drawn as choices whose order is that of `smallness`: fewer variables and fewer inputs in which a source differs from the
base are fewer choices. Hypothesis imports slowly, so this module is imported where it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from unittest import SkipTest

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, find, given
from hypothesis import settings as Settings  # noqa: N812  # what it is
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir, storage_directory
from hypothesis.database import ExampleDatabase, choices_to_bytes
from hypothesis.errors import NoSuchExample

from commute.causal.domains import Domain, Finite
from commute.causal.model import CausalModel
from commute.proofs.replaying import Codes

Choices = list[bool | int | float]
Drawn = tuple[tuple[str, ...], Codes]  # variables, and a pair [sides, inputs]
Plain = tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]  # the same, as Hypothesis draws it
Example = TypeVar("Example")

_BITS = 32  # of a block's seed
_TRIED = 300  # pairs that Hypothesis has tried one by one to shrink another


def deal(variables: Sequence[str], screened: Callable[[tuple[str, ...], int], bool], *, blocks: int, seed: int) -> None:
    """Have at most so many blocks of pairs screened, each of a set of variables and with a seed, until one has a failing pair.

    They are drawn bit by bit: to draw numbers, Hypothesis would go by the constants in the user's modules, so that others were
    drawn where other modules are imported.
    """
    bits = st.tuples(*[st.booleans()] * (len(variables) + _BITS))

    def fails(drawn: tuple[bool, ...]) -> bool:
        chosen = tuple(v for v, bit in zip(variables, drawn, strict=False) if bit)
        return screened(chosen or tuple(variables), int("".join("01"[bit] for bit in drawn[len(variables) :]), 2))

    _found(bits, fails, Settings(_quiet(), max_examples=blocks, phases=[Phase.generate], database=None), seed)


def kept(algorithm: CausalModel, variables: Sequence[str], fails: Callable[[Drawn], bool], database: ExampleDatabase) -> None:
    """Have the pairs tried that a database keeps for this algorithm and these variables, the smallest first, until one fails.

    Those that do not fail any more are dropped from it.
    """
    settings = Settings(_quiet(), phases=[Phase.reuse], database=database)
    condition = _once(_plainly(fails))
    with _at_home_elsewhere(), suppress(NoSuchExample, SkipTest):  # the latter where none is kept
        find(_pairs(algorithm, variables), condition, settings=settings, database_key=_key(algorithm, variables))


def keep(algorithm: CausalModel, variables: Sequence[str], drawn: Drawn, database: ExampleDatabase) -> None:
    """Keep a pair in a database."""
    database.save(_key(algorithm, variables), choices_to_bytes(_choices(algorithm, variables, drawn)))


def shrunk_by_hypothesis(
    algorithm: CausalModel, variables: Sequence[str], drawn: Drawn, fails: Callable[[Drawn], bool], *, tried: int = _TRIED
) -> Drawn:
    """What Hypothesis shrinks a failing pair to, trying at most so many others; the pair itself if it gets nowhere."""
    settings = Settings(
        _quiet(), phases=[Phase.reuse, Phase.shrink], database=_One(choices_to_bytes(_choices(algorithm, variables, drawn)))
    )
    found = _found(_pairs(algorithm, variables), _plainly(fails), settings, 0, tried)
    return drawn if found is None else _drawn(found)


class _One(ExampleDatabase):
    """A database that has one example for everyone, and keeps nothing."""

    def __init__(self, choices: bytes) -> None:
        super().__init__()
        self.choices = choices + choices_to_bytes([False])  # one too many: exact ones count as shrunk already

    def fetch(self, key: bytes) -> Iterator[bytes]:  # noqa: ARG002
        yield self.choices

    def save(self, key: bytes, value: bytes) -> None:
        """Keep nothing."""

    def delete(self, key: bytes, value: bytes) -> None:
        """Keep the one example."""


class _FailingError(Exception):
    """What Hypothesis looks for."""


def _found(
    strategy: st.SearchStrategy[Example],
    fails: Callable[[Example], bool],
    settings: Settings,
    seed: int,
    tried: int | None = None,
) -> Example | None:
    """As `hypothesis.find`, which has no seed beside a database: the smallest example found that fails."""
    last: list[Example] = []
    asked = _once(fails, tried)

    def test(example: Example) -> None:
        if asked(example):
            last[:] = [example]
            raise _FailingError

    with _at_home_elsewhere(), suppress(_FailingError, SkipTest):  # the latter where it cannot read the example of a database
        settings(hypothesis.seed(seed)(given(strategy)(test)))()
    return last[0] if last else None


@contextmanager
def _at_home_elsewhere() -> Iterator[None]:
    """Have Hypothesis keep what it reads of the user's modules in a folder that goes away, not in one beside the program."""
    known: Any = storage_directory("constants", intent_to_write=False)  # in older versions the path itself
    home = getattr(known, "path", known).parent
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(home)


def _quiet() -> Settings:
    return Settings(
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        backend="hypothesis",
        suppress_health_check=list(HealthCheck),
    )


def _once(fails: Callable[[Example], bool], tried: int | None = None) -> Callable[[Example], bool]:
    """A condition that is asked once of each example, since Hypothesis asks again to be sure; and of no more than `tried`."""
    known: dict[Example, bool] = {}

    def asked(example: Example) -> bool:
        if example not in known:
            known[example] = (tried is None or len(known) < tried) and fails(example)
        return known[example]

    return asked


@st.composite
def _pairs(draw: st.DrawFn, algorithm: CausalModel, variables: Sequence[str]) -> Plain:
    """Pairs of any set of the variables, none too; `_choices` are the choices that one is drawn by."""
    domains = [algorithm.domain(v) for v in algorithm.inputs]
    chosen = tuple(v for v in variables if draw(st.booleans()))
    base = tuple(draw(_values(d)) for d in domains)
    return chosen, (base, *(tuple(draw(_others(d, x)) for d, x in zip(domains, base, strict=True)) for _ in chosen))


def _plainly(fails: Callable[[Drawn], bool]) -> Callable[[Plain], bool]:
    return lambda example: fails(_drawn(example))


def _drawn(example: Plain) -> Drawn:
    return example[0], np.array(example[1], dtype=np.float64) + 0.0  # no negative zeros


def _values(domain: Domain) -> st.SearchStrategy[float]:
    if isinstance(domain, Finite):
        return st.just(0) if _single(domain) else st.integers(0, len(domain) - 1)
    return st.floats(domain.low, domain.high)


def _single(domain: Domain) -> bool:
    return isinstance(domain, Finite) and len(domain) == 1


@st.composite
def _others(draw: st.DrawFn, domain: Domain, x: float) -> float:
    """The base's value, or first that it is not and then which."""
    if _single(domain) or not draw(st.booleans()):
        return x
    if not isinstance(domain, Finite):
        return draw(st.floats(domain.low, domain.high))
    place = draw(st.integers(0, len(domain) - 2)) if len(domain) > 2 else 0  # noqa: PLR2004  # of two labels the other
    return place + (place >= x)


def _choices(algorithm: CausalModel, variables: Sequence[str], drawn: Drawn) -> Choices:
    """The choices by which `_pairs` draws a pair."""
    chosen, (base, *sources) = drawn
    domains = [algorithm.domain(v) for v in algorithm.inputs]
    choices: Choices = [v in chosen for v in variables]
    for d, x in zip(domains, base.tolist(), strict=True):
        choices += [] if _single(d) else [int(x) if isinstance(d, Finite) else x]
    for source in sources:
        for d, x, y in zip(domains, base.tolist(), source.tolist(), strict=True):
            choices += [] if _single(d) else [x != y]
            if x != y and not isinstance(d, Finite):
                choices.append(y)
            elif x != y and isinstance(d, Finite) and len(d) > 2:  # noqa: PLR2004
                choices.append(int(y - (y > x)))
    return choices


def _key(algorithm: CausalModel, variables: Sequence[str]) -> bytes:
    """What pairs are kept under: what their choices mean."""
    inputs = [f"{v} in {algorithm.domain(v)!r}" for v in algorithm.inputs]
    return sha256("\n".join(["commute.refute", algorithm.name, *inputs, *variables]).encode()).digest()
