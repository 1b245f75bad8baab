"""Decoding: from a module's output to labels, and the scores that the labels were chosen by."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from commute.causal.batches import Column, as_column
from commute.errors import NetworkError

Decode = Callable[[Any], Any]  # a module's output -> labels, one array [batch] or a mapping from output to array

_ARGMAX = {torch.argmax, Tensor.argmax}
_AT_LEAST = {torch.ge, Tensor.ge, Tensor.__ge__}
_AT_MOST = {torch.le, Tensor.le, Tensor.__le__}
_MORE = _AT_LEAST | {torch.gt, Tensor.gt, Tensor.__gt__}
_LESS = _AT_MOST | {torch.lt, Tensor.lt, Tensor.__lt__}


def labels_of(decoded: Any) -> Column | dict[str, Column]:
    """What a decode function returned as labels: one array [batch], or one for each output."""
    if isinstance(decoded, Mapping):
        if not decoded:
            raise NetworkError("decode returned an empty mapping; it must return the labels of at least one output")
        return {str(k): _column(v) for k, v in decoded.items()}
    if decoded is None:
        raise NetworkError("decode returned None; it must return a label for each row")
    return _column(decoded)


def _column(labels: Any) -> Column:
    if isinstance(labels, list) and labels and all(isinstance(x, Tensor) for x in labels):
        labels = [x.item() for x in labels]
    return as_column(labels)


@dataclass
class _Watch(TorchFunctionMode):
    """Records the scores of the decisions made while it is active; with `forced`, decides as told [batch] instead.

    Of equal scores an argmax takes the first, so the first is "no" of a strict comparison, and "yes" of one that holds of equals.
    """

    forced: Tensor | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.scores: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        decided, forced = func(*args, **kwargs), self.forced
        if func in _ARGMAX:
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            scores = args[0].flatten() if axis is None else args[0].movedim(axis, -1)
        elif func in _MORE | _LESS:
            difference = args[0] - args[1] if func in _MORE else args[1] - args[0]
            yes = 0 if func in _AT_LEAST | _AT_MOST else 1
            no_and_yes = torch.zeros_like(difference), difference
            scores = torch.stack(no_and_yes if yes else no_and_yes[::-1], -1)
            forced = None if forced is None else forced == yes
        else:
            return decided
        self.scores.append(scores)
        return decided if forced is None else forced.to(decided).reshape(decided.shape)


@dataclass(frozen=True)
class Readout:
    """Which scores a decode function compares, and the label that each choice stands for.

    `decode` must make one decision a row: an argmax, or a comparison with a number. The decision is found by watching torch
    while `decode` runs, and the label of each choice by letting `decode` run with that choice.
    """

    decode: Decode
    labels: tuple[Hashable, ...]

    @classmethod
    def of(cls, decode: Decode, output: Any, rows: int) -> "Readout":
        """Read the decision of `decode` off one output of `rows` rows.

        Raises:
            NetworkError: when `decode` does not make exactly one decision a row, or returns more than one array of labels.
        """
        choices = _decision(decode, output, rows).shape[1]
        labels: list[Hashable] = []
        for start in range(0, choices, rows):
            with _Watch((torch.arange(rows) + start).clamp(max=choices - 1)):
                decoded = labels_of(decode(output))
            if not isinstance(decoded, np.ndarray):
                raise NetworkError("training needs a decode that returns one array of labels; this one returns several outputs")
            labels += decoded.tolist()
        return cls(decode, tuple(labels[:choices]))

    def scores(self, output: Any, rows: int) -> Tensor:
        """The scores compared, with their gradients, [batch, choice]."""
        return _decision(self.decode, output, rows)

    @cached_property
    def classes(self) -> Tensor:
        """The first choice with each choice's label, [choices] of int64: choices with one label are one answer."""
        first = dict[Hashable, int]()
        return torch.tensor([first.setdefault(label, place) for place, label in enumerate(self.labels)])

    def choices(self, labels: Column) -> Tensor:
        """The choice that each label stands for, [batch] of int64.

        Raises:
            NetworkError: naming a label that `decode` never returns, or that stands for several choices.
        """
        places: dict[Hashable, list[int]] = {}
        for place, label in enumerate(self.labels):
            places.setdefault(label, []).append(place)
        for label in dict.fromkeys(labels.tolist()):
            if len(places.get(label, [])) != 1:
                shown = ", ".join(repr(v) for v in list(places)[:8])
                times = "never returns it" if label not in places else f"returns it for {len(places[label])} choices"
                raise NetworkError(f"the algorithm answers {label!r}, but decode {times}; it returns {shown}")
        return torch.tensor([places[label][0] for label in labels.tolist()])


def _decision(decode: Decode, output: Any, rows: int) -> Tensor:
    with _Watch() as watch:
        decode(output)
    if len(watch.scores) != 1 or watch.scores[0].ndim != 2 or len(watch.scores[0]) != rows:  # noqa: PLR2004  # [batch, choice]
        found = [list(s.shape) for s in watch.scores]
        raise NetworkError(
            "training needs the scores that decode chooses by: it must make one decision a row with torch's argmax, or by "
            f"comparing one number a row ([batch] > 0); found decisions on scores of shape {found} for {rows} rows"
        )
    scores: Tensor = watch.scores[0]
    return scores
