"""Answers: from a language model's scores, or from what it writes, to labels."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from commute.errors import not_counts

Text = str | int | Sequence[int]  # a text, a token id or token ids
Texts = Mapping[Any, Text] | Sequence[Any]  # for each label the text that follows the prompt; for labels alone, a space and they
Ids = tuple[int, ...]

_BEFORE = "="  # a text that hardly any tokenizer joins with what follows
_AFTER = 2  # tokens written after the longest label, which tell 11 from 112 and from 11.5


@dataclass(frozen=True)
class TopToken:
    """Answers as single tokens, the likeliest of the whole vocabulary; one that is no label's is answered with its text.

    Attributes:
        answers: for each label the text that follows the prompt, or its token's id; " Mary" and "Mary" are different tokens.
            Labels by themselves stand for a space and their own text.
    """

    answers: Texts


@dataclass(frozen=True)
class Generated:
    """Answers as short texts that the model writes, the likeliest token each time.

    A label is the answer when its tokens are the first that are written and what follows goes on with neither its last word nor
    its number: 112 and 11.5 are not 11. Of several labels the longest is the answer; of none, the text that was written.

    Attributes:
        answers: for each label the text that follows the prompt, or its token ids. Labels by themselves stand for a space and
            their own text.
        tokens: how many to write; None is as many as the longest label has, and two more.
    """

    answers: Texts
    tokens: int | None = None


AnswersLike = Texts | TopToken | Generated


@dataclass(frozen=True)
class Among:
    """The label whose token is the likeliest of all labels' tokens."""

    labels: tuple[Hashable, ...]
    ids: Ids

    def __call__(self, scores: Tensor) -> list[Hashable]:
        """Labels of scores [batch, vocabulary]."""
        return [self.labels[i] for i in scores[:, list(self.ids)].float().argmax(-1).tolist()]


@dataclass(frozen=True)
class Top:
    """The label of the likeliest token, or that token's text."""

    labels: tuple[Hashable, ...]
    ids: Ids
    tokenizer: Any

    def __call__(self, scores: Tensor) -> list[Hashable]:
        """Labels of scores [batch, vocabulary]."""
        chosen = scores.float().argmax(-1).tolist()
        names: dict[int, Hashable] = dict(zip(self.ids, self.labels, strict=True))
        names |= {i: _other((i,), self.labels, self.tokenizer) for i in set(chosen) - set(names)}
        return [names[i] for i in chosen]


@dataclass(frozen=True)
class Written:
    """The longest label that was written, or the text that was; `tokens` is how many are to be."""

    labels: tuple[Hashable, ...]
    ids: tuple[Ids, ...]
    tokenizer: Any
    tokens: int

    def __call__(self, written: Tensor) -> list[Hashable]:
        """Labels of the tokens written, [batch, tokens]; -1 stands after the end of a text."""
        distinct, rows = np.unique(written.cpu().numpy(), axis=0, return_inverse=True)
        labels = [self._label(tuple(i for i in ids if i >= 0)) for ids in distinct.tolist()]
        return [labels[i] for i in rows.reshape(-1).tolist()]

    def _label(self, written: Ids) -> Hashable:
        places = [i for i, own in enumerate(self.ids) if written[: len(own)] == own and not self._goes_on(own, written)]
        if not places:
            return _other(written, self.labels, self.tokenizer)
        return self.labels[max(places, key=lambda i: len(self.ids[i]))]

    def _goes_on(self, own: Ids, written: Ids) -> bool:
        """Whether what follows an answer goes on with its last word or number; a letter of which bytes are missing does."""
        head = _text(own, self.tokenizer)
        after = _text(written, self.tokenizer)[len(head) :]
        if not re.search(r"\w$", head):
            return False
        return bool(re.match(r"[\w\ufffd]", after) or (head[-1].isdigit() and re.match(r"[.,]\d", after)))


Answers = Among | Top | Written


