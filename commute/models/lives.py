"""Lives: from when until when each tensor of a forward pass that depends on its inputs is needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from commute.models.calls import tensors_of

_LEAVING = {Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr}
END = 1 << 62  # later than every call


class Escapes(TorchFunctionMode):
    """Notes in `Lives` where values leave torch, where nothing can be watched."""

    def __init__(self, lives: "Lives") -> None:
        super().__init__()
        self.lives = lives

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        if func in _LEAVING:
            self.lives.leave(args)
        return func(*args, **(kwargs or {}))


class Lives(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches the operations of one forward pass.

    What depends on the inputs lives from the operation that makes it to the last one that reads it. Tensors that share memory are
    one. Times are places in the order of beginnings and ends of calls, as in `ModuleCall`.

    Attributes:
        now: the next time; kept by who watches the calls.
        inside: the call that is made now, by its place in the order of beginnings; kept likewise.
        flops: floating-point operations so far, as torch's flop counter counts them.
        largest: bytes of what lives, where they are the most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.inside = 0
        self.flops = 0
        self.largest = 0
        self._born: dict[int, int] = {}
        self._read: dict[int, int] = {}
        self._inside: dict[int, int] = {}
        self._left: set[int] = set()  # calls in which something left torch
        self._order: list[tuple[int, int]] = []  # (memory, bytes) in the order in which they are made
        self._reads: dict[int, int] = {}
        self._made_of: list[tuple[int, int, int]] = []  # (memory read, memory made, the call inside of which)
        self._kept: list[Tensor] = []  # what is kept shares its memory with nothing that is made later

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        made = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func.overloadpacket)) is not None:  # type: ignore[attr-defined]
            self.flops += count(*args, **(kwargs or {}), out_val=made)
        read = [m for m in _memories((args, kwargs)) if m in self._born]
        for memory in read:
            self._read[memory] = max(self._read.get(memory, 0), self.now)
            self._reads[memory] = len(self._order) + 1
        if read:
            if func is torch.ops.aten._local_scalar_dense.default:  # noqa: SLF001
                self.leave(args)
            self.begin(made)
            self._made_of += [(one, other, self.inside) for other in _memories(made) for one in read if one != other]
        return made

    def leave(self, value: Any) -> None:
        """Take the tensors in a value for ones that leave torch, as numbers or arrays: what they become may be used anywhere."""
        left = [m for m in _memories(value) if m in self._born]
        for memory in left:
            self._read[memory] = END
        if left:
            self._left.add(self.inside)

    def begin(self, value: Any) -> None:
        """Take the tensors in a value for ones that depend on the inputs."""
        for x in _tensors(value):
            memory = x.untyped_storage().data_ptr()
            if memory not in self._born:
                self._order.append((memory, x.untyped_storage().nbytes()))
                self._kept.append(x)
            self._born.setdefault(memory, self.now)
            self._inside.setdefault(memory, self.inside)

    def end(self, value: Any) -> None:
        """Take the tensors in a value for ones that are needed for good."""
        for memory in _memories(value):
            self._read[memory] = END
            self._reads[memory] = len(self._order) + 1
        self.largest = self._largest()

    def until(self, values: Sequence[Any], ends: Sequence[int]) -> list[int]:
        """From when on the tensors in each value are not needed in a pass in which calls that are over are not made.

        They are needed when they are read after, or when something is that was made of them in a call that is made again.

        Args:
            values: tensors, by themselves or in containers.
            ends: from when on each call is not made again, by itself or within another.
        """
        needed = dict(self._read)
        for read, made, inside in reversed(self._made_of):
            needed[read] = max(needed.get(read, 0), min(ends[inside], needed.get(made, 0)))
        return [max((needed.get(m, 0) for m in _memories(value)), default=END) for value in values]

    def leaking(self, values: Sequence[Any], ends: Sequence[int], around: Sequence[int | None]) -> set[int]:
        """The calls in which something is made that is read after them, though they do not give it.

        Args:
            values: what each call gives.
            ends: when each call ends.
            around: the call in which each is made.
        """
        own = [set(_memories(value)) for value in values]
        found: set[int] = set()
        for left in self._left:
            call: int | None = left
            while call is not None:
                found.add(call)
                call = around[call]
        for memory, inside in self._inside.items():
            call = inside
            while call is not None and ends[call] < self._read.get(memory, 0):
                if memory not in own[call]:
                    found.add(call)
                call = around[call]
        return found

    def read_after(self, value: Any, time: int) -> bool:
        """Whether a tensor in a value is read after a time."""
        return any(self._read.get(m, 0) > time for m in _memories(value))

    def made_since(self, value: Any, time: int) -> bool:
        """Whether all tensors in a value were made after a time."""
        return all(self._born.get(m, -1) > time for m in _memories(value))

    def counts(self, times: int) -> list[int]:
        """At each time how many tensors made before are needed after it."""
        steps = [0] * (times + 1)
        for memory, born in self._born.items():
            last = min(self._read.get(memory, 0), times)
            if last > born:
                steps[born] += 1
                steps[last] -= 1
        return list(accumulate(steps))[:times]

    def _largest(self) -> int:
        steps = [0] * (len(self._order) + 2)
        for i, (memory, size) in enumerate(self._order):
            steps[i] += size
            steps[max(self._reads.get(memory, 0), i + 1)] -= size
        return max(accumulate(steps))


def _tensors(value: Any) -> Iterator[Tensor]:
    return (x for x in tensors_of(value) if x.layout == torch.strided and x.numel())


def _memories(value: Any) -> list[int]:
    """What tells the memory of each tensor in a value from that of others."""
    return [x.untyped_storage().data_ptr() for x in _tensors(value)]
