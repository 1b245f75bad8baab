"""A network with its learning undone: the control that every claim is held against."""

from copy import deepcopy

import numpy as np
import torch

from commute.models.network import Network


def reinitialised(network: Network, generator: np.random.Generator) -> Network:
    """A copy of the network in which the entries of each parameter are shuffled among themselves.

    Each tensor keeps its scale and its distribution of weights, whatever its module's own initialisation is; what was learned,
    how the weights stand to each other, is lost. Buffers stay.
    """
    module = deepcopy(network.module)
    with torch.no_grad():
        for parameter in module.parameters():
            order = torch.from_numpy(generator.permutation(parameter.numel())).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
    return Network(
        module,
        encode=network.encode,
        decode=network.decode,
        name=f"{network.name}, re-initialised",
        batch_size=network.batch_size,
    )
