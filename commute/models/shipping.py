"""Shipping: a network as bytes, to work on it in another process."""

import io
import pickle
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from commute.errors import CommuteError, NetworkError, check
from commute.models.network import Network
from commute.models.prompts import Prompts


@dataclass(frozen=True)
class Packed:
    """A network as bytes.

    Attributes:
        skeleton: a pickle of the network without its tensors, for the user's own processes only: reading one runs code.
        weights: safetensors of the memory that the network's tensors are in, by number.
        key: a sha256 of both.
    """

    skeleton: bytes = field(repr=False)
    weights: bytes = field(repr=False)
    key: str


def packed(network: Network) -> Packed:
    """A network as bytes: its module, with all that its functions hold, and its options; nothing that it keeps of passes.

    The module is only read. Each tensor travels once, and those that share memory share it on arrival. With cloudpickle installed
    functions may be lambdas, local, or of `__main__`; else all must be importable.

    Raises:
        NetworkError: naming tensors that are no plain memory (sparse, quantized, on the meta device, of a class of their own),
            and when something else cannot be pickled.
    """
    tensors = _Tensors()
    skeleton = _dumped(_parts(network), f"the network {network.name!r}", tensors)
    check([_unfit(x, network.module) for x in tensors.unfit], NetworkError, f"sending {network.name!r} to another process")
    weights = save(tensors.memory())
    return Packed(skeleton, weights, sha256(sha256(skeleton).digest() + sha256(weights).digest()).hexdigest())


def unpacked(given: Packed) -> Network:
    """The network in what `packed` gave; its tensors are on the devices they came from, or on the CPU where there is none such.

    Raises:
        NetworkError: when a module or folder that the network needs is lacking here.
    """
    unpickler = _Unpickler(io.BytesIO(given.skeleton), load(given.weights))
    return _network(*_loaded(unpickler, "the network"))


def as_bytes(function: Any) -> bytes:
    """A function as bytes for another process of the same user.

    Raises:
        NetworkError: when it cannot be pickled.
    """
    return _dumped(function, f"the function {getattr(function, '__qualname__', repr(function))!r}", None)


def from_bytes(given: bytes) -> Any:
    """The function in what `as_bytes` gave.

    Raises:
        NetworkError: when a module that it needs is lacking here.
    """
    return _loaded(pickle.Unpickler(io.BytesIO(given)), "the function")  # noqa: S301  # made by the process that sent it


class _Held(NamedTuple):
    """What stands for a tensor: which one it is, and where and how it is in memory."""

    number: int
    storage: int
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    device: str
    parameter: bool
    requires_grad: bool
    attributes: dict[str, Any]


class _Tensors:
    """The tensors met while pickling, and the memory that they are in."""

    def __init__(self) -> None:
        self.unfit: list[Tensor] = []
        self._numbers: dict[int, int] = {}
        self._storages: dict[tuple[str, int, int], tuple[int, Any]] = {}
        self._alive: list[Tensor] = []  # so that no number stands for two

    def held(self, x: Tensor) -> _Held | str:
        """What stands for a tensor; one that is no plain memory is noted, and nothing can stand for it."""
        if _strange(x):
            self.unfit.append(x)
            return "unfit"
        self._alive.append(x)
        number = self._numbers.setdefault(id(x), len(self._numbers))
        memory = x.untyped_storage()
        where = str(x.device), memory.data_ptr(), memory.nbytes()
        storage, _ = self._storages.setdefault(where, (len(self._storages), memory))
        place = int(x.storage_offset()), tuple(x.shape), tuple(x.stride()), str(x.device)
        return _Held(number, storage, x.dtype, *place, isinstance(x, nn.Parameter), x.requires_grad, dict(vars(x)))

    def memory(self) -> dict[str, Tensor]:
        """The bytes of each storage, [bytes] of uint8."""
        return {
            str(i): torch.empty(0, dtype=torch.uint8, device=memory.device).set_(memory).cpu()
            for i, memory in self._storages.values()
        }


