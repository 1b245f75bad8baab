"""What the methods without gradients share."""

from collections.abc import Sequence

from commute.alignments.method import At
from commute.alignments.training import TrainingPairs


def sites_of(train: Sequence[TrainingPairs]) -> list[At]:
    """The sites of the pairs' place, at each of which all variables are."""
    variables = tuple(dict.fromkeys(v for here in train for v in here.vectors))
    widths = [x.shape[1] for x in next(iter(train[0].vectors.values()))]
    return [At(variables, site, i, widths[i], train) for i, site in enumerate(train[0].place)]
