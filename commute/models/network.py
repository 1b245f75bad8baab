"""Networks: any torch module as a causal system."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, Column, as_column, distinct, is_batch, rows_of, take
from commute.causal.interventions import Setting, Source
from commute.errors import CommuteError, NetworkError, check, not_counts, unknown
from commute.models.ablations import Ablation, Mean, Noise, Resample, Zero
from commute.models.answers import AnswersLike
from commute.models.calls import Call
from commute.models.decoding import Decode, labels_of
from commute.models.hooks import recording, undisturbed, visiting
from commute.models.language import PromptsLike, language
from commute.models.patches import Change, FeatureLike, Read, Whole, of_features, visitors
from commute.models.positions import Positions, frame_of
from commute.models.prompts import Padding
from commute.models.sites import EachRow, Site
from commute.models.sweep import Sweep, swept

Encode = Callable[[Batch], Any]  # inputs -> a tensor, a tuple of positional arguments or a mapping of keyword arguments
Do = Mapping[FeatureLike, Tensor | Change | Ablation]  # what features are set to
Finish = Callable[[Any, Any], Any]  # the module's call, its output -> what decode takes
Labels = Column | dict[str, Column]

_MEMORY = 1 << 30
_MANY = 256  # rows from which repeated ones are looked for
_SAME = 1e-4  # relative and absolute difference that rounding may make between two runs


class Network:
    """A torch module with the meaning of its inputs and outputs.

    The module is used as it is: in evaluation mode and without gradients while it runs here, and left as found, with its own
    hooks, training flags and requires_grad.

    Args:
        module: any module, whose forward pass is deterministic and treats the rows of a batch alike.
        encode: from inputs, a mapping from input to array of labels [batch], to the module's call: a tensor, a tuple of
            positional arguments or a mapping of keyword arguments. Tensors are moved to the module's device.
        decode: from the module's output to labels: an array or list [batch], or a mapping from output to such. Training an
            alignment needs labels chosen with `argmax` or by comparing a number, in torch.
        name: what the network is called.
        batch_size: rows in one forward pass.
        positions: named positions, each a function from the inputs to its place in each row, [batch] of int, as `Site` counts.
        finish: what is done with the module's output before `decode`, with no intervention active: a function of the module's
            call and its output, for a network that goes on from what it was given, as in generation.
        memory: bytes that a sweep may hold, the module's own aside.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        encode: Encode,
        decode: Decode,
        name: str | None = None,
        batch_size: int = 1024,
        positions: Positions | None = None,
        finish: Finish | None = None,
        memory: int = _MEMORY,
    ) -> None:
        problems = []
        if not isinstance(module, nn.Module):
            problems.append(f"module must be a torch.nn.Module; given {type(module).__name__}")
        problems += [
            f"{k} must be a function; given {f!r}" for k, f in (("encode", encode), ("decode", decode)) if not callable(f)
        ]
        problems += not_counts(batch_size=batch_size, memory=memory)
        problems += [
            f"the position {k!r} must be a function of the inputs; given {f!r}"
            for k, f in (positions or {}).items()
            if not callable(f)
        ]
        if finish is not None and not callable(finish):
            problems.append(f"finish must be a function of the call and the output; given {finish!r}")
        check(problems, NetworkError, "a network")
        self.module = module
        self.encode = encode
        self.decode = decode
        self.name = name or type(module).__name__
        self.batch_size = batch_size
        self.positions: Positions = {} if positions is None else positions
        self.finish = finish
        self.memory = memory
        self.replays = True
        self.verified: set[Any] = set()  # sets of taps at which replaying was compared with a pass in full
        self.traces: dict[Any, Any] = {}  # by what the module is made of and called with

    @classmethod
    def from_transformers(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        prompts: PromptsLike,
        answers: AnswersLike,
        padding: Padding | None = None,
        name: str | None = None,
        batch_size: int = 64,
    ) -> "Network":
        """A language model of transformers, asked in prompts.

        Args:
            model: with a language-model head; a causal one answers after the prompt, any other at its mask token.
            tokenizer: the model's, which is left as it is; None where prompts and answers are token ids.
            prompts: a template (`"{a}+{b}="`) whose fields are inputs, or a function from a setting to a text, a `Prompt` or
                token ids. The last token of each field or mark is a position of its name; the prompt's last token is "end".
            answers: for each label the text that follows the prompt (`{"Mary": " Mary"}`), or labels by themselves for a space
                and their text, scored among each other; `TopToken` or `Generated`.
            padding: the side on which shorter prompts are filled up; None is left for a causal model, else right.
            name: what the network is called.
            batch_size: prompts in one forward pass.

        Raises:
            NetworkError: listing all that is wrong.
        """
        parts = language(model, tokenizer, prompts=prompts, answers=answers, padding=padding)
        return cls(
            model,
            encode=parts.encode,
            decode=parts.decode,
            finish=parts.finish,
            positions=parts.positions,
            name=name,
            batch_size=batch_size,
        )

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.module.parameters())
        return f"Network({self.name!r}: {type(self.module).__name__}, {parameters:,} parameters)"

    def sites(self, pattern: str = "*", *, position: Any = None, inputs: Setting | None = None) -> list[Site]:
        """The outputs of modules whose path matches a shell-style pattern (`"*relu*"`), in the module's order.

        Args:
            pattern: of the paths.
            position: of every site.
            inputs: with a setting or batch of inputs, the network is run on them once, and the sites are those that hold a tensor
                [batch, …], in the order in which they run, each with its `shape`, its element of a tuple or mapping and its call
                where the module runs several times.

        Raises:
            NetworkError: when none matches.
        """
        paths = [path for path, _ in self.module.named_modules(remove_duplicate=False) if path]
        matching = [path for path in paths if fnmatchcase(path, pattern)]
        if inputs is None:
            found = [Site(path, position) for path in matching]
        else:
            batch, _ = batched(inputs)
            with undisturbed(self.module), torch.no_grad(), recording(self.module, matching, rows_of(batch)) as seen:
                self.call(batch)
            found = [Site(t.path, position, element=t.element, call=t.call, shape=shape) for t, shape in seen.items()]
        if not found:
            raise NetworkError(f"no site of {self.name!r} matches {pattern!r}: {unknown('site', pattern, paths)}")
        return found

    def site(
        self,
        path: str,
        *,
        position: Any = None,
        head: int | None = None,
        input: bool = False,  # noqa: A002
        element: int | str | None = None,
        call: int | None = None,
        heads: int | None = None,
        position_axis: int = 1,
        head_axis: int = -2,
    ) -> Site:
        """The site at a module's path; see `Site` for the options.

        Raises:
            NetworkError: when there is no such module, or no such named position; it names the nearest.
        """
        made = Site(
            path,
            position,
            head,
            input,
            element=element,
            call=call,
            heads=heads,
            position_axis=position_axis,
            head_axis=head_axis,
        )
        self._check([made])
        return made

    def run(self, inputs: Setting, do: Do | None = None) -> Any:
        """The labels that the network gives, with the features in `do` set.

        Args:
            inputs: one setting or a batch.
            do: for each feature its values [batch, dims], a function from its values in the run to what takes their place, or an
                ablation (`Zero()`, `Mean(inputs)`, `Resample(inputs)`, `Noise(scale)`). They are set in the order given.

        Returns:
            One array [batch] (or one an output), or one label (or one an output) for a single setting.

        Raises:
            NetworkError: for unknown sites, values of another number of rows, and sites that do not fire exactly once.
        """
        batch, single = batched(inputs)
        if not do and (repeated := _repeated(batch)) is not None:
            first, rows = repeated
            return _at(self.run(take(batch, first)), rows)
        values = self._values(do, rows_of(batch))
        decoded: list[Labels] = []
        with undisturbed(self.module), torch.inference_mode():
            for block in self._blocks(rows_of(batch)):
                part = take(batch, block)
                output = self.call(part, _of_rows(values, block), rows=np.arange(rows_of(batch))[block])
                decoded.append(self.decoded(output, part))
        return joined(decoded, single=single)

    def activations(self, inputs: Setting, places: Iterable[Site | FeatureLike], do: Do | None = None) -> dict[Any, Tensor]:
        """The vectors at each site [batch, width], or the values of each feature [batch, dims], with the features in `do` set."""
        features: dict[Any, FeatureLike] = {place: Whole(place) if isinstance(place, Site) else place for place in places}
        self._check([feature.site for feature in features.values()])
        batch, _ = batched(inputs)
        by_row = any(isinstance(feature.site.position, EachRow) for feature in features.values())
        if not do and not by_row and (repeated := _repeated(batch)) is not None:
            first, rows = repeated
            once = self.activations(take(batch, first), features)
            return {place: x[torch.from_numpy(rows).to(x.device)] for place, x in once.items()}
        values = self._values(do, rows_of(batch))
        kept: dict[Any, list[Tensor]] = {place: [] for place in features}
        reads = [Read(feature, kept[place]) for place, feature in features.items()]
        with undisturbed(self.module), torch.no_grad():
            for block in self._blocks(rows_of(batch)):
                self.call(take(batch, block), _of_rows(values, block), reads, rows=np.arange(rows_of(batch))[block])
        return {place: torch.cat(parts) for place, parts in kept.items()}

    def interchange(self, base: Setting, sources: Mapping[FeatureLike, Setting | Source]) -> Any:
        """The labels for `base` with each feature set to the value that it takes for its own source (2301.04709).

        `base` and the sources are one setting or batches of the same length; labels and errors are those of `run`. A source that
        is itself intervened on is a `Source(inputs, do=…, sources=…)`, which nests, as path patching needs. Several features at
        one site are written one after the other, so features that overlap there are the caller's mistake.
        """
        return self.run(base, self._taken(sources))

    def sweep(self, base: Setting, source: Setting | Source, places: Iterable[Site | FeatureLike]) -> Sweep:
        """Interchange each site or feature by itself, with the same bases and sources.

        Bases and sources are run once. The passes after the interchange begin where the site is, many sites in one pass; in a
        causal transformer they leave out the positions before the site's. This is compared with a pass in full once, and given
        up with a `ReplayWarning` where the two differ.

        Args:
            base: a batch.
            source: a batch of the same length.
            places: where.

        Returns:
            For each place the labels [batch] after its interchange, and what they cost.
        """
        features: dict[Any, FeatureLike] = {place: Whole(place) if isinstance(place, Site) else place for place in places}
        self._check([feature.site for feature in features.values()])
        batch, _ = batched(base)
        inputs, do = (source.inputs, {**source.do, **self._taken(source.sources)}) if isinstance(source, Source) else (source, {})
        taken = self.activations(inputs, list(features), do)
        lengths = {len(x) for x in taken.values()} - {rows_of(batch)}
        if lengths:
            raise NetworkError(f"the bases have {rows_of(batch)} rows and the sources {lengths.pop()}; give each base a source")
        return swept(self, batch, {place: {feature: taken[place]} for place, feature in features.items()})

    def _taken(self, sources: Mapping[FeatureLike, Setting | Source]) -> dict[FeatureLike, Tensor]:
        """The value that each feature takes for its source."""
        values: dict[FeatureLike, Tensor] = {}
        for group in _by_source(sources):
            source = sources[group[0]]
            if isinstance(source, Source):
                values |= self.activations(source.inputs, group, {**source.do, **self._taken(source.sources)})
            else:
                values |= self.activations(source, group)
        return {feature: values[feature] for feature in sources}

    def check_deterministic(self, inputs: Setting, sites: Iterable[Site] = ()) -> None:
        """Run the first block of inputs twice and compare the module's output and the sites.

        Raises:
            NetworkError: when they differ beyond rounding; no interchange means anything then.
        """
        sites = list(sites)
        self._check(sites)
        batch = take(batched(inputs)[0], slice(self.batch_size))
        runs: list[dict[str, Tensor]] = []
        for _ in range(2):
            seen: dict[Site, list[Tensor]] = {site: [] for site in sites}
            with undisturbed(self.module), torch.no_grad():
                output = self.call(batch, reads=[Read(Whole(site), parts) for site, parts in seen.items()])
            outputs = {f"output {i}": x for i, x in enumerate(_tensors(output))}
            runs.append({**{str(site): parts[0] for site, parts in seen.items()}, **outputs})
        for place, first in runs[0].items():
            if not torch.allclose(first.float(), runs[1][place].float(), rtol=_SAME, atol=_SAME, equal_nan=True):
                raise NetworkError(
                    f"the network {self.name!r} is not deterministic: run twice on the same inputs it differs at {place}; remove "
                    "randomness from its forward pass"
                )

    # The functions below are the engine: one forward pass, and reading and writing in it.

    def call(
        self,
        batch: Batch,
        do: Mapping[FeatureLike, Tensor | Change] | None = None,
        reads: Sequence[Read] = (),
        *,
        rows: Column | None = None,
    ) -> Any:
        """What `decode` takes, for one batch, with features set and read; gradients and modes are the caller's.

        Args:
            batch: inputs.
            do: values [batch, dims] of features, or functions of their values.
            reads: features to read, after those at the same site are set.
            rows: the batch's places in what the user gave, for positions given row by row.

        Raises:
            NetworkError: when `encode` or the module raises, saying with which inputs.
        """
        with self.told("encode or the module", batch):
            call = self.encoded(batch)
            frame = frame_of(batch, rows, call, self.positions)
            with visiting(self.module, visitors(of_features(do or {}), reads, frame), rows=lambda: rows_of(batch)):
                output = call.make(self.module)
            return self.finished(call, output)

    def finished(self, call: Call, output: Any) -> Any:
        """What `decode` takes, from the module's call and its output."""
        return output if self.finish is None else self.finish(call.kwargs or call.args, output)

    def encoded(self, batch: Batch) -> Call:
        """What the module is called with for a batch of inputs."""
        return Call.of(self.encode({v: x.copy() for v, x in batch.items()}))

    def decoded(self, output: Any, batch: Batch) -> Labels:
        """The labels in what `call` returned for a batch.

        Raises:
            NetworkError: for NaN, another number of labels than rows, and when `decode` raises.
        """
        for tensor in _tensors(output):
            if tensor.is_floating_point() and tensor.isnan().any():
                raise NetworkError(f"the output of {self.name!r} has NaN; no answer can be read from it")
        with self.told("decode", batch):
            labels = labels_of(self.decode(output))
        for column in labels.values() if isinstance(labels, dict) else [labels]:
            if len(column) != rows_of(batch):
                raise NetworkError(f"decode must return one label a row; it returned {len(column)} for {rows_of(batch)} rows")
        return labels

    @contextmanager
    def told(self, what: str, batch: Batch) -> Iterator[None]:
        """Turn an error of the user's functions into one that says where it came up; our own errors pass."""
        try:
            yield
        except (CommuteError, Warning):
            raise
        except Exception as error:
            first = {v: x[:1].tolist()[0] for v, x in batch.items()}
            raise NetworkError(
                f"{what} of {self.name!r} raised {type(error).__name__} on {rows_of(batch)} rows, the first {first}: {error}"
            ) from error

    def _blocks(self, n: int) -> Iterable[slice]:
        return (slice(start, start + self.batch_size) for start in range(0, n, self.batch_size))

    def _values(self, do: Do | None, n: int) -> dict[FeatureLike, Tensor | Change]:
        """What each feature is set to: values [n, dims], or a function of its own."""
        self._check([feature.site for feature in do or {}])
        values: dict[FeatureLike, Tensor | Change] = {}
        for feature, x in (do or {}).items():
            values[feature] = x.of(partial(self._feature, feature), n) if isinstance(x, (Zero, Mean, Resample, Noise)) else x
        wrong = [
            f"the value set at {f.site} must be a tensor [batch, dims], a function or an ablation; given {type(x).__name__}"
            for f, x in values.items()
            if not isinstance(x, Tensor) and not callable(x)
        ]
        lengths = {
            str(f.site): x.shape[0] if x.ndim else 0 for f, x in values.items() if isinstance(x, Tensor) and x.shape[:1] != (n,)
        }
        if lengths:
            wrong.append(f"the inputs have {n} rows and the values set at {lengths}; each row needs one of its own")
        check(wrong, NetworkError, f"the interventions on {self.name!r}")
        return values

    def _feature(self, feature: FeatureLike, inputs: Setting) -> Tensor:
        return self.activations(inputs, [feature])[feature]

    def unknown_sites(self, sites: Iterable[Site]) -> list[str]:
        """Which of the sites the network does not have, a sentence each with the nearest name."""
        paths = {path: None for path, _ in self.module.named_modules(remove_duplicate=False) if path}
        found = []
        for site in sites:
            if site.path not in paths:
                found.append(unknown("site", site.path, paths))
            if isinstance(site.position, str) and site.position not in self.positions:
                found.append(unknown("named position", site.position, self.positions))
        return found

    def _check(self, sites: Iterable[Site]) -> None:
        check(self.unknown_sites(sites), NetworkError, f"the network {self.name!r}")


