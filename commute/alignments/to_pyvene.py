"""Alignments as models of pyvene (2403.07809)."""

import re
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from commute.alignments.alignment import Alignment
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Identity, Orthogonal
from commute.causal.interventions import Setting
from commute.errors import AlignmentError
from commute.models.network import Network
from commute.models.sites import Site

_COLD = 0.01  # temperature at which the sigmoid of a mask of ±1 is 1 or 0 in float32


def load_pyvene() -> Any:
    """The module pyvene, without what it prints and warns of when it is imported."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        import pyvene
    return pyvene


def to_pyvene(aligned: Feature | Alignment, network: Network, *, inputs: Setting | None = None) -> Any:
    """An alignment as a pyvene `IntervenableModel`, with one intervention a variable, each with a source of its own.

    | feature | pyvene's intervention |
    |---|---|
    | `Identity()` | `VanillaIntervention` |
    | `Identity()` with dims | `SigmoidMaskIntervention`, its mask on at the dims |
    | `Orthogonal(q)`, q square | `RotatedSpaceIntervention` |
    | `Orthogonal(q)`, q square, with dims | `SigmoidMaskRotatedSpaceIntervention`, its mask on at the dims |
    | `Orthogonal(q)`, q of lower rank | `LowRankRotatedSpaceIntervention` on the columns that dims choose |

    None of them needs subspaces when it is called, and none is sent to a `BoundlessRotatedSpaceIntervention`, which exchanges the
    first coordinate by half. pyvene keeps no positions: they are its caller's `unit_locations`. Variables, sites and dims are
    written into the config, so that `from_pyvene` finds them again, also in what `save` writes.

    The model holds a frozen twin of the network's module that shares its weights; pyvene freezes what it is given and deletes all
    hooks there. The twin has none of the module's hooks.

    Args:
        aligned: what is converted.
        network: whose module is intervened on; pyvene calls it with keyword arguments.
        inputs: run once to measure the width of sites where `Identity()` has dims and the site has no `shape`.

    Raises:
        AlignmentError: for a site or featurizer that pyvene has no counterpart of.
    """
    named: dict[Any, Feature] = dict(aligned) if isinstance(aligned, Alignment) else {None: aligned}
    pyvene, module = load_pyvene(), _twin(network.module)
    representations, record = [], []
    for variable, feature in named.items():
        _check(feature)
        masked = type(feature.featurizer) is Identity and feature.dims is not None
        width = _width(feature.site, network, inputs) if masked else None
        intervention = intervention_of(feature, width)
        representations.append(
            pyvene.RepresentationConfig(
                **_component(feature.site, module),
                unit="pos",
                max_number_of_units=_units(feature.site),
                low_rank_dimension=_rank(intervention),
                intervention=intervention,
            )
        )
        columns = feature.featurizer.directions.shape[1] if isinstance(feature.featurizer, Orthogonal) else None
        record.append({"variable": variable, "site": feature.site.to_record(), "dims": feature.dims, "columns": columns})
    config = pyvene.IntervenableConfig(representations=representations)
    config.commute = record
    return pyvene.IntervenableModel(config, module)


def intervention_of(feature: Feature, width: int | None = None) -> Any:
    """A feature with the featurizer `Identity` or `Orthogonal` as an intervention of pyvene, as `to_pyvene` lists them.

    Args:
        feature: the feature.
        width: of the site's vectors, which only dims of `Identity` need.
    """
    pyvene, kind, dims = load_pyvene(), feature.featurizer, feature.dims
    with torch.random.fork_rng(devices=[]):  # pyvene draws a start
        if not isinstance(kind, Orthogonal):
            if dims is None:
                return pyvene.VanillaIntervention()
            made = pyvene.SigmoidMaskIntervention(embed_dim=width)
            return _cold(made, made.mask, dims)
        q = kind.directions.detach()
        if q.shape[0] > q.shape[1]:
            q = q if dims is None else q[:, list(dims)]
            made = pyvene.LowRankRotatedSpaceIntervention(embed_dim=q.shape[0], low_rank_dimension=q.shape[1])
        elif dims is None:
            made = pyvene.RotatedSpaceIntervention(embed_dim=q.shape[0])
        else:
            made = pyvene.models.interventions.SigmoidMaskRotatedSpaceIntervention(embed_dim=q.shape[0])
            _cold(made, made.masks, dims)
        made.to(q.device, q.dtype).rotate_layer.weight = q
        return made


def _cold(intervention: Any, mask: Tensor, dims: Sequence[int]) -> Any:
    """The intervention with a mask that is 1 at the dims and 0 elsewhere."""
    mask.data.fill_(-1.0)[list(dims)] = 1.0
    intervention.temperature.data.fill_(_COLD)
    return intervention


def _check(feature: Feature) -> None:
    site, kind = feature.site, feature.featurizer
    if type(kind) not in (Identity, Orthogonal):
        raise AlignmentError(
            f"pyvene has no counterpart of the featurizer {type(kind).__name__}; it takes Identity and Orthogonal"
        )
    if site.head is not None or site.position_axis != 1 or site.call is not None or site.element not in (None, 0):
        raise AlignmentError(
            f"pyvene cannot be told of the site {site}: it takes a module's whole first value [batch, …, width] in its only "
            "call; align a site without head, call, element and position_axis"
        )
    if callable(site.position):
        raise AlignmentError(f"the site {site} has a function as its position, which pyvene cannot keep; name it in the network")
    if isinstance(kind, Identity) and feature.dims is not None and _units(site) > 1:
        raise AlignmentError(f"the site {site} has several positions, of which pyvene masks all alike; use Orthogonal directions")


def _units(site: Site) -> int:
    """How many positions a site has, where that is known."""
    each = getattr(site.position, "places", (site.position,))[0]
    return len(each) if isinstance(each, tuple) else 1


def _rank(intervention: Any) -> int | None:
    low = type(intervention).__name__ == "LowRankRotatedSpaceIntervention"
    return int(intervention.rotate_layer.weight.shape[1]) if low else None


def _width(site: Site, network: Network, inputs: Setting | None) -> int:
    """The width of the site's vectors."""
    if inputs is not None:
        return network.activations(inputs, [site])[site].shape[1]
    if site.shape is not None:
        return site.shape[-1]
    raise AlignmentError(
        f"the width of {site} is not known; give inputs= to run the network on, or a site of network.sites(inputs=…)"
    )


