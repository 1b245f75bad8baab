"""Counterexamples: a pair on which the network and the algorithm differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Counterexample:
    """A pair, and what each side answers.

    Attributes:
        slice: what it is a pair of.
        base: the input whose answer is asked for.
        sources: for each variable interchanged, the input that its value is taken from.
        expected: the algorithm's outputs.
        answered: the network's label, or its labels by output; of two causal models what the low-level setting stands for.
        read_out: the variable that was read out, if any: its source is the input in which the other variables were set first.
        matters: the inputs without which the pair would not fail, as `base.a` and `left.a`, or `source.a` where all variables
            have one source; None where that was not looked at.
        of_models: whether it is one of two causal models, or of a circuit and its network, which `replay` does not carry out.
    """

    slice: str
    base: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    expected: Mapping[str, Any]
    answered: Any
    read_out: str | None = None
    matters: tuple[str, ...] | None = None
    of_models: bool = False

    @property
    def differs(self) -> bool:
        """Whether the two answers differ."""
        answered = self.answered if isinstance(self.answered, Mapping) else dict.fromkeys(self.expected, self.answered)
        return any(answered.get(v) != x for v, x in self.expected.items())

    @property
    def replayed_by(self) -> str:
        """A line of Python that carries it out again on a network."""
        read = f", read_out={self.read_out!r}" if self.read_out else ""
        return f"cm.replay(algorithm, network, alignment, {dict(self.base)!r}, {_plain(self.sources)!r}{read})"

    def __str__(self) -> str:
        return self.summary if self.of_models else f"{self.summary}\nreplay it: {self.replayed_by}"

    @property
    def summary(self) -> str:
        """The pair, what each side says and what matters, in a line."""
        put = "".join(f", {v} from {shown(source)}" for v, source in self.sources.items())
        if self.of_models and isinstance(self.answered, Mapping):  # what its setting stands for, or a circuit answers
            differs = [v for v in self.expected if self.expected[v] != self.answered.get(v)]
            stands, said = ({v: side.get(v) for v in differs} for side in (self.answered, self.expected))
            return f"{self.slice}: {shown(self.base)}{put} gives {shown(stands)}, not {shown(said)}"
        answered = shown(self.answered) if isinstance(self.answered, Mapping) else repr(self.answered)
        matters = "" if self.matters is None else f"; what matters: {', '.join(self.matters) or 'nothing by itself'}"
        says = f"the algorithm says {shown(self.expected)}, the network {answered}"
        return f"{self.slice}: base {shown(self.base)}{put}: {says}{matters}"


def shown(setting: Mapping[str, Any]) -> str:
    """A setting, to read."""
    return ", ".join(f"{v}={x!r}" for v, x in setting.items())


def _plain(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {v: dict(source) for v, source in sources.items()}