def batched(inputs: Setting) -> tuple[Batch, bool]:
    """The inputs as arrays, and whether they were a single setting."""
    arrays = {v: is_batch(x) for v, x in inputs.items()}
    if not arrays:
        raise NetworkError("the inputs are empty; give a value, or an array of values, for each input")
    if any(arrays.values()) and not all(arrays.values()):
        raise NetworkError(f"inputs are all single labels or all arrays; {[v for v, a in arrays.items() if not a]} are single")
    single = not any(arrays.values())
    batch = {v: as_column([x] if single else x) for v, x in inputs.items()}
    lengths = {v: len(x) for v, x in batch.items()}
    if len(set(lengths.values())) > 1 or not rows_of(batch):
        raise NetworkError(f"the arrays of a batch must have one length, at least 1; given {lengths}")
    return batch, single


def _of_rows(values: Mapping[FeatureLike, Tensor | Change], rows: slice) -> dict[FeatureLike, Tensor | Change]:
    return {f: x[rows] if isinstance(x, Tensor) else x for f, x in values.items()}


def _by_source(sources: Mapping[FeatureLike, Any]) -> list[list[FeatureLike]]:
    """Features grouped by the source that they share, so that each source is run once."""
    groups: dict[int, list[FeatureLike]] = {}
    for feature, source in sources.items():
        groups.setdefault(id(source), []).append(feature)
    return list(groups.values())


def _repeated(batch: Batch) -> tuple[Column, Column] | None:
    """Where each distinct row of a batch stands first, and which of them each row is, if rows are repeated enough to matter."""
    if rows_of(batch) < _MANY:
        return None
    found = distinct(batch)
    return found if found is not None and len(found[0]) <= rows_of(batch) // 2 else None


def _at(labels: Labels, rows: Column) -> Labels:
    return {k: x[rows] for k, x in labels.items()} if isinstance(labels, dict) else labels[rows]


def joined(parts: Sequence[Labels], *, single: bool) -> Any:
    """The labels of batches that follow each other, as one array (or one an output); of a single setting its label."""
    first = parts[0]
    if isinstance(first, dict):
        return {k: joined([p[k] for p in parts if isinstance(p, dict)], single=single) for k in first}
    column = np.concatenate([p for p in parts if not isinstance(p, dict)])
    return column.tolist()[0] if single else column


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else []
    return [x for x in values if isinstance(x, Tensor)]
