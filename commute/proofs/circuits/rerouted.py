"""A circuit as a network that has what flows as sites, so that its run with another input is an interchange like any other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from commute.alignments.alignment import Alignment
from commute.alignments.feature import Feature
from commute.causal.batches import Batch, take
from commute.errors import NetworkError
from commute.models.ablations import Zero
from commute.models.calls import tensors_of
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import stream_of
from commute.models.circuits.runs import Runs
from commute.models.circuits.stream import Kept, Stream
from commute.models.network import Network
from commute.models.sites import Site

LEFT_OUT, NOTHING = "edges left out", "nothing left out"
FLOWING = Alignment({LEFT_OUT: Feature(Site("written")), NOTHING: Feature(Site("nothing"))})


def rerouted(circuit: Circuit, inputs: Batch) -> Network:
    """The circuit's network, with what `FLOWING` aligns.

    With "edges left out" from another input it answers as the circuit does where these edges carry what they do for that input.
    With "nothing left out" from another input, or with no interchange, it answers as the whole network.

    Args:
        circuit: the circuit.
        inputs: all that it is to be run on, in which the positions of its nodes must be the same.

    Raises:
        NetworkError: where they are not.
    """
    stream = stream_of(circuit.graph)
    network = stream.network
    return Network(
        _Rerouted(stream, _kept(circuit, inputs)),
        encode=network.encode,
        decode=network.decode,
        name=network.name,
        batch_size=network.batch_size,
        positions=network.positions,
        memory=network.memory,
        spill=network.spill,
    )


def _kept(circuit: Circuit, inputs: Batch) -> Kept:
    """What of each writer reaches each reader, [readers, writers], or also [.., 1, columns]."""
    runs = Runs.of(circuit.graph, take(inputs, slice(1)), Zero())
    mask = runs.mask(circuit)
    if len(runs.places) == 1:
        return mask[..., 0]
    columns = runs.columns(inputs)
    if bool((columns != columns[:1]).any()):
        raise NetworkError(
            f"the positions {', '.join(map(str, runs.places[:-1]))} are at other tokens in some inputs; for a proof they must be "
            "the same in all: give inputs of one length, or a graph without positions"
        )
    return mask[:, :, None, columns[0]]


class _Rerouted(nn.Module):
    """A module that is run for what it writes to its stream, and again with some of that in place of what it then writes."""

    def __init__(self, stream: Stream, kept: Kept) -> None:
        super().__init__()
        network = stream.network
        self.whole = network.module
        self.given: Any = ()
        inner = Network(self.whole, encode=lambda _: self.given, decode=network.decode, finish=network.finish, name=network.name)
        self.stream, self.kept = replace(stream, network=inner), kept
        self.written, self.nothing = _Giving(self._written), nn.Identity()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network's decode takes."""
        self.given = kwargs or args
        instead: Tensor = self.written()
        self.nothing(instead.new_zeros(len(instead), 1))
        return self.stream.run(self._rows(), self.kept, instead.reshape(self.shape).movedim(1, 0))

    def _written(self) -> Tensor:
        """What each writer adds, [batch, writers · … · width]."""
        written = self.stream.written(self._rows()).movedim(0, 1)
        self.shape = written.shape
        return written.flatten(1)

    def _rows(self) -> Batch:
        """Inputs by their places alone, since they are encoded as `given`."""
        return {"row": np.arange(len(tensors_of(self.given)[0]))}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own, whose weights they are."""
        return self.whole.state_dict(*args, **kwargs)


class _Giving(nn.Module):
    """What a function gives, as a site."""

    def __init__(self, give: Callable[[], Tensor]) -> None:
        super().__init__()
        self.give = give

    def forward(self) -> Tensor:
        """What it gives."""
        return self.give()
