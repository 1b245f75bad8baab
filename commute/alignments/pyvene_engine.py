"""Interchanges carried out by pyvene (2403.07809), as a second opinion on our own engine."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Identity, Orthogonal
from commute.alignments.to_pyvene import intervention_of, load_pyvene
from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.interventions import Setting, Source
from commute.errors import NetworkError, check
from commute.models.calls import Call
from commute.models.hooks import evaluating, visiting
from commute.models.network import Network
from commute.models.patches import columns_in
from commute.models.positions import Frame, frame_of
from commute.models.rows import batched, joined
from commute.models.sites import Tap

_ROWS = 64  # in one pass, where the network does not say
_HOOKS = "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"


def pyvene_interchange(network: Network, base: Setting, sources: Mapping[Feature, Setting]) -> Any:
    """The labels for `base` with each feature set to its value for its own source, as `network.interchange`, by pyvene.

    pyvene reads and writes at the network's own modules, whose hooks, modes and gradients are left as they were. Each row has
    unit locations of its own, which a first pass of ours finds, so that a site that does not run is told.

    Raises:
        NetworkError: as `network.interchange`, and for sites and sources that pyvene cannot take.
    """
    batch, single = batched(base)
    taken = _sources(network, sources, rows_of(batch))
    if not taken:
        return network.run(base)
    model, decoded = None, []
    size = network.batch_size or _ROWS
    for start in range(0, rows_of(batch), size):
        rows = np.arange(rows_of(batch))[start : start + size]
        part = take(batch, rows)
        with evaluating(network.module), torch.no_grad(), _hooks_kept(network.module), _handing_on_copies(network.module, taken):
            based = _located(network, part, rows, list(taken))
            sourced = [_located(network, take(x, rows), rows, [feature]) for feature, x in taken.items()]
            model = model or _model(network, based.places)
            output = _exchanged(network, model, based, sourced)
        decoded.append(network.decoded(output, part))
    return joined(decoded, single=single)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a feature is in one pass.

    Attributes:
        units: the columns of each row, as pyvene takes them; None is the whole value.
        width: of the site's vectors.
        value: a row of the module's value.
    """

    units: list[list[int]] | None
    width: int
    value: Tensor


@dataclass(frozen=True, eq=False)
class _Pass:
    """One call of the network's module."""

    inputs: Batch
    call: Call
    places: Mapping[Feature, _Place]

    def given(self) -> dict[str, Any]:
        """As pyvene takes it, which reads the number of rows off the first value."""
        return {"rows": torch.empty(rows_of(self.inputs)), "call": self.call}


class _Shielded(nn.Module):
    """The network's module as pyvene takes it; it shows pyvene none of the parts whose hooks it deletes and which it freezes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module
        self.config = SimpleNamespace(to_dict=dict)
        self.device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def named_modules(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Module]]:
        """None."""
        return iter(())

    def forward(self, rows: Tensor, call: Call) -> Any:
        """The module's output for a call."""
        del rows
        return call.make(self.inner)


def _sources(network: Network, sources: Mapping[Feature, Setting], rows: int) -> dict[Feature, Batch]:
    """The sources as batches of as many rows as the base."""
    problems = [f"the source of {f} is a Source; pyvene takes plain inputs" for f, x in sources.items() if isinstance(x, Source)]
    problems += network.unknown_sites(f.site for f in sources)
    problems += [
        f"the site {f.site} asks for a certain element or call; pyvene takes the first value of a module in its only call"
        for f in sources
        if f.site.call is not None or f.site.element not in (None, 0)
    ]
    check(problems, NetworkError, f"an interchange on {network.name!r} by pyvene")
    taken = {feature: batched(source)[0] for feature, source in sources.items()}
    wrong = {str(f.site): rows_of(x) for f, x in taken.items() if rows_of(x) != rows}
    if wrong:
        raise NetworkError(f"the base has {rows} rows and the sources at {wrong}; each row needs a source of its own")
    return taken


def _located(network: Network, inputs: Batch, rows: Column, features: Sequence[Feature]) -> _Pass:
    """Run the network as it is to find where the features are in each row."""
    places: dict[Feature, _Place] = {}
    with network.told("encode or the module", inputs):
        call = network.encoded(inputs)
        frame = frame_of(inputs, rows, call, network.positions)

        def look(tap: Tap, value: Tensor) -> None:
            places.update({f: _place(f, value, frame) for f in features if f.site.tap == tap})

        visits = {tap: lambda value, tap=tap: look(tap, value) for tap in dict.fromkeys(f.site.tap for f in features)}
        with visiting(network.module, visits, rows=lambda: rows_of(inputs)):
            call.make(network.module)
    return _Pass(inputs, call, {f: places[f] for f in features})  # which were met in the order of the sites


