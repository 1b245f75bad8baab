"""Networks: any torch module as a causal system."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, Column, as_column, is_batch, rows_of, take
from commute.causal.model import Setting
from commute.errors import CommuteError, NetworkError, check, not_counts, unknown
from commute.models.decoding import Decode, labels_of
from commute.models.hooks import Visit, undisturbed, visiting
from commute.models.sites import Site, Tap

Encode = Callable[[Batch], Any]  # inputs -> a tensor, a tuple of positional arguments or a mapping of keyword arguments
Labels = Column | dict[str, Column]

_SAME = 1e-4  # relative and absolute difference that rounding may make between two runs


class FeatureLike(Protocol):
    """What an interchange needs of a feature: where it is, and how its values are read from the site and written to it."""

    @property
    def site(self) -> Site:
        """Where the feature is."""

    def read(self, vectors: Tensor) -> Tensor:
        """The feature's values [batch, dims] in the site's vectors [batch, width]."""

    def write(self, vectors: Tensor, values: Tensor) -> Tensor:
        """The site's vectors with the feature set to `values`."""


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
    """

    def __init__(
        self, module: nn.Module, *, encode: Encode, decode: Decode, name: str | None = None, batch_size: int = 1024
    ) -> None:
        problems = []
        if not isinstance(module, nn.Module):
            problems.append(f"module must be a torch.nn.Module; given {type(module).__name__}")
        problems += [
            f"{k} must be a function; given {f!r}" for k, f in (("encode", encode), ("decode", decode)) if not callable(f)
        ]
        problems += not_counts(batch_size=batch_size)
        check(problems, NetworkError, "a network")
        self.module = module
        self.encode = encode
        self.decode = decode
        self.name = name or type(module).__name__
        self.batch_size = batch_size

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.module.parameters())
        return f"Network({self.name!r}: {type(self.module).__name__}, {parameters:,} parameters)"

    def sites(self, pattern: str = "*", *, position: int | None = None) -> list[Site]:
        """The outputs of all modules whose path matches a shell-style pattern (`"*relu*"`), in the module's order.

        Raises:
            NetworkError: when none matches.
        """
        paths = [path for path, _ in self.module.named_modules() if path]
        found = [Site(path, position) for path in paths if fnmatchcase(path, pattern)]
        if not found:
            raise NetworkError(f"no site of {self.name!r} matches {pattern!r}: {unknown('site', pattern, paths)}")
        return found

    def site(self, path: str, *, position: int | None = None, head: int | None = None, input: bool = False) -> Site:  # noqa: A002
        """The site at a module's path.

        Raises:
            NetworkError: when there is no such module; it names the nearest.
        """
        self._check([Site(path)])
        return Site(path, position, head, input)

    def run(self, inputs: Setting) -> Any:
        """The labels that the network gives: one array [batch] (or one an output), or one label for a single setting."""
        batch, single = _batched(inputs)
        return self._labels(batch, single=single, writes=None)

    def activations(self, inputs: Setting, sites: Iterable[Site]) -> dict[Site, Tensor]:
        """The vectors at each site, [batch, width]."""
        sites = list(sites)
        self._check(sites)
        batch, _ = _batched(inputs)
        read = self.read(batch, {site: (site, _whole) for site in sites})
        return {site: read[site] for site in sites}

    def interchange(self, base: Setting, sources: Mapping[FeatureLike, Setting]) -> Any:
        """The labels for `base` with each feature set to the value that it takes for its own source (2301.04709).

        `base` and the sources are one setting or batches of the same length; the labels are as those of `run`. Several features
        at one site are written one after the other, so features that overlap there are the caller's mistake.

        Raises:
            NetworkError: for unknown sites, lengths that differ, and sites that do not fire exactly once.
        """
        self._check([feature.site for feature in sources])
        batch, single = _batched(base)
        values: dict[FeatureLike, Tensor] = {}
        for group in _by_source(sources):
            source, _ = _batched(sources[group[0]])
            if rows_of(source) != rows_of(batch):
                raise NetworkError(f"base has {rows_of(batch)} rows and the source of {group[0].site} has {rows_of(source)}")
            values |= self.read(source, {f: (f.site, f.read) for f in group})
        return self._labels(batch, single=single, writes=values)

    def check_deterministic(self, inputs: Setting, sites: Iterable[Site] = ()) -> None:
        """Run the first block of inputs twice and compare the module's output and the sites.

        Raises:
            NetworkError: when they differ beyond rounding; no interchange means anything then.
        """
        batch = take(_batched(inputs)[0], slice(self.batch_size))
        runs: list[dict[str, Tensor]] = []
        for _ in range(2):
            seen: dict[str, Tensor] = {}
            visits = {tap: _keeping(seen, str(tap)) for tap in {site.tap for site in sites}}
            with undisturbed(self.module), torch.no_grad():
                output = self.call(batch, visits)
            runs.append({**seen, **{f"output {i}": x for i, x in enumerate(_tensors(output))}})
        for place, first in runs[0].items():
            if not torch.allclose(first.float(), runs[1][place].float(), rtol=_SAME, atol=_SAME, equal_nan=True):
                raise NetworkError(
                    f"the network {self.name!r} is not deterministic: run twice on the same inputs it differs at {place}; remove "
                    "randomness from its forward pass"
                )

    # The functions below are the engine: one forward pass, and reading and writing in it.

    def call(self, batch: Batch, visits: Mapping[Tap, Visit]) -> Any:
        """The module's output for one batch, with visitors at taps; gradients and modes are the caller's.

        Raises:
            NetworkError: when `encode` or the module raises, saying with which inputs.
        """
        with self._told("encode or the module", batch):
            call = self.encode({v: x.copy() for v, x in batch.items()})
            with visiting(self.module, visits, rows=rows_of(batch)):
                return self._forward(call)

    def read(self, batch: Batch, readers: Mapping[Any, tuple[Site, Callable[[Tensor], Tensor]]]) -> dict[Any, Tensor]:
        """For each key what its reader makes of the vectors at its site, [batch, …], in blocks of `batch_size` rows."""
        parts: dict[Any, list[Tensor]] = {key: [] for key in readers}

        def visit_of(tap: Tap) -> Visit:
            at_tap = {key: (site, read) for key, (site, read) in readers.items() if site.tap == tap}

            def visit(value: Tensor) -> None:
                for key, (site, read) in at_tap.items():
                    parts[key].append(read(site.read(value)).clone())  # a module after it may work in place

            return visit

        visits = {tap: visit_of(tap) for tap in {site.tap for site, _ in readers.values()}}
        with undisturbed(self.module), torch.no_grad():
            for block in self._blocks(rows_of(batch)):
                self.call(take(batch, block), visits)
        return {key: torch.cat(part) for key, part in parts.items()}

    def _labels(self, batch: Batch, *, single: bool, writes: Mapping[FeatureLike, Tensor] | None) -> Any:
        decoded: list[Labels] = []
        with undisturbed(self.module), torch.no_grad():
            for block in self._blocks(rows_of(batch)):
                part = take(batch, block)
                output = self.call(part, writing({f: x[block] for f, x in (writes or {}).items()}))
                with self._told("decode", part):
                    decoded.append(self._decoded(output, rows_of(part)))
        return _joined(decoded, single=single)

    def _decoded(self, output: Any, expected: int) -> Labels:
        for tensor in _tensors(output):
            if tensor.is_floating_point() and tensor.isnan().any():
                raise NetworkError(f"the output of {self.name!r} has NaN; no answer can be read from it")
        labels = labels_of(self.decode(output))
        for column in labels.values() if isinstance(labels, dict) else [labels]:
            if len(column) != expected:
                raise NetworkError(f"decode must return one label a row; it returned {len(column)} for {expected} rows")
        return labels

    @contextmanager
    def _told(self, what: str, batch: Batch) -> Iterator[None]:
        """Turn an error of the user's functions into one that says where it came up; our own errors pass."""
        try:
            yield
        except CommuteError:
            raise
        except Exception as error:
            first = {v: x[:1].tolist()[0] for v, x in batch.items()}
            raise NetworkError(
                f"{what} of {self.name!r} raised {type(error).__name__} on {rows_of(batch)} rows, the first {first}: {error}"
            ) from error

    def _forward(self, call: Any) -> Any:
        parameter = next(iter(self.module.parameters()), None)

        def placed(x: Any) -> Any:
            return x.to(parameter.device) if parameter is not None and isinstance(x, Tensor) else x

        if isinstance(call, Mapping):
            return self.module(**{k: placed(x) for k, x in call.items()})
        return self.module(*(placed(x) for x in (call if isinstance(call, tuple) else (call,))))

    def _blocks(self, n: int) -> Iterable[slice]:
        return (slice(start, start + self.batch_size) for start in range(0, n, self.batch_size))

    def _check(self, sites: Sequence[Site]) -> None:
        paths = {path for path, _ in self.module.named_modules() if path}
        problems = [unknown("site", site.path, sorted(paths)) for site in sites if site.path not in paths]
        check(problems, NetworkError, f"the network {self.name!r}")


