"""Searches that are kept: cut off and gone on with, shared by processes, and spread over workers that end."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import commute as cm
from commute.alignments import fitting
from commute.causal.library import hierarchical_equality
from commute.errors import AlignmentError
from commute.runs.events import ItemFitted, SearchStarted, SiteSkipped
from tests import planted

ROOT = Path(__file__).parents[2]
NARROW = cm.Site("hidden.6.first")
SITES = [*(cm.Site(f"hidden.{i}") for i in range(4)), NARROW]
QUICK = cm.DAS(dims=1, steps=12, batch=700, restarts=2)  # so many pairs a step that each place is a chunk of its own
STARTS = QUICK.restarts


class First(nn.Module):
    """Hands vectors on, with a module inside that sees one of their coordinates."""

    def __init__(self):
        super().__init__()
        self.first = nn.Identity()

    def forward(self, x):
        return torch.cat([self.first(x[:, :1]), x[:, 1:]], 1)


def network():
    """The planted network with six sites of the same vectors, and one that is too narrow for two variables."""
    module = planted.Planted()
    module.hidden = nn.Sequential(*(nn.Identity() for _ in range(6)), First())
    return cm.Network(module, encode=planted.encode, decode=decode)


def decode(logits):
    return logits.argmax(-1).bool()


def find(runs=None, *, net=None, algorithm=None, sites=SITES, method=QUICK, n=256, seed=0, heldout="pairs", **options):
    return cm.search(
        algorithm or hierarchical_equality(8),
        net or network(),
        variables=["left", "right"],
        sites=sites,
        method=method,
        n=n,
        seed=seed,
        heldout=heldout,
        runs=runs,
        **options,
    )


def answer(result):
    """All that a search gives, as JSON values, which keep every bit of a number."""
    features = [
        [v, str(f.site), f.dims, f.featurizer.directions.tolist()]
        for c in result.candidates
        for v in c.alignment
        for f in c.alignment.parts(v)
    ]
    return json.loads(json.dumps([result.to_frame().to_dict("list"), features, dict(result.skipped)]))


@pytest.fixture(scope="module")
def whole():
    """What a search gives that is neither kept nor cut off."""
    return answer(find())


@pytest.fixture
def fits(monkeypatch):
    """The sites of each chunk that is fitted."""
    seen, fit = [], fitting.fit_chunk

    def fit_chunk(network, chunk):
        seen.append(sorted({str(site) for item in chunk.items for site in item.place}))
        return fit(network, chunk)

    monkeypatch.setattr(fitting, "fit_chunk", fit_chunk)
    return seen


def files(runs):
    return sorted(Path(runs).rglob("*.safetensors"))


def kept(runs):
    """The items of all records, by name."""
    return sorted(json.loads(header(file)["__metadata__"]["record"])["item"] for file in files(runs))


def header(file):
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def unfinished(runs):
    """The sites of which a start or more is not kept, a list each, in order."""
    names = kept(runs)
    return [[str(site)] for site in SITES if sum(name.startswith(f"{site}, ") for name in names) < STARTS]


# What is kept.


READER = """
import array, json, pathlib, struct, sys

found = {}
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        item = json.loads(header.pop("__metadata__")["record"])["item"]
        kinds = {"F32": "f", "F64": "d"}
        found[item] = {
            name: array.array(kinds[x["dtype"]], content[8 + length :][slice(*x["data_offsets"])]).tolist()
            for name, x in header.items()
        }
