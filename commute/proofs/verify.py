"""Verifying an alignment."""

from pathlib import Path

from commute.alignments.alignment import Alignment
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.claim import Claim
from commute.proofs.judge import Battery
from commute.proofs.verdict import Verdict
from commute.runs.events import OnEvent, ignore


def verify(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    *,
    at_least: float = 0.95,
    confidence: float = 0.99,
    battery: Battery = "standard",
    n: int = 4000,
    seed: int = 0,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> Verdict:
    """Whether the network runs the algorithm under the alignment, judged on fresh independent pairs.

    The claim is that every slice has an interchange intervention accuracy of `at_least`: every set of variables, pairs whose
    interchange changes the answer and pairs where it does not, every transition of a variable's value, aligned variables below an
    interchange read out, all that is not aligned exchanged, and the network without intervention. Values that no answer tells
    apart must be told apart by the variable's feature.

    It `holds` when every slice's lower bound reaches `at_least` and every control stays below; it is `refuted` when some slice's
    upper bound stays below; else it is `inconclusive`. Bounds are exact binomial (Clopper and Pearson), at `confidence` over all
    slices at once (Holm).

    Args:
        algorithm: what is claimed.
        network: of which it is claimed.
        alignment: where. If a search found it, the controls repeat that search.
        at_least: the IIA that every slice must have.
        confidence: of the verdict.
        battery: `standard` with controls, or `quick` without, which never gives `holds`.
        n: pairs for each set of variables, drawn by the balanced design from a stream that no search sees.
        seed: of every random stream.
        runs: a folder of runs to keep this one in.
        on_event: is told of progress.

    Raises:
        ClaimError: for values out of range.
        AlignmentError: for variables that the algorithm lacks, or answers that are not its labels.
        NetworkError: when a site does not fire, or the network is not deterministic or gives NaN.
    """
    claim = Claim(algorithm, network, alignment=alignment, at_least=at_least, confidence=confidence, battery=battery, n=n)
    return claim.verify(seed=seed, runs=runs, on_event=on_event)
