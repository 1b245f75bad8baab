"""Verdicts: what the evidence says of a claim."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from commute.alignments.accuracy import Accuracy
from commute.alignments.binomial import Count
from commute.causal.abstraction import Status
from commute.errors import ClaimError
from commute.runs.files import write_atomically

Level = Literal["exact", "sound", "statistical", "survived"]
Role = Literal["input", "internal", "output"]
_VERSION = 1
_REASONS = 5  # sentences shown before the rest are counted


def title(variables: tuple[str, ...], what: str) -> str:
    """What was measured, behind the variables interchanged."""
    return f"{' + '.join(variables)}: {what}" if variables else what


@dataclass(frozen=True)
class Evidence:
    """One thing that was measured.

    Attributes:
        kind: a `slice` of the claim, on which it must hold; a `distinction` between values that no answer tells apart, which the
            feature must make; or a `control`, which must stay below the claim.
        level: how strong it is, from `exact` over `sound` and `statistical` to `survived`.
        name: which pairs (`changed`, `False → True`), or which control.
        variables: the variables interchanged.
        count: right answers; None where the control could not be made.
        lower: bound on the rate from below, at the verdict's confidence over all slices.
        upper: bound from above, likewise.
        passed: whether it speaks for the claim; None where it decides nothing yet.
        says: what it means, in a sentence.
    """

    kind: Literal["slice", "distinction", "control"]
    level: Level
    name: str
    variables: tuple[str, ...]
    count: Count | None
    lower: float
    upper: float
    passed: bool | None
    says: str

    @property
    def title(self) -> str:
        """The variables interchanged and what was measured."""
        return title(self.variables, self.name)


@dataclass(frozen=True)
class Counterexample:
    """A pair on which network and algorithm differ: the first, in the domains' order, of those seen in the worst slice."""

    slice: str
    base: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    expected: Mapping[str, Any]
    answered: Any

    def __str__(self) -> str:
        put = "".join(f", {v} from {_shown(source)}" for v, source in self.sources.items())
        if isinstance(self.answered, Mapping):  # of a causal model: what its setting stands for
            differs = [v for v in self.expected if self.expected[v] != self.answered.get(v)]
            stands, said = ({v: side.get(v) for v in differs} for side in (self.answered, self.expected))
            return f"{self.slice}: {_shown(self.base)} gives {_shown(stands)}, not {_shown(said)}"
        says = f"the algorithm says {_shown(self.expected)}, the network {self.answered!r}"
        return f"{self.slice}: base {_shown(self.base)}{put}: {says}"


@dataclass(frozen=True)
class Variable:
    """A variable of the algorithm, its place in the graph and, if aligned, in the network."""

    name: str
    role: Role
    parents: tuple[str, ...]
    feature: str | None


@dataclass(frozen=True)
class SearchedSite:
    """One row of the search behind the claim: a variable's IIA at a site, on the selection pairs."""

    site: str
    variable: str
    iia: float
    worst: float


@dataclass(frozen=True, repr=False)
class Verdict:
    """What was found about a claim.

    Attributes:
        status: `holds`, `refuted` or `inconclusive`.
        reasons: why, a sentence each.
        evidence: every slice and control.
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
        """What decided, the candidates, the no-op baseline and the counterexample, a sentence each; of many reasons the first."""
        told = list(self.reasons[:_REASONS])
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
        if self.counterexample is not None:
            told.append(f"{'one pair that differs' if self.status == 'holds' else 'counterexample'}: {self.counterexample}")
        return told

    @property
    def slices(self) -> tuple[Evidence, ...]:
        """The evidence that is a slice of the claim."""
        return tuple(e for e in self.evidence if e.kind == "slice")

    @property
    def distinctions(self) -> tuple[Evidence, ...]:
        """The evidence that is a distinction between values."""
        return tuple(e for e in self.evidence if e.kind == "distinction")

    @property
    def controls(self) -> tuple[Evidence, ...]:
        """The evidence that is a control."""
        return tuple(e for e in self.evidence if e.kind == "control")

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
                    "counterexample": record["counterexample"] and Counterexample(**record["counterexample"]),
                    "variables": tuple(Variable(**{**v, "parents": tuple(v["parents"])}) for v in record["variables"]),
                    "sites": tuple(SearchedSite(**s) for s in record["sites"]),
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


def _shown(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{v}={x!r}" for v, x in setting.items())
