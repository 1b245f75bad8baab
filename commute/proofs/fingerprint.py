"""Hashes of all that a verdict depends on."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.alignments.search import Search
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.runs.seeds import stream

_PROBES = 64  # inputs on which functions are told apart, besides tables and weights


def fingerprint(algorithm: CausalModel, network: Network, alignment: Alignment | None, search: Search | None) -> dict[str, str]:
    """A sha256 of the algorithm, the network, and the alignment or the search for it.

    Functions (mechanisms too large to tabulate, encode and decode) enter by what they answer to a fixed set of inputs.
    """
    probes = algorithm.labels(Inputs(algorithm).sample(stream(0, "fingerprint"), _PROBES))
    domains = {v: str(algorithm.known_domain(v)) for v in algorithm.graph}
    tables = {v: e.table.tolist() for v, e in algorithm.equations.items() if e.table is not None}
    weights = {k: _tensor(x) for k, x in network.module.state_dict().items() if isinstance(x, Tensor)}
    hashes = {
        "algorithm": _hash([list(algorithm.graph.edges), domains, algorithm.outputs, tables, _plain(algorithm.solve(probes))]),
        "network": _hash([str(network.module), weights, network.batch_size, _plain(network.run(probes))]),
    }
    if alignment is not None:
        features = {
            v: [str(f.site), f.dims, {k: _tensor(x) for k, x in f.featurizer.tensors().items()}] for v, f in alignment.items()
        }
        hashes["alignment"] = _hash(features)
    spec = search or (alignment.search if alignment is not None else None)
    if spec is not None:
        hashes["search"] = _hash([list(spec.variables), [str(s) for s in spec.sites], repr(spec.method), spec.n])
    return hashes


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _tensor(x: Tensor) -> str:
    flat = x.detach().cpu().contiguous()
    return sha256(f"{flat.dtype}{list(flat.shape)}".encode() + flat.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def _plain(labels: Any) -> Any:
    if isinstance(labels, Mapping):
        return {v: _plain(x) for v, x in labels.items()}
    return np.asarray(labels).tolist()
