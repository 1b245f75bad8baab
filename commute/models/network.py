"""Networks: any torch module as a causal system."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, Column, as_column, is_batch, rows_of, take
from commute.causal.interventions import Setting
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


@dataclass(frozen=True)
class Whole:
    """A site's vectors as one feature."""

    site: Site

    def read(self, vectors: Tensor) -> Tensor:
        """The vectors."""
        return vectors

    def write(self, vectors: Tensor, values: Tensor) -> Tensor:
        """The values."""
        del vectors
        return values


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

    def run(self, inputs: Setting, do: Mapping[FeatureLike, Tensor] | None = None) -> Any:
        """The labels that the network gives, with the features in `do` set to values [batch, dims].

        Returns:
            One array [batch] (or one an output), or one label (or one an output) for a single setting.

        Raises:
            NetworkError: for unknown sites, values of another number of rows, and sites that do not fire exactly once.
        """
        batch, single = _batched(inputs)
        values = self._values(do, rows_of(batch))
        decoded: list[Labels] = []
        with undisturbed(self.module), torch.no_grad():
            for block in self._blocks(rows_of(batch)):
                part = take(batch, block)
                output = self.call(part, visitors(take(values, block)))
                with self._told("decode", part):
                    decoded.append(self._decoded(output, rows_of(part)))
        return _joined(decoded, single=single)

    def activations(
        self, inputs: Setting, places: Iterable[Site | FeatureLike], do: Mapping[FeatureLike, Tensor] | None = None
    ) -> dict[Any, Tensor]:
        """The vectors at each site [batch, width], or the values of each feature [batch, dims], with the features in `do` set."""
        features: dict[Any, FeatureLike] = {place: Whole(place) if isinstance(place, Site) else place for place in places}
        self._check([feature.site for feature in features.values()])
        batch, _ = _batched(inputs)
        values = self._values(do, rows_of(batch))
        kept: dict[Any, list[Tensor]] = {place: [] for place in features}
        with undisturbed(self.module), torch.no_grad():
            for block in self._blocks(rows_of(batch)):
                self.call(take(batch, block), visitors(take(values, block), [(f, kept[place]) for place, f in features.items()]))
        return {place: torch.cat(parts) for place, parts in kept.items()}

    def interchange(self, base: Setting, sources: Mapping[FeatureLike, Setting]) -> Any:
        """The labels for `base` with each feature set to the value that it takes for its own source (2301.04709).

        `base` and the sources are one setting or batches of the same length; labels and errors are those of `run`. Several
        features at one site are written one after the other, so features that overlap there are the caller's mistake.
        """
        values: dict[FeatureLike, Tensor] = {}
        for group in _by_source(sources):
            values |= self.activations(sources[group[0]], group)
        return self.run(base, values)

    def check_deterministic(self, inputs: Setting, sites: Iterable[Site] = ()) -> None:
        """Run the first block of inputs twice and compare the module's output and the sites.

        Raises:
            NetworkError: when they differ beyond rounding; no interchange means anything then.
        """
        sites = list(sites)
        self._check(sites)
        batch = take(_batched(inputs)[0], slice(self.batch_size))
        runs: list[dict[str, Tensor]] = []
        for _ in range(2):
            seen: dict[Site, list[Tensor]] = {site: [] for site in sites}
            with undisturbed(self.module), torch.no_grad():
                output = self.call(batch, visitors({}, [(Whole(site), parts) for site, parts in seen.items()]))
            outputs = {f"output {i}": x for i, x in enumerate(_tensors(output))}
            runs.append({**{str(site): parts[0] for site, parts in seen.items()}, **outputs})
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

    def _values(self, do: Mapping[FeatureLike, Tensor] | None, n: int) -> dict[FeatureLike, Tensor]:
        self._check([feature.site for feature in do or {}])
        wrong = {str(f.site): len(x) for f, x in (do or {}).items() if len(x) != n}
        if wrong:
            raise NetworkError(f"the inputs have {n} rows and the values set at {wrong}; each row needs one of its own")
        return dict(do or {})

    def unknown_sites(self, sites: Iterable[Site]) -> list[str]:
        """Which of the sites the network does not have, a sentence each with the nearest name."""
        paths = [path for path, _ in self.module.named_modules() if path]
        return [unknown("site", site.path, paths) for site in sites if site.path not in paths]

    def _check(self, sites: Iterable[Site]) -> None:
        check(self.unknown_sites(sites), NetworkError, f"the network {self.name!r}")


def visitors(values: Mapping[FeatureLike, Tensor], kept: Sequence[tuple[FeatureLike, list[Tensor]]] = ()) -> dict[Tap, Visit]:
    """Visitors for one forward pass that set features to `values` [batch, dims] and then append what they read to `kept`."""

    def visit_of(tap: Tap) -> Visit:
        set_here = [(feature, x) for feature, x in values.items() if feature.site.tap == tap]
        kept_here = [(feature, parts) for feature, parts in kept if feature.site.tap == tap]

        def visit(value: Tensor) -> Tensor | None:
            for feature, x in set_here:
                value = feature.site.write(value, feature.write(feature.site.read(value), x))
            for feature, parts in kept_here:
                parts.append(feature.read(feature.site.read(value)).clone())  # a module after it may work in place
            return value if set_here else None

        return visit

    return {tap: visit_of(tap) for tap in dict.fromkeys(f.site.tap for f in (*values, *(f for f, _ in kept)))}


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
