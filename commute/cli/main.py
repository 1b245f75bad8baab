"""The command `commute`. Heavy modules are imported by the commands that need them."""

import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commute.errors import CommuteError, NoClaimError

if TYPE_CHECKING:
    from commute.proofs.claim import Claim

EXITS = {"holds": 0, "refuted": 1, "inconclusive": 4}
USAGE, INTERNAL, NOT_FOUND, INTERRUPTED = 2, 3, 5, 130
_WORST_FIRST = (USAGE, EXITS["refuted"], EXITS["inconclusive"], EXITS["holds"])


@dataclass(frozen=True)
class Asked:
    """How the claims are to be run and told."""

    seed: int
    runs: Path
    as_json: bool


_seed = click.option("--seed", default=0, type=click.IntRange(min=0), show_default=True, help="Seed of every random stream.")
_runs = click.option(
    "--runs",
    default=Path("runs"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that runs are kept in.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print verdicts as JSON, one a line, and nothing else.")


@click.group(
    epilog="Exit codes: 0 holds, 1 refuted, 2 bad claim, file or usage, 3 internal error, 4 inconclusive, 5 no claim found."
)
@click.version_option(package_name="commute")
def cli() -> None:
    """Verify that neural networks run the algorithms they are believed to run."""


@cli.command()
@_seed
@_runs
@_json
def demo(seed: int, runs: Path, as_json: bool) -> int:  # noqa: FBT001  # click's calling convention
    """Search for, verify and report a claim about a trained network."""
    from commute.cli.demo import INTRODUCTION, hierarchical_equality

    if not as_json:
        click.echo(INTRODUCTION)
    return _run(hierarchical_equality(), "demo", Asked(seed, runs, as_json))


@cli.command()
@click.argument("target", metavar="FILE[::NAME]")
@click.option("-P", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the claim; can be repeated.")
@_seed
@_runs
@_json
def run(target: str, parameters: tuple[str, ...], seed: int, runs: Path, as_json: bool) -> int:  # noqa: FBT001
    """Run the claims of FILE, or the claim NAME of it."""
    from commute.cli.claim_files import chosen, located, make, opened

    path, _, name = target.partition("::")
    file = Path(path)
    given = []
    for text in parameters:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"-P takes KEY=VALUE; given {text!r}")
        given.append((key, value))
    codes = []
    with opened(file) as claims:
        for claim in chosen(claims, name or None, file):
            try:
                with located(file):
                    codes.append(_run(make(claim, given), claim.name, Asked(seed, runs, as_json), file, dict(given)))
            except CommuteError as error:  # the other claims are still run
                click.echo(f"Error: {error}", err=True)
                codes.append(USAGE)
    return next(code for code in _WORST_FIRST if code in codes)


@cli.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
def replay(folder: Path) -> int:
    """Carry out the counterexample of a run again; RUN is the run's folder.

    The claim is made anew from its file, which must not have changed. Exit codes: 0 the answers are as recorded, 1 they are not,
    2 it cannot be replayed.
    """
    from commute.cli.replay import replay_run

    return replay_run(folder)


def _run(claim: "Claim", name: str, asked: Asked, file: Path | None = None, parameters: dict[str, str] | None = None) -> int:
    """Run one claim, tell its verdict, write its report; the exit code."""
    from contextlib import nullcontext

    from rich.console import Console

    from commute.cli.progress import progress
    from commute.proofs.run import run_claim
    from commute.report.page import write_page
    from commute.report.table import show
    from commute.runs.events import ignore

    with nullcontext(ignore) if asked.as_json else progress(Console(stderr=True)) as listen:
        done = run_claim(claim, seed=asked.seed, runs=asked.runs, name=name, file=file, parameters=parameters, on_event=listen)
    assert done.folder is not None  # noqa: S101  # runs is given
    write_page(done.verdict, done.folder / "report.html", json.loads((done.folder / "run.json").read_text()))
    if asked.as_json:
        click.echo(
            json.dumps({"claim": name, "folder": str(done.folder), **json.loads(done.verdict.to_json())}, ensure_ascii=False)
        )
    else:
        if done.resumed:
            click.echo(f"This run was finished before; its verdict is read from {done.folder}.")
        show(done.verdict, Console())
        click.echo(f"\nreport: {done.folder / 'report.html'}")
    return EXITS[done.verdict.status]


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(arguments: list[str]) -> int:
    """Run the command line with these arguments and return its exit code."""
    try:
        return cli.main(arguments, standalone_mode=False) or 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return USAGE
    except (CommuteError, OSError) as error:  # an OSError is a folder that cannot be written, or a full disk
        click.echo(f"Error: {error}", err=True)
        return NOT_FOUND if isinstance(error, NoClaimError) else USAGE
    except Exception:  # noqa: BLE001  # the last resort: say so and give the code for it
        click.echo(f"Internal error; please report it with this:\n{traceback.format_exc()}", err=True)
        return INTERNAL
