"""Judging an alignment on fresh pairs, slice by slice and against controls."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from commute.alignments.accuracy import Accuracy, agrees, check_labels, interchanged
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import count
from commute.alignments.drawing import Unseen
from commute.alignments.variable_sets import variable_sets
from commute.causal.batches import Batch
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.models.network import Network
from commute.proofs.checked import Checked
from commute.proofs.controls import Claimed, Control, controls
from commute.proofs.counterexample import Counterexample
from commute.proofs.decide import decide, judged_controls, judged_distinctions, judged_slices
from commute.proofs.distinctions import distinctions
from commute.proofs.evidence import title
from commute.proofs.readout import read_outs
from commute.proofs.slices import Slice, by_change, slices_of
from commute.proofs.verdict import Role, SearchedSite, Variable, Verdict
from commute.runs.events import ControlMeasured, Decided, OnEvent, SetVerified, VerificationStarted, ignore
from commute.runs.files import write_atomically
from commute.runs.seeds import stream

if TYPE_CHECKING:
    import pandas as pd

Battery = Literal["quick", "standard"]
BATTERIES: tuple[Battery, ...] = get_args(Battery)
_ALONE = "no intervention"


def judge(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    *,
    at_least: float,
    confidence: float,
    battery: Battery,
    n: int,
    seed: int,
    sites: Sequence[SearchedSite] = (),
    pairs_to: Path | None = None,
    runs: Path | None = None,
    on_event: OnEvent = ignore,
) -> Verdict:
    """Judge a claim as `verify` says.

    `sites` are shown with it, the pairs are written to `pairs_to` as parquet, and what controls find is kept in `runs`.
    """
    fresh = Unseen.of(algorithm, alignment.found)
    alone = _alone(fresh, network, alignment, n, seed)
    sets = variable_sets(list(alignment))
    on_event(VerificationStarted(n * len(sets)))
    checked = []
    for variables in sets:
        drawn = fresh.pairs(variables, n, stream(seed, "verify", *variables))
        checked.append(_interchanged(algorithm, network, alignment, drawn))
        on_event(SetVerified(variables, float(checked[-1].right.mean())))
    others = list(read_outs(fresh, network, alignment, n, seed))
    if len(alignment) > 1:
        others.append(_remainder_exchanged(fresh, network, alignment, n, seed))
    everything = [alone, *checked, *others]
    if pairs_to is not None:
        _write_pairs(everything, pairs_to)
    claimed = Claimed(algorithm, network, alignment, replace(fresh), max(n // 4, 1), seed, at_least, confidence, on_event, runs)
    slices = [s for c in everything for s in c.slices]
    told_apart = list(distinctions(algorithm, network, alignment, n, seed))
    measured = _measured(claimed) if battery == "standard" else []
    evidence = (
        *judged_slices(slices, at_least=at_least, confidence=confidence),
        *judged_distinctions(told_apart, at_least=at_least, confidence=confidence),
        *judged_controls(measured, at_least=at_least, confidence=confidence),
    )
    status, reasons = decide(evidence, at_least=at_least)
    on_event(Decided(status))
    return Verdict(
        status=status,
        reasons=reasons,
        evidence=evidence,
        accuracy=_pooled(network, checked, confidence),
        counterexample=_counterexample(algorithm, everything, {e.title for e in evidence if e.passed is False}),
        algorithm=algorithm.name,
        network=network.name,
        variables=tuple(_variable(algorithm, alignment, v) for v in algorithm.graph),
        sites=tuple(sites),
        at_least=at_least,
        confidence=confidence,
        seed=seed,
        candidates=alignment.found.candidates if alignment.found else None,
        shared=fresh.shared,
    )


def _alone(fresh: Unseen, network: Network, alignment: Alignment, n: int, seed: int) -> Checked:
    """The network as it is, on uniformly drawn inputs."""
    algorithm = fresh.drawn_from
    drawn = algorithm.labels(Inputs(algorithm).sample(stream(seed, "verify", _ALONE), n))
    network.check_deterministic(drawn, alignment.sites)
    solved = algorithm.solve(drawn)
    expected = {v: solved[v] for v in algorithm.outputs}
    answered = network.run(drawn)
    check_labels(algorithm, answered)
    right = agrees(answered, expected)
    part = Slice((), _ALONE, np.arange(n), count(right), "left alone, the network answers as the algorithm")
    alone = Pairs(drawn, {}, expected, np.zeros(n, dtype=bool), "uniform", independent=True)
    return Checked(_ALONE, alone, answered, right, [part])


def _interchanged(algorithm: CausalModel, network: Network, alignment: Alignment, drawn: Pairs) -> Checked:
    answered = interchanged(network, alignment, drawn)
    right = agrees(answered, drawn.expected)
    return Checked(" + ".join(drawn.variables), drawn, answered, right, slices_of(algorithm, drawn, right))


def _remainder_exchanged(fresh: Unseen, network: Network, alignment: Alignment, n: int, seed: int) -> Checked:
    """One input's aligned variables, all of them, in another input: the rest must not matter more than the algorithm says.

    With one aligned variable these are the pairs of that variable.
    """
    variables = tuple(alignment)
    drawn = fresh.pairs(variables, n, stream(seed, "verify", "remainder"), one_source=True)
    answered = interchanged(network, alignment, drawn)
    right = agrees(answered, drawn.expected)
    says = "with all that is not aligned taken from another input the network answers as the algorithm, where holding the rest"
    kinds = ("remainder exchanged, changed", "remainder exchanged, unchanged")
    return Checked("remainder exchanged", drawn, answered, right, by_change(variables, drawn.changed, right, kinds, says))


def _measured(claimed: Claimed) -> list[Control]:
    measured = []
    for group in controls(claimed):
        measured += group
        rates = [c.count.rate for c in group if c.count]
        if rates:
            claimed.on_event(ControlMeasured(group[0].name, max(rates)))
    return measured


def _pooled(network: Network, checked: Sequence[Checked], confidence: float) -> Accuracy:
    """IIA over the pairs of all sets of variables together."""
    right = np.concatenate([c.right for c in checked])
    changed = np.concatenate([c.pairs.changed for c in checked])
    alone = np.concatenate([agrees(network.run(c.pairs.base), c.pairs.expected) for c in checked])
    return Accuracy.of(right, alone, changed, independent=True, confidence=confidence)


def _counterexample(algorithm: CausalModel, checked: Sequence[Checked], refuted: set[str]) -> Counterexample | None:
    """Of the worst slice, among the refuted ones if there are any, the failing pair that comes first in the domains' order."""
    parts = [(c, s) for c in checked for s in c.slices if s.count.correct < s.count.total]
    if not parts:
        return None
    worst, part = min(parts, key=lambda found: (title(found[1].variables, found[1].kind) not in refuted, found[1].count.rate))
    failing = part.rows[~worst.right[part.rows]]
    batches = [worst.pairs.base, *worst.pairs.sources.values()]
    keys = [algorithm.domain(v).encode(batch[v][failing]) for batch in batches for v in algorithm.inputs]
    row = int(failing[np.lexsort(keys[::-1])[0]])
    return Counterexample(
        title(part.variables, part.kind),
        _setting(worst.pairs.base, row),
        {v: _setting(source, row) for v, source in worst.pairs.sources.items()},
        _setting(worst.pairs.expected, row),
        _setting(worst.answered, row) if isinstance(worst.answered, dict) else worst.answered[row : row + 1].tolist()[0],
    )


