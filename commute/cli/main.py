"""The command `commute`. Heavy modules are imported by the commands that need them."""

import json
import sys
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commute.errors import CommuteError, NoClaimError

if TYPE_CHECKING:
    from collections.abc import Callable

    from commute.proofs.claim import Claim
    from commute.proofs.verdict import Verdict

EXITS = {"holds": 0, "refuted": 1, "inconclusive": 4}
USAGE, INTERNAL, NOT_FOUND, INTERRUPTED = 2, 3, 5, 130
_WORST_FIRST = (USAGE, EXITS["refuted"], EXITS["inconclusive"], EXITS["holds"])


@dataclass(frozen=True)
class Asked:
    """How the claims are to be run and told."""

    seed: int
    runs: Path
    as_json: bool


@dataclass(frozen=True)
class Made:
    """A claim, and how it was made."""

    claim: "Claim"
    name: str
    file: Path | None = None
    parameters: dict[str, str] = field(default_factory=dict)


_target = click.argument("target", metavar="FILE[::NAME]")
_parameters = click.option(
    "-P", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the claim; can be repeated."
)
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
    return _run(Made(hierarchical_equality(), "demo"), Asked(seed, runs, as_json))


@cli.command()
@_target
@_parameters
@_seed
@_runs
@_json
def run(target: str, parameters: tuple[str, ...], seed: int, runs: Path, as_json: bool) -> int:  # noqa: FBT001
    """Run the claims of FILE, or the claim NAME of it."""
    return _each(target, parameters, lambda made: _run(made, Asked(seed, runs, as_json)))


@cli.command()
@_target
@_parameters
@click.option(
    "--budget", metavar="BUDGET", help='Of a claim\'s proofs: "30s", "10m", "2h" or "50000 bounds"; by default the claim\'s own.'
)
@_seed
@_runs
@_json
def prove(
    target: str,
    parameters: tuple[str, ...],
    budget: str | None,
    seed: int,
    runs: Path,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Run the claims of FILE, or the claim NAME of it, and prove bounds on IIA over every pair of the domain.

    A run that was killed goes on where it was when the same command is given again. Exit codes: 0 every set of variables is
    proved to have the IIA claimed and nothing sampled refutes the claim, 1 refuted, by a proof or by what was sampled, 4 neither;
    the others as of commute.
    """

    def proved(made: Made) -> int:
        from commute.cli.proving import with_proof

        return _run(replace(made, claim=with_proof(made.claim, budget)), Asked(seed, runs, as_json), proving=True)

    return _each(target, parameters, proved)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--network",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A safetensors file of the network's state dict, to hold against the certificate.",
)
def recheck(folder: Path, network: Path | None) -> int:
    """Derive every claim of a certificate again, by code that shares nothing with what proved it.

    DIR is the folder of the certificate, or a run's. Exit codes: 0 accepted, 1 rejected, 2 there is no certificate.
    """
    from commute.cli.proving import recheck_folder

    return recheck_folder(folder, network)


def _each(target: str, parameters: tuple[str, ...], tell: "Callable[[Made], int]") -> int:
    """Make each claim that is asked for and tell what comes of it; the worst exit code."""
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
                    codes.append(tell(Made(make(claim, given), claim.name, file, dict(given))))
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


def _run(made: Made, asked: Asked, *, proving: bool = False) -> int:
    """Run one claim, tell its verdict, write its report; the exit code, with `proving` that of `prove`."""
    from contextlib import nullcontext

    from rich.console import Console

    from commute.cli.progress import progress
    from commute.cli.proving import told_of
    from commute.proofs.run import run_claim
    from commute.report.page import write_page
    from commute.report.table import show
    from commute.runs.events import ignore

    with nullcontext(ignore) if asked.as_json else progress(Console(stderr=True)) as listen:
        done = run_claim(
            made.claim,
            seed=asked.seed,
            runs=asked.runs,
            name=made.name,
            file=made.file,
            parameters=made.parameters,
            on_event=listen,
        )
    assert done.folder is not None  # noqa: S101  # runs is given
    write_page(done.verdict, done.folder / "report.html", json.loads((done.folder / "run.json").read_text()))
    if asked.as_json:
        click.echo(
            json.dumps({"claim": made.name, "folder": str(done.folder), **json.loads(done.verdict.to_json())}, ensure_ascii=False)
        )
    else:
        if done.resumed:
            click.echo(f"This run was finished before; its verdict is read from {done.folder}.")
        show(done.verdict, Console())
        click.echo(f"\nreport: {done.folder / 'report.html'}")
        if (done.folder / "certificate").is_dir():
            click.echo(told_of(done.folder / "certificate"))
    return _proved(done.verdict) if proving else EXITS[done.verdict.status]


def _proved(verdict: "Verdict") -> int:
    """The exit code of `prove`."""
    passed = [e.passed for e in verdict.proved]
    if verdict.status == "refuted" or False in passed:
        return EXITS["refuted"]
    return EXITS["holds"] if all(passed) else EXITS["inconclusive"]


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
