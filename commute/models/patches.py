"""Patches: features that are set and features that are read in one forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from commute.errors import NetworkError
from commute.models.hooks import Visit
from commute.models.positions import Frame
from commute.models.sites import Columns, Site, Tap

Change = Callable[[Tensor], Tensor]  # a feature's values in the run [batch, dims] -> the values that take their place


class FeatureLike(Protocol):
    """What an interchange needs of a feature: where it is, and how its values are read from the site and written to it."""

    @property
    def site(self) -> Site:
        """Where the feature is."""

    def read(self, vectors: Tensor) -> Tensor:
        """The feature's values [batch, dims] in the site's vectors [batch, width]."""

    def write(self, vectors: Tensor, values: Tensor) -> Tensor:
        """The site's vectors with the feature set to `values`."""


@dataclass(frozen=True)
class Whole:
    """A site's vectors as one feature."""

    site: Site

    def read(self, vectors: Tensor) -> Tensor:
        """The vectors."""
        return vectors

    def write(self, vectors: Tensor, values: Tensor) -> Tensor:
        """The values."""
        del vectors
        return values


@dataclass(frozen=True, eq=False)
class Write:
    """A feature set in some rows of a pass, to values [rows, dims] or to what a function makes of its values there."""

    feature: FeatureLike
    value: Tensor | Change
    rows: slice = field(default_factory=lambda: slice(None))


@dataclass(frozen=True, eq=False)
class Read:
    """A feature whose values are appended to `kept`, [batch, dims] a pass."""

    feature: FeatureLike
    kept: list[Tensor]


@dataclass(frozen=True)
class Window:
    """The columns that a pass computes: all of a `total` but some before and some after; with no total, all there are."""

    before: int = 0
    after: int = 0
    total: int = 0


_ALL = Window()


def visitors(writes: Sequence[Write], reads: Sequence[Read], frame: Frame, *, window: Window = _ALL) -> dict[Tap, Visit]:
    """Visitors for one forward pass that make the writes and then the reads, at each tap in the order given.

    Args:
        writes: what is set.
        reads: what is read.
        frame: of the rows of the pass.
        window: the columns that the pass computes.
    """

    def visit_of(tap: Tap) -> Visit:
        set_here = [w for w in writes if w.feature.site.tap == tap]
        read_here = [r for r in reads if r.feature.site.tap == tap]

        def visit(value: Tensor) -> Tensor | None:
            for write in set_here:
                value = _written(write, value, frame, window)
            for read in read_here:
                site = read.feature.site
                part = read.feature.read(site.read(value, columns_in(site, value, frame, window)))
                read.kept.append(part.clone())  # a module after it may work in place
            return value if set_here else None

        return visit

    features = [w.feature for w in writes] + [r.feature for r in reads]
    return {tap: visit_of(tap) for tap in dict.fromkeys(f.site.tap for f in features)}


def columns_in(site: Site, value: Tensor, frame: Frame, window: Window = _ALL) -> Columns:
    """The columns of a site in a module's value, of which the pass computes a window."""
    axis = site.position_axis % value.ndim if -value.ndim <= site.position_axis < value.ndim else value.ndim
    if axis == 0 or axis >= value.ndim or value.ndim < 3:  # noqa: PLR2004  # [batch, position, …]
        if site.position is not None:
            raise NetworkError(f"the site {site} asks for a position, but its value has shape {list(value.shape)}")
        return slice(None)
    if not window.before and not window.after:
        return frame.columns(site, value.shape[axis])
    columns = frame.columns(site, window.total)
    if isinstance(columns, slice):
        columns = torch.arange(window.total)[columns].expand(len(value), -1)
    return columns - window.before


def _written(write: Write, value: Tensor, frame: Frame, window: Window) -> Tensor:
    site, feature = write.feature.site, write.feature
    part = value[write.rows]
    columns = columns_in(site, part, frame.take(write.rows), window)
    vectors = site.read(part, columns)
    held = feature.read(vectors)
    new = write.value.to(held.device) if isinstance(write.value, Tensor) else write.value(held.clone())
    if new.shape != held.shape:
        raise NetworkError(f"the feature at {feature} holds values of shape {list(held.shape)}; given {list(new.shape)}")
    changed = site.write(part, feature.write(vectors, new), columns)
    start, stop, _ = write.rows.indices(len(value))
    return changed if stop - start == len(value) else torch.cat([value[:start], changed, value[stop:]])


def of_rows(values: Mapping[FeatureLike, Tensor | Change], rows: Any) -> dict[FeatureLike, Tensor | Change]:
    """What features are set to in some rows: places, or a slice. A function that can be indexed is one of the rows."""
    return {f: x[rows] if hasattr(x, "__getitem__") else x for f, x in values.items()}


def of_features(do: Mapping[FeatureLike, Tensor | Change]) -> list[Write]:
    """Writes that set each feature in all rows."""
    return [Write(feature, value) for feature, value in do.items()]
