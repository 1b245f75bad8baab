"""Printing figures beside their bars."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured number that must not exceed its bar."""

    what: str
    measured: float
    bar: float
    unit: str


def report(figures: Sequence[Figure]) -> int:
    """Print the figures; the exit code, 1 where one misses its bar."""
    print(f"{os.cpu_count()} cores")
    for f in figures:
        print(f"{'ok  ' if f.measured <= f.bar else 'MISS'} {f.what}: {f.measured:.2f} {f.unit} (bar {f.bar:g})")
    return int(any(f.measured > f.bar for f in figures))


def seconds(command: Sequence[str]) -> float:
    """The wall time of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start
