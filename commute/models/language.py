"""Language models of transformers as networks: prompts in, answers out."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, Column
from commute.errors import NetworkError, check
from commute.models.answers import Answers, AnswersLike, Generated, Written, answers_of
from commute.models.prompts import Padding, Prompts, template_problems

PromptsLike = str | Callable[[dict[str, Any]], Any]  # a template, or from a setting to a text, a `Prompt` or token ids


@dataclass(frozen=True)
class Language:
    """What a `Network` needs beside a language model, in its own words."""

    encode: Prompts
    decode: Answers
    finish: Callable[[Mapping[str, Any], Any], Tensor]

    @property
    def positions(self) -> Mapping[str, Callable[[Batch], Column]]:
        """The named positions of the prompts."""
        return self.encode.positions


def language(
    model: Any, tokenizer: Any, *, prompts: PromptsLike, answers: AnswersLike, padding: Padding | None = None
) -> Language:
    """What a `Network` needs beside a model of transformers.

    A model that writes (a causal one) answers after the last token of the prompt, any other (such as BERT) at its mask token.

    Args:
        model: with a language-model head.
        tokenizer: the model's, which is left as it is; None where prompts and answers are token ids.
        prompts: a format template (`"{a}+{b}="`) whose fields are inputs, or a function from a setting to a text, a `Prompt` or
            token ids. The tokenizer adds the special tokens that it adds by itself. The last token of each field or mark is a
            position of its name; the prompt's last token is "end".
        answers: for each label the text that follows the prompt (`{"Mary": " Mary"}`), or labels by themselves for a space and
            their own text, scored among each other; `TopToken` or `Generated`.
        padding: the side on which shorter prompts are filled up; None is left for a model that writes, else right.

    Raises:
        NetworkError: listing all that is wrong.
    """
    problems = _model_problems(model)
    check(problems, NetworkError, "a network from transformers")
    writes, vocabulary = bool(model.can_generate()), int(model.get_input_embeddings().weight.shape[0])
    side: Padding = padding or ("left" if writes else "right")
    decode = None
    if tokenizer is None or callable(tokenizer):
        decode = answers_of(answers, tokenizer, vocabulary, problems)
        problems += _tokenizer_problems(model, tokenizer, prompts, writes=writes)
    else:
        problems.append(f"tokenizer must be one of transformers, or None; given {type(tokenizer).__name__}")
    problems += _prompt_problems(prompts) + _padding_problems(model, answers, side, writes=writes)
    check(problems, NetworkError, "a network from transformers")
    decode = cast("Answers", decode)
    options = _options(model, decode, side, writes=writes)
    encode = Prompts(prompts, tokenizer, vocabulary, side, _first_position(model), options)
    return Language(encode, decode, _finish(model, tokenizer, decode, writes=writes))


def _finish(model: Any, tokenizer: Any, decode: Answers, *, writes: bool) -> Callable[[Mapping[str, Any], Any], Tensor]:
    if isinstance(decode, Written):
        own = model.generation_config.eos_token_id
        stops = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id} - {None}
        return Continued(model, decode.tokens, tuple(sorted(stops)))
    return at_end if writes else partial(at_mask, mask=tokenizer.mask_token_id)


def _options(model: Any, decode: Answers, side: Padding, *, writes: bool) -> dict[str, Any]:
    """What a model is called with besides tokens."""
    options: dict[str, Any] = {"use_cache": isinstance(decode, Written)}
    if writes and side == "left":  # the last column is each row's last token; no other scores are needed
        options["logits_to_keep"] = torch.tensor([-1])
    return {k: x for k, x in options.items() if k in _taken(model)}


def _first_position(model: Any) -> int | None:
    """The position id of the first token: RoBERTa and its kind count from after their padding token."""
    if "position_ids" not in _taken(model):
        return None
    tables = [m for k, m in model.named_modules() if k.endswith("position_embeddings") and isinstance(m, nn.Embedding)]
    return next((m.padding_idx + 1 for m in tables if m.padding_idx is not None), 0)


def _taken(model: Any) -> set[str]:
    """The names that a model's forward pass takes."""
    return set(inspect.signature(model.forward).parameters)


# What is wrong, a sentence each.


def _model_problems(model: Any) -> list[str]:
    kind = type(model).__name__
    if "PreTrainedModel" not in [k.__name__ for k in type(model).__mro__]:  # importing transformers takes seconds
        return [f"model must be a model of transformers; given {kind}; any other module is given to Network(module, …)"]
    if model.config.is_encoder_decoder:
        return [f"{kind} reads with one part and writes with another; give it to Network(module, …)"]
    if model.get_output_embeddings() is None:
        return [f"{kind} has no language-model head; load it with AutoModelForCausalLM or AutoModelForMaskedLM"]
    if "attention_mask" not in _taken(model):
        return [f"{kind} takes no attention_mask, so that prompts cannot be padded; give it to Network(module, …)"]
    return []


