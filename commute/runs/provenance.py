"""Where a result comes from: versions, machine and the state of the sources."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("commute", "torch", "numpy", "scipy", "networkx", "pandas")


def provenance() -> dict[str, Any]:
    """Versions of Python and packages, the platform and its cores."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }


def git_state(folder: Path) -> dict[str, Any]:
    """The commit of the git checkout that holds `folder`, and whether it has uncommitted changes; None where there is none."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603  # fixed arguments
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
