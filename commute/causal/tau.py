"""The map from the settings of a low-level model to those of a high-level one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commute.causal.batches import is_batch
from commute.causal.composed import Joint, Same, composed
from commute.causal.equations import Equation
from commute.causal.mechanisms import Mechanism, as_mechanism, parents_of
from commute.causal.model import CausalModel
from commute.errors import ModelError, check, unknown


@dataclass(frozen=True, eq=False)
class Tau:
    """τ, given by an alignment ⟨Π, π⟩ (2301.04709): each high-level variable's low-level ones, and what they stand for.

    Args:
        parts: for each high-level variable a mechanism over low-level ones: a function whose parameters name them, a sympy
            expression of their symbols or a `Table`; or the name of one, for its value as it is; or a list of names, for the
            tuple of their values.

    Raises:
        ModelError: listing what is no such mechanism, and low-level variables that stand for two high-level ones.
    """

    parts: Mapping[str, Mechanism]

    def __init__(self, parts: "Mapping[str, Any] | Tau") -> None:
        if isinstance(parts, Tau):
            parts = parts.parts
        if not isinstance(parts, Mapping):
            raise ModelError(f"a map from low-level to high-level settings maps each high-level variable; given {parts!r}")
        read: dict[str, Mechanism] = {}
        problems: list[str] = []
        for variable, part in parts.items():
            try:
                read[variable] = _part(part)
            except ModelError as error:
                problems.append(f"{variable!r}: {error}")
        problems += [problem for v, part in read.items() for problem in parents_of(v, part, ())[1]]
        object.__setattr__(self, "parts", read)
        if not problems:
            owner: dict[str, str] = {}
            for variable, low in ((v, p) for v in read for p in self.cell(v)):
                if owner.setdefault(low, variable) != variable:
                    problems.append(f"{low!r} stands for both {owner[low]!r} and {variable!r}; it can stand for one")
        check(problems, ModelError, "the map from low-level to high-level settings")

    def __repr__(self) -> str:
        parts = [f"{v} <- {' + '.join(self.cell(v))}" for v in self.parts]
        return f"Tau({', '.join(parts)})"

    def cell(self, variable: str) -> tuple[str, ...]:
        """The low-level variables that stand for a high-level one (Π)."""
        return parents_of(variable, self.parts[variable], ())[0]

    def __call__(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The high-level setting that one low-level setting stands for."""
        batches = [p for p, x in setting.items() if is_batch(x)]
        check([f"it maps one setting; {p!r} is an array" for p in batches], ModelError, "a low-level setting")
        missing = dict.fromkeys(p for v in self.parts for p in self.cell(v) if p not in setting)
        check([f"the low-level variable {p!r} is missing" for p in missing], ModelError, "a low-level setting")
        return {v: part(**{p: setting[p] for p in self.cell(v)}) for v, part in self.parts.items()}

    def then(self, other: "Tau") -> "Tau":
        """The composition: this map, and then one from its high-level settings to those of a still higher model.

        Raises:
            ModelError: when the other map reads variables that this one does not give.
        """
        if not isinstance(other, Tau):
            raise ModelError(f"a map is composed with another Tau; given {other!r}")
        read = [p for v in other.parts for p in other.cell(v)]
        check(
            [unknown("variable", p, self.parts) for p in read if p not in self.parts], ModelError, "the composition of two maps"
        )
        return Tau({v: composed(part, self.parts) for v, part in other.parts.items()})

    def fits(self, high: CausalModel, low: CausalModel) -> None:
        """Check that it maps every variable of `high`, from variables of `low`.

        Raises:
            ModelError: listing all unknown and missing variables.
        """
        models = [m for m in (high, low) if not isinstance(m, CausalModel)]
        check([f"{m!r} is not a CausalModel" for m in models], ModelError, "an abstraction between causal models")
        problems = [f"the variable {v!r} of {high.name!r} has no low-level variables" for v in high.graph if v not in self.parts]
        problems += [f"{unknown('variable', v, high.graph)} ({high.name})" for v in self.parts if v not in high.graph]
        problems += [
            f"{v!r}: {unknown('variable', p, low.graph)} ({low.name})"
            for v in self.parts
            for p in self.cell(v)
            if p not in low.graph
        ]
        check(problems, ModelError, "the map from low-level to high-level settings")

    def equation(self, variable: str, low: CausalModel) -> Equation:
        """π of one high-level variable, to be evaluated on columns of `low`."""
        near = {p: low.equations.get(p) or low.domain(p) for p in self.cell(variable)}
        return Equation(variable, self.parts[variable], near, None)


def _part(given: Any) -> Mechanism:
    if isinstance(given, str):
        return Same(given)
    if isinstance(given, Sequence) and given and all(isinstance(v, str) for v in given):
        return Joint(tuple(given))
    return as_mechanism(given)
