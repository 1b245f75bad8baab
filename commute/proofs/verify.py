"""Verifying an alignment, or a circuit."""

from collections.abc import Mapping
from functools import singledispatch
from pathlib import Path

from commute.alignments.alignment import Alignment
from commute.causal.model import CausalModel
from commute.errors import ClaimError
from commute.models.network import Network
from commute.proofs.battery import Battery
from commute.proofs.claim import Claim
from commute.proofs.diagnostics import Rival
from commute.proofs.proving.budget import Budget
from commute.proofs.sampling import Until
from commute.proofs.verdict import Verdict
from commute.runs.events import OnEvent, ignore


@singledispatch
def verify(
    algorithm: CausalModel,
    /,
    network: Network,
    alignment: Alignment,
    *,
    at_least: float = 0.95,
    confidence: float = 0.99,
    battery: Battery = "standard",
    n: int = 4000,
    until: Until | None = None,
    at_most: int | None = None,
    tried: int = 1,
    rivals: Mapping[str, CausalModel | Rival] | None = None,
    budget: Budget | str | float | None = "10m",
    seed: int = 0,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> Verdict:
    """Whether the network runs the algorithm under the alignment, judged on fresh independent pairs.

    Given a `Circuit` and its inputs in their place, whether the circuit is sufficient: see `cm.circuits.verify_circuit`.

    The claim is that every slice has an interchange intervention accuracy of `at_least`: every set of variables, pairs whose
    interchange changes the answer and pairs where it does not, every transition of a variable's value, aligned variables below an
    interchange read out, all that is not aligned exchanged, and the network without intervention. Values that no answer tells
    apart must be told apart by the variable's feature.

    It `holds` when every slice's lower bound reaches `at_least`, no single transition stands out, and every control stays below;
    it is `refuted` when some slice's upper bound stays below; else it is `inconclusive`. Bounds are exact binomial (Clopper and
    Pearson), or with `until` those of a confidence sequence, which hold at every look; `confidence` is over all slices at once.

    A battery is `quick` (the claim's own pairs, no controls, so that it never holds), `standard` (all but what takes
    further searches), `thorough` (these too, but no proof), or a list of items:

        - "no intervention", "interchange", "read-out", "remainder exchanged": the claim's own pairs;
        - "distinctions": values that no answer tells apart;
        - "random subspace", "re-initialised network", "permuted algorithm", "shuffled sources": controls;
        - "remainder only": whether what is left out of a site carries its variable too;
        - "null space": whether the effect needs directions that nothing reads (2311.17030);
        - "divergence": how many patched activations are unlike natural ones (2511.04638);
        - "rivals": which of the `rivals` given explains the pairs that tell them apart (2502.20914);
        - "stability": how far other searches of the same kind end up from this one;
        - "counterexample search": a search for failing pairs of any set of variables, whose level is `survived`;
        - "proof": bounds on IIA over every pair of each set of variables, whose level is `exact` or `sound`; see `prove`. A proof
          that IIA stays below `at_least` refutes the claim; none makes up for a slice or control.

    Args:
        algorithm: what is claimed.
        network: of which it is claimed.
        alignment: where. If a search found it, the controls repeat that search.
        at_least: the IIA that every slice must have.
        confidence: of the verdict.
        battery: as above.
        n: pairs for each set of variables, drawn by the balanced design from a stream that no search sees.
        until: `"decision"` to draw pairs only until the claim is decided, or a number to draw until no slice's bounds are further
            apart.
        at_most: pairs for each set of variables with `until`; ten times `n` by default.
        tried: how many alignments this one was chosen among by verdicts such as this; each is then held to a confidence at which
            all of them hold at once. What a search tried is not to be counted, since its pairs are others.
        rivals: other algorithms with the same inputs and outputs, by name; where their variables have other names, a `Rival`.
        budget: of the item "proof": seconds, "10m", "50000 bounds" or a `Budget`; None is until every pair is decided.
        seed: of every random stream.
        runs: a folder of runs to keep this one in.
        on_event: is told of progress.

    Raises:
        ClaimError: for values out of range.
        AlignmentError: for variables that the algorithm lacks, or answers that are not its labels.
        NetworkError: when a site does not fire, or the network is not deterministic or gives NaN.
    """
    if alignment is None:
        raise ClaimError("verify judges an alignment; given None; to search for one, give cm.Claim a search, and verify that")
    claim = Claim(
        algorithm,
        network,
        alignment=alignment,
        at_least=at_least,
        confidence=confidence,
        battery=battery,
        n=n,
        until=until,
        at_most=at_most,
        tried=tried,
        rivals=rivals or {},
        budget=budget,
    )
    return claim.verify(seed=seed, runs=runs, on_event=on_event)
