"""Layouts: the writers and readers of transformers, found by how their modules are built and by what passes between them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from commute.causal.batches import Batch
from commute.errors import NetworkError
from commute.models.circuits.ports import Reads, Writes
from commute.models.heads import Attention, Part, attentions
from commute.models.hooks import evaluating
from commute.models.network import Network
from commute.models.residual import residual_sites
from commute.models.sites import Site, Tap

_HIDDEN = (("mlp", "mlp"), ("feed_forward", "feed_forward"), ("ffn", "ffn"), ("fc1", "fc2"))  # first and last of a hidden layer
_PARTS: tuple[Part, ...] = ("query", "key", "value")


@dataclass
class _Seen:
    """What modules were given and gave in one pass, by path.

    Attributes:
        given: the first tensor that each was called with.
        gave: the first tensor in what it returned.
        elements: which element of that it is, where several are returned.
    """

    given: dict[str, Tensor] = field(default_factory=dict)
    gave: dict[str, Tensor] = field(default_factory=dict)
    elements: dict[str, int | str] = field(default_factory=dict)

    def output(self, path: str) -> Tap:
        """What a module gives."""
        return Tap(path, element=self.elements.get(path))

    def before(self, path: str, around: str) -> str | None:
        """The module in a layer whose output is just what the one at a path was given, such as its norm."""
        x = self.given[path]
        found = [p for p, y in self.gave.items() if y is x and p.startswith(f"{around}.") and self.given.get(p) is not x]
        return found[-1] if found else None

    def given_elsewhere(self, norm: str, path: str, around: str) -> bool:
        """Whether modules in a layer other than the one at a path, and what is in it, are given what a norm gave."""
        x = self.gave[norm]
        given = [p for p, y in self.given.items() if y is x and p.startswith(f"{around}.")]
        return any(p != path and not p.startswith(f"{path}.") for p in given)

    def after(self, path: str, around: str) -> str:
        """The module in a layer that last changed what the one at a path gave, before it was added; that one if none did."""
        x = self.gave[path]
        for p, y in self.given.items():
            if y is x and p.startswith(f"{around}.") and self.gave.get(p) is not x and p != path:
                return p
        return path


def ports(network: Network, inputs: Batch, *, neurons: bool, positions: bool) -> tuple[list[Writes], list[Reads]]:
    """The writers and readers of a decoder, in the order in which they run.

    Nodes are `input` (what the first layer is given), `a0.h1` (head 1 of layer 0, which reads as `a0.h1<q>`, `a0.h1<k>` and
    `a0.h1<v>`; heads that share keys and values read these as `a0.g0<k>`), `a0` where heads cannot be told apart, as behind a
    norm, `m0` (a hidden layer) or `m0.n5` (one of its neurons), and `logits`, which read what the last layer gives.

    Args:
        network: a decoder of transformers, or one with the hook points and weights of TransformerLens.
        inputs: a batch, to see what passes between modules.
        neurons: whether each neuron is a node of its own.
        positions: whether nodes are told apart by position; attention as one node then reads as `a0<x>`.

    Raises:
        NetworkError: when the network has no list of layers, or layers in which nothing is known.
    """
    layers = [site.path.removesuffix(".hook_resid_post") for site in residual_sites(network.module, [None])]
    seen = _seen(network, inputs)
    modules = dict(network.module.named_modules())
    writes = [Writes(("input",), Tap(layers[0], input=True))]
    reads: list[Reads] = []
    found = list(attentions(network.module))
    for i, layer in enumerate(layers):
        inside = [a for a in found if a.path.startswith(f"{layer}.")]
        hidden = next((x for x in _HIDDEN if f"{layer}.{x[0]}" in modules and f"{layer}.{x[1]}" in modules), None)
        if not inside and hidden is None:
            raise NetworkError(f"in the layer {layer} there is neither attention nor a hidden layer of a known name")
        for a in inside:
            _add(_attention(modules, seen, a, layer, i, "<x>" * positions), writes, reads)
        if hidden is not None:
            first, last = (f"{layer}.{name}" for name in hidden)
            _add(
                _neurons(modules, seen, first, layer, i) if neurons else _whole(seen, first, last, layer, f"m{i}"), writes, reads
            )
    reads.append(Reads(("logits",), seen.output(layers[-1])))
    return writes, reads


def _add(made: tuple[Sequence[Reads], Writes], writes: list[Writes], reads: list[Reads]) -> None:
    reads += made[0]
    writes.append(made[1])


def _whole(seen: _Seen, first: str, last: str, layer: str, name: str, port: str = "") -> tuple[list[Reads], Writes]:
    """A block as one node. Where its norm is another block's too, as in Phi, what it reads is changed behind the norm."""
    norm = seen.before(first, layer)
    entry = Tap(norm or first, input=True)
    alone = norm is None or not seen.given_elsewhere(norm, first, layer)
    read = Reads((name + port,), entry) if alone else Reads((name + port,), entry, norm, Tap(first, input=True))
    return [read], Writes((name,), seen.output(seen.after(last, layer)))


