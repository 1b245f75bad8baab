"""Temporary hooks and states: a module is left exactly as it was found."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from commute.errors import NetworkError
from commute.models.sites import Tap

_OWN = frozenset(vars(nn.Module()))  # attributes that every module has
_FILLED = (list, deque, dict, set)
See = Callable[[Tap, object, int], Tensor | None]
Visit = Callable[[Tensor], Tensor | None]  # sees a tap's value; what it returns, if anything, takes its place


@contextmanager
def visiting(
    module: nn.Module, visits: Mapping[Tap, Visit], *, rows: Callable[[], int | None], calls: dict[str, int] | None = None
) -> Iterator[None]:
    """Call each visitor with its tap's value during one forward pass of `module`.

    Only our own hooks are added and removed, also when the pass raises.

    Args:
        module: the whole module.
        visits: what to do at each tap.
        rows: gives the rows of the batch at the moment, for a caller that runs modules on some of them; None for a caller that
            knows how rows are laid out.
        calls: kept by a caller that skips calls: how many of each module's calls were begun or skipped, by path.

    Raises:
        NetworkError: when a tap's module did not run in the pass, or ran several times and the tap does not say which.
    """
    fired = dict.fromkeys(visits, 0)
    ran: dict[str, int] = {}
    handles: list[RemovableHandle] = []

    def begin(path: str) -> int:
        ran[path] = (ran if calls is None else calls).get(path, 0) + 1
        return ran[path] - 1

    def see(tap: Tap, value: object, call: int) -> Tensor | None:
        if tap.call not in (None, call):
            return None
        fired[tap] += 1
        return visits[tap](tensor_at(tap, value, rows()))

    try:
        for path in dict.fromkeys(tap.path for tap in visits):
            taps = [tap for tap in visits if tap.path == path]
            handles += _hook(module.get_submodule(path), taps, partial(begin, path), see)
        yield
    finally:
        for handle in handles:
            handle.remove()
    for tap, times in fired.items():
        _check_fired(tap, times, ran.get(tap.path, 0))


def _hook(target: nn.Module, taps: Sequence[Tap], ran: Callable[[], int], seen: See) -> list[RemovableHandle]:
    """Hooks on one module; `ran` begins a call and gives its number, `seen` sees a tap's value in it."""
    inputs, outputs = ([tap for tap in taps if tap.input == side] for side in (True, False))
    number = 0

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal number
        number = ran()
        for tap in inputs:
            given: dict[int | str, Any] = dict(enumerate(args))
            given.update(kwargs)
            place = _input_of(tap, given)
            found = seen(tap, given.get(place), number)
            if found is not None and isinstance(place, int):
                args = (*args[:place], found, *args[place + 1 :])
            elif found is not None:
                kwargs = {**kwargs, str(place): found}
        return args, kwargs

    def after(_: nn.Module, __: tuple[Any, ...], output: object) -> object:
        for tap in outputs:
            found = seen(tap, _element(tap, output), number)
            output = output if found is None else _replaced(output, tap.element, found)
        return output

    handles = [target.register_forward_pre_hook(before, with_kwargs=True)]
    return [*handles, target.register_forward_hook(after)] if outputs else handles


def tensor_at(tap: Tap, value: object, rows: int | None) -> Tensor:
    """The value at a tap as a tensor that can be patched.

    Raises:
        NetworkError: when a module gives or takes something else, or its first axis is not the batch of `rows` rows.
    """
    if isinstance(value, Tensor) and value.ndim > 1 and rows in (None, len(value)):
        return value
    found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    several = isinstance(value, (tuple, list, Mapping)) and len(value) > 0
    names = list(value) if isinstance(value, Mapping) else list(range(len(value))) if isinstance(value, (tuple, list)) else []
    advice = f"say which with element={names[0]!r} … {names[-1]!r}" if several else "choose another module"
    raise NetworkError(f"the site {tap} holds {found}; it must hold a tensor [batch, …], here of {rows} rows; {advice}")


def _check_fired(tap: Tap, times: int, calls: int) -> None:
    if times == 1:
        return
    if calls == 0:
        reason = "its module did not run in the forward pass; it must run exactly once"
    elif tap.call is None:
        reason = f"its module ran {calls} times in the forward pass; say which time with call=0 … {calls - 1}"
    else:
        reason = f"it asks for call {tap.call}, counted from 0, but its module ran {calls} time{'s' * (calls > 1)}"
    raise NetworkError(f"the site {tap} cannot be used: {reason}")


def _input_of(tap: Tap, given: Mapping[int | str, Any]) -> int | str:
    """Which input a tap means: the one named, or the first that is a tensor."""
    if tap.element is not None:
        if tap.element not in given:
            raise NetworkError(f"the site {tap} asks for input {tap.element!r}; the module is called with {_names(given)}")
        return tap.element
    return next((place for place, x in given.items() if isinstance(x, Tensor)), next(iter(given), 0))


