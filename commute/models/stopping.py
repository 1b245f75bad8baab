"""Stopping: a forward pass that ends where nothing after it is needed."""

from torch import nn

from commute.models.calls import Call
from commute.models.hooks import remembered
from commute.models.trace import Trace


class _Stop(BaseException):
    """Leaves a forward pass; no module catches it."""


def run_until(module: nn.Module, call: Call, trace: Trace, time: int | None) -> None:
    """Make a pass up to the beginning or end of a call at a time; None is the whole pass."""
    if time is None:
        call.make(module)
        return
    last = next(c for c in trace.calls if time in (c.start, c.end))
    begun = 0

    def count(_: nn.Module, __: object) -> None:
        nonlocal begun
        begun += 1
        if begun > last.number and time == last.start:
            raise _Stop

    def end(_: nn.Module, __: object, ___: object) -> None:
        if begun > last.number:
            raise _Stop

    restore = remembered(module)
    target = module.get_submodule(last.path)
    handles = [target.register_forward_pre_hook(count), target.register_forward_hook(end)]
    try:
        call.make(module)
    except _Stop:
        restore()  # a module that counts, say, what it is in has not counted back
    finally:
        for handle in handles:
            handle.remove()
