"""Carrying out pairs on both sides, the algorithm's and the network's: one to look at, or many as codes to compare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from commute.alignments.accuracy import agrees, check_labels
from commute.alignments.alignment import Alignment
from commute.causal.batches import Batch, Column, is_batch, rows_of
from commute.causal.domains import Domain, Finite, Interval
from commute.causal.inputs import Condition, Inputs
from commute.causal.interventions import Setting, Source
from commute.causal.model import CausalModel
from commute.errors import AlignmentError, CommuteError, ModelError, check, unknown
from commute.models.network import Network
from commute.proofs.counterexample import Counterexample

Codes = np.ndarray[Any, np.dtype[np.float64]]  # pairs, or one of them: the base and each source, by input

_AGREE, _DIFFER = 1, 2
_NEAR = 1e-5  # of a domain's width; single precision rounds by a hundredth of it


def replay(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    base: Setting,
    sources: Mapping[str, Setting],
    *,
    read_out: str | None = None,
) -> Counterexample:
    """Carry out one pair and say what each side answers, whether or not the two differ (`.differs`).

    Args:
        algorithm: what is claimed.
        network: of which it is claimed.
        alignment: the feature of each variable of `sources`.
        base: the input whose answer is asked for.
        sources: for each variable the input that its value is taken from; none for the two left alone.
        read_out: the variable that is read out, if any: its value is taken from its source after the other variables were taken
            from theirs in it.

    Raises:
        ModelError: for unknown variables, and inputs that are unknown, missing, outside their domains or not one setting.
        AlignmentError: for a variable that is not aligned, a `read_out` without a source, and labels that are not the
            algorithm's.
    """
    if not isinstance(sources, Mapping):
        raise ModelError(f"a pair to replay: sources maps each variable to its source's inputs, {{}} for none; given {sources!r}")
    sides = {"the base": base, **{f"the source of {v!r}": source for v, source in sources.items()}}
    problems = [f"{side} maps each input to its label; given {x!r}" for side, x in sides.items() if not isinstance(x, Mapping)]
    problems = problems or [
        f"replay carries out one pair; {side} has an array for {v!r}" for side, x in sides.items() for v in x if is_batch(x[v])
    ]
    check(problems, ModelError, "a pair to replay")
    if read_out is not None and read_out not in sources:
        raise AlignmentError(f"read_out names one of the sources: {unknown('source', read_out, sources)}")
    trial = Trial(algorithm, network, alignment, tuple(sources), read_out)
    expected, answered = trial.expected(base, sources), trial.answered(base, sources)
    named = answered if isinstance(answered, Mapping) else dict.fromkeys(algorithm.outputs, answered)
    check_labels(algorithm, {v: _column(x) for v, x in named.items()})
    shown = [{v: x[v] for v in algorithm.inputs} for x in (base, *sources.values())]
    return Counterexample("replay", shown[0], dict(zip(sources, shown[1:], strict=True)), expected, answered, read_out)


def _column(label: Any) -> Column:
    column = np.empty(1, dtype=object)
    column[0] = label
    return column


@dataclass(frozen=True, eq=False)
class Trial:
    """One kind of interchange, carried out on both sides for any number of pairs.

    Pairs are `Codes` [pairs, sides, inputs]: the base and then the source of each variable, with the place of each label in a
    finite domain and the number itself of an interval.

    Attributes:
        algorithm: what is claimed.
        network: of which it is claimed.
        alignment: the feature of each variable.
        variables: those interchanged.
        read_out: the one of them that is read out, if any, as of `replay`.
        given: which inputs bases and sources may be.
        tied: whether all variables have the same source; there is one side for it then.
    """

    algorithm: CausalModel
    network: Network
    alignment: Alignment
    variables: tuple[str, ...]
    read_out: str | None = None
    given: Condition | None = None
    tied: bool = False

    @cached_property
    def domains(self) -> list[Domain]:
        """The domain of each input."""
        return [self.algorithm.domain(v) for v in self.algorithm.inputs]

    @property
    def sides(self) -> list[str]:
        """What each side is called."""
        return ["base", "source"] if self.tied else ["base", *self.variables]

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(self.algorithm, self.given)

    def coded(self, base: Setting, sources: Mapping[str, Setting]) -> Codes:
        """Settings, or batches of them, as codes [pairs, sides, inputs]."""
        batches = [self.algorithm.columns(x)[0] for x in (base, *sources.values())][: len(self.sides)]
        return np.stack([np.stack([b[v].astype(np.float64) for v in self.algorithm.inputs], 1) for b in batches], 1)

    def batches(self, codes: Codes) -> tuple[Batch, dict[str, Batch]]:
        """The labels of bases and of sources."""
        columns = [self._columns(codes[:, side]) for side in range(codes.shape[1])]
        base, *sources = map(self.algorithm.labels, columns)
        return base, dict(zip(self.variables, sources * len(self.variables) if self.tied else sources, strict=True))

    def _columns(self, codes: Codes) -> Batch:
        named = zip(self.algorithm.inputs, self.domains, codes.T, strict=True)
        return {v: x.astype(np.int64) if isinstance(domain, Finite) else x for v, domain, x in named}

    def expected(self, base: Setting, sources: Mapping[str, Setting]) -> dict[str, Any]:
        """The algorithm's outputs, of a setting or of a batch."""
        taken: dict[str, Setting | Source] = dict(sources)
        if self.read_out is not None:
            del taken[self.read_out]
            taken = {self.read_out: Source(sources[self.read_out], sources=taken)}
        return self.algorithm.interchange(base, taken, only=self.algorithm.outputs)

    def answered(self, base: Setting, sources: Mapping[str, Setting]) -> Any:
        """The network's labels, of a setting or of a batch."""
        if self.read_out is None:
            return self.network.interchange(base, self._of_features(sources))
        above = self._of_features({v: source for v, source in sources.items() if v != self.read_out})
        read = Source(sources[self.read_out], sources=above)
        return self.network.interchange(base, self._of_features({self.read_out: read}))

    def _of_features(self, sources: Mapping[str, Setting | Source]) -> dict[Any, Setting | Source]:
        return {feature: source for v, source in sources.items() for feature in self.alignment.parts(v)}

    def allowed(self, codes: Codes) -> Column:
        """Whether the base and every source are among the inputs `given`, [pairs] of bool."""
        if self.given is None:
            return np.ones(len(codes), dtype=bool)
        met = [self._inputs.meets(self._columns(codes[:, side]), len(codes)) for side in range(codes.shape[1])]
        every: Column = np.logical_and.reduce(met)
        return every

    def compared(self, codes: Codes) -> tuple[Column, Column]:
        """Whether the two sides agree and whether a pair fails, [pairs] of bool each.

        Neither where a pair is not `allowed`, cannot be carried out, or where the sides differ at an edge.
        """
        found = np.zeros(len(codes), dtype=np.int64)
        rows = where_possible(self.allowed, codes).astype(bool)
        if rows.any():
            found[rows] = where_possible(lambda pairs: np.where(self.differ(pairs), _DIFFER, _AGREE), codes[rows])
        return found == _AGREE, self.but_at_edges(codes, found == _DIFFER)

    def but_at_edges(self, codes: Codes, differ: Column) -> Column:
        """Of the pairs on which the two sides differ those that fail, [pairs] of bool: those that are not at an edge."""
        failing = differ.copy()
        if differ.any() and any(isinstance(d, Interval) for d in self.domains):
            failing[differ] = where_possible(self._at_edge, codes[differ]) == 0
        return failing

    def _at_edge(self, codes: Codes) -> Column:
        """Whether the algorithm's answer jumps close by, [pairs] of bool.

        Which side of a jump a network is on is a matter of how it rounds. Each continuous input of each side is moved either way
        by itself; outputs that are numbers of an interval do not jump, as far as can be told.
        """
        expected = self._jumping(codes)
        if not expected:
            return np.zeros(len(codes), dtype=bool)
        near = nearby(codes, self.domains)
        answers = self._jumping(near.reshape(-1, *codes.shape[1:]))
        steady = agrees(answers, {v: np.repeat(x, near.shape[1], axis=0) for v, x in expected.items()})
        jumps: Column = np.logical_or.reduce(~steady.reshape(len(codes), -1), axis=1)
        return jumps

    def _jumping(self, codes: Codes) -> Batch:
        """The algorithm's outputs that are no numbers of an interval."""
        found, known = self.expected(*self.batches(codes)), self.algorithm.known_domain
        return {v: x for v, x in found.items() if isinstance(known(v), Finite) or (known(v) is None and x.dtype.kind != "f")}

    def differ(self, codes: Codes) -> Column:
        """Whether the two sides differ, at an edge too, [pairs] of bool; it raises what either side raises."""
        labels = self.batches(codes)
        return ~agrees(self.answered(*labels), self.expected(*labels))

    def example(self, codes: Codes, kind: str) -> Counterexample:
        """One pair, [sides, inputs], with what each side answers, under the name of its kind."""
        base, sources = self.batches(codes[None])
        expected, answered = self.expected(base, sources), self.answered(base, sources)
        label = _first(answered) if isinstance(answered, Mapping) else _first({"": answered})[""]
        return Counterexample(
            kind, _first(base), {v: _first(x) for v, x in sources.items()}, _first(expected), label, self.read_out
        )


def nearby(codes: Codes, domains: Sequence[Domain]) -> Codes:
    """Pairs with one continuous input of one side moved a little, up or down within its domain, [pairs, moves, sides, inputs]."""
    places = [(side, i, d) for side in range(codes.shape[1]) for i, d in enumerate(domains) if isinstance(d, Interval)]
    found = np.repeat(codes[:, None], 2 * len(places), axis=1)
    for k, (side, i, d) in enumerate(places):
        step = _NEAR * (d.high - d.low)
        for sign in (0, 1):
            x = found[:, 2 * k + sign, side, i]
            x[:] = np.clip(x + (2 * sign - 1) * step, d.low, d.high)
    return found


def where_possible(asked: Callable[[Codes], Column], codes: Codes) -> Column:
    """What is answered of each pair, 0 where asking raises an error of ours, [pairs] of int64."""
    try:
        return asked(codes).astype(np.int64)
    except CommuteError:
        if len(codes) == 1:
            return np.zeros(1, dtype=np.int64)
        return np.concatenate([where_possible(asked, half) for half in np.array_split(codes, 2)])


def _first(batch: Mapping[str, Column]) -> dict[str, Any]:
    return {v: column[:1].tolist()[0] for v, column in batch.items()} if rows_of(batch) else {}
