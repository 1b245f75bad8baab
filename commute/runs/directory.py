"""Run directories: what a run was, what happened in it and what came out."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from commute.runs.events import Event
from commute.runs.files import write_atomically
from commute.runs.provenance import provenance

SCHEMA = 1
_KEY_LENGTH = 12


@dataclass(frozen=True)
class RunDirectory:
    """A folder for one run, named by what the run depends on, so that the same run finds it again."""

    folder: Path

    @classmethod
    def open(cls, runs: Path, name: str, depends_on: Mapping[str, Any]) -> "RunDirectory":
        """The folder of the run `name` whose result depends on these values (JSON)."""
        content = json.dumps({"schema": SCHEMA, **depends_on}, sort_keys=True)
        key = sha256(content.encode()).hexdigest()[:_KEY_LENGTH]
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "run"
        return cls(runs / f"{slug}-{key}")

    def has(self, name: str) -> bool:
        """Whether a file was finished."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> str:
        """A file's text."""
        return (self.folder / name).read_text()

    def write(self, name: str, content: str) -> None:
        """Write a file, whole or not at all."""
        write_atomically(self.folder / name, content.encode())

    def begin(self, about: Mapping[str, Any], git: Mapping[str, Any]) -> None:
        """Write `run.json`: when the run began, what it is about, the state of its sources and what it ran on."""
        record = {
            "schema": SCHEMA,
            "started": _now(),
            "finished": None,
            **about,
            "git": git,
            **provenance(),
        }
        self.write("run.json", json.dumps(record, indent=2, default=str) + "\n")

    def log(self, event: Event) -> None:
        """Append an event to `events.jsonl`."""
        line = json.dumps({"time": _now(), "event": type(event).__name__, **asdict(event)}, default=str)
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")

    def end(self) -> None:
        """Note in `run.json` that the run is finished."""
        self.write("run.json", json.dumps({**json.loads(self.read("run.json")), "finished": _now()}, indent=2) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
