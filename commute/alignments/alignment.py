"""Alignments: which feature of the network each variable of the algorithm is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Orthogonal, stored
from commute.alignments.featurizers.checks import ORTHONORMAL
from commute.alignments.spec import Found, Search
from commute.errors import AlignmentError, check, unknown
from commute.models.sites import Site
from commute.runs.files import write_atomically

if TYPE_CHECKING:
    from commute.models.organisms.organism import Subspace

_VERSION = 2


@dataclass(frozen=True)
class Alignment(Mapping[str, Feature]):
    """The feature of each aligned variable (Π of 2301.04709).

    Attributes:
        features: variable -> feature, or a list of features at several sites that are interchanged together.
        found: the search that found it, if one did; a verdict repeats it on its controls.

    Raises:
        AlignmentError: when two variables share coordinates of one site.
    """

    features: Mapping[str, Feature | Sequence[Feature]]
    found: Found | None = None

    def __post_init__(self) -> None:
        several = {v: (f,) if isinstance(f, Feature) else f for v, f in self.features.items()}
        problems = [
            f"the feature of {v!r} must be a Feature, or a list of them; given {self.features[v]!r}"
            for v, fs in several.items()
            if not isinstance(fs, Sequence) or not fs or not all(isinstance(f, Feature) for f in fs)
        ]
        check(problems or _overlaps(several), AlignmentError, "the alignment")
        if self.found is not None:
            known = self.found.search.variables
            check([unknown("variable", v, known) for v in several if v not in known], AlignmentError, "the alignment's search")
        if not several:
            raise AlignmentError("the alignment aligns no variable; give at least one, {'variable': Feature(…)}")
        object.__setattr__(self, "features", {v: tuple(fs) for v, fs in several.items()})

    @classmethod
    def along(cls, subspaces: "Mapping[str, Subspace]") -> "Alignment":
        """The alignment of variables with subspaces: their sites, and orthonormal directions there.

        Subspaces of one site become dims of one rotation, so they must be orthogonal to each other.

        Raises:
            AlignmentError: naming subspaces of one site that are not orthogonal, or of vectors of different widths.
        """
        if not isinstance(subspaces, Mapping):
            raise AlignmentError(f"along takes a mapping from variables to subspaces; given {subspaces!r}")
        check(_oblique(subspaces), AlignmentError, "the alignment")
        by_site: dict[Site, list[str]] = {}
        for variable, subspace in subspaces.items():
            by_site.setdefault(subspace.site, []).append(variable)
        features: dict[str, Feature] = {}
        for site, variables in by_site.items():
            columns = [subspaces[v].directions.detach() for v in variables]
            rotation = Orthogonal(torch.cat(columns, 1).contiguous())
            ends = list(accumulate(x.shape[1] for x in columns))
            features |= {
                v: Feature(site, rotation, tuple(range(end - x.shape[1], end)))
                for v, x, end in zip(variables, columns, ends, strict=True)
            }
        return cls({v: features[v] for v in subspaces})

    def parts(self, variable: str) -> tuple[Feature, ...]:
        """The features of a variable, one at each of its sites."""
        if variable not in self.features:
            raise AlignmentError(unknown("aligned variable", variable, self.features))
        return tuple(self.features[variable])  # type: ignore[arg-type]  # as made in __post_init__

    def __getitem__(self, variable: str) -> Feature:
        feature, *more = self.parts(variable)
        if more:
            raise AlignmentError(
                f"{variable!r} has features at {1 + len(more)} sites; alignment.parts({variable!r}) are all of them"
            )
        return feature

    def __contains__(self, variable: object) -> bool:
        return variable in self.features

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def sites(self) -> list[Site]:
        """All sites, each once."""
        return list(dict.fromkeys(f.site for v in self for f in self.parts(v)))

    def to_record(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The alignment as JSON values and tensors; a rotation that features share is kept once."""
        views = list(dict.fromkeys(f.featurizer for v in self for f in self.parts(v)))
        kept = [stored.to_record(view) for view in views]
        tensors = {f"{i}.{k}": x for i, (_, own) in enumerate(kept) for k, x in own.items()}
        found = None
        if self.found is not None:
            search, own = self.found.search.to_record()
            tensors |= {f"search.{k}": x for k, x in own.items()}
            place = [site.to_record() for site in self.found.place]
            found = {"search": search, "seed": self.found.seed, "candidates": self.found.candidates, "place": place}
        features = {
            v: [{"site": f.site.to_record(), "featurizer": views.index(f.featurizer), "dims": f.dims} for f in self.parts(v)]
            for v in self
        }
        return {"version": _VERSION, "found": found, "featurizers": [r for r, _ in kept], "features": features}, tensors

    @classmethod
    def from_record(cls, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Alignment":
        """The alignment that `to_record` wrote.

        Raises:
            AlignmentError: for another version, and what this package does not have.
        """
        if record["version"] != _VERSION:
            raise AlignmentError(f"this is an alignment of version {record['version']}; version {_VERSION} is read")
        views = [stored.from_record(r, _under(f"{i}.", tensors)) for i, r in enumerate(record["featurizers"])]
        features = {
            v: [
                Feature(Site.from_record(f["site"]), views[f["featurizer"]], None if f["dims"] is None else tuple(f["dims"]))
                for f in parts
            ]
            for v, parts in record["features"].items()
        }
        found = record["found"]
        if found is not None:
            search, place = found["search"], tuple(Site.from_record(s) for s in found["place"])
            found = Found(Search.from_record(search, _under("search.", tensors)), found["seed"], found["candidates"], place)
        return cls(features, found)

    def save(self, folder: str | Path) -> None:
        """Write `alignment.json` and `alignment.safetensors` into `folder`, which is made if needed."""
        record, tensors = self.to_record()
        write_atomically(Path(folder) / "alignment.safetensors", save(tensors))
        write_atomically(Path(folder) / "alignment.json", (json.dumps(record, indent=2, default=int) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> "Alignment":
        """Read what `save` wrote.

        Raises:
            AlignmentError: naming the file that is missing or not as written.
        """
        folder = Path(folder)
        try:
            record = json.loads((folder / "alignment.json").read_text())
            return cls.from_record(record, load((folder / "alignment.safetensors").read_bytes()))
        except AlignmentError as error:
            raise AlignmentError(f"{folder}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
            raise AlignmentError(f"{folder} does not hold a saved alignment: {type(error).__name__}: {error}") from error


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def _oblique(subspaces: "Mapping[str, Subspace]") -> list[str]:
    """Subspaces of one site that are not orthogonal to each other, or not of the same vectors."""
    items = list(subspaces.items())
    problems = []
    for i, (v, s) in enumerate(items):
        for w, t in items[:i]:
            if s.site != t.site:
                continue
            x, y = (u.directions.detach().to("cpu", torch.float64) for u in (s, t))
            if len(x) != len(y):
                problems.append(
                    f"{w!r} and {v!r} are of vectors of width {len(y)} and {len(x)} at {s.site}; they must be the same"
                )
            elif (cosine := float((x.T @ y).abs().max())) > ORTHONORMAL:
                problems.append(f"{w!r} and {v!r} are not orthogonal at {s.site}: a cosine is {cosine:.2g}; it must be 0")
    return problems


def _overlaps(features: Mapping[str, Sequence[Feature]]) -> list[str]:
    """Features that share coordinates, which could then not be set independently."""
    items = [(v, f) for v, fs in features.items() for f in fs]
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
