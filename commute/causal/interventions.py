"""Interventions: what is set, and where an interchange takes its values from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from commute.causal.batches import is_batch
from commute.errors import ModelError, check, unknown

if TYPE_CHECKING:
    import networkx as nx

Setting = Mapping[str, Any]  # a value for each variable: one label, or for a batch an array [batch]
Target = str | tuple[str, str]  # a variable, or an edge: the variable as that child alone sees it


@dataclass(frozen=True)
class Source:
    """Where an interchange takes a value from: a run of the model that is itself intervened on.

    Attributes:
        inputs: one setting or a batch.
        do: interventions on this run, as in `CausalModel.solve`.
        sources: interchanges in this run, as in `CausalModel.interchange`; a source may be a `Source` again.
    """

    inputs: Setting
    do: Mapping[Any, Any] = field(default_factory=dict)
    sources: "Mapping[Any, Setting | Source]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        sides = {"inputs": self.inputs, "do": self.do, "sources": self.sources}
        problems = [f"{name} maps variables to values; given {x!r}" for name, x in sides.items() if not isinstance(x, Mapping)]
        if not problems:
            problems = [
                f"the source of {shown(t)} is a setting or a Source; given {s!r}"
                for t, s in self.sources.items()
                if not isinstance(s, (Mapping, Source))
            ]
        check(problems, ModelError, "a run of a causal model")

    @property
    def lengths(self) -> set[int]:
        """The lengths of all batches in it."""
        batches = [x for side in (self.inputs, self.do) for x in side.values() if is_batch(x)]
        nested = [s if isinstance(s, Source) else Source(s) for s in self.sources.values()]
        return {len(x) for x in batches}.union(*(s.lengths for s in nested))

    def rows(self, rows: slice) -> "Source":
        """The run for some rows of its batches; what is one value or setting stays."""
        sources = {t: s.rows(rows) if isinstance(s, Source) else _rows(s, rows) for t, s in self.sources.items()}
        return Source(_rows(self.inputs, rows), _rows(self.do, rows), sources)


def variable_of(target: Target) -> str:
    """The variable whose value an intervention sets: of an edge, where it begins."""
    return target[0] if isinstance(target, tuple) else target


def shown(target: Target) -> str:
    """A variable or edge, to read."""
    return " -> ".join(map(str, target)) if isinstance(target, tuple) else repr(target)


def unknown_targets(graph: "nx.DiGraph", targets: Iterable[Target]) -> list[str]:
    """Say which of the targets are no variables or edges of a graph."""
    wrong = [t for t in targets if not (len(t) == 2 and t in graph.edges if isinstance(t, tuple) else t in graph)]  # noqa: PLR2004
    edges = [shown(edge) for edge in graph.edges] if wrong else []
    return [unknown("edge", shown(t), edges) if isinstance(t, tuple) else unknown("variable", t, graph) for t in wrong]


def _rows(batch: Mapping[Any, Any], rows: slice) -> dict[Any, Any]:
    return {t: x[rows] if is_batch(x) else x for t, x in batch.items()}
