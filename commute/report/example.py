"""A counterexample as the rows of two tables: the inputs of each run, and what either side says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commute.proofs.counterexample import Counterexample


@dataclass(frozen=True)
class Input:
    """One input of a counterexample.

    Attributes:
        heading: what it is there for.
        setting: its values.
        matters: the variables whose values the pair would not fail without.
    """

    heading: str
    setting: Mapping[str, Any]
    matters: frozenset[str]


def inputs(example: Counterexample | None) -> list[Input]:
    """The base, and the source of each variable. What matters in a source that all variables share is named `source`."""
    if example is None:
        return []
    found = [_input("base", example.base, example, "base")]
    return found + [_input(f"{v} from", source, example, v, "source") for v, source in example.sources.items()]


def _input(heading: str, setting: Mapping[str, Any], example: Counterexample, *places: str) -> Input:
    return Input(heading, setting, frozenset(v for v in setting for p in places if f"{p}.{v}" in (example.matters or ())))


def answers(example: Counterexample | None) -> list[tuple[str, Any, Any]]:
    """Each output, what it should be, and what was answered."""
    if example is None:
        return []
    given = example.answered if isinstance(example.answered, Mapping) else dict.fromkeys(example.expected, example.answered)
    return [(output, said, given.get(output)) for output, said in example.expected.items()]