assert "pickle" not in sys.modules
print(json.dumps(found))
"""


def test_each_item_is_a_file_that_json_and_raw_numbers_are_read_from(tmp_path, whole):
    """A reader of one's own, in another process, knows nothing of this package nor of pickle."""
    result = find(tmp_path)
    assert answer(result) == whole
    done = subprocess.run([sys.executable, "-I", "-S", "-c", READER, str(tmp_path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == len(SITES) * STARTS == len(files(tmp_path))
    for candidate in result.candidates:
        tensors = found.pop(str(candidate.item))
        assert tensors["losses"] == list(candidate.losses)
        assert tensors["0.directions"] == candidate.alignment["left"].featurizer.directions.flatten().tolist()
    assert [name.startswith(str(NARROW)) for name in found] == [True] * STARTS
    assert all(tensors == {"losses": []} for tensors in found.values())


def test_running_again_fits_nothing_and_gives_the_same(tmp_path, whole, fits):
    seen = []
    assert answer(find(tmp_path)) == whole
    assert fits == [[str(site)] for site in SITES]
    written = {file: file.stat().st_mtime_ns for file in files(tmp_path)}
    assert answer(find(tmp_path, on_event=seen.append)) == whole
    assert len(fits) == len(SITES)
    assert {file: file.stat().st_mtime_ns for file in files(tmp_path)} == written
    assert seen[0] == SearchStarted(len(SITES) * STARTS, None)
    assert [type(x) for x in seen[1:]] == [ItemFitted] * 4 * STARTS + [SiteSkipped] * STARTS  # kept ones are told of too
    assert "needs 2 dims; hidden.6.first has 1" in seen[-1].reason


def test_more_sites_fit_only_these(tmp_path, whole, fits):
    find(tmp_path, sites=SITES[1:3])
    del fits[:]
    assert answer(find(tmp_path)) == whole
    assert fits == [["hidden.0"], ["hidden.3"], [str(NARROW)]]
    find(tmp_path, sites=SITES[::-1])
    assert len(fits) == 3


@pytest.mark.parametrize("batch", [700, 64])  # each place a chunk of its own; all together one
def test_more_sites_and_dims_fit_only_what_is_not_kept(tmp_path, monkeypatch, batch):
    fitted, fit = [], fitting.fit_chunk

    def fit_chunk(network, chunk):
        fitted.extend(map(str, chunk.items))
        return fit(network, chunk)

    monkeypatch.setattr(fitting, "fit_chunk", fit_chunk)
    method = replace(QUICK, batch=batch)
    first = find(tmp_path, sites=SITES[:2], method=method)
    more = find(tmp_path, sites=SITES[:3], method=replace(method, dims=(1, 2)))
    assert len(fitted) == len(set(fitted)) == len(more.candidates) == 3 * 2 * STARTS
    losses = {str(c.item): c.losses for c in more.candidates}
    assert all(losses[str(c.item)] == c.losses for c in first.candidates)


def other_weights():
    net = network()
    with torch.no_grad():
        net.module.rotation[0, 0] += 1e-3
    return net


def other_algorithm():
    """Of the same name and graph, with `same` the other way round."""
    algorithm = hierarchical_equality(8)
    return cm.CausalModel(
        algorithm.name,
        {v: algorithm.domain(v) for v in algorithm.inputs},
        {"left": lambda a, b: a == b, "right": lambda c, d: c == d, "same": lambda left, right: left != right},
    )


@pytest.fixture(scope="module")
def one_kept(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    find(runs, sites=SITES[:1])
    return runs


@pytest.mark.parametrize(
    "changed",
    [
        lambda: {"net": other_weights()},
        lambda: {"algorithm": other_algorithm()},
        lambda: {"n": 250},
        lambda: {"seed": 1},
        lambda: {"heldout": "values"},
        lambda: {"method": replace(QUICK, learning_rate=0.05)},
        lambda: {"method": replace(QUICK, steps=11)},
        lambda: {"method": replace(QUICK, start_from="means")},
        lambda: {"method": FirstTwo("")},
    ],
)
def test_what_is_kept_is_of_no_use_to_another_search(one_kept, fits, changed):
    options = {"sites": SITES[:1], **changed()}
    kept_before = files(one_kept)
    find(one_kept, **options)
    assert fits == [["hidden.0"]]
    assert set(files(one_kept)) > set(kept_before)
    find(one_kept, **options)
    assert len(fits) == 1  # now it is kept


def test_the_rungs_of_halving_are_kept(tmp_path, fits):
    options = {"sites": SITES[:3], "halving": cm.Halving(coarse=0, keep=0.5, rungs=2)}
    first = answer(find(tmp_path, **options))
    assert len(fits) > 3
    del fits[:]
    assert answer(find(tmp_path, **options)) == first
    assert fits == []


def spoil_json(record):
    return {"record": record[:-1]}


def spoil(**changed):
    return lambda record: {"record": json.dumps({**json.loads(record), **changed})}


def spoil_featurizer(record):
    changed = json.loads(record)
    changed["alignment"]["featurizers"][0]["kind"] = "Unknown"
    return {"record": json.dumps(changed)}


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        (lambda record: {}, "not as written"),
        (spoil_json, "not as written"),
        (lambda record: {"record": "[]"}, "not as written"),
        (lambda record: {"record": "{}"}, "not as written"),
        (spoil(version=99), "version 99; version 1 is read"),
        (spoil(item="other, DAS"), "it is of other, DAS, and was to be of hidden.0, DAS"),
        (spoil(train=[[["left"], [[3, 2], [0, 0]]]]), "0 <= correct <= total"),
        (spoil(train=[1]), "not as written"),
        (spoil_featurizer, "no featurizer 'Unknown'"),
    ],
)
def test_a_spoiled_record_is_an_error_that_names_the_file(tmp_path, spoiled, said):
    find(tmp_path, sites=SITES[:1])
    file = files(tmp_path)[0]
    record = header(file)["__metadata__"]["record"]
    save_file(load_file(file), file, metadata=spoiled(record))
    with pytest.raises(AlignmentError) as raised:
        find(tmp_path, sites=SITES[:1])
    assert f"{file} is not as written" in str(raised.value)
    assert "remove it to fit the item anew" in str(raised.value)
    assert said in str(raised.value) or json.loads(record)["restart"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, lambda whole: whole[:-5], lambda whole: whole[:100]])
def test_a_file_cut_off_or_of_something_else_is_named_too(tmp_path, content, fits):
    first = answer(find(tmp_path, sites=SITES[:1]))
    file = files(tmp_path)[0]
    file.write_bytes(content if isinstance(content, bytes) else content(file.read_bytes()))
    with pytest.raises(AlignmentError, match="not as written.*remove it") as raised:
        find(tmp_path, sites=SITES[:1])
    assert str(file) in str(raised.value)
    file.unlink()
    assert answer(find(tmp_path, sites=SITES[:1])) == first


# Cut off.


def stopping(after, error):
    seen = []

    def on_event(event):
        seen.append(event)
        if sum(isinstance(x, ItemFitted) for x in seen) == after:
            raise error

    return on_event


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_search_that_was_interrupted_goes_on_where_it_was(tmp_path, whole, fits, after):
    with pytest.raises(KeyboardInterrupt):
        find(tmp_path, on_event=stopping(after, KeyboardInterrupt))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    left = unfinished(tmp_path)
    begun = [[str(site)] for site in SITES[after // STARTS :]]
    assert left in (begun, begun[after % STARTS :])  # of the chunk that was being told of, all or a part may be kept
    del fits[:]
    assert answer(find(tmp_path)) == whole
    assert fits == left


CHILD = "import sys; from tests.alignments.test_search_runs import child; child(*sys.argv[1:])"


def child(runs, stops):
    """Search in a process of its own; with `stops` it waits at its 6th item, until it is ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which one in the background has not
    torch.set_num_threads(1)
    seen = []

    def on_event(event):
        print(type(event).__name__, flush=True)
        seen.extend([event] * isinstance(event, ItemFitted))
        if len(seen) == 6 and stops == "stops":
            time.sleep(600)

    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(answer(find(runs, on_event=on_event))), flush=True)


def started(runs, stops=""):
    """A process that searches, ready to begin when it reads a line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(runs), stops],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_was_ended_leaves_whole_records_only(tmp_path, whole, fits, how):
    with started(tmp_path, "stops") as process:
        process.stdin.write("go\n")
        process.stdin.flush()
        fitted = 0
        while fitted < 2:
            fitted += process.stdout.readline() == "ItemFitted\n"
        time.sleep(0.05)  # into the next fit
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -how
    assert ("KeyboardInterrupt" in err) == (how == signal.SIGINT)
    (folder,) = tmp_path.iterdir()
    hidden = [path for path in folder.iterdir() if path.suffix != ".safetensors"]
    assert not hidden or how == signal.SIGKILL  # no process can tidy up after that
    left = unfinished(tmp_path)
    assert ["hidden.0"] not in left
    assert left
    assert answer(find(tmp_path)) == whole
    assert fits == left


def test_what_a_killed_process_left_half_written_is_not_read(tmp_path, whole, fits):
    find(tmp_path)
    del fits[:]
    file = files(tmp_path)[0]
    half = file.with_name(f".{file.name}.abc123")  # as it is called while it is written
    half.write_bytes(file.read_bytes()[:50])
    file.unlink()
    assert answer(find(tmp_path)) == whole
    assert len(fits) == 1
    assert half.is_file()


def test_two_processes_at_once_share_a_folder(tmp_path, whole):
    with started(tmp_path) as process:
        process.stdin.write("go\n")
        process.stdin.flush()
        here = answer(find(tmp_path))
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert here == json.loads(out.splitlines()[-1]) == whole
    assert len(files(tmp_path)) == len(SITES) * STARTS == len([x for x in tmp_path.rglob("*") if x.is_file()])


# Workers.


def test_processes_give_the_same_and_what_they_finished_is_kept(tmp_path, whole, fits, pool):
    assert answer(find(tmp_path / "whole", executor=pool)) == whole
    assert len(files(tmp_path / "whole")) == len(SITES) * STARTS

    with pytest.raises(KeyboardInterrupt):
        find(tmp_path / "interrupted", executor=pool, on_event=stopping(2, KeyboardInterrupt))
    assert len(unfinished(tmp_path / "interrupted")) < len(SITES)
    assert answer(find(tmp_path / "interrupted", executor=pool)) == whole

    worker = pool.submit(os.getpid).result()
    killed = []

    def kills(event):
        if isinstance(event, ItemFitted) and not killed:
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)

    with pytest.raises(cm.CommuteError, match="lost its workers .BrokenProcessPool.* of 5 tasks are finished.*runs=") as raised:
        find(tmp_path / "killed", executor=pool, on_event=kills)
    left = unfinished(tmp_path / "killed")
    assert f"{len(SITES) - len(left)} of 5 tasks" in str(raised.value)
    assert 0 < len(left) < len(SITES)
    assert answer(find(tmp_path / "killed")) == whole
    assert fits == left


def test_a_dask_worker_killed_in_mid_run_changes_nothing(tmp_path, whole, client):
    killed = []

    def kills(event):
        if isinstance(event, ItemFitted) and not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    assert answer(find(tmp_path, executor=client.get_executor(), on_event=kills)) == whole
    assert len(files(tmp_path)) == len(SITES) * STARTS
    assert killed


# Sites at which a method finds nothing.


@dataclass(frozen=True)
class FirstTwo:
    """A method of a user's own: each variable is a neuron."""

    refuses: str

    def fit(self, train, select, generator):
        (site,) = train[0].place
        if str(site) == self.refuses:
            raise AlignmentError(f"nothing is found at {site}")
        variables = list(dict.fromkeys(v for pairs in train for v in pairs.vectors))
        return {v: [cm.Feature(site, dims=(i,))] for i, v in enumerate(variables)}


def test_an_error_at_one_site_skips_this_site_alone(tmp_path, fits):
    method = FirstTwo("hidden.2")
    for _ in range(2):
        result = find(tmp_path, sites=SITES[:4], method=method)
        assert {str(c.site) for c in result.candidates} == {"hidden.0", "hidden.1", "hidden.3"}
        assert result.skipped == {"hidden.2, FirstTwo, start 0": "nothing is found at hidden.2"}
    assert len(fits) == 4  # every site once, and none in the second search


def test_an_error_at_every_site_is_raised():
    with pytest.raises(AlignmentError, match="nothing is found at hidden.2"):
        find(sites=SITES[2:3], method=FirstTwo("hidden.2"))
