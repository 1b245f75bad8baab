"""Certificates: what was proved, in two files that `commute.recheck` can hold against themselves."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.causal.batches import Batch, Column
from commute.causal.model import CausalModel
from commute.errors import ClaimError
from commute.models.network import Network
from commute.proofs.programs.patched import Patched
from commute.proofs.programs.program import Program
from commute.proofs.proving import writing
from commute.proofs.proving.hashing import canonical, digest, digest_of_alignment, digest_of_weights
from commute.proofs.proving.outcome import Outcome, Work
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tree import BoxTree, Tree
from commute.runs.files import write_atomically

Method = Literal["enumeration", "refinement", "boxes"]
FORMAT, VERSION = "commute certificate", 1


@dataclass(frozen=True, eq=False)
class Proof:
    """What was found of a statement about every base and source.

    Attributes:
        statement: what was to be proved.
        outcome: what is known of it.
        tree: how that can be shown.
        method: "enumeration" or "refinement".
        sides: of each side, the base first, the program from an input's entries to its part of what the joint program takes.
    """

    statement: Statement
    outcome: Outcome
    tree: Tree
    method: Literal["enumeration", "refinement"]
    sides: tuple[Program, ...]


@dataclass(frozen=True, eq=False)
class BoxProof:
    """What was found of a statement about all numbers within epsilon of each input's; `right` and `wrong` are shares of 1.

    Attributes:
        patched: the network after the interchange; its program takes the entries of the base and of each source.
        entries: of every input in the domain's order, or of given settings in theirs, [inputs, width], float64.
        epsilon: how far each number may be from that.
        outcome: what is known, of a total of 1.
        tree: how that can be shown.
        choices: the right choice (place among the labels) for all combinations of given settings, one axis a side; None where the
            inputs are those of the domain, for which it follows from the algorithm's tables.
    """

    patched: Patched
    entries: Tensor
    epsilon: float
    outcome: Outcome
    tree: BoxTree
    choices: Column | None = None


@dataclass(frozen=True, eq=False)
class Certificate:
    """Bounds on interchange intervention accuracy that were proved, and all that is needed to prove them again.

    Attributes:
        record: JSON values, as CLAIMS.md describes them.
        tensors: that the record names.
    """

    record: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def level(self) -> Literal["exact", "sound"]:
        """`exact` where every base and source was decided."""
        found: Literal["exact", "sound"] = self.record["level"]
        return found

    @property
    def lower(self) -> Fraction:
        """IIA at least, of the worst statement."""
        return Fraction(self.record["lower"])

    @property
    def upper(self) -> Fraction:
        """IIA at most, of the worst statement."""
        return Fraction(self.record["upper"])

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What is known of each statement."""
        return tuple(_outcome(s) for s in self.record["statements"])

    @property
    def total(self) -> int:
        """Pairs of all statements."""
        return sum(o.total for o in self.outcomes)

    @property
    def undecided(self) -> int | Fraction:
        """Pairs of which it is not known whether they are right; of boxes their share."""
        return sum(o.undecided for o in self.outcomes)

    def __str__(self) -> str:
        about = f"{self.record['names']['network']} as {self.record['names']['algorithm']}"
        return "\n".join(
            [f"{about}: {self.level}, {_bounds(self.lower, self.upper)}", *map(self._line, self.record["statements"])]
        )

    def _line(self, record: Mapping[str, Any]) -> str:
        outcome = _outcome(record)
        parts = [_bounds(outcome.lower, outcome.upper)]
        if record["method"] == "boxes":
            settings = self.record["settings"]
            given = "" if settings is None else f" of those of {len(next(iter(settings.values()))):,} given inputs"
            parts.append(f"all numbers within {record['epsilon']}{given}")
        else:
            parts.append(f"{outcome.total:,} pairs of {' × '.join(f'{n:,}' for n in outcome.classes)} different inputs")
        parts += [f"{outcome.bounds:,} bounds", f"{outcome.evaluated:,} evaluated"]
        if outcome.within_rounding:
            parts.append(f"{outcome.within_rounding:,} within rounding")
        if outcome.first is not None:
            base, *sources = map(self._setting, outcome.first)
            told = (f"{v} from {s}" for v, s in zip(outcome.variables, sources, strict=True))
            parts.append(f"wrong first for the base {base} with {', '.join(told)}")
        return f"  {' + '.join(outcome.variables)}: {'; '.join(parts)}"

    def _setting(self, place: int) -> str:
        """An input's labels by its place in the domain's order, or among the given settings."""
        if self.record["settings"] is not None:
            told = {v: own[place] for v, own in self.record["settings"].items()}
        else:
            algorithm = self.record["algorithm"]
            labels = {v["name"]: v["labels"] for v in algorithm["variables"] if v["name"] in algorithm["inputs"]}
            codes = np.unravel_index(place, tuple(map(len, labels.values())))
            told = {v: own[c] for (v, own), c in zip(labels.items(), codes, strict=True)}
        return "(" + ", ".join(f"{v}={x!r}" for v, x in told.items()) + ")"

    def save(self, folder: str | Path) -> None:
        """Write `certificate.json` and `certificate.safetensors` into `folder`, which is made if needed."""
        data = save(dict(self.tensors))
        record = {**self.record, "digests": {**self.record["digests"], "tensors": sha256(data).hexdigest()}}
        write_atomically(Path(folder) / "certificate.safetensors", data)
        write_atomically(Path(folder) / "certificate.json", canonical({**record, "sha256": digest(record)}).encode())

    @classmethod
    def load(cls, folder: str | Path) -> "Certificate":
        """Read what `save` wrote. That what it claims is true, `commute.recheck` shows.

        Raises:
            ClaimError: naming a file that is missing, or is not as it was written.
        """
        folder = Path(folder)
        try:
            text, data = ((folder / f"certificate.{kind}").read_bytes() for kind in ("json", "safetensors"))
            record = json.loads(text)
            if text != canonical(record).encode() or record.pop("sha256") != digest(record):
                raise ClaimError(f"{folder / 'certificate.json'} was changed after it was written")
            if record["format"] != FORMAT or record["version"] != VERSION:
                raise ClaimError(f"{folder} is a {record['format']} of version {record['version']}; version {VERSION} is read")
            if record["digests"].pop("tensors") != sha256(data).hexdigest():
                raise ClaimError(f"{folder / 'certificate.safetensors'} was changed after it was written")
            return cls(record, load(data))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ClaimError(f"{folder} does not hold a certificate: {type(error).__name__}: {error}") from error


