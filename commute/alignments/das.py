"""Distributed alignment search (2303.02536)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Orthogonal
from commute.alignments.training import TrainingPairs, worst_slice
from commute.errors import AlignmentError, check, not_counts
from commute.models.hooks import undisturbed
from commute.models.sites import Site
from commute.runs.seeds import torch_seed


@dataclass(frozen=True)
class DAS:
    """One rotation of a site, trained by gradient descent so that interchanging its coordinates does what the algorithm does.

    Every variable gets `dims` coordinates of its own; all are trained jointly, on single and joint interchanges in turn. The
    rotation is the orthonormal factor of a free matrix; the best of the restarts is kept, judged on pairs not trained on.

    Attributes:
        dims: coordinates a variable.
        steps: gradient steps of each restart (Adam, cosine schedule).
        batch: pairs a step.
        learning_rate: at the start.
        restarts: random starts at most; a start that makes no error on the selection pairs is the last.
    """

    dims: int = 8
    steps: int = 400
    batch: int = 256
    learning_rate: float = 0.1
    restarts: int = 2

    def __post_init__(self) -> None:
        low = not_counts(dims=self.dims, steps=self.steps, batch=self.batch, restarts=self.restarts)
        if not isinstance(self.learning_rate, (int, float)) or not self.learning_rate > 0:
            low.append(f"learning_rate must be positive; given {self.learning_rate!r}")
        check(low, AlignmentError, "DAS")

    def fit(
        self,
        site: Site,
        train: Sequence[TrainingPairs],
        select: Sequence[TrainingPairs],
        generator: np.random.Generator,
    ) -> Mapping[str, Feature]:
        """The feature of each variable at `site`.

        Args:
            site: where.
            train: pairs to train on, one set of variables an item.
            select: pairs to choose among restarts by, likewise.
            generator: for starts and batches.

        Raises:
            AlignmentError: when the site is narrower than the coordinates that are needed.
        """
        vectors = {v: x for p in train for v, x in p.vectors.items()}
        width, needed = next(iter(vectors.values())).shape[1], self.dims * len(vectors)
        if needed > width:
            raise AlignmentError(f"DAS(dims={self.dims}) for {len(vectors)} variables needs {needed} dims; {site} has {width}")
        best: tuple[float, Mapping[str, Feature]] = -1.0, {}
        with undisturbed(train[0].network.module), torch.enable_grad():
            for _ in range(self.restarts):
                directions = self._train(site, list(vectors), width, train, generator)
                features = self._features(site, list(vectors), directions)
                iia = worst_slice(select, features)
                if iia > best[0]:
                    best = iia, features
                if iia == 1:
                    break
        return best[1]

    def _train(
        self,
        site: Site,
        variables: Sequence[str],
        width: int,
        train: Sequence[TrainingPairs],
        generator: np.random.Generator,
    ) -> Tensor:
        draws = torch.Generator().manual_seed(torch_seed(generator))
        free = torch.randn(width, self.dims * len(variables), generator=draws).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for step in range(self.steps):
            pairs = train[step % len(train)]
            rows = torch.randint(len(pairs.pairs), (self.batch,), generator=draws)
            features = self._features(site, variables, torch.linalg.qr(free).Q)
            scores = pairs.scores(features, rows).float()
            loss = cross_entropy(scores, pairs.choices[rows].to(scores.device))
            if not loss.requires_grad:
                raise AlignmentError(
                    f"the network's answer does not depend on {site} by a gradient, so DAS cannot be trained there"
                )
            if not loss.isfinite():
                raise AlignmentError(f"the loss of DAS at {site} is {loss.item()} in step {step}; try a smaller learning_rate")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        directions: Tensor = torch.linalg.qr(free.detach()).Q
        return directions

    def _features(self, site: Site, variables: Sequence[str], directions: Tensor) -> Mapping[str, Feature]:
        rotation = Orthogonal(directions)
        d = self.dims
        return {v: Feature(site, rotation, tuple(range(i * d, (i + 1) * d))) for i, v in enumerate(variables)}
