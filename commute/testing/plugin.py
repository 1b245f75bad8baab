"""A plugin of pytest that makes a test of each claim in files `claims_*.py` and `test_*.py`.

pytest imports it wherever the package is installed, so it imports nothing heavy before a claim is there.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

import pytest

from commute.errors import ClaimError, CommuteError

if TYPE_CHECKING:
    from commute.proofs.claim import ClaimFunction
    from commute.proofs.verdict import Verdict

_FILES = "claims_*.py"
_WIDTH = 80  # columns that a verdict's table has at least


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of claims."""
    group = parser.getgroup("commute", "claims about networks")
    group.addoption("--commute-seed", type=int, default=0, metavar="N", help="Seed of every random stream of a claim (0).")
    group.addoption(
        "--commute-runs", type=Path, metavar="FOLDER", help="Folder to keep the runs of claims in; else none is kept."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder for runs, or say at once that it cannot be."""
    runs = config.getoption("commute_runs", None)
    try:
        if runs is not None:
            runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--commute-runs={runs}: {error.strerror}; give a folder that can be written to") from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file of claims as a module of tests, unless it is one already by its name or by being asked for."""
    if not file_path.match(_FILES) or parent.session.isinitpath(file_path):
        return None
    if any(file_path.match(pattern) for pattern in parent.config.getini("python_files")):
        return None
    if b"commute" not in file_path.read_bytes():  # claims about something else
        return None
    return pytest.Module.from_parent(parent, path=file_path)


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> "list[ClaimItem] | None":
    """A claim as a test, in the module that defines it."""
    kind = type(obj)
    if (kind.__module__, kind.__name__) != ("commute.proofs.claim", "ClaimFunction") or not isinstance(collector, pytest.Module):
        return None
    claim: ClaimFunction = obj  # type: ignore[assignment]  # as just seen
    if claim.function.__module__ != collector.obj.__name__:
        return []
    return [ClaimItem.from_parent(collector, name=name, claim=claim)]


class ClaimItem(pytest.Item):
    """A claim as a test, which passes when its verdict is `holds`. Marks on the claim's function are its own."""

    def __init__(self, *, claim: "ClaimFunction", **given: Any) -> None:
        super().__init__(**given)
        self.claim = claim
        for mark in getattr(claim.function, "pytestmark", ()):
            self.own_markers.append(mark)
            self.keywords[mark.name] = mark

    def runtest(self) -> None:
        """Run the claim with its defaults."""
        from commute.proofs.run import run_claim
        from commute.report.page import write_page

        parameters = inspect.signature(self.claim.function).parameters.values()
        missing = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if missing:
            raise ClaimError(
                f"the claim {self.name!r} has no default for {', '.join(missing)}, and a test gives it no parameters; add one, "
                f"or use commute run {self.path.name}::{self.name} -P {missing[0]}=…"
            )
        seed, runs = (self.config.getoption(f"commute_{option}") for option in ("seed", "runs"))
        done = run_claim(self.claim(), seed=seed, runs=runs, name=self.claim.name, file=self.path)
        if done.folder is not None:
            write_page(done.verdict, done.folder / "report.html", json.loads((done.folder / "run.json").read_text()))
        if not done.verdict:
            raise NotShownError(done.verdict)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The verdict of a claim that does not hold; file and line for a claim that cannot be checked."""
        error = excinfo.value
        if isinstance(error, NotShownError):
            return error.told()
        if isinstance(error, CommuteError):
            return f"{self.path}:{self._line(error)}: {error}"
        if not self.config.getoption("fulltrace", default=False):
            excinfo.traceback = excinfo.traceback.cut(path=self.path)  # without what calls the claim
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the claim is."""
        return self.path, self.claim.function.__code__.co_firstlineno - 1, self.name

    def _line(self, error: BaseException) -> int:
        """The last line of the claim's file that an error, or what caused it, went through; that of the claim if none."""
        for cause in _causes(error):
            lines = [f.lineno for f in extract_tb(cause.__traceback__) if f.lineno and Path(f.filename) == self.path]
            if lines:
                return lines[-1]
        return self.claim.function.__code__.co_firstlineno


class NotShownError(Exception):
    """A claim whose verdict is not `holds`."""

    def __init__(self, verdict: "Verdict") -> None:
        super().__init__(f"{verdict.status}: {verdict.claimed}")
        self.verdict = verdict

    def told(self) -> str:
        """The verdict as in the terminal, without colours."""
        from io import StringIO
        from shutil import get_terminal_size

        from rich.console import Console

        from commute.report.table import show

        text = StringIO()
        show(self.verdict, Console(file=text, width=max(_WIDTH, get_terminal_size().columns), color_system=None))
        neither = "The claim is neither shown to hold nor refuted, so the test does not pass.\n\n"
        return (neither if self.verdict.status == "inconclusive" else "") + "\n".join(
            map(str.rstrip, text.getvalue().splitlines())
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
