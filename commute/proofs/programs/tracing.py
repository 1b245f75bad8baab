"""Tracing: the operations of one row's pass with features set, as torch carries them out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, get_proxy_mode, get_proxy_slot, make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from commute.alignments.alignment import Alignment
from commute.causal.batches import Batch
from commute.errors import CommuteError, NetworkError
from commute.models.calls import Call
from commute.models.decoding import Readout
from commute.models.hooks import evaluating, visiting
from commute.models.network import Network
from commute.models.passes import Passes
from commute.models.patches import Read, Write, of_features, visitors
from commute.models.positions import Frame, frame_of
from commute.models.sites import Columns, Site

_OUT = {"numpy", "__array__", "tolist", "item", "data_ptr", "__dlpack__", "__bool__", "__int__", "__float__", "__index__"}
PATH = "module_path"  # under which a node's meta names its module


@dataclass
class _Within(TorchFunctionMode):
    """Keeps numbers within torch, where they can be traced."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.one_hot:  # which looks at the numbers to check them
            return _one_hot(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in _OUT and isinstance(args[0], Tensor) and torch._is_functional_tensor(args[0]):  # noqa: SLF001  # has no other name
            return func(_constant(args[0], name), *args[1:], **kwargs)
        return func(*args, **kwargs)

    def __post_init__(self) -> None:
        super().__init__()


def _constant(x: Tensor, name: str) -> Tensor:
    """The numbers of a tensor that depends on no input.

    Raises:
        NetworkError: for a tensor that does, or that is random.
    """
    torch._sync(x)  # type: ignore[attr-defined, no-untyped-call]  # noqa: SLF001  # these have no other names
    inner, mode = torch._from_functional_tensor(x), get_proxy_mode()  # noqa: SLF001
    slot = None if mode is None else get_proxy_slot(inner, mode.tracer, None)
    if slot is None or _varies(slot.proxy.node):
        raise NetworkError(
            "the network takes another way for other inputs: what depends on the input, or is random, is taken out of torch, by "
            f"{name}"
        )
    with disable_proxy_modes_tracing():
        return inner.detach().clone()


def _varies(node: Node) -> bool:
    """Whether what a node gives depends on an input, or on chance."""
    seen, left = {node}, [node]
    while left:
        here = left.pop()
        if here.op == "placeholder" or torch.Tag.nondeterministic_seeded in getattr(here.target, "tags", ()):
            return True
        left += [n for n in here.all_input_nodes if n not in seen]
        seen.update(here.all_input_nodes)
    return False


@dataclass(frozen=True, eq=False)
class _Frame(Frame):
    """A frame that keeps where sites were found."""

    kept: dict[tuple[Site, int], Columns] = field(default_factory=dict)

    def columns(self, site: Site, length: int) -> Columns:
        """The columns of a site, as they were found when it was first looked for."""
        if (site, length) not in self.kept:
            self.kept[site, length] = Frame.columns(self, site, length)
        return self.kept[site, length]


def _one_hot(x: Tensor, num_classes: int = -1) -> Tensor:
    if num_classes < 0:
        raise NetworkError("one_hot without num_classes gives as many places as the batch needs; say how many there are")
    return (x.unsqueeze(-1) == torch.arange(num_classes)).long()


def traced(
    network: Network, alignment: Alignment, variables: Sequence[str], row: Batch, flat: Sequence[Any], varying: Sequence[int]
) -> GraphModule:
    """The graph from what the module is called with, for the base and for each variable's source, to the scores [1, choices].

    Args:
        network: the network.
        alignment: the features that are set.
        variables: whose features are.
        row: one input, whose labels nothing may depend on.
        flat: the leaves of its call.
        varying: which of them the graph takes: those of the base, then those of each source.

    Raises:
        NetworkError: when control flow depends on the input, or numbers leave torch.
    """
    call = network.encoded(row)
    _, spec = tree_flatten((call.args, call.kwargs))
    plain = frame_of(row, None, call, network.positions)
    frame = _Frame(plain.inputs, plain.rows, plain.mask, plain.named)

    def called(tensors: Sequence[Tensor], writes: Sequence[Write], reads: Sequence[Read]) -> Any:
        leaves = list(flat)
        for place, x in zip(varying, tensors, strict=True):
            leaves[place] = x
        made = Call(*tree_unflatten(leaves, spec))
        with visiting(network.module, visitors(writes, reads, frame), rows=lambda: 1):
            output = made.make(network.module)
        return network.finished(made, output)

    def passes(*tensors: Tensor) -> Tensor:
        groups = [tensors[i : i + len(varying)] for i in range(0, len(tensors), len(varying))]
        with _Within(), torch.no_grad():
            values: dict[Any, Tensor] = {}
            for v, given in zip(variables, groups[1:], strict=True):
                kept: Mapping[Any, list[Tensor]] = {feature: [] for feature in alignment.parts(v)}
                called(given, (), [Read(feature, parts) for feature, parts in kept.items()])
                values |= {feature: x for feature, (x,) in kept.items()}
            output = called(groups[0], of_features(values), ())
            return Readout(_stopping(network), ()).scores(output, 1)

    examples = [flat[i].clone() for _ in range(1 + len(variables)) for i in varying]  # one tensor would be traced as one input
    with ExitStack() as stack:
        stack.enter_context(evaluating(network.module))
        stack.enter_context(_plain())
        stack.enter_context(_naming(network.module))
        try:
            passes(*examples)  # what is computed once and kept, such as where a site is, is not traced then
            return make_fx(functionalize(passes, remove="mutations"), tracing_mode="real")(*examples)
        except (CommuteError, Warning):
            raise
        except Exception as error:
            raise NetworkError(
                f"the network {network.name!r} cannot be turned into a program, since it takes another way for other inputs, or "
                f"does what cannot be traced: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error


def _stopping(network: Passes) -> Callable[[Any], None]:
    """A decode function that stops where it takes its decision out of torch, which is after the scores were seen."""

    def decode(output: Any) -> None:
        with suppress(Exception), _Within():
            network.decode(output)

    return decode


@contextmanager
def _plain() -> Iterator[None]:
    """Attention by its single operations, not by fused kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _naming(module: nn.Module) -> Iterator[None]:
    """Each operation that is traced meanwhile gets the path of the module that it is in."""
    began: list[Node | None] = []
    handles = []

    def before(*_: Any) -> None:
        began.append(_last())

    def after(path: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            first, node = began.pop(), _last()
            while node is not None and node is not first and node.op != "root":
                node.meta.setdefault(PATH, path)
                node = node.prev

        return hook

    for path, inner in module.named_modules():
        handles += [inner.register_forward_pre_hook(before), inner.register_forward_hook(after(path))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _last() -> Node | None:
    mode = get_proxy_mode()
    return next(iter(reversed(mode.tracer.graph.nodes)), None) if mode is not None else None
