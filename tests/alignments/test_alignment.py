import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.alignments.spec import Found
from tests import planted

Q = torch.linalg.qr(torch.randn(6, 4, generator=torch.Generator().manual_seed(0))).Q
SITE = cm.Site("layer", position=-1)


def featurizers():
    return st.sampled_from([cm.Identity(), cm.Orthogonal(Q), cm.Orthogonal(torch.eye(6))])


@given(featurizers(), st.integers(0, 99), st.sets(st.integers(0, 3), min_size=1))
def test_features_and_rest_make_the_vectors_again(featurizer, seed, dims):
    vectors = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(featurizer.from_features(*featurizer.to_features(vectors)), vectors, atol=1e-6)
    feature = cm.Feature(SITE, featurizer, tuple(dims))
    values = torch.full((3, len(dims)), 2.0)
    written = feature.write(vectors, values)
    assert torch.allclose(feature.read(written), values, atol=1e-6)
    other = cm.Feature(SITE, featurizer, tuple(sorted({*range(4)} - dims))) if len(dims) < 4 else None
    if other is not None:
        assert torch.allclose(other.read(written), other.read(vectors), atol=1e-6)
    assert torch.allclose(feature.write(written, feature.read(vectors)), vectors, atol=1e-5)


def test_directions_must_be_orthonormal():
    with pytest.raises(cm.CommuteError, match=r"\|QᵀQ - I\| reaches 3"):
        cm.Orthogonal(2 * torch.eye(3))
    with pytest.raises(cm.CommuteError, match=r"given \[2, 3\]"):
        cm.Orthogonal(torch.eye(3)[:2])


def test_directions_of_whole_numbers_are_an_error():
    with pytest.raises(cm.CommuteError, match="floating-point values; this one holds torch.int64"):
        cm.Feature(SITE, cm.Orthogonal(Q)).read(torch.ones(2, 6, dtype=torch.int64))


def test_an_alignment_is_read_back_by_another_process(tmp_path):
    rotation = cm.Orthogonal(Q)
    saved = cm.Alignment(
        {
            "left": cm.Feature(SITE, rotation, (0, 2)),
            "right": cm.Feature(SITE, rotation, (1,)),
            "whole": cm.Feature(cm.Site("other", head=1, input=True)),
        }
    )
    saved.save(tmp_path)
    loaded = cm.Alignment.load(tmp_path)
    assert {v: (f.site, f.dims) for v, f in loaded.items()} == {v: (f.site, f.dims) for v, f in saved.items()}
    assert torch.equal(loaded["left"].featurizer.directions, Q)
    assert loaded["left"].featurizer is loaded["right"].featurizer
    program = f"import commute as cm; print(sorted(cm.Alignment.load({str(tmp_path)!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['left', 'right', 'whole']"


def found_by(search):
    return Found(search, seed=3, candidates=12, place=(SITE,))


def test_a_search_covers_what_is_said_to_be_found_by_it():
    with pytest.raises(cm.CommuteError, match="no variable 'right'; there is left"):
        cm.Alignment(dict(planted.alignment()), found=found_by(cm.Search(["left"], [SITE])))


def test_the_search_is_saved_with_what_it_found(tmp_path):
    search = cm.Search(["left", "right"], [SITE, cm.Site("other", head=1)], cm.DAS(dims=3, steps=7), n=50)
    cm.Alignment(dict(planted.alignment()), found=found_by(search)).save(tmp_path)
    found = cm.Alignment.load(tmp_path).found
    again = found.search
    assert (found.seed, found.candidates, found.place) == (3, 12, (SITE,))
    assert (list(again.variables), list(again.sites), again.method, again.n) == (
        ["left", "right"],
        [*search.sites],
        search.method,
        50,
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "alignment.json").unlink(),
        lambda folder: (folder / "alignment.safetensors").write_bytes(b"nothing"),
        lambda folder: (folder / "alignment.json").write_text("{"),
        lambda folder: _edit(folder, featurizers=["Rotation"]),
        lambda folder: _edit(folder, version=99),
        lambda folder: _edit(folder, found={"search": {"method": {"kind": "Magic"}}}),
        lambda folder: _edit(folder, features={"left": {"site": {"path": 3, "x": 1}, "featurizer": 0, "dims": None}}),
    ],
)
def test_a_spoiled_file_is_an_error_that_names_the_folder(tmp_path, spoil):
    planted.alignment().save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(cm.CommuteError, match=str(tmp_path)):
        cm.Alignment.load(tmp_path)


def _edit(folder, **changes):
    path = folder / "alignment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_variables_must_not_share_coordinates():
    rotation = cm.Orthogonal(Q)
    with pytest.raises(cm.CommuteError) as caught:
        cm.Alignment(
            {
                "left": cm.Feature(SITE, rotation, (0, 1)),
                "right": cm.Feature(SITE, rotation, (1, 2)),
                "neuron": cm.Feature(SITE, dims=(3,)),
            }
        )
    said = str(caught.value)
    assert "'left' and 'right' share [1]" in said
    assert "'left' and 'neuron' have different featurizers at layer[-1]" in said
    with pytest.raises(cm.CommuteError, match="share all coordinates"):
        cm.Alignment({"left": cm.Feature(SITE), "right": cm.Feature(SITE, dims=(0,))})


def test_sites_that_overlap_are_the_same_place():
    with pytest.raises(cm.CommuteError, match="overlap"):
        cm.Alignment({"left": cm.Feature(cm.Site("layer")), "right": cm.Feature(cm.Site("layer", position=1))})


@pytest.mark.parametrize("dims", [(), (0, 0), (-1,), (0.5,), ("0",), (True,), 0, slice(0, 2), "0"])
def test_dims_name_coordinates_once(dims):
    with pytest.raises(cm.CommuteError, match="dims must name"):
        cm.Feature(SITE, dims=dims)


def test_what_is_not_aligned_is_named():
    with pytest.raises(cm.CommuteError, match="no aligned variable 'lft'; did you mean 'left'"):
        planted.alignment()["lft"]
    with pytest.raises(cm.CommuteError, match="aligns no variable"):
        cm.Alignment({})
    with pytest.raises(cm.CommuteError, match="must be a Feature"):
        cm.Alignment({"left": SITE})


def test_dims_can_be_numbers_of_other_kinds():
    for dims in (range(2), [0, 1], np.arange(2), torch.arange(2)):
        assert cm.Feature(SITE, dims=dims).dims == (0, 1)


def test_a_featurizer_of_another_width_names_the_site():
    feature = cm.Feature(SITE, cm.Orthogonal(torch.eye(3)))
    for use in (feature.read, lambda x: feature.write(x, torch.zeros(2, 3))):
        with pytest.raises(cm.CommuteError, match=r"the feature at layer\[-1\]: Orthogonal: it is for vectors \[batch, 3\]"):
            use(torch.zeros(2, 4))
