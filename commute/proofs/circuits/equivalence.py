"""Whether a circuit does as well as the whole network about as often as not (2410.13032)."""

from dataclasses import dataclass

from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.given import check_measured, is_number
from commute.proofs.circuits.values import changes, check_varies, of_whole, values


@dataclass(frozen=True)
class EquivalenceTest:
    """How often the whole network does better than a circuit.

    Attributes:
        better: rows on which the whole network has the higher measure.
        same: rows on which the two are alike, which count half.
        rows: how many there are.
        epsilon: how far from one half the chance of the whole network may be.
        p_value: of a chance that is no farther; a small one refutes that the two are equivalent.
    """

    better: int
    same: int
    rows: int
    epsilon: float
    p_value: float

    def __str__(self) -> str:
        return (
            f"equivalence: the whole network does better on {self.better} of {self.rows} rows and alike on {self.same};"
            f" p = {self.p_value:.2g} of a chance within {self.epsilon:g} of 1/2"
        )

    @property
    def statistic(self) -> float:
        """How far from one half the whole network's share of rows is."""
        return abs((self.better + self.same / 2) / self.rows - 1 / 2)


def equivalence_test(circuit: Circuit, runs: Runs, behaviour: Behaviour, *, epsilon: float = 0.1) -> EquivalenceTest:
    """The equivalence test of 2410.13032.

    The null hypothesis, of rows X, is |P(m(all; X) > m(C; X)) - 1/2| <= `epsilon`. The statistic is how far the share of such
    rows is from 1/2, and the p-value the chance of a share as far or farther, on either side, where the probability is 1/2 +
    `epsilon`. The paper supposes that the two never tie; here ties count half, so that a circuit that changes nothing is not
    refuted. The paper's package (`circuitry`) documents this test, but puts the mean difference of the two measures in the place
    of the share.

    The test can only refute: with few rows it passes any circuit.

    Raises:
        ClaimError: unless `epsilon` is at least 0 and below 1/2; where the whole network's measure is the same on all rows; and
            for the divergence, of which the whole network always has the best.
    """
    from scipy.stats import binom

    check_measured([circuit], runs, behaviour, also=_misfits(epsilon, behaviour))
    whole = of_whole(behaviour)
    check_varies(whole, behaviour, "equivalence")
    (kept,) = values(runs, behaviour, [circuit.edges])
    change = changes(whole, kept, behaviour)
    n, better, same = len(change), int((change > 0).sum()), int((change == 0).sum())
    off = abs(2 * better + same - n)  # twice the distance from n / 2
    outer = binom.cdf((n - off) // 2, n, 1 / 2 + epsilon) + binom.sf((n + off - 1) // 2, n, 1 / 2 + epsilon)
    return EquivalenceTest(better, same, n, epsilon, 1.0 if not off else float(outer))


def _misfits(epsilon: object, behaviour: object) -> list[str]:
    problems = []
    if not is_number(epsilon) or not 0 <= epsilon < 1 / 2:  # type: ignore[operator]
        problems.append(f"epsilon must be at least 0 and below 1/2; given {epsilon!r}")
    if isinstance(behaviour, Behaviour) and behaviour.measure == "divergence":
        problems.append(
            "the divergence of the whole network from itself is 0, better than that of any circuit, so that all but the whole "
            "are refuted; take the logit difference, or the accuracy"
        )
    return problems