def certificate_of(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    proofs: Sequence[Proof | BoxProof],
    near: Batch | None = None,
) -> Certificate:
    """The certificate of what was proved of a network, an algorithm and an alignment.

    Args:
        algorithm: whose tables are kept, unless settings are given.
        network: the network.
        alignment: where the variables are.
        proofs: one or more.
        near: the settings, as columns of labels, that all proofs are about; None are all inputs.

    Raises:
        ClaimError: when nothing was proved, or settings are given and a proof does not have the right choices for them.
        ModelError: when the algorithm has no finite tables, or settings are not told apart by what JSON has.
    """
    if not proofs:
        raise ClaimError("a certificate needs at least one proof; given none")
    if any((isinstance(p, BoxProof) and p.choices is not None) != (near is not None) for p in proofs):
        raise ClaimError("proofs about given settings are of boxes and with the right choices for these; others are not")
    kept = writing.Kept()
    inputs = writing.inputs(algorithm, [v for proof in proofs for v in proof.outcome.variables], near, kept)
    statements = [_statement(proof, kept) for proof in proofs]
    record = {
        "format": FORMAT,
        "version": VERSION,
        "names": {"algorithm": algorithm.name, "network": network.name},
        **inputs,
        "digests": {
            "weights": digest_of_weights(network.module),
            "alignment": digest_of_alignment(alignment),
            "domain": digest(inputs["settings"] or _domain(inputs["algorithm"])),
        },
        "statements": statements,
        "level": "exact" if all(s["level"] == "exact" for s in statements) else "sound",
        "lower": _text(min(p.outcome.lower for p in proofs)),
        "upper": _text(min(p.outcome.upper for p in proofs)),
    }
    return Certificate(json.loads(canonical(record)), kept.tensors)


