"""Claims in files: finding them, and giving them their parameters."""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, get_args, get_type_hints

from commute.errors import ClaimError, CommuteError, NoClaimError, check, unknown
from commute.proofs.claim import Claim, ClaimFunction

_MODULE = "commute_claim_file"  # the name under which the file's module is known while it is in use


@contextmanager
def opened(file: Path) -> Iterator[dict[str, ClaimFunction]]:
    """The claims that a file defines, by name, while files beside it can be imported as from a script.

    Whatever the file's own code raises, then or while the claims are in use, becomes an error that names the file and line.

    Raises:
        ClaimError: when the file cannot be run.
    """
    if file.is_dir():
        listed = ", ".join(sorted(path.name for path in file.glob("*.py"))) or "none"
        raise ClaimError(f"{file} is a folder; give a Python file of it, of which there is {listed}")
    if not file.is_file():
        raise ClaimError(f"there is no file {file}")
    spec = spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise ClaimError(f"{file} is not a Python file")
    module = module_from_spec(spec)
    path = list(sys.path)
    sys.path.insert(0, str(file.parent.resolve()))
    sys.modules[_MODULE] = module
    try:
        with located(file):
            spec.loader.exec_module(module)
        yield {key: value for key, value in vars(module).items() if isinstance(value, ClaimFunction)}
    finally:
        sys.path[:] = path
        sys.modules.pop(_MODULE, None)


def chosen(claims: Mapping[str, ClaimFunction], name: str | None, file: Path) -> list[ClaimFunction]:
    """All claims, or the one of the given name.

    Raises:
        NoClaimError: when there is none.
    """
    if not claims:
        raise NoClaimError(f"{file}: no function is marked with @cm.claim")
    if name is None:
        return list(claims.values())
    if name not in claims:
        raise NoClaimError(f"{file}: {unknown('claim', name, claims)}")
    return [claims[name]]


def make(claim: ClaimFunction, given: Sequence[tuple[str, str]]) -> Claim:
    """The claim that a function makes with the parameters given as text.

    Raises:
        ClaimError: listing unknown, missing and unreadable parameters.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = {k: p for k, p in inspect.signature(claim.function).parameters.items() if p.kind in kinds}
    try:
        hints = get_type_hints(claim.function)
    except (NameError, TypeError) as error:
        raise ClaimError(f"the annotations of the claim {claim.name!r} cannot be read: {error}") from error
    problems = [unknown("parameter", key, parameters) for key, _ in given if key not in parameters]
    values: dict[str, Any] = {}
    for key, text in given:
        if key not in parameters:
            continue
        kind = _kind(hints.get(key), parameters[key].default)
        try:
            values[key] = _READERS.get(kind, str)(text)
        except ValueError:
            problems.append(f"the parameter {key!r} must be {kind.__name__}; given {text!r}")
    missing = [p for p, about in parameters.items() if about.default is about.empty and p not in dict(given)]
    problems += [f"the parameter {p!r} is missing; give it with -P {p}=…" for p in missing]
    check(problems, ClaimError, f"the claim {claim.name!r}")
    return claim(**values)


@contextmanager
def located(file: Path) -> Iterator[None]:
    """Name the last line of the file that an error went through, if it went through the file at all.

    Our own errors are always told this way; others only if they come from the file, since else they are ours.
    """
    try:
        yield
    except NoClaimError:
        raise
    except SystemExit as error:
        raise ClaimError(f"{file}:{_line(error, file)}: the file ended the program ({error!r}); a claim must return") from error
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line(error, file)
        if line is None and not isinstance(error, (CommuteError, SyntaxError)):
            raise
        told = str(error) if isinstance(error, CommuteError) else f"{type(error).__name__}: {error}"
        raise ClaimError(f"{file}{f':{line}' if line else ''}: {told}") from error


def _line(error: BaseException, file: Path) -> int | None:
    """The last line of the file in the traceback of an error or of what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        lines = [f.lineno for f in traceback.extract_tb(cause.__traceback__) if Path(f.filename).resolve() == file.resolve()]
        if lines:
            return lines[-1]
        cause = cause.__cause__
    return None


def _kind(hint: Any, default: Any) -> Any:
    """The type of a parameter: of `int | None` the int, without annotation that of the default."""
    if hint is None:
        return str if default is inspect.Parameter.empty or default is None else type(default)
    return next((kind for kind in get_args(hint) if kind is not type(None)), hint)


def _boolean(text: str) -> bool:
    words: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


_READERS: Mapping[Any, Callable[[str], Any]] = {int: int, float: float, bool: _boolean, str: str, Path: Path}
