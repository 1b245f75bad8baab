"""Checks of what a search of circuits is given."""

from collections.abc import Iterable, Mapping
from reprlib import repr  # noqa: A004  # of arrays and graphs the beginning
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from commute.alignments.circuits.methods import SearchMethod
from commute.alignments.circuits.optimal import OptimalAblation, not_seed
from commute.alignments.circuits.ranking import Rank
from commute.causal.batches import Batch, as_column, is_batch, rows_of
from commute.errors import NetworkError, not_counts, unknown
from commute.models.ablations import Mean, Resample, Zero
from commute.models.circuits.behaviour import Measure
from commute.models.circuits.graph import stream_of
from commute.models.circuits.instead import Instead, not_instead
from commute.models.rows import batched

if TYPE_CHECKING:
    import networkx as nx


def not_options(
    method: object,
    measure: object,
    rank: object,
    *,
    sizes: object,
    edges: int,
    n: object,
    seeds: object,
    resamples: object,
    seed: Any,
) -> list[str]:
    """What is wrong with the options of a search of a graph of so many edges."""
    problems = not_seed(seed) + not_counts(seeds=seeds) + ([] if n is None else not_counts(n=n))
    if isinstance(method, type) or not isinstance(method, SearchMethod):
        problems.append(f"method must be one of searching circuits, such as EdgeAttribution(); given {method!r}")
    if measure not in get_args(Measure):
        problems.append(unknown("measure", measure, get_args(Measure)))
    if rank not in get_args(Rank):
        problems.append(unknown("rank", rank, get_args(Rank)))
    if sizes is not None:
        listed = list(sizes) if isinstance(sizes, Iterable) else []
        if not listed or not_counts(**{str(x): x for x in listed}) or max(listed) > edges:
            problems.append(f"sizes must be a list of whole numbers from 1 to the {edges} edges of the graph; given {sizes!r}")
    if resamples is False or (resamples != 0 and (not_counts(resamples=resamples) or resamples == 1)):
        problems.append(f"resamples must be 0, or at least 2, since they are compared with each other; given {resamples!r}")
    return problems


def not_data(inputs: object, instead: object, labels: Mapping[str, Any]) -> list[str]:
    """What is wrong with the inputs, what is carried instead, and the labels given for them."""
    if not isinstance(inputs, Mapping):
        return [f"inputs must be a mapping from each input to an array of its values; given {repr(inputs)}"]
    batch, _ = batched(inputs)
    problems = _not_instead(batch, instead)
    lists = {k: x for k, x in labels.items() if is_batch(x) or isinstance(x, tuple)}
    problems += [
        f"{k} must be a list of labels, one for each input; given {repr(x)}" for k, x in labels.items() if k not in lists
    ]
    problems += [_unpaired(k, len(x), rows_of(batch)) for k, x in lists.items() if len(x) != rows_of(batch)]
    if len(lists) == len(labels) == 2 and np.array_equal(as_column(lists["answers"]), as_column(lists["others"])):  # noqa: PLR2004
        problems.append(
            "answers and others are the same, so that each answer is held against itself; give wrong answers as others"
        )
    return problems


def _not_instead(batch: Batch, instead: object) -> list[str]:
    if (wrong := not_instead(instead, OptimalAblation)) or not isinstance(instead, Mapping):
        return wrong
    others, _ = batched(instead)
    if rows_of(others) != rows_of(batch):
        return [_unpaired("instead", rows_of(others), rows_of(batch)) + ", or draw from them by Resample(…)"]
    if all(v in others and np.array_equal(x, others[v]) for v, x in batch.items()):
        return ["instead is the same as the inputs, so that edges left out carry what they carry anyway; give other inputs"]
    return []


def _unpaired(name: str, many: int, rows: int) -> str:
    return f"{name} has {many} rows, and there are {rows} inputs; give one for each input, in their order"


def check_lengths(graph: "nx.DiGraph[str]", batch: Batch, instead: Instead | OptimalAblation) -> None:
    """Check that prompts have as many tokens as what is carried instead, however they are split.

    Raises:
        NetworkError: when other inputs row by row differ in length, and for prompts of several lengths where what is carried
            instead is not of each prompt's own length.
    """
    if isinstance(instead, Zero):
        return
    stream = stream_of(graph)
    pool = batch if isinstance(instead, OptimalAblation) else instead.inputs if isinstance(instead, Resample | Mean) else instead
    masks = [stream.tokens(batched(x)[0]) for x in (batch, pool)]
    if masks[0] is None or masks[1] is None:
        return
    ours, theirs = (mask.sum(1).numpy() for mask in masks if mask is not None)
    if isinstance(instead, Mapping):
        differing = np.flatnonzero(ours != theirs)
        if len(differing):
            row = differing[0]
            raise NetworkError(
                f"each input and the one in its place must have as many tokens; in row {row} these are {ours[row]} and "
                f"{theirs[row]}"
            )
        return
    lengths = np.union1d(ours, theirs)
    if len(lengths) > 1:
        raise NetworkError(
            f"prompts have from {lengths[0]} to {lengths[-1]} tokens, and {type(instead).__name__} needs ones of one length; "
            "search those of each length by themselves, or give other inputs of the same lengths row by row, or Zero()"
        )
