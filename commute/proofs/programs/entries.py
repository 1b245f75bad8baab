"""Entries: the numbers that a program begins with, as they follow from labels by looking up and whole-number arithmetic."""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from commute.causal.batches import Batch, rows_of, take
from commute.errors import NetworkError
from commute.models.calls import Call
from commute.models.network import Network
from commute.models.positions import Frame, frame_of
from commute.models.sites import Site, Span

_ROWS = 4096  # inputs that are looked up at once


@dataclass(frozen=True, eq=False)
class Whole:
    """A tensor that follows from the whole numbers of one input.

    Attributes:
        group: which input of the program.
        place: among the tables' recipes.
        shape: the tensor's, of one row.
        dtype: the tensor's.
    """

    group: int
    place: int
    shape: torch.Size
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class _Recipe:
    """How a tensor is made: an operation on constants and on other recipes, or what the module is called with."""

    operation: Callable[..., Any] | None
    args: Any
    kwargs: Any
    leaf: int = 0


@dataclass(frozen=True)
class _Ref:
    place: int


@dataclass(eq=False)
class Recipes:
    """Recipes, each once.

    Attributes:
        made: the recipes.
        starts: for those that are entries where their numbers begin.
        whole: which of these numbers are whole numbers or truth values that the network takes for numbers of its arithmetic.
        width: how many numbers there are.
    """

    made: list[_Recipe] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    whole: list[int] = field(default_factory=list)
    width: int = 0
    _places: dict[Hashable, int] = field(default_factory=dict)

    def leaf(self, place: int, group: int, x: Tensor) -> Whole:
        """A tensor that the module is called with."""
        return Whole(group, self._place(("leaf", place), _Recipe(None, (), {}, place)), x.shape, x.dtype)

    def made_by(self, operation: Callable[..., Any], args: Any, kwargs: Any, shape: torch.Size, dtype: torch.dtype) -> Whole:
        """What an operation makes of constants and of tensors of one input.

        Raises:
            NetworkError: when they are of several inputs.
        """
        found = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Whole)]
        groups = {x.group for x in found}
        if len(groups) > 1:
            raise NetworkError("it puts whole numbers of base and source together; choose sites of floating-point values")
        key = str(operation), _key((args, kwargs))
        args, kwargs = tree_map(lambda x: _Ref(x.place) if isinstance(x, Whole) else x, (args, kwargs))
        return Whole(groups.pop(), self._place(key, _Recipe(operation, args, kwargs)), shape, dtype)

    def entry(self, x: Whole) -> int:
        """Where the numbers of a tensor begin among the entries; it becomes one where it was none."""
        if x.place not in self.starts:
            self.starts[x.place] = self.width
            self.whole += [] if x.dtype.is_floating_point else range(self.width, self.width + x.shape.numel())
            self.width += x.shape.numel()
        return self.starts[x.place]

    def _place(self, key: Hashable, recipe: _Recipe) -> int:
        if key not in self._places:
            self._places[key] = len(self.made)
            self.made.append(recipe)
        return self._places[key]

    def row(self, *leaves: Tensor) -> Tensor:
        """The entries [entries] in float64, from what the module is called with for one row."""
        made: dict[int, Any] = {}

        def cook(place: int) -> Any:
            if place not in made:
                recipe = self.made[place]
                if recipe.operation is None:
                    made[place] = leaves[recipe.leaf]
                else:
                    args, kwargs = tree_map(lambda x: cook(x.place) if isinstance(x, _Ref) else x, (recipe.args, recipe.kwargs))
                    made[place] = recipe.operation(*args, **kwargs)
            return made[place]

        return torch.cat([cook(place).reshape(-1).double() for place in self.starts])


def _key(x: Any) -> Hashable:
    """What tells arguments apart: tensors by what they hold."""
    flat, spec = tree_flatten(x)
    return tuple(map(_leaf_key, flat)), str(spec)


def _leaf_key(x: Any) -> Hashable:
    if isinstance(x, Whole):
        return "whole", x.place
    if isinstance(x, Tensor):
        return "tensor", x.dtype, x.shape, x.detach().contiguous().numpy().tobytes()
    return type(x).__name__, repr(x)