def _place(feature: Feature, value: Tensor, frame: Frame) -> _Place:
    site = feature.site
    columns = columns_in(site, value, frame)
    vectors = site.read(value[:1], columns[:1] if isinstance(columns, Tensor) else columns)
    feature.read(vectors)  # says what does not fit
    if isinstance(columns, slice) and columns == slice(None):
        return _Place(None, vectors.shape[1], value[:1])
    if value.ndim != 3 or site.position_axis != 1:  # noqa: PLR2004  # [batch, position, width]
        raise NetworkError(
            f"the site {site} asks for positions in a value of shape {list(value.shape)}; pyvene takes [batch, position, width]; "
            "leave engine= away"
        )
    if isinstance(columns, Tensor):
        units = columns.tolist()
    else:
        units = [list(range(value.shape[1])[columns]) if isinstance(columns, slice) else [columns] for _ in range(len(value))]
    return _Place(units, vectors.shape[1], value[:1])


def _model(network: Network, places: Mapping[Feature, _Place]) -> Any:
    """A pyvene model with one intervention for each feature."""
    pyvene = load_pyvene()
    representations = [
        pyvene.RepresentationConfig(
            component=f"inner.{feature.site.path}.{'input' if feature.site.input else 'output'}",
            intervention=_intervention(feature, place),
        )
        for feature, place in places.items()
    ]
    return pyvene.IntervenableModel(representations, _Shielded(network.module))


def _intervention(feature: Feature, place: _Place) -> Any:
    """The intervention of pyvene that the feature has, else a function of base and source [batch, (units,) width]."""
    kind, value = type(feature.featurizer), place.value
    one = place.width == value.shape[-1] or feature.dims is None  # pyvene would mask the coordinates of each position alike
    if feature.site.head is None and value.ndim <= 3 and (kind is Orthogonal or (kind is Identity and one)):  # noqa: PLR2004
        made = intervention_of(feature, place.width)
        return made.to(value.device, torch.promote_types(value.dtype, torch.float32)) if value.is_floating_point() else made
    site = replace(feature.site, position=None)  # what pyvene hands over has only the site's positions

    def exchange(base: Tensor, source: Tensor) -> Tensor:
        return site.write(base, feature.write(site.read(base), feature.read(site.read(source))))

    return exchange


def _exchanged(network: Network, model: Any, base: _Pass, sources: Sequence[_Pass]) -> Any:
    """What `decode` takes, after pyvene's interchange."""
    found = [next(iter(x.places.values())) for x in sources]
    wrong = [
        f"{f.site}, {p.width} and {q.width} wide"
        for (f, p), q in zip(base.places.items(), found, strict=True)
        if p.width != q.width
    ]
    check(wrong, NetworkError, "sites of other widths in the base than in the source")
    units = [x.units for x in found], [x.units for x in base.places.values()]
    with network.told("pyvene or the module", base.inputs), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "To copy construct from a tensor")  # in its masks
        _, output = model(base.given(), [x.given() for x in sources], unit_locations={"sources->base": units})
        return network.finished(base.call, output)


@contextmanager
def _handing_on_copies(module: nn.Module, features: Mapping[Feature, Any]) -> Iterator[None]:
    """Let each site hand on a copy: pyvene writes in place, which a module whose output is its input would leak elsewhere."""

    def first(given: Any) -> Any:
        return (first(given[0]), *given[1:]) if isinstance(given, tuple) and given else given.clone()

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (first(args), kwargs) if args else (args, dict(zip(kwargs, first(tuple(kwargs.values())), strict=True)))

    handles = []
    for tap in dict.fromkeys(f.site.tap for f in features):
        target = module.get_submodule(tap.path)
        if tap.input:
            handles.append(target.register_forward_pre_hook(before, with_kwargs=True))
        else:
            handles.append(target.register_forward_hook(lambda _, __, output: first(output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _hooks_kept(module: nn.Module) -> Iterator[None]:
    """Take away the hooks that pyvene leaves behind when a pass raises."""
    before = [(hooks := getattr(part, name), set(hooks)) for part in module.modules() for name in _HOOKS]
    try:
        yield
    finally:
        for hooks, kept in before:
            for key in [k for k in hooks if k not in kept]:
                del hooks[key]