def answers_of(given: AnswersLike, tokenizer: Any, vocabulary: int, problems: list[str]) -> Answers | None:
    """A decode function from the `answers` of a network; None where something is wrong, which is added to `problems`.

    Args:
        given: for each label its text, or labels by themselves, scored among each other; `TopToken` or `Generated`.
        tokenizer: of transformers; None where all texts are token ids.
        vocabulary: the number of tokens that the model knows.
        problems: what else is wrong, a sentence each.
    """
    before = len(problems)
    ids = _tokenised(given, tokenizer, vocabulary, problems)
    if isinstance(given, Generated):
        longest = max(map(len, ids.values()), default=0)
        tokens = longest + _AFTER if given.tokens is None else given.tokens
        problems += not_counts(tokens=tokens)
        if tokenizer is None:
            problems.append("generated answers need the tokenizer, to see whether what follows goes on with a word")
        if len(problems) == before and tokens <= longest:
            problems.append(f"tokens must be more than the {longest} of the longest label, to see what follows; given {tokens}")
        return None if len(problems) > before else Written(tuple(ids), tuple(ids.values()), tokenizer, tokens)
    several = "; ".join(f"{label!r} is {_pieces(own, tokenizer)}" for label, own in ids.items() if len(own) > 1)
    if several:
        problems.append(f"answers must be single tokens: {several}; take other texts, or use Generated")
    if len(problems) > before:
        return None
    first = tuple(own[0] for own in ids.values())
    return Top(tuple(ids), first, tokenizer) if isinstance(given, TopToken) else Among(tuple(ids), first)


def _tokenised(given: AnswersLike, tokenizer: Any, vocabulary: int, problems: list[str]) -> dict[Hashable, Ids]:
    """The tokens of each label; what is wrong with them is added to `problems`."""
    named = given.answers if isinstance(given, (TopToken, Generated)) else given
    if isinstance(named, str) or not isinstance(named, (Mapping, Sequence)) or not named:
        problems.append(f"answers must be for each label its text, labels, TopToken or Generated; given {named!r}")
        return {}
    if named is given and len(named) < 2:  # noqa: PLR2004  # one alone is always the likeliest
        problems.append("answers that are scored among each other must be at least 2; give all, or use TopToken")
    texts = named if isinstance(named, Mapping) else {label: f" {label}" for label in named}
    ids: dict[Hashable, Ids] = {}
    owners: dict[Ids, Hashable] = {}
    for label, text in texts.items():
        own = _ids(text, tokenizer)
        if isinstance(text, str) and tokenizer is None:
            problems.append(f"the answer {label!r} is a text, {text!r}; give the tokenizer, or token ids")
        elif not own or min(own) < 0 or max(own) >= vocabulary:
            problems.append(f"the answer {label!r} must be some of the model's {vocabulary} tokens; {text!r} is {own}")
        elif isinstance(text, str) and getattr(tokenizer, "unk_token_id", None) in own:
            problems.append(f"the answer {label!r}, {text!r}, has tokens unknown to the tokenizer: {_pieces(own, tokenizer)}")
        elif own in owners:
            problems.append(f"the answers {owners[own]!r} and {label!r} are the same tokens {_pieces(own, tokenizer)}")
        else:
            owners[own] = label
            ids[label] = own
    return ids


def _ids(text: Any, tokenizer: Any) -> Ids:
    """The tokens that a text adds to one before it: by itself a text is given a space by some tokenizers."""
    if not isinstance(text, str):
        ids = np.asarray(text)
        return tuple(ids.reshape(-1).tolist()) if ids.dtype.kind in "iu" else ()
    if tokenizer is None:
        return ()
    found = tokenizer([text, _BEFORE, _BEFORE + text], add_special_tokens=False)["input_ids"]
    alone, before, both = (tuple(ids) for ids in found)
    follows = both[: len(before)] == before and getattr(tokenizer, "unk_token_id", None) not in before
    return both[len(before) :] if follows else alone


def _text(ids: Ids, tokenizer: Any) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _pieces(ids: Ids, tokenizer: Any) -> list[Any]:
    return list(ids) if tokenizer is None else list(tokenizer.convert_ids_to_tokens(list(ids)))


def _other(ids: Ids, labels: tuple[Hashable, ...], tokenizer: Any) -> str:
    """A text that is no label: where a label reads the same, the tokens tell that it is another."""
    text = f"tokens {list(ids)}" if tokenizer is None else _text(ids, tokenizer)
    return f"{text!r}, tokens {list(ids)}" if text in labels else text
