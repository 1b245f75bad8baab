"""Which organisms there are: algorithms at several sizes, disguises, and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import commute as cm
from benchmarks.audit import audit
from benchmarks.small_algorithms import algorithms
from commute.causal.batches import rows_of
from commute.causal.inputs import Inputs
from commute.runs.seeds import stream

ROUNDS = 8  # of non-noisy organisms: every algorithm at every size once each
NOISY_ROUNDS = 5  # of noisy ones
FEWEST_INPUTS = 49  # of noisy ones: with fewer, one wrong answer is already too many
_TARGETS = 0.972, 0.997  # worst slices that noise is set for
_NEAR = 0.004  # of the target
_STEPS = 10

DISGUISES: Mapping[str, Mapping[str, Any]] = {
    "along neurons": {"rotate": False, "distractors": 0},
    "rotated": {},
    "stretched": {"scale": 4.0},
    "crowded": {"distractors": 24, "scale": 2.0},
    "redundant": {"redundant": True},
}


@dataclass(frozen=True)
class Spec:
    """An organism, by how it is made.

    Attributes:
        index: its number.
        place: of its algorithm among all.
        disguise: the name of its disguise, or "noisy".
        seed: of all that is random about it.
        noise: that is added to what its neurons write.
    """

    index: int
    place: int
    disguise: str
    seed: int
    noise: float = 0.0

    @property
    def algorithm(self) -> cm.CausalModel:
        """What it computes."""
        return algorithms()[self.place]

    @property
    def inputs(self) -> int:
        """How many settings of its inputs there are."""
        return rows_of(Inputs(self.algorithm).listed)

    def compiled(
        self,
        *,
        leak: Mapping[str, float] | None = None,
        backup: Sequence[str] = (),
        dead: Sequence[str] = (),
        redundant: Sequence[str] = (),
    ) -> "cm.organisms.Organism":
        """The organism, or one like it with a further disguise, which then is the only one that copies variables."""
        options = dict(DISGUISES.get(self.disguise, {}))
        more = bool(leak or backup or dead or redundant)
        if options.pop("redundant", False) and not more:
            redundant = [self.algorithm.internal[self.index % len(self.algorithm.internal)]]
        return cm.organisms.compile(
            self.algorithm,
            leak=leak,
            backup=backup,
            dead=dead,
            redundant=redundant,
            noise=self.noise,
            seed=self.seed,
            **options,
        )

    def calibrated(self) -> "Spec":
        """With as much noise as brings the worst slice near a target, if it is a noisy one: found by halving an interval."""
        if self.disguise != "noisy":
            return self
        target = float(stream(self.seed, "benchmark", "noise", str(self.index)).uniform(*_TARGETS))
        low, high = 0.0, 0.5
        best, reached = self, 0.0
        for _ in range(_STEPS):
            tried = replace(self, noise=(low + high) / 2)
            organism = tried.compiled()
            found = audit(organism.algorithm, organism.network, organism.alignment)
            worst = min(found.worst, found.balanced)
            if abs(worst - target) < abs(reached - target):
                best, reached = tried, worst
            if abs(reached - target) < _NEAR:
                break
            low, high = (tried.noise, high) if worst > target else (low, tried.noise)
        return best


def specs() -> list[Spec]:
    """All organisms, a noisy one after every three others while there are any; the first few are of all kinds."""
    models = algorithms()
    names = list(DISGUISES)
    large = [i for i, m in enumerate(models) if rows_of(Inputs(m).listed) >= FEWEST_INPUTS]
    plain = [(i, names[(i + r) % len(names)]) for r in range(ROUNDS) for i in range(len(models))]
    noisy = [(i, "noisy") for _ in range(NOISY_ROUNDS) for i in large]
    mixed = []
    for k, one in enumerate(plain):
        mixed.append(one)
        if k % 3 == 2 and noisy:
            mixed.append(noisy.pop(0))
    return [Spec(i, place, disguise, seed=i) for i, (place, disguise) in enumerate([*mixed, *noisy])]
