"""Fitting the items of a search: here or by workers, each once."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from commute.alignments.chunks import Chunk, chunked, fit_chunk
from commute.alignments.drawing import SearchPairs
from commute.alignments.items import Fitted, Item
from commute.alignments.records import Records
from commute.alignments.spec import Search
from commute.alignments.workers import spread
from commute.models.network import Network
from commute.runs.events import ItemFitted, OnEvent, SearchStarted, SiteSkipped


@dataclass(frozen=True, eq=False)
class Fitting:
    """How items of one search are fitted: here or by workers, and kept."""

    spec: Search
    network: Network
    drawn: SearchPairs
    seed: int
    path: tuple[str, ...]
    control: str | None
    executor: Executor | None
    records: Records | None
    on_event: OnEvent

    def fit(self, items: Sequence[Item]) -> list[tuple[Item, Fitted]]:
        """What came of each item; those that are kept already are not fitted again."""
        self.on_event(SearchStarted(len(items), self.control))
        done: dict[int, Fitted] = {}
        todo: list[list[Item]] = []
        for together in chunked(items):
            kept = [None if self.records is None else self.records.read(item) for item in together]
            for item, x in zip(together, kept, strict=True):
                if x is not None:
                    self._take(done, item, x)
            if missing := [item for item, x in zip(together, kept, strict=True) if x is None]:
                todo.append(missing)

        def on_result(place: int, found: Sequence[Fitted]) -> None:
            if self.records is not None:
                for item, x in zip(todo[place], found, strict=True):
                    self.records.write(item, x, together=todo[place])
            for item, x in zip(todo[place], found, strict=True):
                self._take(done, item, x)

        spread(fit_chunk, self.network, [self._chunk(together) for together in todo], self.executor, on_result=on_result)
        return [(item, done[id(item)]) for item in items]

    def _take(self, done: dict[int, Fitted], item: Item, fitted: Any) -> None:
        done[id(item)] = fitted
        if fitted.features is None:
            self.on_event(SiteSkipped(str(item), fitted.problem, self.control))
        else:
            self.on_event(ItemFitted(str(item), worst(fitted), self.control))

    def _chunk(self, items: Sequence[Item]) -> Chunk:
        drawn = self.drawn
        return Chunk(items, tuple(self.spec.variables), drawn.train, drawn.select, self.seed, self.path)


def worst(fitted: Fitted) -> float:
    """The lowest IIA of any set of variables, on changed or on unchanged pairs to select by."""
    counts = [c for both in (fitted.selection or {}).values() for c in both if c.total]
    return min((c.rate for c in counts), default=0.0)
