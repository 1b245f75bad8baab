"""Prompts: from settings to padded tokens, and from names to places among them."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from string import Formatter
from typing import Any, Literal, cast

import numpy as np
import torch

from commute.causal.batches import Batch, Column
from commute.errors import NetworkError, check, unknown

Padding = Literal["left", "right"]
Span = tuple[int, int]  # characters from the first up to the second
Found = tuple[Sequence[int], Sequence[Span] | None]  # a text's tokens, and where each is in the text

_FORMAT = Formatter()
_KEPT = 1 << 16  # prompts whose tokens are kept, for batches that come again
_SHOWN = 80


@dataclass(frozen=True)
class Prompt:
    """A text with named parts; the last token of each is a position of its name.

    Attributes:
        text: the prompt.
        marks: for each name the characters that it names, from the first up to the second number.
    """

    text: str
    marks: Mapping[str, Span] = field(default_factory=dict)

    @classmethod
    def filled(cls, template: str, values: Mapping[str, Any]) -> "Prompt":
        """A format template (`"{subject} gave"`) with its fields filled in, each of them a mark.

        Where a field occurs again the mark is `subject.2`, `subject.3` and so on.

        Raises:
            NetworkError: when there is no value for a field; it names the nearest.
        """
        missing = [unknown("value", f, values) for f in dict.fromkeys(_fields(template)) if f not in values]
        check(missing, NetworkError, f"the template {template!r}")
        text, marks, names = "", {}, iter(marks_of(template))
        for literal, name, spec, conversion in _FORMAT.parse(template):
            text += literal
            if name is not None:
                value, _ = _FORMAT.get_field(name, (), values)
                shown = _FORMAT.format_field(_FORMAT.convert_field(value, cast("Any", conversion)), spec or "")
                marks[next(names)] = len(text), len(text) + len(shown)
                text += shown
        return cls(text, marks)


def template_problems(template: str) -> list[str]:
    """What is wrong with a format template, a sentence each."""
    try:
        fields = _fields(template)
    except ValueError as error:
        return [f"the template {template!r} cannot be read: {error}; a brace that is meant as such is written twice"]
    nameless = any(not name or name.isdigit() for name in fields)
    return [f"each field of the template {template!r} must be named, as in {{subject}}"] * nameless


@lru_cache(64)
def marks_of(template: str) -> tuple[str, ...]:
    """The marks that a template makes, in order."""
    times: Counter[str] = Counter()
    names = []
    for name in _fields(template):
        times[name] += 1
        names.append(name if times[name] == 1 else f"{name}.{times[name]}")
    return tuple(names)


@lru_cache(64)
def _fields(template: str) -> tuple[str, ...]:
    """The names in a template, in order: `a` of `{a}`, `{a!r:>3}`, `{a.b}` and `{a[0]}`."""
    return tuple(name.split(".")[0].split("[")[0] for _, name, _, _ in _FORMAT.parse(template) if name is not None)


@dataclass(frozen=True)
class Tokens:
    """A prompt's tokens; `offsets` are the characters that each holds, None where the tokenizer does not tell."""

    prompt: Prompt
    ids: Sequence[int]
    offsets: Sequence[Span] | None = None

    def place(self, name: str, mask: int | None) -> int:
        """The place of a named position; `mask` is the token of the position "mask".

        Raises:
            NetworkError: when the prompt lacks it.
        """
        if name in self.prompt.marks:
            return self._last(name)
        if name == "end":
            return len(self.ids) - 1
        if name == "mask" and mask is not None:
            if list(self.ids).count(mask) != 1:
                raise self.wrong(f"has {list(self.ids).count(mask)} mask tokens; it must have one")
            return list(self.ids).index(mask)
        raise self.wrong(f"lacks a mark: {unknown('mark', name, [*self.prompt.marks, 'end'])}")

    def _last(self, name: str) -> int:
        """The last token that holds some of a mark's characters; special tokens hold none."""
        if self.offsets is None:
            raise self.wrong(f"has a mark {name!r}, but a slow tokenizer does not tell where tokens are; use a fast one")
        start, stop = self.prompt.marks[name]
        if not 0 <= start < stop <= len(self.prompt.text):
            raise self.wrong(f"has a mark {name!r} at characters {start} to {stop}; it must hold some of {len(self.prompt.text)}")
        places = [i for i, (first, end) in enumerate(self.offsets) if first < stop and start < end]
        if not places:
            raise self.wrong(f"has a mark {name!r} at characters {start} to {stop}, which no token holds")
        return places[-1]

    def wrong(self, reason: str) -> NetworkError:
        """An error about this prompt."""
        return NetworkError(f"the prompt {_short(self.prompt.text or self.ids)} {reason}")