def _attention(
    modules: Mapping[str, nn.Module], seen: _Seen, a: Attention, layer: str, i: int, port: str
) -> tuple[list[Reads], Writes]:
    """The heads of a layer, or its attention as one node with a port."""
    out = _result(modules, a)
    if out is None or seen.after(a.path, layer) != a.path:
        return _whole(seen, a.path, a.path, layer, f"a{i}", port)
    reads = []
    counts = a.counts()
    for part in _PARTS:
        kind = "h" if counts[part] == counts["result"] else "g"
        nodes = tuple(f"a{i}.{kind}{j}<{part[0]}>" for j in range(counts[part]))
        given = _projected(modules, a, part)
        if given is None:
            return _whole(seen, a.path, a.path, layer, f"a{i}", port)
        tap, weight, bias, columns = given
        first = a.path if tap.path not in seen.given or tap.path.rpartition(".")[2].startswith("hook_") else tap.path
        norm = seen.before(first, layer)
        reads.append(Reads(nodes, Tap(norm or a.path, input=True), norm, tap, weight, bias, columns))
    heads = tuple(f"a{i}.h{j}" for j in range(counts["result"]))
    return reads, Writes(heads, *out)


def _projected(
    modules: Mapping[str, nn.Module], a: Attention, part: Part
) -> tuple[Tap, Tensor, Tensor | None, Tensor | None] | None:
    """Where a part of heads is, and by which weights and biases it comes of what attention is given."""
    sites, own = a.sites(part, None), modules[a.path]
    letter = part[0].upper()
    if sites[0].heads is None:  # a hook point with an axis of heads
        weight, bias = getattr(own, f"W_{letter}", None), getattr(own, f"b_{letter}", None)
        return None if weight is None else (sites[0].tap, weight.detach(), None if bias is None else bias.detach(), None)
    weight, bias = _linear(modules[sites[0].path])
    columns = _heads(sites, torch.arange(weight.shape[1]))
    return sites[0].tap, _heads(sites, weight).movedim(-2, 0), None if bias is None else _heads(sites, bias), columns


def _result(modules: Mapping[str, nn.Module], a: Attention) -> tuple[Tap, Tensor, Tensor | None] | None:
    """Where the results of heads are, and by which weights they are added to the stream."""
    try:
        sites = a.sites("result", None)
    except NetworkError:
        return None
    if sites[0].heads is None:
        weight = getattr(modules[a.path], "W_O", None)
        return None if weight is None else (sites[0].tap, weight.detach(), None)
    weight, _ = _linear(modules[sites[0].path])
    return sites[0].tap, _heads(sites, weight.T).movedim(0, -1), _heads(sites, torch.arange(len(weight)))


def _neurons(modules: Mapping[str, nn.Module], seen: _Seen, first: str, layer: str, i: int) -> tuple[list[Reads], Writes]:
    """The neurons of a hidden layer: what each takes in, and what it adds."""
    if f"{first}.hook_pre" in modules and f"{first}.hook_post" in modules and hasattr(modules[first], "W_in"):
        return _hooked_neurons(modules, seen, first, layer, i)
    inner = [p for p in modules if p.startswith(first) and _is_linear(modules[p])] or [first]
    x = seen.given[first]
    into = [p for p in inner if seen.given.get(p) is x]
    out = [
        p for p in modules if p.startswith(f"{layer}.") and _is_linear(modules[p]) and p not in into and _hidden(modules, p, into)
    ]
    if not into or len(out) != 1:
        raise NetworkError(
            f"the neurons of {first} cannot be told: it has {len(into)} maps into a hidden layer, {len(out)} out of it"
        )
    weight, _ = _linear(modules[out[0]])
    width = len(weight)
    nodes = tuple(f"m{i}.n{j}" for j in range(width))
    norm = seen.before(first, layer)
    reads = []
    for path in into:
        given, bias = _linear(modules[path])
        columns = torch.arange(given.shape[1]).view(-1, width).T  # gates beside what they gate follow it
        parts = given.view(len(given), -1, width).movedim(-1, 0)
        biases = None if bias is None else bias.view(-1, width).T
        reads.append(Reads(nodes, Tap(norm or first, input=True), norm, Tap(path), parts, biases, columns))
    if seen.after(out[0], layer) not in (out[0], first):
        raise NetworkError(f"what the neurons of {first} add goes through a norm together, so none of them adds anything alone")
    return reads, Writes(nodes, Tap(out[0], input=True), weight[:, None], torch.arange(width)[:, None])