def _strange(x: Tensor) -> str | None:
    """Why a tensor is no plain memory, if it is not."""
    if type(x) not in (Tensor, nn.Parameter):
        return f"a {type(x).__name__}"
    if x.is_meta:
        return "on the meta device, which holds no values; load the model without offloading"
    if x.layout != torch.strided:
        return f"sparse ({x.layout}); make it dense"
    if x.is_quantized:
        return f"quantized ({x.dtype}); dequantize it"
    return "a lazy conjugate or negative; resolve it" if x.is_conj() or x.is_neg() else None


def _unfit(x: Tensor, module: nn.Module) -> str:
    """A sentence about a tensor that cannot travel, with its name."""
    for path, inner in module.named_modules():
        for name, own in [*inner.named_parameters(recurse=False), *inner.named_buffers(recurse=False), *vars(inner).items()]:
            if own is x:
                return f"the tensor {f'{path}.{name}'.lstrip('.')!r} {list(x.shape)} is {_strange(x)}"
    return f"a tensor {list(x.shape)} that a function or container holds is {_strange(x)}"


def _dumped(thing: Any, what: str, tensors: _Tensors | None) -> bytes:
    """A pickle of anything; given `tensors`, they are noted there and references stand in their place."""
    try:
        from cloudpickle import Pickler

        advice = "leave what belongs to one process, such as open files and locks, out of it"
    except ImportError:
        from pickle import Pickler

        advice = "install cloudpickle with `pip install commute[cluster]`, or move functions and classes into a module"

    class Shipper(Pickler):  # type: ignore[misc, unused-ignore]  # of one library or the other
        def persistent_id(self, x: Any) -> _Held | str | None:
            return tensors.held(x) if tensors is not None and isinstance(x, Tensor) else None

        def reducer_override(self, x: Any) -> Any:
            if isinstance(x, Prompts):  # made anew, without the prompts that it remembers
                return Prompts, tuple(getattr(x, f.name) for f in fields(x))
            if isinstance(x, Network):
                return _network, _parts(x)
            parent = getattr(super(), "reducer_override", None)
            return NotImplemented if parent is None else parent(x)

    file = io.BytesIO()
    try:
        Shipper(file).dump(thing)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise NetworkError(f"{what} cannot be sent to another process: {reason}; {advice}") from error
    return file.getvalue()


class _Unpickler(pickle.Unpickler):
    """Puts tensors in the place of what stands for them."""

    def __init__(self, file: io.BytesIO, memory: dict[str, Tensor]) -> None:
        super().__init__(file)
        self._memory = memory
        self._storages: dict[int, Any] = {}
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, held: _Held) -> Tensor:
        if held.number not in self._made:
            self._made[held.number] = self._tensor(held)
        return self._made[held.number]

    def _tensor(self, held: _Held) -> Tensor:
        device = _device(held.device)
        if held.storage not in self._storages:  # copied, since rounding can depend on how memory is aligned
            room = self._memory.pop(str(held.storage)).to(device, copy=True)
            self._storages[held.storage] = room.untyped_storage()
        plain = torch.empty(0, dtype=held.dtype, device=device)
        plain.set_(self._storages[held.storage], held.offset, held.shape, held.stride)
        made = nn.Parameter(plain, held.requires_grad) if held.parameter else plain.requires_grad_(held.requires_grad)
        vars(made).update(held.attributes)
        return made


def _loaded(unpickler: pickle.Unpickler, what: str) -> Any:
    try:
        return unpickler.load()
    except CommuteError:
        raise
    except Exception as error:
        raise NetworkError(
            f"{what} cannot be rebuilt in this process: {type(error).__name__}: {error}; install here what is installed where it "
            "comes from, with cloudpickle (`pip install commute[cluster]`), or move its functions and classes into a module"
        ) from error


def _parts(network: Network) -> tuple[nn.Module, dict[str, Any]]:
    """What a network is made from."""
    names = "encode", "decode", "name", "batch_size", "positions", "finish", "memory", "spill"
    return network.module, {name: getattr(network, name) for name in names}


def _network(module: nn.Module, options: dict[str, Any]) -> Network:
    return Network(module, **options)


def _device(name: str) -> torch.device:
    """A device, or the CPU where there is none such here."""
    device = torch.device(name)
    kind: Any = getattr(torch, device.type, None)
    there = hasattr(kind, "is_available") and kind.is_available() and (device.index or 0) < kind.device_count()
    return device if there else torch.device("cpu")
