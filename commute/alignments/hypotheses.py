"""Rival hypotheses: which of them explains what interchanging a site does?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from commute.alignments.accuracy import Accuracy, agrees
from commute.causal.batches import Batch, Column, plain
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, check, unknown
from commute.models.cost import Cost
from commute.models.network import Network
from commute.models.rows import Labels, at
from commute.models.sites import Site

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What a network answered after each site was interchanged, beside what each hypothesis predicts.

    Attributes:
        hypotheses: by name; their pairs have the same bases and sources.
        alone: the network's labels for the bases left alone, [pairs], or one array an output.
        answers: for each site the labels after its interchange, likewise.
        cost: of the sweep, as it tells it.
        confidence: of each bound of an interval.
    """

    hypotheses: Mapping[str, Pairs]
    alone: Labels
    answers: Mapping[Site, Labels]
    cost: Cost
    confidence: float

    def __len__(self) -> int:
        return len(next(iter(self.hypotheses.values())))

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.hypotheses)} at {len(self.answers)} sites, {len(self)} pairs)"

    def __getitem__(self, rows: Column | slice) -> "Comparison":
        """The same on some of the pairs; as with `Pairs`, only those of a slice still count as independent draws."""
        places = np.arange(len(self))[rows]
        return Comparison(
            {name: pairs[rows] for name, pairs in self.hypotheses.items()},
            at(self.alone, places),
            {site: at(labels, places) for site, labels in self.answers.items()},
            self.cost,
            self.confidence,
        )

    def accuracy(self, hypothesis: str, site: Site) -> Accuracy:
        """How often the answer after the interchange is the one that the hypothesis predicts.

        Raises:
            AlignmentError: for a name or site that was not compared, here and below.
        """
        return self._accuracy(hypothesis, site, np.ones(len(self), dtype=bool))

    def apart(self, hypothesis: str, rival: str, site: Site) -> Accuracy:
        """The same on the pairs for which the two predict different answers; no other pair can tell them apart.

        Which pairs these are does not depend on the network, so that they are independent draws where all pairs are.
        """
        return self._accuracy(hypothesis, site, self.differ(hypothesis, rival))

    def differ(self, hypothesis: str, rival: str) -> Column:
        """For which pairs the two predict different answers, [pairs] of bool."""
        self._check(hypothesis, rival)
        differs: Column = ~agrees(self.hypotheses[hypothesis].expected, self.hypotheses[rival].expected)
        return differs

    def nearest(self, hypothesis: str, site: Site) -> Accuracy:
        """`apart` from the rival against which the hypothesis does worst; one that predicts the same throughout comes first.

        Without rivals it is the accuracy over all pairs.
        """
        self._check(hypothesis)
        rivals = [self.apart(hypothesis, rival, site) for rival in self.hypotheses if rival != hypothesis]
        return min(rivals, key=lambda a: a.rate if a.overall.total else -1, default=self.accuracy(hypothesis, site))

    def best(self, site: Site) -> str:
        """The hypothesis that is right most often, so at least as often as each rival where they differ; of equals the first."""
        return max(self.hypotheses, key=lambda name: self.accuracy(name, site).overall.correct)

    def to_frame(self) -> "pd.DataFrame":
        """One row a site and hypothesis.

        Columns: `pairs`, `iia` with its bounds `lower` and `upper`, and the same for `nearest` and for `apart` from each rival
        (`apart.<rival>.iia`); `best`; and `noop`, how often the base left alone already gives the predicted answer. Bounds are
        missing where the pairs are not independent draws.
        """
        import pandas as pd

        return pd.DataFrame([self._row(site, name) for site in self.answers for name in self.hypotheses])

    def _row(self, site: Site, name: str) -> dict[str, Any]:
        found = self.accuracy(name, site)
        row = {"site": str(site), "hypothesis": name, "best": name == self.best(site), **_columns("", found)}
        row |= {"noop": found.noop.rate, **_columns("nearest.", self.nearest(name, site))}
        for rival in self.hypotheses:
            if rival != name:
                row |= _columns(f"apart.{rival}.", self.apart(name, rival, site))
        return row

    def _accuracy(self, hypothesis: str, site: Site, rows: Column) -> Accuracy:
        self._check(hypothesis)
        if site not in self.answers:
            raise AlignmentError(unknown("compared site", site, self.answers))
        pairs = self.hypotheses[hypothesis]
        right, alone = (agrees(labels, pairs.expected)[rows] for labels in (self.answers[site], self.alone))
        return Accuracy.of(right, alone, pairs.changed[rows], independent=pairs.independent, confidence=self.confidence)

    def _check(self, *names: str) -> None:
        problems = [unknown("hypothesis", name, self.hypotheses) for name in names if name not in self.hypotheses]
        check(problems, AlignmentError, "the comparison")


