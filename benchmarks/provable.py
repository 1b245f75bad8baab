"""Networks for hierarchical equality of one shape and several trainings, to compare how far what they compute can be proved."""

import torch

import commute as cm
from commute.errors import NetworkError
from commute.models.zoo.equality import EqualityNetwork, as_network
from commute.models.zoo.training import hierarchical_equality
from commute.runs.seeds import stream, torch_seed

DIMS = 8  # neurons of relu1 that each equality is trained to be in


def trained(values: int, *, weight_decay: float | None = None, interchange: bool = False, seed: int = 0) -> cm.Network:
    """A network trained anew, on the task alone or by interchange interventions.

    Args:
        values: how many values an object can have.
        weight_decay: of the training on the task alone, 1.0 unless given.
        interchange: whether it is trained as `interchanged` says instead, which is without weight decay.
        seed: of weights and inputs.

    Raises:
        NetworkError: for a weight decay with interchange.
    """
    if not interchange:
        module, _ = hierarchical_equality(values, seed=seed, weight_decay=1.0 if weight_decay is None else weight_decay)
        return as_network(module)
    if weight_decay is not None:
        raise NetworkError(f"training by interchange has no weight decay; given weight_decay={weight_decay}, leave it out")
    return interchanged(values, seed=seed).network


def interchanged(values: int, *, seed: int = 0) -> cm.organisms.Organism:
    """A network trained by interchange interventions, with each equality in eight neurons of `relu1`."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(stream(seed, "provable", "weights")))
        network = as_network(EqualityNetwork(values))
    site = network.site("relu1")
    places = {"left": (site, range(DIMS)), "right": (site, range(DIMS, 2 * DIMS))}
    return cm.organisms.train(cm.library.hierarchical_equality(values), network, places=places, at_least=1.0, seed=seed)
