"""Where a claim fails: its counterexample, and the pairs on which it holds all the same."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from commute.causal.batches import Batch
from commute.proofs.bounds import Inference
from commute.proofs.checked import Checked
from commute.proofs.claimed import Claimed
from commute.proofs.counterexample import Counterexample
from commute.proofs.evidence import Evidence, title
from commute.proofs.region import Region
from commute.proofs.regions import describe
from commute.proofs.shrinking import shrunk
from commute.proofs.slices import Slice


def counterexample_of(claimed: Claimed, checked: Sequence[Checked], evidence: Sequence[Evidence]) -> Counterexample | None:
    """A failing pair of the worst slice, among the refuted ones if there are any, made as small as it goes."""
    found = _worst(checked, _refuted(evidence))
    if found is None:
        return None
    worst, part = found
    failing = part.rows[~worst.right[part.rows]]
    row = int(failing[_first(claimed, worst, failing)])
    example = Counterexample(
        title(part.variables, part.kind),
        _setting(worst.pairs.base, row),
        {v: _setting(source, row) for v, source in worst.pairs.sources.items()},
        _setting(worst.pairs.expected, row),
        _setting(worst.answered, row) if isinstance(worst.answered, dict) else worst.answered[row : row + 1].tolist()[0],
        worst.read_out,
    )
    return shrunk(claimed.algorithm, claimed.network, claimed.alignment, example)


def region_of(claimed: Claimed, checked: Sequence[Checked], evidence: Sequence[Evidence], *, by: Inference) -> Region | None:
    """Of the pairs that the worst refuted slice is part of, those that are answered rightly, where they can be described."""
    found = _worst(checked, _refuted(evidence))
    if found is None:
        return None
    worst, _ = found
    return describe(
        claimed.algorithm,
        worst.pairs,
        worst.right,
        what=worst.what,
        at_least=claimed.at_least,
        confidence=claimed.confidence,
        seed=claimed.seed,
        by=by,
    )


def _refuted(evidence: Sequence[Evidence]) -> set[str]:
    return {e.title for e in evidence if e.passed is False and e.kind in ("slice", "transition")}


def _worst(checked: Sequence[Checked], refuted: Collection[str]) -> tuple[Checked, Slice] | None:
    """The slice with the lowest rate, among the refuted ones if there are any, and the pairs that it is part of."""
    parts = [(c, s) for c in checked for s in c.slices if s.count.correct < s.count.total]
    return min(
        parts, key=lambda found: (title(found[1].variables, found[1].kind) not in refuted, found[1].count.rate), default=None
    )


def _first(claimed: Claimed, checked: Checked, rows: np.ndarray[Any, Any]) -> int:
    """The place of the row whose pair comes first in the domains' order."""
    batches = [checked.pairs.base, *checked.pairs.sources.values()]
    keys = [claimed.algorithm.domain(v).encode(batch[v][rows]) for batch in batches for v in claimed.algorithm.inputs]
    return int(np.lexsort(keys[::-1])[0])


def _setting(batch: Batch, row: int) -> dict[str, Any]:
    return {v: column[row : row + 1].tolist()[0] for v, column in batch.items()}