def _component(site: Site, module: nn.Module) -> dict[str, Any]:
    """What pyvene calls the site: by layer where it knows the model, which lets it load what it saved, else by path."""
    known = load_pyvene().type_to_module_mapping.get(type(module), {})
    hook = "register_forward_pre_hook" if site.input else "register_forward_hook"
    for component, (path, kind, *parts) in known.items():
        pattern = re.escape(re.sub(r"\[(.*?)\]", r".\1", path)).replace("%s", r"(\d+)")
        found = re.fullmatch(pattern, site.path)
        if found and kind == hook and not parts:
            return {"component": component, "layer": int(found[1]) if found.groups() else 0}
    return {"component": f"{site.path}.{'input' if site.input else 'output'}", "layer": 0}


def _twin(module: nn.Module) -> Any:
    """A copy without hooks and gradients that shares the module's weights and buffers, with the attributes that pyvene reads."""
    shared: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    shared |= {id(b): b for b in module.buffers()}
    twin: Any = deepcopy(module, shared)
    for part in twin.modules():
        for hooks in ("_forward_hooks", "_forward_pre_hooks"):
            getattr(part, hooks).clear()
    if not hasattr(twin, "config"):
        twin.config = SimpleNamespace(to_dict=dict)
    if not hasattr(twin, "device"):
        twin.device = next((p.device for p in module.parameters()), torch.device("cpu"))
    twin.eval()
    return twin
