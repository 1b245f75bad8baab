"""How many pairs are drawn: a number fixed beforehand, or as many as the claim needs to be decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from commute.errors import not_counts
from commute.proofs.bounds import ANYTIME, FIXED, Bounds, Inference, bound
from commute.proofs.checked import Checked, Sampler, together
from commute.proofs.slices import Slice

Until = float | Literal["decision"]

_FIRST = 250  # pairs of each kind before the first look
_MOST = 10  # times the pairs without looks that are drawn with them, unless it is told
_GROWTH = 2  # times the pairs of one look that there are at the next


@dataclass(frozen=True)
class Sampling:
    """How many pairs of each kind are drawn, and what bounds that allows.

    Attributes:
        n: pairs of each kind, where no `until` is given.
        until: None for all of them at once; `"decision"` to stop as soon as the claim is decided; a number to stop as soon as no
            slice's bounds are further apart. Kinds whose slices are all settled draw no more.
        at_most: pairs of each kind that are drawn with `until`; None is ten times `n`.
    """

    n: int
    until: Until | None = None
    at_most: int | None = None

    def problems(self) -> list[str]:
        """Say so if the options make no sense."""
        problems = not_counts(n=self.n, **({} if self.at_most is None else {"at_most": self.at_most}))
        width = isinstance(self.until, float) and 0 < self.until < 1
        if self.until is not None and self.until != "decision" and not width:
            problems.append(f'until is "decision" or a width of bounds between 0 and 1; given {self.until!r}')
        if self.until is None and self.at_most is not None:
            problems.append("at_most goes with until; without it n pairs are drawn")
        return problems

    @property
    def most(self) -> int:
        """Pairs of each kind that are drawn at most."""
        return self.n if self.until is None else self.at_most or _MOST * self.n

    @property
    def by(self) -> Inference:
        """Exact bounds for a fixed number of pairs, and a confidence sequence for a number that depends on the answers."""
        return FIXED if self.until is None else ANYTIME

    def drawn(self, samplers: Sequence[Sampler], *, at_least: float, confidence: float) -> list[Checked]:
        """The pairs of each sampler."""
        if self.until is None:
            return [sampler.draw(self.n) for sampler in samplers]
        checked = [sampler.draw(min(_FIRST, self.most)) for sampler in samplers]
        while unsettled := self._unsettled(checked, at_least, confidence):
            for i in unsettled:
                size = len(checked[i].pairs)
                more = samplers[i].draw(min((_GROWTH - 1) * size, self.most - size))
                checked[i] = together([checked[i], more])
        return checked

    def _unsettled(self, checked: Sequence[Checked], at_least: float, confidence: float) -> list[int]:
        """The kinds that are to draw more pairs: none once the claim is refuted and that is what was asked."""
        slices = [(i, s) for i, drawn in enumerate(checked) for s in drawn.slices]
        bounds = bound([s for _, s in slices], at_least=at_least, confidence=confidence, by=self.by)
        if self.until == "decision" and any(b.passed is False for b in bounds):
            return []
        left = {i for (i, s), b in zip(slices, bounds, strict=True) if self._open(s, b)}
        return sorted(i for i in left if len(checked[i].pairs) < self.most)

    def _open(self, part: Slice, bounds: Bounds) -> bool:
        """Whether a slice needs more pairs; to be decided transitions too are bounded by themselves, while there are pairs."""
        if isinstance(self.until, float):
            return part.bounded and bounds.upper - bounds.lower > self.until
        return bounds.passed is None