def _domain(tables: Mapping[str, Any]) -> list[list[Any]]:
    """Each input's name and labels."""
    labels = {v["name"]: v["labels"] for v in tables["variables"]}
    return [[v, labels[v]] for v in tables["inputs"]]


def _statement(proof: Proof | BoxProof, kept: writing.Kept) -> dict[str, Any]:
    parts = _of_boxes(proof, kept) if isinstance(proof, BoxProof) else _of_pairs(proof, kept)
    return {**parts, **_found(proof.outcome), "tree": writing.tree(proof.tree, kept)}


def _of_boxes(proof: BoxProof, kept: writing.Kept) -> dict[str, Any]:
    return {
        "method": "boxes",
        "level": "sound",
        **_numbers(proof.patched, proof.entries, proof.patched.program, kept),
        "answers": None if proof.choices is None else kept.add(torch.from_numpy(proof.choices.astype(np.int32))),
        "sides": [],
        "epsilon": float(proof.epsilon),
        "right": _text(Fraction(proof.outcome.right)),
        "wrong": _text(Fraction(proof.outcome.wrong)),
    }


def _of_pairs(proof: Proof, kept: writing.Kept) -> dict[str, Any]:
    return {
        "method": proof.method,
        "level": "sound" if proof.outcome.undecided else "exact",
        **_numbers(proof.statement.patched, proof.statement.entries, proof.statement.joint, kept),
        "answers": None,
        "sides": [writing.program(side, kept) for side in proof.sides],
        "epsilon": None,
        "right": int(proof.outcome.right),
        "wrong": int(proof.outcome.wrong),
    }


def _numbers(patched: Patched, entries: Tensor, joint: Program, kept: writing.Kept) -> dict[str, Any]:
    """What the network computes, and from which numbers."""
    return {
        "labels": [writing.label(x) for x in patched.labels],
        "unit": joint.unit,
        "tiny": joint.tiny,
        "entries": kept.add(entries.double()),
        "joint": writing.program(joint, kept),
    }


def _found(outcome: Outcome) -> dict[str, Any]:
    """What is known, beside the counts, and what it took."""
    kinds = [[writing.label(e), writing.label(g), n] for (e, g), n in outcome.kinds.items()]
    return {
        "variables": list(outcome.variables),
        "total": outcome.total,
        "within_rounding": int(outcome.within_rounding),
        "lower": _text(outcome.lower),
        "upper": _text(outcome.upper),
        "first": None if outcome.first is None else [int(x) for x in outcome.first],
        "kinds": sorted(kinds, key=canonical),
        "effort": {
            "classes": [int(x) for x in outcome.classes],
            "bounds": int(outcome.bounds),
            "evaluated": int(outcome.evaluated),
            "work": [[int(w.bounds), int(w.evaluated), _known(w.right), _known(w.wrong)] for w in outcome.work],
        },
    }


def _outcome(record: Mapping[str, Any]) -> Outcome:
    shares = record["method"] == "boxes"
    effort = record["effort"]
    return Outcome(
        variables=tuple(record["variables"]),
        total=record["total"],
        right=Fraction(record["right"]) if shares else record["right"],
        wrong=Fraction(record["wrong"]) if shares else record["wrong"],
        within_rounding=record["within_rounding"],
        kinds=Counter({(e, g): n for e, g, n in record["kinds"]}),
        first=None if record["first"] is None else tuple(record["first"]),
        classes=tuple(effort["classes"]),
        bounds=effort["bounds"],
        evaluated=effort["evaluated"],
        work=tuple(Work(w[0], w[1], Fraction(w[2]), Fraction(w[3])) if shares else Work(*w) for w in effort["work"]),
    )


def _bounds(lower: Fraction, upper: Fraction) -> str:
    if lower == upper:
        return f"IIA = {lower} = {float(lower):.6g}"
    return f"IIA in [{float(lower):.6g}, {float(upper):.6g}]"


def _known(x: int | Fraction) -> int | str:
    """Pairs as a number, shares as text."""
    return _text(x) if isinstance(x, Fraction) else int(x)


def _text(x: Fraction) -> str:
    return f"{x.numerator}/{x.denominator}"