@dataclass(frozen=True, eq=False)
class Leaves:
    """What the module is called with, the same for all inputs but for some tensors.

    Attributes:
        network: what encodes.
        flat: the leaves of the call for one row.
        varying: the places of the tensors that differ among inputs.
        sites: those whose position may depend on the input, with where it is.
    """

    network: Network
    flat: Sequence[Any]
    varying: Sequence[int]
    sites: Mapping[Site, Any]

    @classmethod
    def of(cls, network: Network, sample: Batch, sites: Sequence[Site]) -> "Leaves":
        """Found on a sample of inputs, of two at least.

        Raises:
            NetworkError: for what is no tensor and differs, tensors without the batch as their first axis, and sites whose
                position is given row by row or depends on the input.
        """
        call = network.encoded(take(sample, slice(1)))
        flat, _ = tree_flatten((call.args, call.kwargs))
        every = _flat(network.encoded(sample))
        varying = [i for i, (x, y) in enumerate(zip(flat, every, strict=True)) if not _same(x, y, rows_of(sample))]
        for i in varying:
            x, y = flat[i], every[i]
            if not isinstance(x, Tensor) or y.shape[:1] != (rows_of(sample),) or x.shape != (1, *y.shape[1:]):
                raise NetworkError(
                    f"the module of {network.name!r} is called with a {type(x).__name__} that depends on the input; a program "
                    "needs tensors [batch, …] of one shape"
                )
        mask = call.kwargs.get("attention_mask")
        if any(flat[i] is mask for i in varying):
            raise NetworkError("the attention mask depends on the input; a program needs the same in all inputs")
        found = cls(network, flat, varying, _places(network, take(sample, slice(1)), call, sites))
        found.of_batch(sample)
        return found

    def of_batch(self, batch: Batch) -> list[Tensor]:
        """The tensors that differ, for a batch.

        Raises:
            NetworkError: when what was taken to be the same for all inputs is not.
        """
        call = self.network.encoded(batch)
        flat = _flat(call)
        same = len(flat) == len(self.flat) and all(
            i in self.varying or _same(x, y, rows_of(batch)) for i, (x, y) in enumerate(zip(self.flat, flat, strict=True))
        )
        if not same:
            raise NetworkError(
                f"the module of {self.network.name!r} is called with a tensor that is the same for nearly all inputs, but "
                "not for these; give the domains of the inputs so that it varies"
            )
        if self.sites and _places(self.network, batch, call, self.sites) != self.sites:
            raise NetworkError("a site is at another position in some inputs; a program needs positions that are the same in all")
        return [flat[i] for i in self.varying]


def _flat(call: Call) -> list[Any]:
    return tree_flatten((call.args, call.kwargs))[0]


def _same(one: Any, many: Any, rows: int) -> bool:
    """Whether a leaf of a call for one row is that of each row of a call for several."""
    if not isinstance(one, Tensor) or not isinstance(many, Tensor):
        return type(one) is type(many) and bool(one == many)
    if many.shape == one.shape and torch.equal(many, one):
        return True
    return one.ndim > 0 and many.shape == (rows, *one.shape[1:]) and torch.equal(many, one.expand_as(many))


def _places(network: Network, batch: Batch, call: Call, sites: Any) -> dict[Site, Any]:
    """Where sites are whose position may depend on the input: the place that they have in all rows."""
    frame: Frame = frame_of(batch, None, call, network.positions)
    found = {}
    for site in sites:
        if site.position is None or isinstance(site.position, int | tuple | Span):
            continue
        find = network.positions.get(site.position) if isinstance(site.position, str) else site.position
        if not callable(find):
            raise NetworkError(f"the site {site} has a position for each row of a batch; a program needs the same in all inputs")
        places = np.asarray(find(frame.inputs))
        if (places != places[:1]).any():
            raise NetworkError(f"the position of the site {site} depends on the input; a program needs the same in all inputs")
        found[site] = places[0].tolist()
    return found


@dataclass(frozen=True, eq=False)
class Entries:
    """From inputs to the numbers that a program begins with."""

    leaves: Leaves
    recipes: Recipes
    most: float  # whole numbers up to this are numbers of the network's arithmetic

    def __call__(self, batch: Batch) -> Tensor:
        """The entries of a batch of inputs, [batch, entries] of float64, exactly the network's.

        Raises:
            NetworkError: when the network is called with something else for them than a program of it is for.
        """
        blocks = [take(batch, slice(start, start + _ROWS)) for start in range(0, rows_of(batch), _ROWS)]
        return torch.cat([self._of_block(block) for block in blocks])

    def _of_block(self, batch: Batch) -> Tensor:
        tensors = [x.unsqueeze(1) for x in self.leaves.of_batch(batch)]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that vmap takes row by row
            try:
                found: Tensor = torch.func.vmap(self.recipes.row)(*tensors)
            except RuntimeError:  # of what vmap cannot do
                found = torch.stack([self.recipes.row(*row) for row in zip(*tensors, strict=True)])
        if not bool(found.isfinite().all()):
            raise NetworkError("the network begins with numbers that are not finite, such as a mask that depends on the input")
        if bool((found[:, self.recipes.whole].abs() > self.most).any()):
            raise NetworkError(f"the network computes with whole numbers beyond {self.most:.0f}, which its arithmetic rounds")
        return found
