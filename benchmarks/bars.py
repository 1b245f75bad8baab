"""Printing figures beside their bars."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A measured number that must not exceed its bar, or with `floor` must reach it."""

    what: str
    measured: float
    bar: float
    unit: str
    floor: bool = False

    @property
    def met(self) -> bool:
        """Whether the number is on the right side of its bar."""
        return self.measured >= self.bar if self.floor else self.measured <= self.bar


def at_least(what: str, measured: float, bar: float, unit: str) -> Figure:
    """A measured number that must reach its bar."""
    return Figure(what, measured, bar, unit, floor=True)


def report(figures: Sequence[Figure]) -> int:
    """Print the figures; the exit code, 1 where one misses its bar."""
    print(f"{os.cpu_count()} cores")
    for f in figures:
        side = "at least" if f.floor else "at most"
        print(f"{'ok  ' if f.met else 'MISS'} {f.what}: {f.measured:.2f} {f.unit} (bar: {side} {f.bar:g})")
    return int(not all(f.met for f in figures))


def seconds(command: Sequence[str]) -> float:
    """The wall time of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def fastest(act: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The least seconds that something takes, and what it gives."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = act()
        taken.append(time.perf_counter() - start)
    return min(taken), result
