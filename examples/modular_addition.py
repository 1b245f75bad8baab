"""Is the sum modulo 113 held in a small subspace of a transformer's MLP?

    commute run examples/modular_addition.py -P folder=PATH

PATH is a folder with `model.safetensors` and `arch.json` of a one-layer transformer trained on [a, b, 113] -> (a + b) mod 113
(2301.05217), whose loader `nets.py` lies beside the folder. The search is told the site, the last position of the MLP's hidden
layer, and how many dimensions to use; not which.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch

import commute as cm

MODULUS = 113


@cm.claim
def modular_addition(folder: Path, dims: int = 12, n: int = 40_000) -> cm.Claim:
    """The claim that `dims` dimensions of the hidden layer hold the sum and nothing else of the inputs."""
    network = cm.Network(load(folder), encode=encode, decode=decode, name=folder.name, batch_size=4096)
    method = cm.DAS(dims=dims, restarts=1)
    search = cm.Search(["sum"], sites=[network.site("blocks.0.mlp.post", position=-1)], method=method, n=16_384)
    return cm.Claim(cm.library.modular_addition(MODULUS), network, search=search, at_least=0.99, confidence=0.99, n=n)


def encode(inputs: dict[str, np.ndarray]) -> torch.Tensor:
    """Tokens a, b and the sign for "equals", [batch, 3]."""
    equals = np.full_like(inputs["a"], MODULUS)
    return torch.from_numpy(np.stack([inputs["a"], inputs["b"], equals], axis=1))


def decode(logits: torch.Tensor) -> torch.Tensor:
    """The residue with the largest logit at the last position, [batch]."""
    return logits[:, -1, :MODULUS].argmax(-1)


def load(folder: Path) -> torch.nn.Module:
    """The trained transformer."""
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} has no model.safetensors; give a folder of trained weights with -P folder=PATH")
    spec = importlib.util.spec_from_file_location("nets", folder.parent / "nets.py")
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    return nets.load(folder.name, folder.parent)[0]
