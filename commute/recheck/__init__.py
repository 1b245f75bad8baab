"""Rechecking a certificate: every claim in it is derived again, in ball arithmetic, by code that shares nothing with the prover.

    python -m commute.recheck DIR [--network FILE]

It reads the two files of a certificate, solves the algorithm's tables, and shows of every cell what is claimed of it: by a linear
bound taken backward through the program, by dividing the cell further, or pair by pair. CLAIMS.md says what that leaves to trust.
Only numpy and python-flint are needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from commute.recheck.algorithm import Algorithm
from commute.recheck.balls import ctx
from commute.recheck.boxes import Boxes
from commute.recheck.pairs import Pairs
from commute.recheck.reading import Rejected, certificate, demand, digest, same, text, weights
from commute.recheck.trees import Work

__all__ = ["Rejected", "Report", "recheck"]

_BITS = 80  # of bounds


@dataclass(frozen=True)
class Report:
    """What was rechecked, and by how much work.

    Attributes:
        level: of the certificate.
        lower: IIA at least, of the worst statement.
        upper: IIA at most, of the worst statement.
        statements: that were rechecked.
        work: what it took.
        network: whether the weights were held against a file.
    """

    level: str
    lower: Fraction
    upper: Fraction
    statements: int
    work: Work
    network: bool

    def __str__(self) -> str:
        held = "the network's weights are those given" if self.network else "no weights were given to hold the network's against"
        w = self.work
        return (
            f"accepted: {self.level}, IIA in [{float(self.lower):.6g}, {float(self.upper):.6g}]; {held}\n"
            f"{self.statements} statement(s) with {w.cells:,} cells: {w.bounds:,} bounds, {w.evaluated:,} pairs evaluated, "
            f"{w.divided:,} times a cell was divided further"
        )


def recheck(
    folder: str | Path, network: str | Path | None = None, on_progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Derive every claim of a certificate again.

    Args:
        folder: with `certificate.json` and `certificate.safetensors`.
        network: a safetensors file of the state dict of the network that the certificate is to be about.
        on_progress: is told the statement, and how many of its cells are done of how many.

    Raises:
        Rejected: naming what was found and what was expected.
    """
    wrong = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError, MemoryError, OSError)
    try:
        with ctx.workprec(_BITS):
            return _recheck(Path(folder), network, on_progress or (lambda *_: None))
    except wrong as error:
        raise Rejected(f"{folder} holds no certificate: {type(error).__name__}: {error}") from error


def _recheck(folder: Path, network: str | Path | None, on_progress: Callable[[str, int, int], None]) -> Report:
    record, tensors = certificate(folder)
    statements = record["statements"]
    demand(statements, "there is no statement")
    if network is not None:
        found, unit = weights(Path(network).read_bytes())
        same(f"the digest of the weights in {network}", found, record["digests"]["weights"])
        demand(
            all(s["unit"] >= unit for s in statements),
            f"a statement is about an arithmetic that is finer than the weights' {unit}",
        )
    algorithm = Algorithm.of(record["algorithm"], tensors)
    same("the digest of the domain", record["digests"]["domain"], digest(algorithm.domain))
    work = Work()
    shown = []
    for statement in statements:
        demand(statement["method"] in ("enumeration", "refinement", "boxes"), f"there is no method {statement['method']!r}")
        made = (Boxes if statement["method"] == "boxes" else Pairs).of(statement, tensors, algorithm, work)
        shown.append(made.check(on_progress))
    lower, upper = min(s[0] for s in shown), min(s[1] for s in shown)
    level = "exact" if all(s[2] == "exact" for s in shown) else "sound"
    for name, expected in (("level", level), ("lower", text(lower)), ("upper", text(upper))):
        same(f"the certificate's {name}", record[name], expected)
    return Report(level, lower, upper, len(shown), work, network is not None)
