"""Alignments that were found with pyvene (2403.07809)."""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Identity, Orthogonal
from commute.alignments.to_pyvene import load_pyvene
from commute.errors import AlignmentError, check, unknown
from commute.models.sites import Site

_KINDS = (
    "VanillaIntervention",
    "SigmoidMaskIntervention",
    "RotatedSpaceIntervention",
    "LowRankRotatedSpaceIntervention",
    "SigmoidMaskRotatedSpaceIntervention",
    "BoundlessRotatedSpaceIntervention",
)


def from_pyvene(
    saved: Any,
    *,
    sites: Sequence[Site] | None = None,
    variables: Sequence[str] | None = None,
    subspaces: Sequence[Sequence[int] | None] | None = None,
) -> Alignment | Feature:
    """The alignment that pyvene's interventions are.

    Masks and boundaries are hardened: the dims are the coordinates whose mask is above 1/2, and those inside of the boundary. The
    first coordinate counts as inside, though pyvene never exchanges more than half of it.

    Args:
        saved: an `IntervenableModel`, a single intervention, or a folder that pyvene's `save` wrote. Of a folder only JSON and
            tensors are read, and no code in it is run; it need not be one that pyvene itself can load.
        sites: the site of each intervention. pyvene keeps no positions, so they are needed unless `to_pyvene` made the model.
        variables: the variable of each intervention.
        subspaces: for each intervention the subspaces that were exchanged, as in pyvene's call: parts of its partition, or
            coordinates where it has none; None is all of it.

    Returns:
        An `Alignment` of the variables, or the `Feature` of a single intervention without a name. Directions of low rank at one
        site become columns of one `Orthogonal`; its columns that no variable uses, which pyvene was not given, are others.

    Raises:
        AlignmentError: naming what is missing, cannot be read or has no counterpart here.
    """
    if isinstance(saved, (str, Path)):
        interventions, records = _of_folder(Path(saved))
    elif hasattr(saved, "interventions"):
        interventions = {key: saved.interventions[key] for key in saved.sorted_keys}
        records = _records(getattr(saved.config, "commute", None))
    else:
        interventions, records = {"the intervention": saved}, []
    n, keys = len(interventions), ", ".join(interventions)
    given = {"sites": sites, "variables": variables, "subspaces": subspaces}
    wrong = [f"{k} must be one for each of {keys}; given {len(x)}" for k, x in given.items() if x is not None and len(x) != n]
    if sites is None and len(records) != n:
        wrong.append(f"pyvene keeps no positions; give sites=[…], one for each of {keys}")
    check(wrong, AlignmentError, "what pyvene holds")
    records = records if len(records) == n else [_Record(None, None)] * n
    parts = [
        _part(key, x, records[i], sites[i] if sites else records[i].site, subspaces[i] if subspaces else None)
        for i, (key, x) in enumerate(interventions.items())
    ]
    features = _features(parts)
    names = list(variables or [r.variable for r in records if r.variable is not None])
    if not names and n == 1:
        return features[0]
    if len(names) < n:
        raise AlignmentError(f"what pyvene holds has no names; give variables=[…], one for each of {keys}")
    return Alignment(dict(zip(names, features, strict=True)))


@dataclass(frozen=True)
class _Record:
    """What `to_pyvene` wrote of one feature: of its directions, in how many columns which were sent."""

    variable: str | None
    site: Site | None
    dims: tuple[int, ...] | None = None
    columns: int | None = None


@dataclass(frozen=True, eq=False)
class _Part:
    """One intervention: its directions [width, features], empty for neurons, and which coordinates it exchanges."""

    site: Site
    directions: Tensor
    dims: tuple[int, ...] | None
    columns: int | None = None

    @property
    def low(self) -> bool:
        """Whether it has only the directions that it exchanges."""
        return 0 < self.directions.shape[1] < self.directions.shape[0]


def _part(key: str, intervention: Any, record: _Record, site: Site | None, subspace: Sequence[int] | None) -> _Part:
    kind, partition = type(intervention).__name__, getattr(intervention, "subspace_partition", None)
    if kind not in _KINDS:
        raise AlignmentError(f"{key} is a {kind}, which is no feature; {', '.join(_KINDS)} are")
    if intervention.is_source_constant:
        raise AlignmentError(f"{key} sets a constant; an alignment needs interventions that take a value from a source")
    if partition is not None and subspace is None:
        raise AlignmentError(f"{key} has {len(partition)} subspaces; say which were exchanged with subspaces=[[…], …]")
    if not isinstance(site, Site):
        raise AlignmentError(f"sites must be Site values (network.site(…)); given {site!r}")
    rotated = hasattr(intervention, "rotate_layer")
    q = intervention.rotate_layer.weight.detach().cpu().clone() if rotated else torch.empty(0, 0)
    dims = _chosen(key, intervention) if subspace is None else [d for s in subspace for d in (partition[s] if partition else [s])]
    if kind.startswith("LowRank"):
        return _Part(site, q, record.dims, record.columns) if dims is None else _Part(site, q[:, dims], None)
    as_sent = dims is None or (record.dims is not None and set(dims) == set(record.dims))  # then in the order that they had
    return _Part(site, q, record.dims if as_sent else tuple(dims or ()))


