"""A network with its learning undone: the control that every claim is held against."""

from copy import deepcopy

import numpy as np
import torch

from commute.errors import NetworkError
from commute.models.language import Continued
from commute.models.network import Network


def reinitialised(network: Network, generator: np.random.Generator) -> Network | None:
    """A copy of the network in which the entries of each parameter are shuffled among themselves.

    Each tensor keeps its scale and its distribution of weights, whatever its module's own initialisation is; what was learned,
    how the weights stand to each other, is lost. Buffers stay. None if that changes no weight.

    Raises:
        NetworkError: when the module cannot be copied, or accelerate has put its weights elsewhere.
    """
    if any(p.is_meta for p in network.module.parameters()):
        raise NetworkError(
            f"weights of {network.name!r} are offloaded, so that they cannot be shuffled for a control; load it without that"
        )
    try:
        module = deepcopy(network.module)
    except Exception as error:  # a module may hold whatever cannot be copied
        raise NetworkError(f"the module of {network.name!r} cannot be copied: {type(error).__name__}: {error}") from error
    changed = False
    with torch.no_grad():
        for parameter in module.parameters():
            order = torch.from_numpy(generator.permutation(parameter.numel())).to(parameter.device)
            shuffled = parameter.flatten()[order].reshape(parameter.shape)
            changed = changed or not torch.equal(shuffled, parameter)
            parameter.copy_(shuffled)
    if not changed:
        return None
    finish = network.finish
    return Network(
        module,
        encode=network.encode,
        decode=network.decode,
        name=f"{network.name}, re-initialised",
        batch_size=network.batch_size,
        positions=network.positions,
        finish=finish.rebound(module) if isinstance(finish, Continued) else finish,
        memory=network.memory,
        spill=network.spill,
    )