def _element(tap: Tap, output: object) -> object:
    if tap.element is None:
        return output
    if isinstance(output, Mapping) and tap.element in output:
        return output[tap.element]
    if isinstance(output, (tuple, list)) and isinstance(tap.element, int) and -len(output) <= tap.element < len(output):
        return output[tap.element]
    within = _names(_elements(output)) if isinstance(output, (tuple, list, Mapping)) else "one value"
    raise NetworkError(f"the site {tap} asks for element {tap.element!r}, but the module's output holds {within}")


def _names(given: Mapping[Any, Any]) -> str:
    return ", ".join(repr(k) for k in given) or "nothing"


def _replaced(output: Any, element: int | str | None, found: Tensor) -> Any:
    """A copy of an output with one element replaced."""
    if element is None:
        return found
    if isinstance(output, tuple):
        place = int(element) % len(output)
        parts = (*output[:place], found, *output[place + 1 :])
        if hasattr(output, "_fields"):
            return type(output)(*parts)
        return parts if type(output) is tuple else type(output)(parts)  # torch.return_types take their values as one
    changed = copy(output)
    changed[element] = found
    return changed


@contextmanager
def listing(module: nn.Module, paths: Iterable[str], rows: int) -> Iterator[dict[Tap, tuple[int, ...]]]:
    """The taps at outputs of the modules at `paths` that hold a tensor [batch, …], with its shape, as one pass shows them."""
    seen: dict[Tap, tuple[int, ...]] = {}
    runs: dict[str, list[dict[int | str | None, tuple[int, ...]]]] = {path: [] for path in paths}
    order: list[str] = []

    def see(path: str, output: object) -> None:
        order.append(path)
        runs[path].append({k: x.shape for k, x in _elements(output).items() if isinstance(x, Tensor) and x.shape[:1] == (rows,)})

    handles = [
        module.get_submodule(path).register_forward_hook(lambda _, __, output, path=path: see(path, output)) for path in runs
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    for path in dict.fromkeys(order):
        for call, shapes in enumerate(runs[path]):
            for element, shape in shapes.items():
                if len(shape) > 1:
                    seen[Tap(path, element=element, call=call if len(runs[path]) > 1 else None)] = tuple(shape)


def _elements(output: object) -> dict[int | str | None, object]:
    if isinstance(output, Mapping):
        return dict(output)
    return dict(enumerate(output)) if isinstance(output, (tuple, list)) else {None: output}


def remembered(module: nn.Module) -> Callable[[], None]:
    """Remember what modules keep besides weights and buffers, in attributes and in containers; what is returned puts it back."""
    kept: list[tuple[nn.Module, str, Any, Any]] = [
        (m, name, x, copy(x) if isinstance(x, _FILLED) else None)
        for m in module.modules()
        for name, x in vars(m).items()
        if name not in _OWN
    ]

    def restore() -> None:
        for m, name, x, contents in kept:
            vars(m)[name] = x
            if isinstance(x, _FILLED):
                x.clear()
                x.extend(contents) if isinstance(x, (list, deque)) else x.update(contents)

    return restore


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is compiled or scripted, so that hooks on what it is made of do not run."""
    kinds = {kind.__name__ for kind in type(module).__mro__}  # naming them in torch warns, or imports the compiler
    return bool(kinds & {"OptimizedModule", "ScriptModule"}) or getattr(module, "_compiled_call_impl", None) is not None


def as_built(module: nn.Module) -> bool:
    """Whether no module was given a `forward`, which, as that of accelerate, may move weights and have to clean up."""
    return not any("forward" in m.__dict__ for m in module.modules())


@contextmanager
def ungraded(module: nn.Module) -> Iterator[None]:
    """No gradients, by inference mode where no weights are made in it: those could have no gradients ever after.

    What the module made meanwhile and keeps, such as a table of rotations, is exchanged for copies without that flaw.
    """
    if not as_built(module):
        with torch.no_grad():
            yield
        return
    try:
        with torch.inference_mode():
            yield
    finally:
        for inner in module.modules():
            _cleared(vars(inner))


def _cleared(kept: Any, depth: int = 3) -> None:
    for key, x in list(kept.items() if isinstance(kept, dict) else enumerate(kept)):
        if isinstance(x, Tensor) and x.is_inference():
            kept[key] = x.clone()
        elif isinstance(x, tuple) and any(isinstance(y, Tensor) and y.is_inference() for y in x):
            kept[key] = tuple(y.clone() if isinstance(y, Tensor) else y for y in x)
        elif isinstance(x, (dict, list)) and key != "_modules" and depth:
            _cleared(x, depth - 1)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; every flag is put back afterwards."""
    training = [m for m in module.modules() if m.training]
    try:
        module.eval()
        yield
    finally:
        for m in training:
            m.training = True


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients for the parameters; every flag is put back afterwards."""
    graded = [(m, name) for m in module.modules() for name, p in m.named_parameters(recurse=False) if p.requires_grad]
    try:
        for m, name in graded:
            getattr(m, name).requires_grad_(False)  # noqa: FBT003  # torch's own signature
        with evaluating(module):
            yield
    finally:
        for m, name in graded:  # by name: accelerate puts other tensors in place of weights that it moves
            getattr(m, name).requires_grad_(True)  # noqa: FBT003
