"""Sites of attention heads, found by how attention modules are built."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from commute.errors import NetworkError, unknown
from commute.models.sites import Site

Part = Literal["query", "key", "value", "pattern", "result"]

_HOOKS = {"query": "hook_q", "key": "hook_k", "value": "hook_v", "pattern": "hook_pattern", "result": "hook_z"}
_PROJECTED = ("query", "key", "value")
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head")
_KEY_VALUE_HEADS = ("num_key_value_heads", "n_key_value_heads")


@dataclass(frozen=True)
class _Layout:
    """The names of an attention module's projections, and where heads lie in what they give.

    Attributes:
        projections: of queries, keys and values; one projection that gives all three is named three times.
        outputs: what the output projection may be called.
        by_head: whether each head's query, key and value follow each other in one projection, rather than all queries, all keys
            and all values.
    """

    projections: tuple[str, str, str]
    outputs: tuple[str, ...]
    by_head: bool = False

    def __str__(self) -> str:
        return ", ".join([*dict.fromkeys(self.projections), " or ".join(self.outputs)])


_LAYOUTS = (
    _Layout(("q_proj", "k_proj", "v_proj"), ("o_proj", "out_proj", "dense")),
    _Layout(("self.query", "self.key", "self.value"), ("output.dense",)),
    _Layout(("c_attn",) * 3, ("c_proj",)),
    _Layout(("qkv_proj",) * 3, ("o_proj",)),  # others of this name, with an out_proj, lay heads out in other ways
    _Layout(("query_key_value",) * 3, ("dense",), by_head=True),
)


@dataclass(frozen=True)
class Attention:
    """The attention module at a path of a network, whose `modules` are given by path."""

    modules: Mapping[str, nn.Module]
    path: str

    def __str__(self) -> str:
        return f"{self.path or 'the module itself'} ({type(self.modules[self.path]).__name__})"

    def to(self, name: str) -> str:
        """The path of a module in it."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether it has a module of a name."""
        return self.to(name) in self.modules

    @property
    def layout(self) -> _Layout | None:
        """Its layout, where its projections are known ones."""
        return next((x for x in _LAYOUTS if all(map(self.has, x.projections)) and any(map(self.has, x.outputs))), None)

    @property
    def layer(self) -> int:
        """The last number in its path; 0 without one."""
        return next((int(name) for name in reversed(self.path.split(".")) if name.isdigit()), 0)

    def counts(self) -> dict[str, int]:
        """How many heads there are of each part, as the nearest configuration says: its own or that of a module around it."""
        names = self.path.split(".") if self.path else []
        for depth in range(len(names), -1, -1):
            around = self.modules[".".join(names[:depth])]
            for holder in (getattr(around, "config", None), getattr(around, "cfg", None), around):
                if heads := _number(holder, _HEADS):
                    grouped = _number(holder, _KEY_VALUE_HEADS) or heads
                    if getattr(holder, "ungroup_gqa", False):  # TransformerLens then repeats keys and values before its hooks
                        grouped = heads
                    return {"query": heads, "key": grouped, "value": grouped, "pattern": heads, "result": heads}
        raise NetworkError(
            f"how many heads {self} has cannot be told: neither it nor a module around it has, of its own or in a `config` or "
            f"`cfg`, a number called {' or '.join(_HEADS)}"
        )

    def sites(self, part: Part, position: Any) -> list[Site]:
        """The part's site in each head."""
        counts, layout = self.counts(), self.layout
        if self.has(_HOOKS[part]):
            head_axis, position_axis = (1, 2) if part == "pattern" else (-2, 1)
            path = self.to(_HOOKS[part])
            return [Site(path, position, i, head_axis=head_axis, position_axis=position_axis) for i in range(counts[part])]
        if layout is None:
            raise NetworkError(f"{self} has no hook point {_HOOKS[part]!r} for the {part} of its heads; add it as an nn.Identity")
        if part == "pattern":
            raise NetworkError(
                f"the pattern of {self} cannot be patched: the attention weights that it returns have been used already, so "
                "changing them would change nothing; choose 'query', 'key', 'value' or 'result', or let the module pass its "
                f"weights, before it uses them, through an nn.Identity that is its child {_HOOKS[part]!r}"
            )
        output = next(filter(self.has, layout.outputs))
        taken = _width(self.modules[self.to(output)], "in_features", "nx")
        if part == "result":
            name, places, total, given = output, range(counts[part]), counts[part], taken
        else:
            name, places, total = self._given(part, layout, counts)
            given = _width(self.modules[self.to(name)], "out_features", "nf")
        if given != total * (taken // counts["result"]):  # a gate beside the queries, say, would shift them
            raise NetworkError(
                f"where the heads of {self} lie cannot be told: {output!r} takes {taken} numbers from {counts['result']} heads, "
                f"and {name!r} holds {given} for {total}; name its sites with Site(path, head=…, heads=…)"
            )
        return [Site(self.to(name), position, place, part == "result", heads=total) for place in places]

    def _given(self, part: Part, layout: _Layout, counts: Mapping[str, int]) -> tuple[str, range, int]:
        """The projection that gives a part, the places of the part's heads in it, and how many there are of all its parts."""
        name = layout.projections[_PROJECTED.index(part)]
        beside = [p for p, other in zip(_PROJECTED, layout.projections, strict=True) if other == name]
        place = beside.index(part)
        # GPT-BigCode has the names of GPT-2, but where it does not share one key and value, each head's three follow each other.
        if layout.by_head or getattr(self.modules[self.path], "multi_query", True) is False:
            total = len(beside) * counts[part]
            return name, range(place, total, len(beside)), total
        first = sum(counts[p] for p in beside[:place])
        return name, range(first, first + counts[part]), sum(counts[p] for p in beside)


def head_sites(
    module: nn.Module, part: Part, *, layers: Sequence[int] | None = None, position: Any = None
) -> dict[tuple[int, int], Site]:
    """The sites of a part of each attention head, in models of transformers and ones with the hook points of TransformerLens.

    Queries, keys and values are what the projections give, before rotations and norms, which may mix heads (as in OLMo 2). One
    projection that gives all three is cut in the parts of all its heads, and the `head` of a site counts those. Where heads share
    keys and values, there are as many of these as groups of heads. Results are what heads give to the output projection.

    Args:
        module: the whole model.
        part: "query", "key", "value", "pattern" (where a module passes it through a `hook_pattern`, [batch, head, query, key]) or
            "result".
        layers: the numbers in the paths of the layers; None is all that have attention.
        position: of every site, as in `Site`; the query's position for a pattern.

    Returns:
        The site of each (layer, head), in that order.

    Raises:
        NetworkError: for an unknown part or layer, when no attention module is found, when a layer has several, when the heads do
            not fit its projections, and when the part passes through no module.
    """
    if part not in get_args(Part):
        raise NetworkError(unknown("part of attention heads", part, get_args(Part)))
    found = _by_layer(module)
    missing = [str(layer) for layer in layers or () if layer not in found]
    if missing:
        raise NetworkError(f"there is no attention in layer {', '.join(missing)}; it is in {', '.join(map(str, found))}")
    chosen = found if layers is None else layers
    return {(layer, head): site for layer in chosen for head, site in enumerate(found[layer].sites(part, position))}


def _by_layer(module: nn.Module) -> dict[int, Attention]:
    found: dict[int, Attention] = {}
    for attention in attentions(module):
        other = found.setdefault(attention.layer, attention)
        if other is not attention:
            raise NetworkError(
                f"layer {attention.layer} has several attention modules, {other} and {attention}; name the sites of the one that "
                "you mean with Site(path, head=…, heads=…)"
            )
    if not found:
        named = [f"{p} ({type(m).__name__})" for p, m in module.named_modules() if "att" in p.rpartition(".")[2].lower()]
        raise NetworkError(
            f"no attention heads are found in {type(module).__name__}: an attention module has one of the hook points "
            f"{', '.join(_HOOKS.values())}, or the projections {'; '.join(map(str, _LAYOUTS))}; modules named like attention are "
            f"{', '.join(named[:4]) or 'none'}; name the sites with Site(path, head=…, heads=…)"
        )
    return found


def attentions(module: nn.Module) -> Iterator[Attention]:
    """The attention modules of a network whose heads can be told."""
    modules = dict(module.named_modules())
    for path in modules:
        attention = Attention(modules, path)
        if attention.layout is not None or any(map(attention.has, _HOOKS.values())):
            yield attention


def _number(holder: object, names: Sequence[str]) -> int | None:
    values = (getattr(holder, name, None) for name in names)
    return next((x for x in values if isinstance(x, int)), None)


def _width(projection: nn.Module, *names: str) -> int:
    """How wide a linear map is, by torch's name or that of GPT-2; 0 of another module."""
    return _number(projection, names) or 0
