"""What the commands `commute prove` and `commute recheck` do beside running claims."""

from dataclasses import replace
from pathlib import Path
from shlex import quote

import click

from commute.errors import ClaimError
from commute.proofs.battery import items_of
from commute.proofs.claim import Claim

ACCEPTED, REJECTED = 0, 1
_FILES = ("certificate.json", "certificate.safetensors")


def with_proof(claim: Claim, budget: str | None) -> Claim:
    """A claim whose battery has the item "proof" too, with a budget of its own or the one given."""
    return replace(claim, battery=(*items_of(claim.battery), "proof"), budget=claim.budget if budget is None else budget)


def told_of(certificate: Path) -> str:
    """Where a certificate is, and the command that rechecks it."""
    return f"certificate: {certificate}\nrecheck it: commute recheck {quote(str(certificate))}"


def recheck_folder(folder: Path, network: Path | None) -> int:
    """Recheck the certificate of a folder, or of a run's folder, and tell what came of it; the exit code.

    Raises:
        ClaimError: when there is no certificate, or the library that rechecks it is not installed.
    """
    where = folder if (folder / _FILES[0]).is_file() else folder / "certificate"
    if missing := [name for name in _FILES if not (where / name).is_file()]:
        raise ClaimError(f"{folder} holds no certificate: there is no {' and no '.join(missing)}")
    try:
        from commute.recheck import Rejected, recheck
    except ModuleNotFoundError as error:
        if error.name != "flint":
            raise
        raise ClaimError('rechecking needs python-flint; pip install "commute[proofs]"') from error
    try:
        click.echo(str(recheck(where, network)))
    except Rejected as error:
        click.echo(f"rejected: {error}", err=True)
        return REJECTED
    return ACCEPTED
