"""Hashes of all that a verdict depends on."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commute.alignments.alignment import Alignment
from commute.alignments.featurizers import stored
from commute.alignments.spec import Search
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.errors import NetworkError
from commute.models.network import Network
from commute.runs.seeds import stream

_SETTINGS = (bool, int, float, complex, str, bytes)  # kinds of attributes of a module that say the same in every process
_PROBES = 256  # inputs on which functions are told apart, besides by their source


def fingerprint(algorithm: CausalModel, network: Network, alignment: Alignment | None, search: Search | None) -> dict[str, str]:
    """A sha256 of the algorithm, the network, and the alignment or the search for it.

    Functions enter by their source and by what they answer to a fixed set of inputs; a value that a function takes from outside
    of its source enters by the answers alone.
    """
    probes = algorithm.labels(Inputs(algorithm).sample(stream(0, "fingerprint"), _PROBES))
    hashes = {"algorithm": _hash(_about_algorithm(algorithm, probes)), "network": _hash(_about_network(network, probes))}
    if alignment is not None:
        hashes["alignment"] = _hash(
            {v: [[str(f.site), f.dims, *_record(stored.to_record(f.featurizer))] for f in alignment.parts(v)] for v in alignment}
        )
    found = alignment.found if alignment is not None else None
    spec = search or (None if found is None else found.search)
    if spec is not None:
        hashes["search"] = _hash(
            [*_record(spec.to_record()), source_of(type(spec.method)), found and [found.seed, found.candidates]]
        )
    return hashes


def _record(kept: tuple[Any, Mapping[str, Tensor]]) -> list[Any]:
    """A record with hashes in place of its tensors."""
    record, tensors = kept
    return [record, {k: _tensor(x) for k, x in tensors.items()}]


def _about_algorithm(algorithm: CausalModel, probes: Mapping[str, Any]) -> list[Any]:
    domains = {v: algorithm.known_domain(v) for v in algorithm.graph}
    values = {v: [repr(x) for x in d] if isinstance(d, Finite) else str(d) for v, d in domains.items()}
    equations = algorithm.equations.values()
    tables = {e.variable: source_of(e.function) if e.table is None else e.table.tolist() for e in equations}
    return [list(algorithm.graph.edges), values, algorithm.outputs, tables, _plain(algorithm.solve(probes))]


def _about_network(network: Network, probes: Mapping[str, Any]) -> list[Any]:
    if any(p.is_meta for p in network.module.parameters()):
        raise NetworkError(
            f"weights of {network.name!r} are offloaded, so that a run cannot tell which they are; load it without that"
        )
    weights = {k: _tensor(x) for k, x in network.module.state_dict().items() if isinstance(x, Tensor)}
    own = {type(m) for m in network.module.modules() if not type(m).__module__.startswith("torch.")}
    sources = [*sorted(source_of(kind) for kind in own), source_of(network.encode), source_of(network.decode)]
    if network.finish is not None:
        sources.append(source_of(network.finish))
    batch = dict(probes)
    places = {name: [source_of(position), _plain(position(batch))] for name, position in network.positions.items()}
    settings = {path: _settings(m) for path, m in network.module.named_modules() if type(m) in own}
    return [str(network.module), settings, weights, sources, network.batch_size, places, _plain(network.run(probes))]


def _settings(module: nn.Module) -> dict[str, str]:
    """A module's own numbers and names, which may act only once something is interchanged."""
    return {k: repr(x) for k, x in sorted(vars(module).items()) if isinstance(x, _SETTINGS) and k != "training"}


def source_of(thing: Callable[..., Any]) -> str:
    """The text of a function or class, or what its compiled code does where there is no text; of a mechanism, its parts."""
    if is_dataclass(thing) and not isinstance(thing, type):
        return f"{type(thing).__qualname__} {[_part(getattr(thing, f.name)) for f in fields(thing)]}"
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return f"{code.co_code.hex()} {code.co_names}" if code else type(thing).__qualname__


def _part(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [[repr(k), _part(x)] for k, x in value.items()]
    return source_of(value) if callable(value) else repr(value)


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _tensor(x: Tensor) -> str:
    flat = x.detach().cpu().contiguous()
    return sha256(f"{flat.dtype}{list(flat.shape)}".encode() + flat.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def _plain(labels: Any) -> Any:
    if isinstance(labels, Mapping):
        return {v: _plain(x) for v, x in labels.items()}
    return np.asarray(labels).tolist()
