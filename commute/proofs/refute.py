"""Refuting a claim: a search for a pair on which the network and the algorithm differ, made as small as it goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from commute.alignments.accuracy import check_network
from commute.alignments.alignment import Alignment
from commute.alignments.variable_sets import variable_sets
from commute.causal.designs import Design
from commute.causal.designs import pairs as draw_pairs
from commute.causal.inputs import Condition, Inputs
from commute.causal.model import CausalModel
from commute.errors import AlignmentError, PairsError, check, not_counts, unknown
from commute.models.network import Network
from commute.proofs.counterexample import Counterexample
from commute.proofs.descending import Margins, descended
from commute.proofs.evidence import title
from commute.proofs.interchanging import ALONE
from commute.proofs.replaying import Codes, Trial
from commute.proofs.shrinking import fewer, matters, smallest
from commute.proofs.smallness import order, sizes, smaller
from commute.runs.seeds import plain_seed, stream

if TYPE_CHECKING:
    from hypothesis.database import ExampleDatabase

_BLOCK = 2048  # pairs screened at once
_WORST = 32  # pairs of a block that gradient steps are made from
_STARTS = 4  # failing pairs of a block that are made smaller
_CHECKED = 64  # inputs on which the network's labels are looked at first
_KIND = "counterexample search"


@dataclass(frozen=True)
class Refutation:
    """What a search for failing pairs found.

    Attributes:
        counterexample: a smallest failing pair, with what matters in it; None if none was found, which proves nothing.
        screened: pairs that were put to both sides, until a block of them had one that fails.
        failing: how many of these fail.
        stepped: how many of these gradient steps led to.
        remembered: whether the failing pair was in the database.
        variables: of which every set was interchanged.
        pairs: that were to be screened.
        seed: of what was drawn.
    """

    counterexample: Counterexample | None
    screened: int
    failing: int
    stepped: int
    remembered: bool
    variables: tuple[str, ...]
    pairs: int
    seed: int

    def __str__(self) -> str:
        sets = f"sets of {', '.join(self.variables)}" if len(self.variables) > 1 else self.variables[0]
        if self.counterexample is None:
            return f"none of {self.screened:,} pairs of {sets} fails (seed {self.seed})"
        found = (
            "kept from an earlier search" if self.remembered else f"{self.failing:,} of {self.screened:,} pairs of {sets} fail"
        )
        return f"{found} (seed {self.seed}); a smallest one:\n{self.counterexample}"


def refute(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    *,
    variables: Sequence[str] | None = None,
    pairs: int = 100_000,
    given: Condition | None = None,
    database: "ExampleDatabase | str | Path | None" = None,
    seed: int = 0,
) -> Refutation:
    """Search for a pair on which the network and the algorithm differ.

    Sets of variables, larger ones too, are screened a block of pairs at a time, half of them by the balanced design and half
    uniform: first those of one, of two and of all variables (every set of up to four), then those that Hypothesis draws, until a
    block has a failing pair. With continuous inputs the worst pairs of each block are moved by gradient steps on the margin of
    the network's answer. A failing pair is then made as small as it goes, without variables that it fails without: no change of
    one input, in one place or wherever the sides share its value, gives a smaller pair that fails (`commute.proofs.smallness`
    says what is smaller). The empty set stands for the network left alone.

    With continuous inputs a pair does not count as failing at an edge of the algorithm, where its answer jumps and the network's
    may by rounding: where the expected answer becomes another one once a single continuous input, of the base or of a source, is
    moved up or down by a hundred-thousandth of its domain's width. That goes for pairs screened, those that gradient steps lead
    to and those that a failing one is made smaller to; a network that is wrong at such edges alone is not refuted. An output
    that is itself a number of an interval has no edges.

    Within a test of Hypothesis's own `@given`, that test has to suppress `HealthCheck.nested_given`.

    Args:
        algorithm: what is claimed.
        network: of which it is claimed.
        alignment: the feature of each variable.
        variables: sets of these are interchanged; all that are aligned if not given.
        pairs: to screen, at most.
        given: bases and sources are drawn from the inputs that meet this condition.
        database: of Hypothesis, or a folder for one, in which failing pairs are kept; the next search tries them first.
        seed: of what is drawn; the same search with the same seed finds the same pair.

    Raises:
        AlignmentError: for variables that are not aligned, and labels that are not the algorithm's.
        PairsError: for variables that the algorithm does not have, and when nothing meets `given`.
        NetworkError: when the network is not deterministic, or cannot be run.
    """
    chosen = tuple(alignment if variables is None else [variables] if isinstance(variables, str) else variables)
    problems = [unknown("aligned variable", v, alignment) for v in chosen if v not in alignment]
    problems += [f"{v!r} is named twice" for i, v in enumerate(chosen) if v in chosen[:i]]
    problems += [] if chosen else ["variables names at least one variable"]
    check([*problems, *not_counts(pairs=pairs)], AlignmentError, "a search for failing pairs")
    check([unknown("variable", v, algorithm.graph) for v in chosen if v not in algorithm.graph], PairsError, "the algorithm")
    seed = plain_seed(seed)
    trial = Trial(algorithm, network, alignment, chosen, given=given)
    inputs = algorithm.labels(Inputs(algorithm, given).sample(stream(seed, "refute", "check"), _CHECKED))
    check_network(algorithm, network, alignment, inputs)
    search = _Search(trial, pairs, seed)
    store = _opened(database)
    if store is not None:
        search.remember(store)
    if not search.failed:
        search.screen()
    example = None
    if search.failed:
        found, pair = _smallest(trial, search.failed)
        example = replace(
            found.example(pair, title(found.variables, _KIND) if found.variables else ALONE), matters=matters(found, pair)
        )
        if store is not None:
            from commute.proofs.falsifying import keep

            keep(algorithm, chosen, (found.variables, pair), store)
    return Refutation(example, search.screened, search.failing, search.stepped, search.remembered, chosen, pairs, seed)


def _opened(database: "ExampleDatabase | str | Path | None") -> "ExampleDatabase | None":
    if not isinstance(database, (str, Path)):
        return database
    from hypothesis.database import DirectoryBasedExampleDatabase

    return DirectoryBasedExampleDatabase(database)


@dataclass(eq=False)
class _Search:
    """A search, and what it has found so far: failing pairs of one block, each with its set of variables."""

    trial: Trial
    pairs: int
    seed: int
    screened: int = 0
    failing: int = 0
    stepped: int = 0
    remembered: bool = False
    failed: list[tuple[Trial, Codes]] = field(default_factory=list)

    def remember(self, database: "ExampleDatabase") -> None:
        """Try the pairs that a database keeps."""
        from commute.proofs.falsifying import kept

        def fails(drawn: tuple[tuple[str, ...], Codes]) -> bool:
            self._judge(replace(self.trial, variables=drawn[0]), drawn[1][None])
            return bool(self.failed)

        kept(self.trial.algorithm, self.trial.variables, fails, database)
        self.remembered = bool(self.failed)

    def screen(self) -> None:
        """Screen blocks of pairs."""
        sets = variable_sets(self.trial.variables)
        rows = min(max(self.pairs // (2 * len(sets)), 1), _BLOCK)  # half of the pairs at most are not Hypothesis's to deal
        for variables in sets:
            if self._block(variables, 0, rows):
                return
        if self.screened < self.pairs:
            from commute.proofs.falsifying import deal

            blocks = -(-(self.pairs - self.screened) // rows)
            deal(self.trial.variables, lambda vs, seed: self._block(vs, 1 + seed, rows), blocks=blocks, seed=self.seed)

    def _block(self, variables: tuple[str, ...], number: int, rows: int) -> bool:
        """Screen a block of one set of variables, as far as there are pairs left; whether one fails."""
        trial = replace(self.trial, variables=variables)
        rows = min(rows, self.pairs - self.screened)
        if rows < 1:
            return False
        drawn = np.concatenate(list(_drawn(trial, rows, stream(self.seed, "refute", *variables, str(number)))))
        self._judge(trial, drawn)
        margins = None if self.failed else Margins.of(trial, drawn)
        if margins is not None and (left := min(_WORST, self.pairs - self.screened)):
            worst = np.argsort(margins.counted(drawn), kind="stable")[:left]
            reached = descended(margins, drawn[worst])
            self.stepped += len(reached)
            self._judge(trial, reached)
        return bool(self.failed)

    def _judge(self, trial: Trial, pairs: Codes) -> None:
        fails = trial.but_at_edges(pairs, trial.differ(pairs))
        self.screened += len(pairs)
        self.failing += int(fails.sum())
        failing = np.unique(pairs[fails], axis=0)
        if len(failing):
            self.failed += [(trial, pair) for pair in failing[order(sizes(failing, trial.domains))[:_STARTS]]]


def _drawn(trial: Trial, rows: int, generator: np.random.Generator) -> Iterator[Codes]:
    """Pairs half by the balanced design, where there is one, and half uniform."""
    halves: tuple[tuple[Design, int], ...] = (("balanced", rows // 2), ("uniform", rows - rows // 2))
    for design, n in halves:
        if n:
            try:
                drawn = draw_pairs(trial.algorithm, trial.variables, n, design=design, seed=generator, given=trial.given)
            except PairsError:  # some sets of variables change no answer
                drawn = draw_pairs(trial.algorithm, trial.variables, n, design="uniform", seed=generator, given=trial.given)
            yield trial.coded(drawn.base, drawn.sources)


def _smallest(trial: Trial, failed: Sequence[tuple[Trial, Codes]]) -> tuple[Trial, Codes]:
    """The smallest of failing pairs, each made as small as it goes; Hypothesis tries to make that one smaller still."""
    from commute.proofs.falsifying import shrunk_by_hypothesis

    best = _least([_minimal(*found) for found in failed])

    def fails(drawn: tuple[tuple[str, ...], Codes]) -> bool:
        return bool(replace(trial, variables=drawn[0]).compared(drawn[1][None])[1][0])

    variables, pair = shrunk_by_hypothesis(trial.algorithm, trial.variables, (best[0].variables, best[1]), fails)
    other = replace(trial, variables=variables), pair
    return best if _least([best, other]) is best else _minimal(*other)


def _minimal(trial: Trial, pair: Codes) -> tuple[Trial, Codes]:
    """A failing pair without the variables that it fails without, as small as it goes."""
    while True:
        less, pair = fewer(trial, pair)
        pair = smallest(less, pair)
        if less.variables == trial.variables:
            return less, pair
        trial = less


def _least(found: Sequence[tuple[Trial, Codes]]) -> tuple[Trial, Codes]:
    """The first of those than which no other is smaller."""
    best = found[0]
    for trial, pair in found[1:]:
        size, than = (sizes(p[None], trial.domains)[0] for p in (pair, best[1]))
        if size[0] < than[0] or (size[0] == than[0] and smaller(size[None], than)[0]):
            best = trial, pair
    return best
