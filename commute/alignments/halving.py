"""Spending most of a search where it pays: a coarse pass, then successive halving (1502.07943)."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from commute.alignments.accuracy import agrees
from commute.alignments.feature import Feature
from commute.alignments.fitting import Fitting, worst
from commute.alignments.items import Fitted, Item
from commute.alignments.result import size_of
from commute.alignments.spec import Halving
from commute.alignments.training import Place, named
from commute.causal.pairs import Pairs
from commute.runs.events import SiteSkipped


def halved(fitting: Fitting, items: Sequence[Item], halving: Halving) -> list[tuple[Item, Fitted]]:
    """Items trained with more and more steps, fewer of them each time."""
    left, fitted, failed = list(items), list[tuple[Item, Fitted]](), list[tuple[Item, Fitted]]()
    for rung in reversed(range(halving.rungs)):
        method: Any = fitting.spec.method
        share = halving.keep**rung
        steps = max(1, ceil(method.steps * share))
        fitted = fitting.fit([replace(item, method=replace(item.method, steps=steps)) for item in left])  # type: ignore[type-var]
        if rung:
            ranked = [(i, x) for i, (_, x) in enumerate(fitted) if x.features is not None]
            ranked.sort(key=lambda found: (-worst(found[1]), size_of(found[1].features)))  # of equals those of fewer dims first
            if not ranked:
                break
            failed += [found for found in fitted if found[1].features is None]
            left = [left[i] for i in sorted(i for i, _ in ranked[: ceil(len(ranked) * halving.keep)])]
    return fitted + failed


def coarse(fitting: Fitting, drawn: Pairs, places: Sequence[Place], share: float) -> dict[Place, str]:
    """Places whose whole vector hardly moves the answer, so that no part of it can, and why each is left out.

    Args:
        fitting: of the search.
        drawn: pairs with one source for all variables.
        places: to be looked at.
        share: of the rate of the place that moves most, below which a place is left out.
    """
    source, network = next(iter(drawn.sources.values())), fitting.network
    alone = network.run(drawn.base)
    sites = [place[0] for place in places if len(place) == 1]
    answers: dict[Place, Any] = {(site,): x for site, x in network.sweep(drawn.base, source, sites).answers.items()}
    for place in places:
        if len(place) > 1:
            answers[place] = network.interchange(drawn.base, {Feature(site): source for site in place})
    labels = alone if isinstance(alone, dict) else dict.fromkeys(drawn.expected, alone)
    rates = {place: 1 - float(agrees(answers[place], labels).mean()) for place in places}
    most = max(rates.values())
    said = (
        f"its whole vector moves the answer in {{:.3f}} of pairs, less than {share:g} of the most that a place moves, {most:.3f}"
    )
    left_out = {place: said.format(rate) for place, rate in rates.items() if rate < share * most}
    for place, reason in left_out.items():
        fitting.on_event(SiteSkipped(named(place), reason, fitting.control))
    return left_out