@dataclass(frozen=True)
class Prompts:
    """From a batch of inputs to the call of a language model.

    Attributes:
        made: a format template, or a function from a setting to a text, a `Prompt` or token ids.
        tokenizer: of transformers; None where `made` gives token ids. It is left as it is.
        vocabulary: the number of tokens that the model knows.
        padding: the side on which shorter prompts are filled up.
        first_position: the position id of the first real token; None where the model takes none.
        options: what else the model is called with.
    """

    made: str | Callable[[dict[str, Any]], Any]
    tokenizer: Any
    vocabulary: int
    padding: Padding = "left"
    first_position: int | None = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", {})  # a cache is no part of what the prompts are

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The options and `input_ids`, `attention_mask` and, where the model takes it, `position_ids`, each [batch, longest]."""
        tokens, rows = self._tokens(batch)
        lengths = np.array([len(t.ids) for t in tokens])[:, None]
        columns = np.arange(lengths.max())
        real = columns < lengths if self.padding == "right" else columns >= lengths.max() - lengths
        ids = np.full(real.shape, self._pad())
        ids[real] = np.concatenate([t.ids for t in tokens])
        call = {"input_ids": ids, "attention_mask": real.astype(np.int64)}
        if self.first_position is not None:  # by themselves models count columns, padding on the left among them
            call["position_ids"] = (real.cumsum(1) - 1).clip(0) + self.first_position
        return {**{k: torch.from_numpy(x[rows]) for k, x in call.items()}, **self.options}

    @property
    def positions(self) -> Mapping[str, Callable[[Batch], Column]]:
        """The named positions: functions from inputs to places among each row's real tokens, [batch] of int64.

        Those of a template are its fields and "end", with a masked language model "mask". The marks of a function are known only
        when it makes a prompt; each name is taken for one until then.
        """
        marks = marks_of(self.made) if isinstance(self.made, str) else ()
        ours = ["end"] if self._special("mask") is None else ["end", "mask"]
        return _Named(self._places, tuple(dict.fromkeys([*marks, *ours])), callable(self.made))

    def _places(self, name: str, batch: Batch) -> Column:
        tokens, rows = self._tokens(batch)
        return np.array([t.place(name, self._special("mask")) for t in tokens])[rows]

    def _tokens(self, batch: Batch) -> tuple[list[Tokens], Column]:
        """The tokens of each distinct setting in a batch, and for each row [batch] which of them it has."""
        settings, rows = _distinct(batch)
        prompts = [self._prompt(setting) for setting in settings]
        found = self._tokenised({p.text: None for p in prompts if isinstance(p, Prompt)})
        tokens = [Tokens(p, *found[p.text]) if isinstance(p, Prompt) else Tokens(Prompt(""), p) for p in prompts]
        for prompt in tokens:
            self._check(prompt)
        return tokens, rows

    def _prompt(self, setting: dict[str, Any]) -> Prompt | list[int]:
        if isinstance(self.made, str):
            return Prompt.filled(self.made, setting)
        made = self.made(setting)
        if isinstance(made, (str, Prompt)):
            if self.tokenizer is None:
                raise NetworkError(f"prompts returned a text, {_short(made)}; give its tokenizer, or return token ids")
            return Prompt(made) if isinstance(made, str) else made
        ids = np.asarray(made)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise NetworkError(f"prompts must return a text, a Prompt or token ids; for {setting} it returned {_short(made)}")
        return cast("list[int]", ids.tolist())

    def _tokenised(self, texts: Mapping[str, None]) -> dict[str, Found]:
        """The tokens of texts, from the cache where they are there."""
        cache: dict[str, Found] = self.__dict__["_known"]
        known = {text: cache[text] for text in texts if text in cache}
        new = [text for text in texts if text not in known]
        if new:
            fast = self.tokenizer.is_fast
            got = self.tokenizer(new, return_offsets_mapping=fast, return_attention_mask=False, return_token_type_ids=False)
            offsets = got["offset_mapping"] if fast else [None] * len(new)
            known |= zip(new, zip(got["input_ids"], offsets, strict=True), strict=True)
            if len(cache) + len(new) > _KEPT:
                cache.clear()
            cache |= {text: known[text] for text in new[:_KEPT]}
        return known

    def _check(self, tokens: Tokens) -> None:
        if not tokens.ids:
            raise tokens.wrong("has no tokens")
        if min(tokens.ids) < 0 or max(tokens.ids) >= self.vocabulary:
            raise tokens.wrong(
                f"has tokens {min(tokens.ids)} to {max(tokens.ids)}; the model knows {self.vocabulary} tokens, from 0"
            )
        begin = self._special("bos")
        if begin is not None and list(tokens.ids[:2]) == [begin, begin]:
            raise tokens.wrong("begins twice: the tokenizer adds the beginning by itself; leave it out of the text")

    def _special(self, kind: str) -> int | None:
        token: int | None = getattr(self.tokenizer, f"{kind}_token_id", None)
        return token

    def _pad(self) -> int:
        """What fills up a prompt; it is masked, so that any token that the model knows will do."""
        given = [self._special("pad"), self._special("eos")]
        return next((i for i in given if i is not None and 0 <= i < self.vocabulary), 0)


@dataclass(frozen=True)
class _Named(Mapping[str, Callable[[Batch], Column]]):
    """Named positions; with `more`, any other name may be one."""

    find: Callable[[str, Batch], Column]
    names: tuple[str, ...]
    more: bool

    def __getitem__(self, name: str) -> Callable[[Batch], Column]:
        if name not in self.names and not self.more:
            raise KeyError(name)
        return partial(self.find, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _distinct(batch: Batch) -> tuple[list[dict[str, Any]], Column]:
    """The distinct settings of a batch, and for each row [batch] which of them it is."""
    codes = np.stack([_codes(column) for column in batch.values()], 1)
    _, first, rows = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    columns = [column[first].tolist() for column in batch.values()]
    return [dict(zip(batch, labels, strict=True)) for labels in zip(*columns, strict=True)], rows.reshape(-1)


def _codes(column: Column) -> Column:
    """A number for each distinct label, [batch] of int64; 1 and True are distinct."""
    if column.dtype != object:
        return np.unique(column, return_inverse=True)[1].reshape(-1)
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault((type(x), x), len(places)) for x in column.tolist()])


def _short(prompt: Any) -> str:
    shown = repr(prompt)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
