"""Temporary hooks and states: a module is left exactly as it was found."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from commute.errors import NetworkError
from commute.models.sites import Tap, tensor_at

Visit = Callable[[Tensor], Tensor | None]  # sees a tap's value; what it returns, if anything, takes its place


@contextmanager
def visiting(module: nn.Module, visits: Mapping[Tap, Visit], *, rows: int) -> Iterator[None]:
    """Call each visitor with its tap's value during one forward pass of `module` over a batch of `rows` rows.

    Only our own hooks are added and removed, also when the pass raises.

    Raises:
        NetworkError: when a tap's module did not run in the pass, or ran more than once.
    """
    fired = dict.fromkeys(visits, 0)
    handles: list[RemovableHandle] = []
    try:
        for tap, visit in visits.items():
            handles.append(_hook(module.get_submodule(tap.path), tap, visit, fired, rows))
        yield
    finally:
        for handle in handles:
            handle.remove()
    for tap, times in fired.items():
        if times != 1:
            reason = "its module did not run" if times == 0 else f"its module ran {times} times"
            raise NetworkError(f"the site {tap} cannot be used: {reason} in the forward pass; it must run exactly once")


def _hook(target: nn.Module, tap: Tap, visit: Visit, fired: dict[Tap, int], rows: int) -> RemovableHandle:
    def see(value: object) -> Tensor | None:
        fired[tap] += 1
        return visit(tensor_at(tap, value, rows))

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        seen = see(args[0] if args else None)
        return None if seen is None else (seen, *args[1:])

    def after(_: nn.Module, __: tuple[Any, ...], output: object) -> Tensor | None:
        return see(output)

    return target.register_forward_pre_hook(before) if tap.input else target.register_forward_hook(after)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients for the parameters; every flag is put back afterwards."""
    training = {m: m.training for m in module.modules()}
    graded = [p for p in module.parameters() if p.requires_grad]
    try:
        module.eval()
        for parameter in graded:
            parameter.requires_grad_(False)  # noqa: FBT003  # torch's own signature
        yield
    finally:
        for m, flag in training.items():
            m.training = flag
        for parameter in graded:
            parameter.requires_grad_(True)  # noqa: FBT003
