"""Networks: any torch module as a causal system."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, rows_of, take
from commute.causal.interventions import Setting, Source
from commute.errors import NetworkError, check, not_counts, unknown
from commute.models.ablations import Ablation
from commute.models.answers import AnswersLike
from commute.models.calls import tensors_of
from commute.models.cost import Cost
from commute.models.cuts import decides
from commute.models.decoding import Decode
from commute.models.engine import close
from commute.models.flops import Flops
from commute.models.heads import Part, head_sites
from commute.models.hooks import evaluating, is_compiled, listing, ungraded
from commute.models.language import PromptsLike, language
from commute.models.passes import FEW, MEMORY, Encode, Finish, Passes
from commute.models.patches import Change, FeatureLike, Read, Whole, of_rows
from commute.models.positions import Positions
from commute.models.prepared import Prepared, prepared
from commute.models.prompts import Padding
from commute.models.residual import residual_sites
from commute.models.rows import Labels, at, batched, by_row, distinct_rows, joined
from commute.models.sites import Site, Tap
from commute.models.sweep import Sources, Sweep, swept

Do = Mapping[FeatureLike, Tensor | Change | Ablation]  # what features are set to

_SAME = 1e-4  # relative and absolute difference that rounding may make between two runs


class Network(Passes):
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
        batch_size: rows in one forward pass; None is what `memory` has room for.
        positions: named positions, each a function from the inputs to its place in each row, [batch] of int, as `Site` counts.
        finish: what is done with the module's output before `decode`, with no intervention active: a function of the module's
            call and its output, for a network that goes on from what it was given, as in generation.
        memory: bytes that passes and what is kept of them may take, the module's own and what it is called with aside. At least
            one row is run at once, and with a gibibyte up to 32 are. Activations beyond it are kept in files.
        spill: the folder of these files; None is the system's folder for temporary files.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        encode: Encode,
        decode: Decode,
        name: str | None = None,
        batch_size: int | None = None,
        positions: Positions | None = None,
        finish: Finish | None = None,
        memory: int = MEMORY,
        spill: str | Path | None = None,
    ) -> None:
        problems = []
        if not isinstance(module, nn.Module):
            problems.append(f"module must be a torch.nn.Module; given {type(module).__name__}")
        elif compiled := [path or "the module itself" for path, m in module.named_modules() if is_compiled(m)]:
            problems.append(f"module must not be compiled, since that calls no hooks; {compiled[0]} is; give it as it was")
        problems += [
            f"{k} must be a function; given {f!r}" for k, f in (("encode", encode), ("decode", decode)) if not callable(f)
        ]
        problems += not_counts(memory=memory, **({} if batch_size is None else {"batch_size": batch_size}))
        if spill is not None and not Path(spill).is_dir():
            problems.append(f"spill must be a folder that is there; given {spill!r}")
        problems += [
            f"the position {k!r} must be a function of the inputs; given {f!r}"
            for k, f in (positions or {}).items()
            if not callable(f)
        ]
        if finish is not None and not callable(finish):
            problems.append(f"finish must be a function of the call and the output; given {finish!r}")
        check(problems, NetworkError, "a network")
        super().__init__(
            module=module,
            encode=encode,
            decode=decode,
            name=name or type(module).__name__,
            batch_size=batch_size,
            positions=positions or {},
            finish=finish,
            memory=memory,
            spill=None if spill is None else Path(spill),
        )

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
        batch_size: int | None = None,
        memory: int = MEMORY,
        spill: str | Path | None = None,
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
            batch_size: prompts in one forward pass; None is what `memory` has room for.
            memory: as of a `Network`.
            spill: as of a `Network`.

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
            memory=memory,
            spill=spill,
        )

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.module.parameters())
        return f"Network({self.name!r}: {type(self.module).__name__}, {parameters:,} parameters)"

    def sites(self, pattern: str = "*", *, position: Any = None, inputs: Setting | None = None) -> list[Site]:
        """The outputs of modules whose path matches a shell-style pattern (`"*relu*"`), in the module's order.

        Args:
            pattern: of the paths.
            position: of every site.
            inputs: with a setting or batch of inputs, the network is run on them, and on one more, and the sites are those that
                hold a tensor [batch, …], in the order in which they run, each with its `shape`, its element of a tuple or mapping
                and its call where the module runs several times.

        Raises:
            NetworkError: when none matches.
        """
        paths = [path for path, _ in self.module.named_modules(remove_duplicate=False) if path]
        matching = [path for path in paths if fnmatchcase(path, pattern)]
        if inputs is None:
            found = [Site(path, position) for path in matching]
        else:
            batch, _ = batched(inputs)
            seen, more = self._listed(matching, batch), self._listed(matching, take(batch, [*range(rows_of(batch)), 0]))
            found = [Site(t.path, position, element=t.element, call=t.call, shape=x) for t, x in seen.items() if t in more]
        if not found:
            raise NetworkError(f"no site of {self.name!r} matches {pattern!r}: {unknown('site', pattern, paths)}")
        return found

    def _listed(self, paths: Iterable[str], batch: Batch) -> dict[Tap, tuple[int, ...]]:
        with evaluating(self.module), torch.no_grad(), listing(self.module, paths, rows_of(batch)) as seen:
            self.call(batch)
        return seen

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

    def heads(self, part: Part, *, layers: Sequence[int] | None = None, position: Any = None) -> dict[tuple[int, int], Site]:
        """The sites of a part of each attention head by (layer, head): "query", "key", "value", "pattern" or "result".

        Where heads share keys and values, there are as many of these as groups. See `head_sites` for what is known of models.

        Raises:
            NetworkError: when there is no such part, layer or named position, or the module does not show where its heads are.
        """
        found = head_sites(self.module, part, layers=layers, position=position)
        self._check(found.values())
        return found

    def residual(self, *, positions: Sequence[Any] = (None,)) -> list[Site]:
        """The sites of the residual stream, the output of every layer at each of the positions; see `residual_sites`.

        Args:
            positions: as of a `Site`: numbers, names, …; None is all positions as one site.

        Raises:
            NetworkError: when the module does not show where its layers are, or has no such named position.
        """
        found = residual_sites(self.module, positions)
        self._check(found)
        return found

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
        if not do and (once := distinct_rows(batch)) is not None:
            first, rows = once
            return at(self.run(take(batch, first)), rows)
        values = self._values(do, rows_of(batch))
        with evaluating(self.module), ungraded(self.module):
            ready = self._prepared(batch, values)
            decoded = []
            for block in self.blocks(batch):
                part, rows, do_here = take(batch, block), np.arange(rows_of(batch))[block], of_rows(values, block)
                output = self.call(part, do_here, rows=rows) if ready is None else ready.output(rows, do_here)
                decoded.append(self.decoded(output, part))
        return joined(decoded, single=single)

    def activations(self, inputs: Setting, places: Iterable[Site | FeatureLike], do: Do | None = None) -> dict[Any, Tensor]:
        """The vectors at each site [batch, width], or the values of each feature [batch, dims], with the features in `do` set.

        What takes more than the network's `memory` is in files that are mapped into memory.
        """
        features: dict[Any, FeatureLike] = {place: Whole(place) if isinstance(place, Site) else place for place in places}
        self._check([feature.site for feature in features.values()])
        batch, _ = batched(inputs)
        if not do and not any(by_row(f.site) for f in features.values()) and (once := distinct_rows(batch)) is not None:
            first, rows = once
            taken = self.activations(take(batch, first), features)
            return {place: self.store.spread(x, rows) for place, x in taken.items()}
        values = self._values(do, rows_of(batch))
        with evaluating(self.module), torch.no_grad():
            return dict(zip(features, self.read(batch, list(features.values()), values), strict=True))

    def interchange(self, base: Setting, sources: Mapping[FeatureLike, Setting | Source]) -> Any:
        """The labels for `base` with each feature set to the value that it takes for its own source (2301.04709).

        `base` and the sources are one setting or batches of the same length; labels and errors are those of `run`. A source that
        is itself intervened on is a `Source(inputs, do=…, sources=…)`, which nests, as path patching needs. Several features at
        one site are written one after the other, so features that overlap there are the caller's mistake.
        """
        if len(sources) == 1:
            ((feature, source),) = sources.items()
            answered = None if isinstance(source, Source) else self._decided(base, feature, source)
            if answered is not None:
                return answered
        return self.run(base, self._taken(sources))

    def _decided(self, base: Setting, feature: FeatureLike, source: Setting) -> Labels | None:
        """The labels after an interchange where repeated sources decide them; None where the bases matter too."""
        self._check([feature.site])
        (batch, _), (inputs, _) = batched(base), batched(source)
        once = distinct_rows(inputs) if rows_of(inputs) == rows_of(batch) else None
        if once is None or not decides(self, batch, feature, inputs):
            return None
        first, rows = once
        values = self.activations(take(inputs, first), [feature])[feature]
        return at(self.run(take(batch, first), {feature: values}), rows)

    def sweep(self, base: Setting, source: Setting | Source, places: Iterable[Site | FeatureLike]) -> Sweep:
        """Interchange each site or feature by itself, with the same bases and sources.

        Bases and sources are run once. The passes after the interchange begin where the site is, many sites in one pass; in a
        causal transformer they leave out the positions before the site's. For each set of sites and each such way of passing this
        is compared with passes in full on a few pairs, and given up with a `ReplayWarning` where the two differ.

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
        taken, _ = batched(inputs)
        if rows_of(taken) != rows_of(batch):
            raise NetworkError(f"the bases have {rows_of(batch)} rows and the sources {rows_of(taken)}; give each base a source")
        sources = Sources(taken, self._values(do, rows_of(taken)))
        return swept(self, batch, sources, features) or self._in_full(batch, sources, features)

    def _in_full(self, batch: Batch, sources: Sources, features: Mapping[Any, FeatureLike]) -> Sweep:
        """A sweep by passes in full."""
        with Flops() as counter:
            taken = self.activations(sources.batch, features.values(), sources.do)
            answers = {name: self.run(batch, {feature: taken[feature]}) for name, feature in features.items()}
        return Sweep(answers, Cost(counter.total))

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
        """Run the first inputs twice and compare the module's output and the sites.

        Raises:
            NetworkError: when they differ beyond rounding; no interchange means anything then.
        """
        sites = list(sites)
        self._check(sites)
        batch = take(batched(inputs)[0], slice(min(self.batch_size or FEW, FEW)))
        runs: list[dict[str, Tensor]] = []
        for _ in range(2):
            seen: dict[Site, list[Tensor]] = {site: [] for site in sites}
            with evaluating(self.module), torch.no_grad():
                output = self.call(batch, reads=[Read(Whole(site), parts) for site, parts in seen.items()])
            outputs = {f"output {i}": x for i, x in enumerate(tensors_of(output))}
            runs.append({**{str(site): parts[0] for site, parts in seen.items()}, **outputs})
        for place, first in runs[0].items():
            if not close(first, runs[1][place]):
                raise NetworkError(
                    f"the network {self.name!r} is not deterministic: run twice on the same inputs it differs at {place}; remove "
                    "randomness from its forward pass"
                )

    def _prepared(self, batch: Batch, values: Mapping[FeatureLike, Tensor | Change]) -> Prepared | None:
        """Repeated bases made ready, where replaying what is known of them is worth it."""
        sites = [f.site for f in values]
        if any(not isinstance(x, Tensor) for x in values.values()) or any(map(by_row, sites)) or distinct_rows(batch) is None:
            return None
        return prepared(self, batch, [sites], patches=1)[0]

    def _values(self, do: Do | None, n: int) -> dict[FeatureLike, Tensor | Change]:
        """What each feature is set to: values [n, dims], or a function of its own."""
        self._check([feature.site for feature in do or {}])
        values: dict[FeatureLike, Tensor | Change] = {}
        for feature, x in (do or {}).items():
            values[feature] = x.of(partial(self._feature, feature), n, str(feature)) if isinstance(x, Ablation) else x
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


def _by_source(sources: Mapping[FeatureLike, Any]) -> list[list[FeatureLike]]:
    """Features grouped by the source that they share, so that each source is run once."""
    groups: dict[int, list[FeatureLike]] = {}
    for feature, source in sources.items():
        groups.setdefault(id(source), []).append(feature)
    return list(groups.values())
