"""Verdicts: what the evidence says of a claim."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from commute.alignments.accuracy import Accuracy
from commute.alignments.binomial import Count
from commute.causal.abstraction import Status
from commute.errors import ClaimError
from commute.proofs.counterexample import Counterexample
from commute.proofs.evidence import Evidence, Kind
from commute.proofs.region import Region
from commute.proofs.shown import FittedDims, ItemCost, KeptEdge, Proved, ProvedAt, SearchedSite, Variable
from commute.runs.files import write_atomically

_VERSION = 4
_REASONS = 5  # sentences shown before the rest are counted


@dataclass(frozen=True, repr=False)
class Verdict:
    """What was found about a claim.

    Attributes:
        status: `holds`, `refuted` or `inconclusive`.
        reasons: why, a sentence each.
        evidence: everything that was measured.
        accuracy: IIA over the pairs of all sets of variables together; None where nothing was sampled.
        counterexample: a failing pair, if one was seen.
        algorithm: its name.
        network: its name.
        variables: the algorithm's graph and alignment.
        sites: what the search saw, if there was one.
        at_least: the IIA claimed.
        confidence: of the verdict, over all slices at once.
        seed: of every random stream.
        stated: what is claimed, where it is no IIA.
        candidates: how many alignments the search chose among, if there was one.
        shared: pairs that the search saw too, since the domain has no others of their kind.
        region: where a refuted claim does hold, if such inputs can be described.
        curve: IIA by dims of the search, if there was one.
        costs: of each item of the battery; the first passes through a network are more, since it is then watched.
        method: that the search fitted by, if there was one.
        battery: the items that were measured.
        tried: how many alignments this one was chosen among by verdicts like this one.
        proofs: what was proved about every pair of each set of variables.
        circuit: the edges that are claimed to be enough, of a claim about a circuit.
    """

    status: Status
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    accuracy: Accuracy | None
    counterexample: Counterexample | None
    algorithm: str
    network: str
    variables: tuple[Variable, ...]
    sites: tuple[SearchedSite, ...]
    at_least: float
    confidence: float
    seed: int
    stated: str = ""
    candidates: int | None = None
    shared: int = 0
    region: Region | None = None
    curve: tuple[FittedDims, ...] = ()
    costs: tuple[ItemCost, ...] = field(default=(), compare=False)
    method: str | None = None
    battery: tuple[str, ...] = ()
    tried: int = 1
    proofs: tuple[Proved, ...] = ()
    circuit: tuple[KeptEdge, ...] = ()

    def __bool__(self) -> bool:
        """Whether the claim holds; `refuted` and `inconclusive` are both false."""
        return self.status == "holds"

    def __str__(self) -> str:
        sampled = [] if self.accuracy is None else [str(self.accuracy)]
        return "\n  ".join([f"{self.status}: {self.claimed}", *sampled, *self.told])

    def __repr__(self) -> str:
        return f"Verdict({self.status}: {self.claimed})"

    @property
    def claimed(self) -> str:
        """What is claimed, in words."""
        iia = f"{self.algorithm!r} in {self.network!r}: IIA ≥ {self.at_least} at confidence {self.confidence}"
        return self.stated or iia

    @property
    def told(self) -> list[str]:
        """What was proved, what decided, the candidates, the no-op baseline and the counterexample, a sentence each.

        Of many reasons the first are told.
        """
        told = [f"warning: {e.title}: {e.says}" if e.warning else f"{e.level}: {e.title}: {e.says}" for e in self.proved]
        told += self.reasons[:_REASONS]
        if self.reasons[_REASONS:]:
            told.append(f"… and {len(self.reasons) - _REASONS} more")
        if self.candidates is not None:
            but = f", but for {self.shared} of which the domain has no others" if self.shared else ""
            told.append(f"the best of {self.candidates} candidates, judged on pairs that the search did not see{but}")
        if self.accuracy is not None:
            noop = self.accuracy.noop
            told.append(
                f"no-op baseline: the base left alone already gives the expected answer in {noop.rate:.1%} of {noop.total} pairs"
            )
        told += [f"warning: {e.title}: {e.says} ({e.measured})" for e in self.warnings]
        if self.region is not None:
            told.append(str(self.region))
        if self.counterexample is not None:
            told.append(
                f"{'one pair that differs' if self.status == 'holds' else 'counterexample'}: {self.counterexample.summary}"
            )
            if not self.counterexample.of_models:
                told.append(f"replay it: {self.counterexample.replayed_by}")
        return told

    @property
    def slices(self) -> tuple[Evidence, ...]:
        """The evidence that is a slice of the claim."""
        return self._of("slice")

    @property
    def transitions(self) -> tuple[Evidence, ...]:
        """The evidence that is a transition between single values."""
        return self._of("transition")

    @property
    def distinctions(self) -> tuple[Evidence, ...]:
        """The evidence that is a distinction between values."""
        return self._of("distinction")

    @property
    def controls(self) -> tuple[Evidence, ...]:
        """The evidence that is a control."""
        return self._of("control")

    @property
    def diagnostics(self) -> tuple[Evidence, ...]:
        """The evidence that is a diagnostic."""
        return self._of("diagnostic")

    @property
    def proved(self) -> tuple[Evidence, ...]:
        """The evidence that is a proof."""
        return self._of("proof")

    @property
    def warnings(self) -> tuple[Evidence, ...]:
        """The diagnostics that found what a reader should know of."""
        return tuple(e for e in self.diagnostics if e.warning)

    def _of(self, kind: Kind) -> tuple[Evidence, ...]:
        return tuple(e for e in self.evidence if e.kind == kind)

    def to_json(self) -> str:
        """The verdict as JSON, the same bytes for the same claim and seed. Labels that JSON lacks are written as text."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=2, ensure_ascii=False, default=str) + "\n"

    def save(self, folder: str | Path) -> None:
        """Write `verdict.json` into `folder`, which is made if needed."""
        write_atomically(Path(folder) / "verdict.json", self.to_json().encode())

    @classmethod
    def load(cls, folder: str | Path) -> "Verdict":
        """Read what `save` wrote.

        Raises:
            ClaimError: when the file is missing or not as written.
        """
        path = Path(folder) / "verdict.json"
        try:
            record = json.loads(path.read_text())
            if record.pop("version") != _VERSION:
                raise ClaimError(f"{path} was written by another version of commute")
            return cls(
                **{
                    **record,
                    "reasons": tuple(record["reasons"]),
                    "evidence": tuple(_evidence(e) for e in record["evidence"]),
                    "accuracy": record["accuracy"] and _accuracy(record["accuracy"]),
                    "counterexample": record["counterexample"] and _counterexample(record["counterexample"]),
                    "variables": tuple(Variable(**{**v, "parents": tuple(v["parents"])}) for v in record["variables"]),
                    "sites": tuple(SearchedSite(**s) for s in record["sites"]),
                    "region": record["region"] and _region(record["region"]),
                    "curve": tuple(FittedDims(**p) for p in record["curve"]),
                    "costs": tuple(ItemCost(**c) for c in record["costs"]),
                    "battery": tuple(record["battery"]),
                    "proofs": tuple(_proved(p) for p in record["proofs"]),
                    "circuit": tuple(KeptEdge(**e) for e in record["circuit"]),
                }
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClaimError(f"{path} does not hold a verdict: {type(error).__name__}: {error}") from error

    def to_html(self, path: str | Path) -> None:
        """Write the report of the verdict, one page that needs nothing beside it."""
        from commute.report.page import write_page  # the report stands to the right of this layer

        write_page(self, Path(path))


def _evidence(record: dict[str, Any]) -> Evidence:
    counted = record["count"] and Count(**record["count"])
    return Evidence(**{**record, "count": counted, "variables": tuple(record["variables"])})


def _accuracy(record: dict[str, Any]) -> Accuracy:
    counts = {k: Count(**record[k]) for k in ("overall", "changed", "unchanged", "noop")}
    return Accuracy(**{**record, **counts})


def _counterexample(record: dict[str, Any]) -> Counterexample:
    return Counterexample(**{**record, "matters": record["matters"] and tuple(record["matters"])})


def _region(record: dict[str, Any]) -> Region:
    counts = {k: Count(**record[k]) for k in ("inside", "outside")}
    return Region(**{**record, **counts, "conditions": tuple(record["conditions"])})


def _proved(record: dict[str, Any]) -> Proved:
    work = tuple(ProvedAt(**w) for w in record["work"])
    return Proved(**{**record, "variables": tuple(record["variables"]), "classes": tuple(record["classes"]), "work": work})
