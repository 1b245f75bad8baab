"""Lifting: from the graph of a pass to a program and what its entries are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, Numbers
from commute.proofs.programs.entries import Recipes, Whole
from commute.proofs.programs.moving import MOVES, moved
from commute.proofs.programs.operations import RULES
from commute.proofs.programs.program import Program
from commute.proofs.programs.tracing import PATH

_EMPTY = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
_SHAPED = _EMPTY | {"full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"}
_ADVICE = "write it by operations that have one, such as matrix products, relu, gelu, softmax and norms"
_SAME = {"_to_copy", "alias", "clone", "contiguous", "detach", "dropout", "lift_fresh_copy", "to"}  # with another dtype an error
_ALSO = {"_to_copy", "embedding"}  # besides moves, what makes floating-point numbers of whole ones without rounding others


@dataclass(eq=False)
class Lift:
    """Goes through a graph and makes steps.

    Attributes:
        builder: of the program.
        recipes: of its entries.
        dtype: the network's arithmetic.
        made: what each node gave.
    """

    builder: Builder
    recipes: Recipes
    dtype: torch.dtype
    made: dict[Node, Any] = field(default_factory=dict)

    def node(self, graph: GraphModule, node: Node) -> Any:
        """What a node gives: names, a constant, or what follows from whole numbers."""
        if node.op == "get_attr":
            return getattr(graph, str(node.target))
        args, kwargs = tree_map(lambda x: self.made[x] if isinstance(x, Node) else x, (node.args, dict(node.kwargs)))
        operation = node.target
        if operation is getitem:
            return _part(node, *args)
        if not isinstance(operation, torch._ops.OpOverload):  # noqa: SLF001  # where it is
            raise NetworkError("it is no operation of torch")
        if operation._schema.is_mutable:  # noqa: SLF001  # where it is
            operation = self._out_of_place(node)
        return self.operation(operation, node, args, kwargs)

    def operation(self, operation: Any, node: Node, args: Any, kwargs: Any) -> Any:
        """What an operation gives."""
        if torch.Tag.nondeterministic_seeded in operation.tags:
            raise NetworkError("it is random")
        name, given = operation.overloadpacket.__name__, tree_leaves((args, kwargs))
        if name in _SHAPED:
            return _filled(operation, node, kwargs, args)
        kinds = {type(x) for x in given} & {Numbers, Whole}
        if not kinds:
            return operation(*args, **kwargs)
        whole = tree_leaves(node.meta.get("val"))
        floats = any(isinstance(x, Tensor) and x.is_floating_point() for x in whole)
        if Numbers not in kinds and (not floats or name in MOVES | _ALSO):
            made = self._looked_up(operation, args, kwargs, node.meta["val"])
            return tree_map(self._entry, made) if floats else made
        if name in MOVES and any(isinstance(x, Whole) for x in given):
            raise NetworkError("where it takes numbers from or puts them depends on the input")
        args, kwargs = tree_map(lambda x: self._entry(x) if isinstance(x, Whole) else x, (args, kwargs))
        wrong = [str(x.dtype) for x in whole if isinstance(x, Tensor) and x.dtype != self.dtype]
        return self._ruled(operation, name, args, kwargs, wrong[:1] if name not in ("max", "max_pool2d_with_indices") else [])

    def _ruled(self, operation: Any, name: str, args: Any, kwargs: Any, wrong: Sequence[str]) -> Any:
        if wrong and (name in RULES or name in MOVES or name in _SAME):
            raise NetworkError(f"it gives {wrong[0]} in a network that computes in {self.dtype}")
        if name in _SAME:
            return args[0]
        if name in MOVES:
            return moved(self.builder, name, operation, args, kwargs)
        if name not in RULES:
            raise NetworkError(f"it has no rule; {_ADVICE}")
        options = {k: x for k, x in kwargs.items() if k != "dtype"}
        try:
            return RULES[name](self.builder, *args, **options)
        except (TypeError, AttributeError, IndexError, RuntimeError) as error:
            raise NetworkError(f"it has no rule for these arguments ({error}); {_ADVICE}") from error

    def _looked_up(self, operation: Any, args: Any, kwargs: Any, val: Any) -> Whole | list[Whole]:
        """What follows from whole numbers: one tensor, or several."""
        if isinstance(val, Tensor):
            return self.recipes.made_by(operation, args, kwargs, val.shape, val.dtype)
        whole = self.recipes.made_by(operation, args, kwargs, val[0].shape, val[0].dtype)
        return [self.recipes.made_by(getitem, (whole, i), {}, x.shape, x.dtype) for i, x in enumerate(val)]

    def _entry(self, x: Whole) -> Numbers:
        return self.builder.input(x.group, self.recipes.entry(x), x.shape)

    def _out_of_place(self, node: Node) -> Any:
        """The operation that gives what one in place leaves, where nothing else sees the place."""
        target, first = node.target, node.args[0]
        packet = getattr(torch.ops.aten, target.overloadpacket.__name__.removesuffix("_"), None)  # type: ignore[union-attr]
        owned = isinstance(first, Node) and first.op == "call_function" and len(first.users) == 1 and _owns(first.target)
        if packet is None or not owned or target._overloadname not in packet.overloads():  # type: ignore[union-attr]  # noqa: SLF001
            raise NetworkError(
                "it changes a tensor in place that other operations see, as torch's recurrent layers do; write it without that, "
                "a recurrent layer as a loop of linear layers"
            )
        return getattr(packet, target._overloadname)  # type: ignore[union-attr]  # noqa: SLF001


def _part(node: Node, made: Sequence[Any], place: int) -> Any:
    """One of several results of an operation, of which a rule may not give all."""
    if place >= len(made):
        origin = node.args[0]
        told = f"{origin.target} in {origin.meta.get(PATH) or 'the pass'}" if isinstance(origin, Node) else "an operation"
        raise NetworkError(f"it uses result {place} of {told}, such as where a maximum is, which has no rule")
    return made[place]


def _owns(target: Any) -> bool:
    """Whether what an operation gives is its own, not a view of what it was given."""
    return isinstance(target, torch._ops.OpOverload) and not any(r.alias_info for r in target._schema.returns)  # noqa: SLF001


def _filled(operation: Any, node: Node, kwargs: Any, args: Any) -> Tensor:
    """A constant of a shape; NaN where it has no values yet, which nothing may compute with."""
    value = node.meta["val"]
    if operation.overloadpacket.__name__ in _EMPTY:
        return torch.full(value.shape, torch.nan if value.is_floating_point() else 0, dtype=value.dtype)
    example = [torch.zeros(x.shape, dtype=value.dtype) if isinstance(x, (Numbers, Whole)) else x for x in args]
    made: Tensor = operation(*example, **kwargs)
    return made


def lifted(graph: GraphModule, leaves: int, dtype: torch.dtype, inputs: int) -> tuple[Program, Recipes]:
    """The program of a graph whose placeholders are `leaves` tensors for each of the program's inputs.

    Raises:
        NetworkError: naming the operation that has no rule, and its module.
    """
    graph.graph.eliminate_dead_code()
    info = torch.finfo(dtype)
    lift = Lift(Builder(inputs, info.eps / 2), Recipes(), dtype)
    places = 0
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            group, place = divmod(places, leaves)
            found: Any = lift.recipes.leaf(place, group, node.meta["val"])
            if found.dtype.is_floating_point:
                if found.dtype != dtype:
                    raise NetworkError(f"the network is called with {found.dtype}, and computes in {dtype}")
                found = lift._entry(found)  # noqa: SLF001
            lift.made[node] = found
            places += 1
        elif node.op == "output":
            scores = tree_leaves(tree_map(lambda x: lift.made[x] if isinstance(x, Node) else x, node.args))[0]
        else:
            with torch.no_grad():
                try:
                    lift.made[node] = lift.node(graph, node)
                except NetworkError as error:
                    raise NetworkError(f"{node.target} in {node.meta.get(PATH) or 'the pass'}: {error}") from error
    if not isinstance(scores, Numbers):
        raise NetworkError("the scores do not depend on numbers of the input")
    return lift.builder.program(scores.names, entries=lift.recipes.width, tiny=info.tiny), lift.recipes