def _tokenizer_problems(model: Any, tokenizer: Any, prompts: Any, *, writes: bool) -> list[str]:
    problems = ["a template makes texts; give their tokenizer"] if tokenizer is None and isinstance(prompts, str) else []
    if not writes and getattr(tokenizer, "mask_token_id", None) is None:
        problems.append(f"{type(model).__name__} answers at a mask token; give a tokenizer that has one")
    return problems


def _prompt_problems(prompts: Any) -> list[str]:
    if isinstance(prompts, str):
        return template_problems(prompts)
    return [] if callable(prompts) else [f"prompts must be a template or a function; given {type(prompts).__name__}"]


def _padding_problems(model: Any, answers: Any, side: Any, *, writes: bool) -> list[str]:
    problems = [] if side in ("left", "right") else [f"padding must be 'left' or 'right'; given {side!r}"]
    if isinstance(answers, Generated) and not writes:
        problems.append(f"{type(model).__name__} does not write; its answers must be single tokens")
    elif isinstance(answers, Generated) and side == "right":
        problems.append("answers are written after the last column, which must be the last token of each row; pad on the left")
    return problems


# Between a model's output and `decode`.


def at_end(call: Mapping[str, Any], output: Any) -> Tensor:
    """The scores [batch, vocabulary] at each row's last real token."""
    logits = _logits(output)
    if logits.shape[1] == 1:  # the model was asked for the last column only
        return logits[:, 0]
    mask = call["attention_mask"]
    return _at(logits, (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1))


def at_mask(call: Mapping[str, Any], output: Any, *, mask: int) -> Tensor:
    """The scores [batch, vocabulary] at each row's mask token.

    Raises:
        NetworkError: when a row has not exactly one.
    """
    masks = call["input_ids"] == mask
    for row in (masks.sum(1) != 1).nonzero()[:1].flatten().tolist():
        raise NetworkError(f"the prompt of row {row} has {int(masks[row].sum())} mask tokens; it must have one, for the answer")
    return _at(_logits(output), masks.to(torch.int8).argmax(1))


@dataclass(frozen=True)
class Continued:
    """The tokens that a model writes after the prompt, the likeliest each time.

    What was changed in the prompt stays in force, since it is in the cache that is continued; the cache is used up.
    """

    model: Any = field(repr=False)
    tokens: int
    stops: tuple[int, ...]

    @torch.no_grad()
    def __call__(self, call: Mapping[str, Any], output: Any) -> Tensor:
        """Tokens [batch, tokens] of int64; -1 in place of the one that ends the text and of all after it."""
        scores = at_end(call, output)
        call = {k: x.to(scores.device) if isinstance(x, Tensor) else x for k, x in call.items()}
        ended = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        written: list[Tensor] = []
        while True:
            token = scores.float().argmax(-1)
            ended = ended | torch.isin(token, token.new_tensor(self.stops))
            written.append(token.masked_fill(ended, -1))
            if len(written) == self.tokens or bool(ended.all()):
                return torch.stack(written, 1)
            call = self._next(call, token[:, None], output)
            output = self.model(**call)
            scores = _logits(output)[:, -1]

    def rebound(self, model: nn.Module) -> "Continued":
        """The same with another model, such as a copy with other weights."""
        return replace(self, model=model)

    def _next(self, call: Mapping[str, Any], token: Tensor, output: Any) -> dict[str, Any]:
        """The call for one more token [batch, 1]."""
        if getattr(output, "past_key_values", None) is None:
            raise NetworkError(f"{type(self.model).__name__} keeps no past_key_values; it cannot be asked for Generated answers")
        mask = torch.cat([call["attention_mask"], torch.ones_like(token)], 1)
        after = {"input_ids": token, "attention_mask": mask, "past_key_values": output.past_key_values}
        if "position_ids" in call:
            after["position_ids"] = call["position_ids"][:, -1:] + 1
        return {**call, **after}


def _logits(output: Any) -> Tensor:
    logits = getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        raise NetworkError(f"a language model must give logits; it gave a {type(output).__name__}; set its config.return_dict")
    return logits


def _at(logits: Tensor, columns: Tensor) -> Tensor:
    """The scores [batch, vocabulary] at one column a row [batch]."""
    return logits[torch.arange(len(logits), device=logits.device), columns.to(logits.device)]
