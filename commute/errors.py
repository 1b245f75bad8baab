"""The errors that a user can cause, and how they are worded."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral

_FEW = 16  # names that are all listed


class CommuteError(Exception):
    """Base of every error caused by what was given; its message says what was expected and what to do."""


class ModelError(CommuteError):
    """A causal model that is not well formed, or a setting or intervention that does not fit it."""


class SlowWarning(UserWarning):
    """Something is right but slow, and can be written to be fast."""


class ReplayWarning(UserWarning):
    """What is known of a network could not be replayed, so its passes are made in full."""


class PairsError(CommuteError):
    """A request for interchange pairs that the model cannot meet."""


class NetworkError(CommuteError):
    """A network, site or intervention on a network that cannot do what was asked."""


class NoCircuitError(NetworkError):
    """A search of circuits that found none: no edge makes a difference, or no path to the output is among those that do."""


class AlignmentError(CommuteError):
    """A feature, alignment or search that does not fit its algorithm or network."""


class ClaimError(CommuteError):
    """A claim, or a file of claims, that cannot be checked."""


class NoClaimError(ClaimError):
    """A file without the claim that was asked for."""


def unknown(kind: str, name: object, known: Iterable[object]) -> str:
    """Say that `name` is not a `kind` that exists, naming the nearest or, when few, all that do."""
    names = [str(k) for k in known]
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    if near:
        return f"there is no {kind} {str(name)!r}; did you mean {near[0]!r}?"
    shown = ", ".join(names[:_FEW]) + (", …" if len(names) > _FEW else "")
    return f"there is no {kind} {str(name)!r}; there is {shown or 'none at all'}"


def not_counts(**given: object) -> list[str]:
    """Say which of the values given by name are not whole numbers of at least 1."""
    return [
        f"{name} must be a whole number of at least 1; given {x!r}"
        for name, x in given.items()
        if not isinstance(x, Integral) or isinstance(x, bool) or x < 1
    ]


def check(problems: Sequence[str], error: type[CommuteError], subject: str) -> None:
    """Raise one `error` about `subject` that lists all `problems`; do nothing when there are none."""
    if len(problems) == 1:
        raise error(f"{subject}: {problems[0]}")
    if problems:
        raise error(f"{subject} has {len(problems)} problems:\n" + "\n".join(f"  - {p}" for p in problems))