def _setting(batch: Batch, row: int) -> dict[str, Any]:
    return {v: column[row : row + 1].tolist()[0] for v, column in batch.items()}


def _variable(algorithm: CausalModel, alignment: Alignment, name: str) -> Variable:
    roles: dict[str, Role] = {
        **dict.fromkeys(algorithm.internal, "internal"),
        **dict.fromkeys(algorithm.outputs, "output"),
    }
    feature = " + ".join(map(str, alignment.parts(name))) if name in alignment else None
    return Variable(name, roles.get(name, "input"), tuple(algorithm.graph.predecessors(name)), feature)


def _write_pairs(checked: Sequence[Checked], path: Path) -> None:
    """One row a pair: what was done with it, the pair as in `Pairs.to_frame`, the network's answer and whether it is right."""
    import pandas as pd

    frame = pd.concat([_frame(c) for c in checked], ignore_index=True).convert_dtypes()
    for name in frame.select_dtypes(object).columns:  # labels that parquet has no type for
        frame[name] = frame[name].map(repr)
    write_atomically(path, frame.to_parquet(index=False))


def _frame(checked: Checked) -> "pd.DataFrame":
    frame = checked.pairs.to_frame()
    answered = checked.answered if isinstance(checked.answered, dict) else {next(iter(checked.pairs.expected)): checked.answered}
    frame.insert(0, "what", checked.what)
    for output, column in answered.items():
        frame[f"answered.{output}"] = column
    frame["right"] = checked.right
    return frame
