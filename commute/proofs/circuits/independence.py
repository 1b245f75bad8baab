"""Whether what is left without a circuit still tells how well the whole network does (2410.13032)."""

from dataclasses import dataclass

import numpy as np

from commute.causal.batches import Column
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.given import check_measured
from commute.proofs.circuits.values import check_varies, of_whole, rounding, values
from commute.runs.seeds import stream

_RANK = 1e-13  # of a kernel's largest eigenvalue, below which the others are rounding
_SAME = 1e-10  # what two statistics differ by for rounding
_NUMBERS = 2**23  # held at once


@dataclass(frozen=True)
class IndependenceTest:
    """How much the measure without a circuit depends on that of the whole network.

    Attributes:
        hsic: the Hilbert-Schmidt independence criterion of the two; 0 where they are independent, as rows are many.
        rows: how many there are.
        permutations: how often they were shuffled.
        p_value: of independence; a small one refutes that the circuit alone is responsible.
    """

    hsic: float
    rows: int
    permutations: int
    p_value: float

    def __str__(self) -> str:
        return f"independence: HSIC {self.hsic:.3g} on {self.rows} rows, p = {self.p_value:.2g} by {self.permutations} shufflings"


def independence_test(
    circuit: Circuit, runs: Runs, behaviour: Behaviour, *, permutations: int = 1000, seed: int = 0
) -> IndependenceTest:
    """The independence test of 2410.13032.

    The null hypothesis, of rows X, is that the measure of the complement, m(all without C; X), is independent of m(all; X). The
    statistic is HSIC, tr(K H L H) / n² with Gaussian kernels K and L of the two and H = 1 - 1/n, and the p-value the share of
    shufflings of the rows with a statistic as high, the rows as they are counted in. The width of each kernel is the median
    distance between different values of its own measure (Gretton et al., 2007). The paper's package (`circuitry`) takes for both
    the median distance of values of one from values of the other, documents the circuit where it runs the complement, and does
    not count the rows as they are, so that its p-value can be 0.

    The test can only refute: a complement that is right at random passes, and so does any where rows are few.

    Args:
        circuit: that is left out.
        runs: fresh inputs.
        behaviour: of the network on these inputs.
        permutations: how often rows are shuffled.
        seed: of the shuffling.

    Raises:
        ClaimError: where the whole network's measure is the same on all rows, of which everything is independent.
    """
    check_measured([circuit], runs, behaviour, permutations=permutations)
    whole = of_whole(behaviour)
    check_varies(whole, behaviour, "independence")
    (left,) = values(runs, behaviour, [circuit.complement])
    first, second = (_factor(x, rounding(behaviour)) for x in (whole, left))
    hsic = _hsic(first, second[None])[0]
    generator, as_high = stream(seed, "independence", "shuffle"), 1
    step = max(1, _NUMBERS // max(1, second.size, first.shape[1] * second.shape[1]))
    for start in range(0, permutations, step):
        n = min(step, permutations - start)
        shuffled = generator.permuted(np.tile(np.arange(len(whole)), (n, 1)), axis=1)
        as_high += int((_hsic(first, second[shuffled]) >= hsic - _SAME).sum())
    return IndependenceTest(float(hsic), len(whole), permutations, as_high / (permutations + 1))


def _factor(numbers: Column, same: float) -> Column:
    """F with F Fᵀ = H K H for the Gaussian kernel K of numbers, [rows, rank]: few columns, as the kernel is smooth.

    Numbers no farther apart than `same` are taken for equal.
    """
    distances = np.abs(numbers[:, None] - numbers)
    distances[distances <= same] = 0
    apart = distances[distances > 0]
    kernel = np.exp(-((distances / (np.median(apart) if len(apart) else 1)) ** 2) / 2)
    centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    sizes, vectors = np.linalg.eigh(centred)
    large = sizes > _RANK * len(numbers)
    found: Column = vectors[:, large] * np.sqrt(sizes[large])
    return found


def _hsic(first: Column, second: Column) -> Column:
    """HSIC, [shufflings], of centred kernels with factors [rows, rank] and [shufflings, rows, rank]."""
    found: Column = ((first.T @ second) ** 2).sum((1, 2)) / len(first) ** 2
    return found