def _chosen(key: str, intervention: Any) -> list[int] | None:
    """The coordinates that an intervention exchanges without being told subspaces; None is all of them."""
    kind = type(intervention).__name__
    if kind.startswith("LowRank"):
        return None
    if not kind.startswith(("SigmoidMask", "Boundless")):
        n, width = intervention.interchange_dim, intervention.embed_dim
        return None if n is None or (width is not None and n >= width) else list(range(int(n)))
    if kind.startswith("Boundless"):
        places = intervention.intervention_population
        on = (places >= 0) & (places < intervention.intervention_boundaries.clamp(1e-3, 1) * intervention.embed_dim)
    else:
        mask = intervention.mask if hasattr(intervention, "mask") else intervention.masks
        on = mask / intervention.temperature > 0
    dims: list[int] = on.nonzero().flatten().tolist()
    if not dims:
        raise AlignmentError(f"the mask of {key} is off everywhere, so that it is no feature")
    return dims


def _features(parts: Sequence[_Part]) -> list[Feature]:
    """The parts as features, of which those at one site share their rotation."""
    made: dict[int, Feature] = {}
    for site in dict.fromkeys(p.site for p in parts):
        here = {i: p for i, p in enumerate(parts) if p.site == site}
        made |= _of_low_rank(site, {i: p for i, p in here.items() if p.low})
        rotations: list[Orthogonal] = []
        for i, part in here.items():
            if part.low:
                continue
            rotations += [Orthogonal(part.directions)] if part.directions.numel() else []
            shared = next((r for r in rotations if torch.equal(r.directions, part.directions)), Identity())
            made[i] = Feature(site, shared, part.dims)
    return [made[i] for i in range(len(parts))]


def _of_low_rank(site: Site, parts: Mapping[int, _Part]) -> dict[int, Feature]:
    """Features whose directions are columns of one rotation: those that `to_pyvene` took them from, or one after the other."""
    if not parts:
        return {}
    known = torch.cat([p.directions for p in parts.values()], dim=1)
    width, rank = known.shape
    total = max(rank, *(p.columns or 0 for p in parts.values()))
    dims: dict[int, tuple[int, ...]] = {}
    for i, part in parts.items():
        start = sum(map(len, dims.values()))
        dims[i] = part.dims or tuple(range(start, start + part.directions.shape[1]))
    taken = [d for x in dims.values() for d in x]
    free = [d for d in range(total) if d not in taken]
    directions = known.new_empty(width, total)
    directions[:, taken] = known
    if free:
        directions[:, free] = torch.linalg.qr(torch.cat([known, torch.eye(width)], dim=1)).Q[:, rank:total]
    try:
        shared = Orthogonal(directions)
    except AlignmentError as error:
        raise AlignmentError(f"the directions at {site} are not orthogonal to each other, so their features overlap") from error
    alone = len(parts) == 1 and all(p.dims is None for p in parts.values())
    return {i: Feature(site, shared, None if alone else x) for i, x in dims.items()}


def _of_folder(folder: Path) -> tuple[dict[str, Any], list[_Record]]:
    """The interventions that pyvene saved, and what `to_pyvene` wrote beside them."""
    fields = load_pyvene().RepresentationConfig._fields
    try:
        config = json.loads((folder / "config.json").read_text())
        columns = [
            config[k]
            for k in ("intervention_types", "representations", "intervention_dimensions", "intervention_constant_sources")
        ]
        interventions = {}
        for key, kind, values, n, constant in zip(config["sorted_keys"], *columns, strict=True):
            partition = dict(zip(fields, values, strict=False))["subspace_partition"]
            interventions[key] = _loaded(
                folder / f"intkey_{Path(key).name}.bin", kind.split("'")[1].rsplit(".", 1)[-1], partition
            )
            interventions[key].is_source_constant = constant
            if n is not None:
                interventions[key].set_interchange_dim(n)
        return interventions, _records(config.get("commute"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise AlignmentError(f"{folder} does not hold what pyvene saved: {type(error).__name__}: {error}") from error


def _loaded(file: Path, kind: str, partition: Any) -> Any:
    """An intervention of one of the known kinds with its saved tensors; pyvene saves none for those without parameters."""
    if kind not in _KINDS:
        raise AlignmentError(f"{file.parent}: {unknown('intervention that is a feature', kind, _KINDS)}")
    make = getattr(load_pyvene().models.interventions, kind)
    if kind == "VanillaIntervention":
        return make(subspace_partition=partition)
    state = torch.load(file, weights_only=True, map_location="cpu")
    rank = state.get("rotate_layer.parametrizations.weight.original", torch.empty(0, 0)).shape[1]
    with torch.random.fork_rng(devices=[]):  # pyvene draws a start
        made = make(embed_dim=int(state["embed_dim"]), low_rank_dimension=rank, subspace_partition=partition)
    made.load_state_dict(state)
    return made


def _records(stored: Any) -> list[_Record]:
    return [
        _Record(x["variable"], Site.from_record(x["site"]), None if x["dims"] is None else tuple(x["dims"]), x["columns"])
        for x in stored or []
    ]
