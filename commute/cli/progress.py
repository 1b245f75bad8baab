"""Progress in the terminal, from events."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from commute.runs.events import (
    ControlMeasured,
    Decided,
    Event,
    ItemFitted,
    OnEvent,
    SearchStarted,
    SetVerified,
    SiteSkipped,
    VerificationStarted,
)


@contextmanager
def progress(console: Console) -> Iterator[OnEvent]:
    """A listener that draws bars while work goes on, and leaves a line for each thing found."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(event: Event) -> None:
            match event:
                case SearchStarted(items, control):
                    tasks["search"] = bars.add_task(f"control: {control}" if control else "searching", total=items)
                case ItemFitted(item, iia, control):
                    bars.advance(tasks["search"])
                    if control is None:
                        bars.console.print(f"  {item}: worst slice {iia:.4f}", markup=False, highlight=False)
                case SiteSkipped(site, reason, control):
                    bars.advance(tasks["search"])
                    bars.console.print(f"  skipped {site}: {reason}", markup=False, highlight=False)
                case VerificationStarted(pairs):
                    bars.console.print(f"  verifying on {pairs:,} fresh pairs", markup=False, highlight=False)
                case SetVerified(variables, iia):
                    bars.console.print(f"  {' + '.join(variables)}: IIA {iia:.4f}", markup=False, highlight=False)
                case ControlMeasured(control, iia):
                    bars.console.print(f"  control, {control}: reached {iia:.4f}", markup=False, highlight=False)
                case Decided():
                    pass

        yield listen