def _hooked_neurons(modules: Mapping[str, nn.Module], seen: _Seen, first: str, layer: str, i: int) -> tuple[list[Reads], Writes]:
    """The neurons of a hidden layer with the hook points and weights of TransformerLens, whose gates have no bias."""
    own: Any = modules[first]
    if getattr(own, "ln", None) is not None or seen.after(first, layer) != first:
        raise NetworkError(f"the neurons of {first} go through a norm together, so none of them adds anything alone")
    gated = getattr(own, "W_gate", None) is not None
    into = {"hook_pre": own.W_gate, "hook_pre_linear": own.W_in} if gated else {"hook_pre": own.W_in}
    biases = None if gated or getattr(own, "b_in", None) is None else own.b_in[:, None]
    nodes, norm = tuple(f"m{i}.n{j}" for j in range(len(own.W_out))), seen.before(first, layer)
    entry = Tap(norm or first, input=True)
    reads = [Reads(nodes, entry, norm, Tap(f"{first}.{hook}"), weight.T[..., None], biases) for hook, weight in into.items()]
    return reads, Writes(nodes, Tap(f"{first}.hook_post"), own.W_out[:, None])


def _hidden(modules: Mapping[str, nn.Module], path: str, into: Sequence[str]) -> bool:
    widths = {_linear(modules[p])[0].shape for p in into}
    rows, columns = _linear(modules[path])[0].shape
    return any(columns == width and hidden in (rows, 2 * rows) for width, hidden in widths)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _linear(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The weight [in, out] and bias of a linear map, by torch's layout or that of GPT-2; views, which are trained with it."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)  # of a parametrization, as it is now
    if not isinstance(weight, Tensor):
        raise NetworkError(f"the weight of {module} is no tensor, so what nodes read and write cannot be told by it")
    weight = weight.detach()
    return (weight.T if isinstance(module, nn.Linear) else weight), None if bias is None else bias.detach()


def _heads(sites: Sequence[Site], numbers: Tensor) -> Tensor:
    """The numbers that are each head's on the last axis, [..., head, part], as a view."""
    places = [site.head or 0 for site in sites]
    step = places[1] - places[0] if len(places) > 1 else 1
    parts = numbers.view(*numbers.shape[:-1], sites[0].heads or 1, -1)
    return parts[..., places[0] : places[-1] + 1 : step, :]


def _seen(network: Network, inputs: Batch) -> _Seen:
    found = _Seen()

    def hooked(path: str) -> Any:
        def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
            given, gave = next(_tensors((*args, *kwargs.values())), None), next(_tensors(output), None)
            if given is not None and gave is not None and path not in found.gave:
                found.given[path], found.gave[path] = given, gave
                if not isinstance(output, Tensor):
                    found.elements.update((path, place) for place, x in _elements(output) if x is gave)

        return after

    handles = [m.register_forward_hook(hooked(p), with_kwargs=True) for p, m in network.module.named_modules() if p]
    try:
        with evaluating(network.module), torch.no_grad():
            network.call(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors of vectors in a value."""
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 1:
        yield value
    elif isinstance(value, (tuple, list)):
        for x in value:
            yield from _tensors(x)
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))


def _elements(output: Any) -> list[tuple[int | str, Any]]:
    """The elements of what a module returned several of, with their places."""
    if isinstance(output, Mapping):
        return list(output.items())
    return list(enumerate(output)) if isinstance(output, (tuple, list)) else []
