"""A verdict in the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from commute.proofs.verdict import Verdict
from commute.report.rows import rows

COLOURS = {"holds": "green", "refuted": "red", "inconclusive": "yellow"}
_NUMBERS = ("IIA", "changed pairs", "right settings", "answers kept", "status")  # columns that names give way to


def show(verdict: Verdict, console: Console) -> None:
    """Print the headline of a verdict, its table, and what it tells: what decided it, warnings, the counterexample."""
    claim = f" {verdict.claimed}"
    console.print(Text.assemble((verdict.status.upper(), f"bold {COLOURS[verdict.status]}"), claim))
    console.print(_table(verdict))
    told = Table.grid(padding=(0, 1, 0, 0))
    told.add_column()
    told.add_column(overflow="fold")
    for line in verdict.told:
        told.add_row(" •", Text(line, style="yellow" if line.startswith("warning: ") else ""))
    console.print(told)


def _table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    sampled = ("variable", "site", "IIA", "changed pairs", "best control", "status")
    shown = ("", "answers kept", "status") if verdict.circuit else ("variable", "low-level variables", "right settings", "status")
    for name in sampled if verdict.accuracy else shown:
        table.add_column(name, overflow="fold", no_wrap=name in _NUMBERS)
    for row in rows(verdict):
        told = row.rate(row.overall).replace(" [", "\n[")
        place = "\n".join(row.features).replace(", ", "\n") or "–"
        control = f"≤ {row.control.upper:.4f}\n{row.control.name}" if row.control else "–"
        changed = row.rate(row.changed).replace(" [", "\n[")
        cells: tuple[str, ...] = row.variables, place, told, changed, control
        if not verdict.accuracy:
            cells = (row.variables, told) if verdict.circuit else cells[:3]
        table.add_row(*(Text(cell) for cell in cells), Text(row.status, style=COLOURS[row.status]))
    return table