def writing(values: Mapping[FeatureLike, Tensor]) -> dict[Tap, Visit]:
    """Visitors that set features to values [batch, dims] during a forward pass."""
    by_tap: dict[Tap, list[tuple[FeatureLike, Tensor]]] = {}
    for feature, x in values.items():
        by_tap.setdefault(feature.site.tap, []).append((feature, x))

    def visit_of(features: Sequence[tuple[FeatureLike, Tensor]]) -> Visit:
        def visit(value: Tensor) -> Tensor:
            for feature, x in features:
                value = feature.site.write(value, feature.write(feature.site.read(value), x))
            return value

        return visit

    return {tap: visit_of(features) for tap, features in by_tap.items()}


def _keeping(seen: dict[str, Tensor], name: str) -> Visit:
    def visit(value: Tensor) -> None:
        seen[name] = value.clone()

    return visit


def _whole(vectors: Tensor) -> Tensor:
    return vectors


def _batched(inputs: Setting) -> tuple[Batch, bool]:
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


def _by_source(sources: Mapping[FeatureLike, Setting]) -> list[list[FeatureLike]]:
    """Features grouped by the source that they share, so that each source is run once."""
    groups: dict[int, list[FeatureLike]] = {}
    for feature, source in sources.items():
        groups.setdefault(id(source), []).append(feature)
    return list(groups.values())


def _joined(parts: Sequence[Labels], *, single: bool) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {k: _joined([p[k] for p in parts if isinstance(p, dict)], single=single) for k in first}
    column = np.concatenate([p for p in parts if not isinstance(p, dict)])
    return column.tolist()[0] if single else column


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else []
    return [x for x in values if isinstance(x, Tensor)]
