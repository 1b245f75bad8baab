"""Alignments: which feature of the network each variable of the algorithm is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from commute.alignments.feature import Feature
from commute.alignments.featurizers import KINDS
from commute.alignments.spec import Search
from commute.errors import AlignmentError, check, unknown
from commute.models.sites import Site
from commute.runs.files import write_atomically

_VERSION = 1


@dataclass(frozen=True)
class Alignment(Mapping[str, Feature]):
    """The feature of each aligned variable (Π of 2301.04709).

    Attributes:
        features: variable -> feature.
        search: the search that found it, if one did; a verdict repeats it on its controls.

    Raises:
        AlignmentError: when two variables share coordinates of one site.
    """

    features: Mapping[str, Feature]
    search: Search | None = None

    def __post_init__(self) -> None:
        problems = [
            f"the feature of {v!r} must be a Feature; given {f!r}" for v, f in self.features.items() if not isinstance(f, Feature)
        ]
        check(problems or _overlaps(self.features), AlignmentError, "the alignment")
        if self.search is not None:
            extra = [v for v in self.features if v not in self.search.variables]
            check([unknown("variable", v, self.search.variables) for v in extra], AlignmentError, "the alignment's search")
        if not self.features:
            raise AlignmentError("the alignment aligns no variable; give at least one, {'variable': Feature(…)}")
        object.__setattr__(self, "features", dict(self.features))

    def __getitem__(self, variable: str) -> Feature:
        if variable not in self.features:
            raise AlignmentError(unknown("aligned variable", variable, self.features))
        return self.features[variable]

    def __contains__(self, variable: object) -> bool:
        return variable in self.features

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    def save(self, folder: str | Path) -> None:
        """Write `alignment.json` and `alignment.safetensors` into `folder`, which is made if needed."""
        folder = Path(folder)
        kinds = list(dict.fromkeys(f.featurizer for f in self.features.values()))  # a rotation shared is stored once
        tensors = {f"{i}.{k}": x.contiguous() for i, kind in enumerate(kinds) for k, x in kind.tensors().items()}
        record = {
            "version": _VERSION,
            "search": self.search and self.search.to_record(),
            "featurizers": [type(kind).__name__ for kind in kinds],
            "features": {
                v: {"site": f.site.to_record(), "featurizer": kinds.index(f.featurizer), "dims": f.dims}
                for v, f in self.features.items()
            },
        }
        write_atomically(folder / "alignment.safetensors", save(tensors))
        write_atomically(folder / "alignment.json", (json.dumps(record, indent=2, default=int) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> "Alignment":
        """Read what `save` wrote.

        Raises:
            AlignmentError: naming the file that is missing or not as written.
        """
        folder = Path(folder)
        try:
            record = json.loads((folder / "alignment.json").read_text())
            if record["version"] != _VERSION:
                raise AlignmentError(f"{folder} holds an alignment of version {record['version']}; this reads version {_VERSION}")
            stored = load((folder / "alignment.safetensors").read_bytes())
            kinds = []
            for i, kind in enumerate(record["featurizers"]):
                if kind not in KINDS:
                    raise AlignmentError(f"{folder}: {unknown('featurizer', kind, KINDS)}")
                kinds.append(KINDS[kind](**{k.split(".", 1)[1]: x for k, x in stored.items() if k.startswith(f"{i}.")}))
            features = {
                v: Feature(Site.from_record(f["site"]), kinds[f["featurizer"]], None if f["dims"] is None else tuple(f["dims"]))
                for v, f in record["features"].items()
            }
            search = record["search"] and Search.from_record(record["search"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
            raise AlignmentError(f"{folder} does not hold a saved alignment: {type(error).__name__}: {error}") from error
        return cls(features, search)


def _overlaps(features: Mapping[str, Feature]) -> list[str]:
    """Variables whose features share coordinates, which could then not be set independently."""
    items = list(features.items())
    problems = []
    for i, (v, f) in enumerate(items):
        for w, g in items[:i]:
            if f.site != g.site:
                if f.site.overlaps(g.site):
                    problems.append(f"{w!r} at {g.site} and {v!r} at {f.site} overlap; give them dims of one site")
                continue
            shared = "all coordinates" if f.dims is None or g.dims is None else sorted({*f.dims} & {*g.dims})
            if f.featurizer != g.featurizer:
                problems.append(
                    f"{w!r} and {v!r} have different featurizers at {f.site}; search for both at once, or give them dims of one"
                )
            elif shared:
                problems.append(f"{w!r} and {v!r} share {shared} at {f.site}; give them disjoint dims")
    return problems
