"""Claims in files: finding them, and giving them their parameters."""

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, get_type_hints

from commute.errors import ClaimError, check, unknown
from commute.proofs.claim import Claim, ClaimFunction


class NoClaimError(ClaimError):
    """A file without the claim that was asked for."""


def claims_in(file: Path, name: str | None) -> list[ClaimFunction]:
    """The claims that a file defines, or the one of the given name.

    Raises:
        ClaimError: when the file cannot be run, with the line.
        NoClaimError: when there is no such claim in it.
    """
    if not file.is_file():
        raise ClaimError(f"there is no file {file}")
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ClaimError(f"{file} is not a Python file")
    module = module_from_spec(spec)
    sys.path.insert(0, str(file.parent.resolve()))  # as for a script: files beside it can be imported
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise located(error, file) from error
    finally:
        sys.path.pop(0)
    found = {key: value for key, value in vars(module).items() if isinstance(value, ClaimFunction)}
    if name is None and found:
        return list(found.values())
    if name not in found:
        raise NoClaimError(f"{file}: {unknown('claim', name, found) if name else 'no function is marked with @cm.claim'}")
    return [found[name]]


def make(claim: ClaimFunction, file: Path, given: Sequence[tuple[str, str]]) -> Claim:
    """The claim that a function makes with the parameters given as text.

    Raises:
        ClaimError: listing unknown, missing and unreadable parameters, or with the line at which the function raised.
    """
    parameters = inspect.signature(claim.function).parameters
    hints = get_type_hints(claim.function)
    problems = [unknown("parameter", key, parameters) for key, _ in given if key not in parameters]
    values: dict[str, Any] = {}
    for key, text in given:
        if key not in parameters:
            continue
        default = parameters[key].default
        kind = hints.get(key, str if default is inspect.Parameter.empty or default is None else type(default))
        try:
            values[key] = _READERS.get(kind, str)(text)
        except ValueError:
            problems.append(f"the parameter {key!r} must be {kind.__name__}; given {text!r}")
    missing = [p for p, about in parameters.items() if about.default is about.empty and p not in values]
    problems += [f"the parameter {p!r} is missing; give it with -P {p}=…" for p in missing if p not in dict(given)]
    check(problems, ClaimError, f"{file}::{claim.name}")
    try:
        return claim(**values)
    except Exception as error:
        raise located(error, file) from error


def located(error: Exception, file: Path) -> ClaimError:
    """The error as one of the claim file, with the last line of the file that it went through, if any."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    cause: BaseException | None = error
    while cause is not None and line is None:
        lines = [f.lineno for f in traceback.extract_tb(cause.__traceback__) if Path(f.filename).resolve() == file.resolve()]
        line = lines[-1] if lines else None
        cause = cause.__cause__
    told = str(error) if isinstance(error, ClaimError) else f"{type(error).__name__}: {error}"
    return ClaimError(f"{file}{f':{line}' if line else ''}: {told}")


def _boolean(text: str) -> bool:
    words: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


_READERS: Mapping[Any, Callable[[str], Any]] = {int: int, float: float, bool: _boolean, str: str, Path: Path}
