"""A verdict in the terminal."""

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from commute.proofs.verdict import Verdict
from commute.report.rows import rows

COLOURS = {"holds": "green", "refuted": "red", "inconclusive": "yellow"}
_REASONS = 5  # sentences shown before the rest are counted


def show(verdict: Verdict, console: Console) -> None:
    """Print the table of a verdict, what decided it, and the counterexample if there is one."""
    console.print(rendered(verdict))


def rendered(verdict: Verdict) -> RenderableType:
    """The verdict's headline, table, reasons and counterexample."""
    parts: list[RenderableType] = [_headline(verdict), _table(verdict)]
    shown = list(verdict.reasons[:_REASONS])
    if len(verdict.reasons) > _REASONS:
        shown.append(f"… and {len(verdict.reasons) - _REASONS} more")
    noop = verdict.accuracy.noop
    shown.append(f"No-op baseline: without any interchange the expected answer is given on {noop.rate:.1%} of {noop.total} pairs.")
    parts += [Padding(Text(f"• {reason}"), (0, 0, 0, 2)) for reason in shown]
    if verdict.counterexample is not None:
        parts.append(Padding(Text(f"counterexample: {verdict.counterexample}", style="bold"), (1, 0, 0, 2)))
    return Group(*parts)


def _headline(verdict: Verdict) -> Text:
    claim = f"  {verdict.algorithm!r} in the network {verdict.network!r}: IIA ≥ {verdict.at_least} at confidence {verdict.confidence}"
    return Text.assemble((verdict.status.upper(), f"bold {COLOURS[verdict.status]}"), claim)


def _table(verdict: Verdict) -> Table:
    table = Table(header_style="bold", pad_edge=False)
    for name in ("variable", "site", f"IIA [bounds at {verdict.confidence}]", "changed pairs", "worst slice", "best control", "status"):
        table.add_column(name, overflow="fold")
    for row in rows(verdict):
        cells = (row.variables, row.where, row.iia, row.changed, row.worst, row.control)
        table.add_row(*(Text(cell) for cell in cells), Text(row.status, style=COLOURS[row.status]))
    return table
