"""Progress in the terminal, from events."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from commute.runs.events import (
    ControlMeasured,
    Event,
    ItemFitted,
    OnEvent,
    ProofAdvanced,
    SearchStarted,
    SetVerified,
    SiteSkipped,
    VerificationStarted,
)

_REASONS = 5  # why sites are skipped, that are told; all are in the result of the search
_HUNDREDTHS = 100


@contextmanager
def progress(console: Console | None = None) -> Iterator[OnEvent]:
    """A listener that draws a bar for each search while it goes on, with the time that is left.

    A proof has one for each set of variables. A line is left for each item that is better than all before it in its search, for
    the first reasons to skip sites, and for what is measured or proved afterwards:

        with cm.progress() as listen:
            result = cm.search(…, on_event=listen)

    Args:
        console: to draw on; standard error by default.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as bars:
        yield _Listener(bars).listen


@dataclass
class _Listener:
    """The bars, and what the search that goes on has come to."""

    bars: Progress
    task: TaskID | None = None  # the bar of the search
    left: int = 0  # items of it
    best: float = -1.0
    reasons: set[str] = field(default_factory=set)  # of skips, in all searches
    proofs: dict[tuple[str, ...], TaskID] = field(default_factory=dict)  # the bar of each

    def listen(self, event: Event) -> None:
        match event:
            case SearchStarted(items, control):
                self._start(items, control)
            case ItemFitted(item, iia, control):
                self._advance()
                if control is None and iia > self.best:
                    self.best = iia
                    self._say(f"best so far: {item}: worst slice {iia:.4f}")
            case SiteSkipped(site, reason, control):
                self._advance()
                if control is None:
                    self._skip(site, reason)
            case ProofAdvanced():
                self._prove(event)
            case _:
                self._measured(event)

    def _measured(self, event: Event) -> None:
        """A line for what was measured."""
        match event:
            case VerificationStarted(pairs):
                self._say(f"verifying on {pairs:,} fresh pairs")
            case SetVerified(variables, iia):
                self._say(f"{' + '.join(variables)}: IIA {iia:.4f}")
            case ControlMeasured(control, iia):
                self._say(f"control, {control}: reached {iia:.4f}")

    def _start(self, items: int, control: str | None) -> None:
        if self.task is not None and self.left:  # of a search that ended in an error
            self.bars.stop_task(self.task)
        self.task = self.bars.add_task(f"control: {control}" if control else "searching", total=items)
        self.left, self.best = items, -1.0

    def _advance(self) -> None:
        """One item less to do; a site that is skipped before the search starts has no items in it."""
        if self.task is not None and self.left:
            self.left -= 1
            self.bars.advance(self.task)

    def _prove(self, now: ProofAdvanced) -> None:
        """A bar for each set of variables, of hundredths of its pairs, and a line once all of them are decided."""
        name = f"proof: {' + '.join(now.variables)}"
        if now.variables not in self.proofs:
            self.proofs[now.variables] = self.bars.add_task(name, total=_HUNDREDTHS)
        decided = now.lower >= now.upper
        told = f"{name}: [{now.lower:.4f}, {now.upper:.4f}] after {now.bounds:,} bounds, {now.evaluated:,} evaluated"
        done = _HUNDREDTHS if decided else int(_HUNDREDTHS * (1 - now.upper + now.lower))
        self.bars.update(self.proofs[now.variables], completed=done, description=told)
        if decided:
            self._say(told)

    def _skip(self, site: str, reason: str) -> None:
        if reason not in self.reasons and len(self.reasons) <= _REASONS:
            self.reasons.add(reason)
            self._say(f"skipped {site}: {reason}" if len(self.reasons) <= _REASONS else "more is skipped, for other reasons")

    def _say(self, line: str) -> None:
        self.bars.console.print(f"  {line}", markup=False, highlight=False)