def compare_hypotheses(
    network: Network, sites: Iterable[Site], hypotheses: Mapping[str, Pairs], *, confidence: float = 0.99
) -> Comparison:
    """Interchange each site's whole vector and compare the network's answers with what each hypothesis predicts.

    A hypothesis says that a site holds some variable of some algorithm. All are about the same interchanges: their pairs share
    bases and sources and differ in what is expected. One sweep serves them all. A high IIA (2301.04709 section 2.5) speaks for a
    hypothesis only on pairs for which its rivals predict something else.

    Args:
        network: the network.
        sites: where; each is interchanged by itself.
        hypotheses: by name, pairs of one variable each, as `Pairs.from_frame` makes them from given bases and sources.
        confidence: of each bound of an interval.

    Raises:
        AlignmentError: listing all that is wrong: no hypotheses, pairs of no or several variables, bases, sources or outputs that
            are not the first hypothesis's, unknown sites.
    """
    sites = list(sites)
    problems = _site_problems(network, sites) + _problems(hypotheses)
    if not 0 < confidence < 1:
        problems.append(f"confidence must be between 0 and 1; given {confidence}")
    check(problems, AlignmentError, "the comparison of hypotheses")
    pairs = next(iter(hypotheses.values()))
    swept = network.sweep(pairs.base, _source(pairs), sites)
    return Comparison(dict(hypotheses), network.run(pairs.base), swept.answers, swept.cost, confidence)


def _source(pairs: Pairs) -> Batch:
    (source,) = pairs.sources.values()
    return source


def _site_problems(network: Network, sites: list[Site]) -> list[str]:
    wrong = [f"a site must be a Site; given {site!r}" for site in sites if not isinstance(site, Site)]
    return (wrong or network.unknown_sites(sites)) if sites else ["there are no sites; give at least one"]


def _problems(hypotheses: Any) -> list[str]:
    """What is wrong with the hypotheses, a sentence each."""
    if not isinstance(hypotheses, Mapping) or not hypotheses:
        return [f"hypotheses maps one or more names to Pairs; given {hypotheses!r}"]
    wrong = {
        name: f"{name!r} must be Pairs of one variable; given {pairs!r}"
        for name, pairs in hypotheses.items()
        if not isinstance(pairs, Pairs) or len(pairs.sources) != 1 or not len(pairs)
    }
    first, *others = [name for name in hypotheses if name not in wrong] or [""]
    return [*wrong.values(), *(s for name in others for s in _differences(name, hypotheses[name], first, hypotheses[first]))]


def _differences(name: str, pairs: Pairs, first: str, firsts: Pairs) -> list[str]:
    found = {"bases": _difference(pairs.base, firsts.base), "sources": _difference(_source(pairs), _source(firsts))}
    if set(pairs.expected) != set(firsts.expected):
        found["outputs"] = f"{', '.join(pairs.expected)} and {', '.join(firsts.expected)}"
    return [f"{name!r} and {first!r} must have the same {what}; they have {how}" for what, how in found.items() if how]


def _difference(batch: Batch, first: Batch) -> str:
    """How two batches differ; empty where they do not."""
    if set(batch) != set(first):
        return f"the inputs {', '.join(batch)} and {', '.join(first)}"
    for variable, column in batch.items():
        if len(column) != len(first[variable]):
            return f"{len(column)} and {len(first[variable])} rows"
        differs = ~agrees(column, {variable: first[variable]})
        if differs.any():
            row = int(differs.argmax())
            return f"{plain(column[row])!r} and {plain(first[variable][row])!r} as {variable!r} in row {row}"
    return ""


def _columns(prefix: str, found: Accuracy) -> dict[str, Any]:
    lower, upper = found.interval or (None, None)
    named = {"pairs": found.overall.total, "iia": found.rate, "lower": lower, "upper": upper}
    return {prefix + k: x for k, x in named.items()}
