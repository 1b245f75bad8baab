"""Records of fitted items: one file each, named by what the item is, whole or not there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count
from commute.alignments.items import Counts, Fitted, Item
from commute.errors import AlignmentError, CommuteError
from commute.runs.files import write_atomically

_VERSION = 1
_LOSSES = "losses"


@dataclass(frozen=True)
class Records:
    """A folder of fitted items. Several processes may use one; what they write for one item is the same."""

    folder: Path

    def read(self, item: Item) -> Fitted | None:
        """What came of an item; None where it, or another that was fitted together with it, is not kept.

        So items of which writing was cut off are fitted together again, which gives the same numbers to the last bit.

        Raises:
            AlignmentError: naming a file that is not as written.
        """
        path = self._path(item)
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), framework="pt") as file:
                record = json.loads(file.metadata()["record"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            found = _fitted(record, tensors, item)
            together = [self.folder / _name(key) for key in record["together"]]
        except (CommuteError, OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            told = f"{type(error).__name__}: {error}"
            raise AlignmentError(f"{path} is not as written ({told}); remove it to fit the item anew") from error
        return found if all(path.is_file() for path in together) else None

    def write(self, item: Item, fitted: Fitted, *, together: Sequence[Item] = ()) -> None:
        """Keep what came of an item, which is read once all that were fitted together with it are kept too."""
        alignment, tensors = (None, {}) if fitted.features is None else Alignment(fitted.features).to_record()
        record = {
            "version": _VERSION,
            "item": str(item),
            "together": [x.key for x in together],
            "alignment": alignment,
            "problem": fitted.problem,
            "train": _counts_to(fitted.train),
            "selection": _counts_to(fitted.selection),
            "flops": fitted.flops,
        }
        losses = torch.tensor(fitted.losses, dtype=torch.float64)
        content = save({**tensors, _LOSSES: losses}, metadata={"record": json.dumps(record, default=int)})
        write_atomically(self._path(item), content)

    def _path(self, item: Item) -> Path:
        return self.folder / _name(item.key)


def _name(key: str) -> str:
    return f"{key}.safetensors"


def _fitted(record: Mapping[str, Any], tensors: dict[str, Tensor], item: Item) -> Fitted:
    if record["version"] != _VERSION:
        raise AlignmentError(f"it is a record of version {record['version']}; version {_VERSION} is read")
    if record["item"] != str(item):
        raise AlignmentError(f"it is of {record['item']}, and was to be of {item}")
    losses = tuple(tensors.pop(_LOSSES).tolist())
    kept = record["alignment"]
    alignment = None if kept is None else Alignment.from_record(kept, tensors)
    return Fitted(
        features=None if alignment is None else {v: alignment.parts(v) for v in alignment},
        problem=record["problem"],
        train=_counts_from(record["train"]),
        selection=_counts_from(record["selection"]),
        losses=losses,
        flops=record["flops"],
    )


def _counts_to(counts: Mapping[tuple[str, ...], Counts] | None) -> Any:
    return counts and [[list(chosen), [[c.correct, c.total] for c in both]] for chosen, both in counts.items()]


def _counts_from(record: Any) -> dict[tuple[str, ...], Counts] | None:
    return record and {tuple(chosen): (Count(*changed), Count(*unchanged)) for chosen, (changed, unchanged) in record}
