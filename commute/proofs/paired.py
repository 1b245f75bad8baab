"""Two alignments, or two networks, on the same pairs: which of them is right more often."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from commute.alignments.accuracy import agreement, agrees, check_labels
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, ModelError, check
from commute.models.network import Network


@dataclass(frozen=True)
class PairedComparison:
    """On how many pairs each of two was right.

    Pairs on which both are right, or neither is, do not tell the two apart, so the difference is much better known than from
    their two accuracies.

    Attributes:
        both: pairs on which both are right.
        only_first: on which only the first is.
        only_second: on which only the second is.
        neither: on which none is.
        independent: whether the pairs were independent draws; without that there is neither interval nor test.
        confidence: of the interval.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    independent: bool
    confidence: float = 0.99

    def __str__(self) -> str:
        bounds = f" [{self.interval[0]:.4f}, {self.interval[1]:.4f}]" if self.interval else ""
        test = "" if self.p_value is None else f"; McNemar p = {self.p_value:.2g}"
        return (
            f"IIA {self.first.rate:.4f} against {self.second.rate:.4f}, difference {self.difference:+.4f}{bounds}"
            f" on {self.total} pairs (only the first {self.only_first}, only the second {self.only_second}{test})"
        )

    @property
    def total(self) -> int:
        """How many pairs there are."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def first(self) -> Count:
        """How often the first is right."""
        return Count(self.both + self.only_first, self.total)

    @property
    def second(self) -> Count:
        """How often the second is right."""
        return Count(self.both + self.only_second, self.total)

    @property
    def difference(self) -> float:
        """IIA of the first less that of the second; NaN of no pairs."""
        return self.first.rate - self.second.rate

    @property
    def p_value(self) -> float | None:
        """McNemar's exact test of no difference: of the pairs with one right, half would be the first's (1947; two-sided)."""
        from scipy.stats import binomtest

        if not self.independent:
            return None
        apart = self.only_first + self.only_second
        return float(binomtest(self.only_first, apart).pvalue) if apart else 1.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bounds on the difference that hold both at once at `confidence`, whatever the rates; None without independent pairs.

        The difference is d (2s - 1), d being the share of pairs with just one right and s the first's share of those. Clopper and
        Pearson's bounds on d and on s share what may be missed, so that the interval excludes 0 exactly when McNemar's test
        rejects at half of 1 - confidence.
        """
        if not self.independent:
            return None
        each = 1 - (1 - self.confidence) / 4
        apart = Count(self.only_first + self.only_second, self.total)
        share = Count(self.only_first, apart.correct)
        low, high = 2 * share.lower(each) - 1, 2 * share.upper(each) - 1
        least, most = apart.lower(each), apart.upper(each)
        return (least if low > 0 else most) * low, (most if high > 0 else least) * high

    @property
    def better(self) -> Literal["first", "second"] | None:
        """The one that is right more often; None where the interval holds 0 or there is none."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return "first" if self.interval[0] > 0 else "second"


def compare_alignments(
    algorithm: CausalModel,
    pairs: Pairs,
    first: tuple[Network, Alignment],
    second: tuple[Network, Alignment],
    *,
    confidence: float = 0.99,
) -> PairedComparison:
    """Compare two alignments of an algorithm, of the same network or of two, on the same pairs.

    Args:
        algorithm: what the outputs are those of.
        pairs: what is interchanged and expected; pairs that neither was searched or selected on.
        first: a network and an alignment of every variable of the pairs.
        second: likewise.
        confidence: of the interval for the difference.

    Raises:
        AlignmentError: as `interchange_accuracy`, when a variable is not aligned or a network's outputs are not the algorithm's;
            and for pairs that are not the algorithm's.
    """
    sides = {"first": first, "second": second}
    problems = [wrong for name, side in sides.items() for wrong in _not_a_side(name, side)]
    check([*problems, *_not_of(algorithm, pairs)], AlignmentError, "a paired comparison")
    if not 0 < confidence < 1:
        raise AlignmentError(f"a paired comparison: a confidence lies between 0 and 1; given {confidence!r}")
    for network, _ in sides.values():
        check_labels(algorithm, network.run(pairs.base))
    one, other = (agreement(network, alignment, pairs) for network, alignment in sides.values())
    both, only_first, only_second, neither = (int(x.sum()) for x in (one & other, one & ~other, ~one & other, ~one & ~other))
    return PairedComparison(both, only_first, only_second, neither, pairs.independent, confidence)


def _not_a_side(name: str, side: object) -> list[str]:
    kinds = (Network, Alignment)
    fits = isinstance(side, Sequence) and len(side) == len(kinds) and all(map(isinstance, side, kinds))
    return [] if fits else [f"{name} must be a network and its alignment, (network, alignment); given {side!r}"]


def _not_of(algorithm: CausalModel, pairs: object) -> list[str]:
    """Say so if these are not pairs with the algorithm's own answers."""
    if not isinstance(pairs, Pairs):
        return [f"pairs must be Pairs of the algorithm, such as cm.pairs(…) draws; given {pairs!r}"]
    try:
        answered = algorithm.interchange(pairs.base, pairs.sources, only=algorithm.outputs)
        own = set(answered) == set(pairs.expected) and agrees(answered, pairs.expected).all()
    except ModelError as error:
        return [f"the pairs are not those of {algorithm.name!r}: {error}"]
    return [] if own else [f"the pairs are not those of {algorithm.name!r}: what they expect is not what it answers"]
