import json
import subprocess
import sys
from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from commute.alignments.featurizers import (
    KINDS,
    PCA,
    Affine,
    Composed,
    Featurizer,
    Identity,
    Invertible,
    Mask,
    Orthogonal,
    SparseAutoencoder,
    from_record,
    reconstruction_error,
    to_record,
)
from commute.alignments.featurizers.invertible import Parameters, drawn, forward, inverse
from commute.errors import AlignmentError

WIDTH = 6


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def directions(width, dims, seed=0):
    return torch.linalg.qr(normal(width, dims, seed=seed)).Q


def flow(width=WIDTH, seed=0):
    return Invertible.random(width, generator=torch.Generator().manual_seed(seed))


def autoencoder(width=WIDTH, dictionary=9, **options):
    sizes = [(width, dictionary), (dictionary,), (dictionary, width), (width,)]
    return SparseAutoencoder(*(normal(*size, seed=i) for i, size in enumerate(sizes)), **options)


SCALES = torch.tensor([100, 1, 0.01, 1, 1, 1])
KEPT = torch.tensor([True, False, True, True, False, False])
EXACT = {
    "Identity": Identity(),
    "Orthogonal": Orthogonal(directions(WIDTH, 4)),
    "Orthogonal of full rank": Orthogonal(directions(WIDTH, WIDTH)),
    "PCA": PCA.fit(normal(50, WIDTH) * SCALES.sqrt() + 3, dims=4, standardize=True),
    "PCA of full rank": PCA.fit(normal(50, WIDTH)),
    "Mask": Mask(KEPT),
    "Mask of all": Mask(torch.ones(WIDTH, dtype=torch.bool)),
    "Affine": Affine(torch.eye(WIDTH) + 0.3 * normal(WIDTH, WIDTH), normal(WIDTH)),
    "Invertible": flow(),
    "Invertible of odd width below directions": Composed(Orthogonal(directions(WIDTH, 5)), flow(5)),
    "Composed": Composed(Orthogonal(directions(WIDTH, 5)), PCA.fit(normal(20, 5), dims=3)),
    "Composed twice": Composed(Composed(flow(), Orthogonal(directions(WIDTH, 5))), Mask(torch.arange(5) > 1)),
}
SPARSE = {
    "relu": autoencoder(),
    "topk": autoencoder(activation="topk", k=3, center=False),
    "jumprelu": autoencoder(activation="jumprelu", threshold=normal(9, seed=8).abs()),
    "Composed": Composed(autoencoder(), Mask(torch.arange(9) > 3)),
}
ALL = EXACT | {f"SparseAutoencoder, {k}": x for k, x in SPARSE.items()}


def same(one, other, tolerance=1e-4):
    """Equal to rounding at the size of the values."""
    if one.shape != other.shape or not one.numel():
        return one.shape == other.shape
    return float((one - other).abs().max()) <= tolerance * (1 + float(one.abs().max()) + float(other.abs().max()))


# Laws of all kinds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=25)
@given(seed=st.integers(0, 999), size=st.sampled_from([0.01, 1, 30]), batch=st.integers(0, 4), double=st.booleans())
def test_unchanged_features_give_the_vectors_again(name, seed, size, batch, double):
    vectors = size * normal(batch, WIDTH, seed=seed, dtype=torch.float64 if double else torch.float32)
    features, rest = ALL[name].to_features(vectors)
    back = ALL[name].from_features(features, rest)
    assert (features.ndim, rest.ndim, len(features), len(rest)) == (2, 2, batch, batch)
    assert back.dtype == vectors.dtype
    assert same(back, vectors, 1e-9 if double else 1e-4)


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=25)
@given(seed=st.integers(0, 999), dim=st.integers(0, 2))
def test_features_that_are_written_are_read_again_and_leave_the_others_alone(name, seed, dim):
    featurizer, vectors = EXACT[name], normal(3, WIDTH, seed=seed)
    features, rest = featurizer.to_features(vectors)
    changed = features.clone()
    changed[:, dim] += 2
    again, left = featurizer.to_features(featurizer.from_features(changed, rest))
    assert same(again, changed)
    assert same(left, rest)


def test_the_features_of_an_autoencoder_need_not_be_read_as_they_were_written():
    """Which is what its docstring says of it."""
    features, rest = SPARSE["relu"].to_features(normal(3, WIDTH))
    again, _ = SPARSE["relu"].to_features(SPARSE["relu"].from_features(features + 2, rest))
    assert not same(again, features + 2, 1e-2)


@pytest.mark.parametrize("name", ALL)
def test_both_ways_are_differentiable(name):
    """The way there and back has the identity as its Jacobian, and features depend on the vectors."""
    vectors = normal(4, WIDTH, seed=5, dtype=torch.float64)
    there = torch.autograd.functional.jacobian(lambda x: ALL[name].to_features(x)[0], vectors)
    back = torch.autograd.functional.jacobian(lambda x: ALL[name].from_features(*ALL[name].to_features(x)), vectors)
    assert there.abs().sum() > 0
    assert torch.allclose(back.reshape(4 * WIDTH, -1), torch.eye(4 * WIDTH, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"Identity"}))
def test_half_precision_is_worked_on_in_float32(name):
    vectors = normal(5, WIDTH).half()
    features, rest = ALL[name].to_features(vectors)
    assert features.dtype == rest.dtype == torch.float32
    assert torch.equal(features, ALL[name].to_features(vectors.float())[0])
    assert ALL[name].from_features(features.half(), rest).dtype == torch.float32


@pytest.mark.parametrize("name", sorted(set(ALL) - {"Identity"}))
def test_vectors_and_features_that_do_not_fit_are_errors_that_tell_all(name):
    with pytest.raises(AlignmentError) as caught:
        ALL[name].to_features(torch.ones(2, WIDTH + 1, dtype=torch.int64))
    assert "floating-point values; this one holds torch.int64" in str(caught.value)
    assert "vectors [batch, 6]; given [2, 7]" in str(caught.value)
    with pytest.raises(AlignmentError, match=r"given \[2, 6, 6\]"):
        ALL[name].to_features(torch.ones(2, WIDTH, WIDTH))
    features, rest = ALL[name].to_features(normal(2, WIDTH))
    with pytest.raises(AlignmentError, match=r"features \[batch, "):
        ALL[name].from_features(torch.cat([features, features], dim=1), rest)


def test_each_is_a_featurizer_of_a_known_kind():
    assert {type(x) for x in ALL.values()} == set(KINDS.values())
    assert all(isinstance(x, Featurizer) and KINDS[type(x).__name__] is type(x) for x in ALL.values())
    assert Identity() == Identity()


# Storing -------------------------------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
from pathlib import Path
from safetensors.torch import load_file, save_file
from commute.alignments.featurizers import from_record
folder = Path(sys.argv[1])
given, made = load_file(folder / "vectors.safetensors"), {}
for name, record in json.loads((folder / "records.json").read_text()).items():
    featurizer = from_record(record, load_file(folder / f"{name}.safetensors"))
    features, rest = featurizer.to_features(given["vectors"])
    made |= {f"{name}.features": features.contiguous(), f"{name}.back": featurizer.from_features(features + 1, rest).contiguous()}
save_file(made, folder / "made.safetensors")
"""


def test_all_kinds_are_read_by_another_process(tmp_path):
    vectors, records = normal(4, WIDTH, seed=3), {}
    for name, featurizer in ALL.items():
        records[name], tensors = to_record(featurizer)
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "records.json").write_text(json.dumps(records))
    save_file({"vectors": vectors}, tmp_path / "vectors.safetensors")
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True)
    made = load_file(tmp_path / "made.safetensors")
    for name, featurizer in ALL.items():
        features, rest = featurizer.to_features(vectors)
        assert same(made[f"{name}.features"], features, 1e-6), name
        assert same(made[f"{name}.back"], featurizer.from_features(features + 1, rest), 1e-6), name


def test_a_record_holds_options_and_names_of_tensors():
    shared = Orthogonal(directions(WIDTH, WIDTH).T.requires_grad_())  # not contiguous, trained, and used twice
    record, tensors = to_record(Composed(shared, Composed(shared, SPARSE["topk"])))
    assert set(tensors) >= {"first.directions", "second.first.directions", "second.second.encoder"}
    assert not any(x.requires_grad or not x.is_contiguous() for x in tensors.values())
    assert tensors["first.directions"].data_ptr() != tensors["second.first.directions"].data_ptr()
    inner = record["featurizers"]["second"]["featurizers"]["second"]
    assert inner["kind"] == "SparseAutoencoder"
    assert inner["options"] == {"activation": "topk", "k": 3, "threshold": None, "center": False}
    assert torch.equal(from_record(record, tensors).first.directions, shared.directions)


@dataclass(frozen=True, eq=False)
class Several:
    """A featurizer of a user's own: the sum of what others make, with options of two kinds."""

    parts: tuple[Featurizer, ...]
    sizes: tuple[int, ...] = (1, 2)
    weight: object = 1.0

    def to_features(self, vectors):
        return sum(p.to_features(vectors)[0] for p in self.parts), vectors

    def from_features(self, features, rest):
        return rest


class Plain:
    def to_features(self, vectors):
        return vectors, vectors[:, :0]

    def from_features(self, features, rest):
        return features


def test_a_class_of_ones_own_is_stored_once_it_is_known(monkeypatch):
    own = Several((Orthogonal(directions(WIDTH, 2)), Orthogonal(directions(WIDTH, 2, seed=1))), sizes=(3,))
    with pytest.raises(AlignmentError, match=r"known by its name: KINDS\['Several'\] = Several") as caught:
        to_record(own)
    assert "dataclass" not in str(caught.value)
    with pytest.raises(AlignmentError, match="Plain cannot be stored has 2 problems(.|\n)*frozen dataclass"):
        to_record(Plain())
    monkeypatch.setitem(KINDS, "Several", Several)
    record, tensors = to_record(own)
    assert set(tensors) == {"parts.0.directions", "parts.1.directions"}
    again = from_record(json.loads(json.dumps(record)), tensors)
    assert torch.equal(again.to_features(normal(3, WIDTH))[0], own.to_features(normal(3, WIDTH))[0])
    assert again.sizes == (3,)
    for weight in ({1}, float("nan")):
        with pytest.raises(AlignmentError, match="options of Several are no JSON values"):
            to_record(Several(own.parts, weight=weight))


def test_another_class_of_a_known_name_is_not_stored():
    impostor = type("Mask", (), {"to_features": Plain.to_features, "from_features": Plain.from_features})
    with pytest.raises(AlignmentError, match="known by its name"):
        to_record(impostor())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "Orthogonel"}, "no featurizer 'Orthogonel'; did you mean 'Orthogonal'"),
        ({"kind": ["Orthogonal"]}, "has kind, tensors"),
        ({"options": None}, "has kind, tensors"),
        ({"options": {"rank": 3}}, "there is no field 'rank'; there is directions"),
        ({"tensors": []}, "directions is missing"),
        ({"tensors": ["directions", "more"]}, "no field 'more'(.|\n)*tensor 'more' is missing; there is directions"),
        ({"tensors": [], "options": {"directions": 3}}, "directions must be a tensor(.|\n)*given int"),
    ],
)
def test_a_record_that_is_not_as_written_is_an_error(changes, told):
    record, tensors = to_record(EXACT["Orthogonal"])
    with pytest.raises(AlignmentError, match=told):
        from_record(record | changes, tensors)
    with pytest.raises(AlignmentError, match="'directions' is missing; there is none"):
        from_record(record, {})


# Orthogonal, Mask and Affine -----------------------------------------------------------------------------------------------


def test_how_far_directions_are_from_orthonormal_is_told_in_float64():
    longer = torch.eye(4, dtype=torch.float64)
    longer[0, 0] += 1e-9  # which is 1 in float32
    assert Orthogonal(longer).error == pytest.approx(2e-9)
    assert 0 < EXACT["Orthogonal"].error < 1e-6
    with pytest.raises(AlignmentError, match=r"\|QᵀQ - I\| reaches 3"):
        Orthogonal(2 * torch.eye(3))


@pytest.mark.parametrize(
    ("q", "told"),
    [
        (torch.eye(3)[:2], r"dims <= width; given \[2, 3\]"),
        (torch.eye(3, dtype=torch.int64), "floating-point values; given torch.int64"),
        (torch.ones(3), r"\[width, dims\]; given \[3\]"),
        (torch.ones(3, 0), r"given \[3, 0\]"),
        (torch.eye(3) * float("nan"), "not finite"),
    ],
)
def test_directions_must_be_columns(q, told):
    with pytest.raises(AlignmentError, match=told):
        Orthogonal(q)


def test_a_mask_keeps_coordinates_in_their_order():
    vectors = normal(3, WIDTH)
    features, rest = EXACT["Mask"].to_features(vectors)
    assert torch.equal(features, vectors[:, [0, 2, 3]])
    assert torch.equal(rest, vectors[:, [1, 4, 5]])
    written = EXACT["Mask"].from_features(torch.zeros(3, 3), rest)
    assert torch.equal(written, vectors * ~KEPT)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (torch.zeros(4, dtype=torch.bool), "none of the 4"),
        (torch.ones(4), r"of bool; given \[4\] of torch.float32"),
        (torch.ones(2, 2, dtype=torch.bool), r"given \[2, 2\]"),
        ([True, False], r"given \[True, False\]"),
    ],
)
def test_a_mask_is_of_bool_and_keeps_something(kept, told):
    with pytest.raises(AlignmentError, match=told):
        Mask(kept)


def test_affine_features_are_the_planted_ones():
    affine, planted = EXACT["Affine"], normal(20, WIDTH, seed=4)
    vectors = torch.stack([affine.matrix @ f + affine.shift for f in planted])
    features, rest = affine.to_features(vectors)
    assert torch.allclose(features, planted, atol=1e-4)
    assert torch.allclose(affine.from_features(features, rest + 1), vectors + 1, atol=1e-4)


@pytest.mark.parametrize(
    ("matrix", "shift", "told"),
    [
        (torch.diag(torch.tensor([1.0, 1.0, 1e-5])), torch.zeros(3), r"condition number 1e\+05"),
        (torch.ones(3, 3), torch.zeros(3), "condition number"),
        (torch.ones(3, 2), torch.zeros(3), r"matrix must be \[width, width\], where width is 3; given \[3, 2\]"),
        (torch.eye(3), torch.zeros(2), r"shift must be \[width\], where width is 3; given \[2\]"),
        (torch.eye(3), torch.tensor([0, 0, torch.inf]), "shift has values that are not finite"),
    ],
)
def test_a_matrix_must_be_invertible_with_few_digits_lost(matrix, shift, told):
    with pytest.raises(AlignmentError, match=told):
        Affine(matrix, shift)


# PCA -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standardize", [False, True])
def test_components_are_the_eigenvectors_of_the_covariance(standardize):
    """A second implementation, in numpy: of the covariance, or standardized of the correlation."""
    x = normal(200, WIDTH, dtype=torch.float64) @ normal(WIDTH, WIDTH, seed=1, dtype=torch.float64) * SCALES + 5
    pca = PCA.fit(x, standardize=standardize)
    values, vectors = np.linalg.eigh(np.corrcoef(x.numpy().T) if standardize else np.cov(x.numpy().T))
    vectors = vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(WIDTH)])
    assert np.allclose(pca.components.numpy(), vectors, atol=1e-8)
    features, _ = pca.to_features(x)
    assert np.allclose(features.var(0, correction=0 if standardize else 1).numpy(), values[::-1], rtol=1e-8)


def test_components_are_used_on_the_scale_that_they_were_fitted_on():
    """Fitted on standardized and used on raw vectors, features would be correlated, not centred and all of the largest column."""
    x = normal(300, WIDTH) @ normal(WIDTH, WIDTH, seed=1) * SCALES + 7
    pca = PCA.fit(x, standardize=True)
    features, rest = pca.to_features(x)
    covariance = np.cov(features.double().numpy().T)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    assert np.trace(covariance) == pytest.approx(WIDTH, rel=0.01)
    assert features.mean(0).abs().max() < 1e-4
    assert rest.abs().max() < 1e-3  # of vectors as large as 500, at full rank
    raw = np.cov((x @ pca.components).double().numpy().T)
    assert not np.allclose(raw, np.diag(np.diag(raw)), rtol=0.01, atol=1)


def test_what_components_leave_out_is_on_the_vectors_own_scale():
    x = normal(300, WIDTH) * SCALES + 7
    pca = PCA.fit(x, dims=2, standardize=True)
    features, rest = pca.to_features(x)
    assert torch.allclose(pca.mean + (features @ pca.components.T) * pca.scale + rest, x, atol=1e-3)
    kept = pca.components @ pca.components.T
    assert torch.allclose(rest / pca.scale, ((x - pca.mean) / pca.scale) @ (torch.eye(WIDTH) - kept), atol=1e-3)


def test_columns_that_do_not_vary_are_left_alone():
    x = normal(30, WIDTH)
    x[:, 2] = 0.1  # whose mean, and so whose deviation from it, is not exact
    pca = PCA.fit(x, standardize=True)
    assert pca.scale[2] == 1
    assert pca.to_features(x)[0].isfinite().all()


def test_the_sign_of_components_does_not_depend_on_the_order_of_rows():
    x = normal(40, WIDTH)
    one, other = PCA.fit(x, dims=3), PCA.fit(x.flip(0), dims=3)
    assert torch.allclose(one.components, other.components, atol=1e-5)
    assert (one.components.amax(0) == one.components.abs().amax(0)).all()


def test_few_vectors_have_few_components():
    assert PCA.fit(normal(4, WIDTH)).components.shape == (WIDTH, 3)
    with pytest.raises(AlignmentError, match="4 vectors of width 6 have at most 3 components"):
        PCA.fit(normal(4, WIDTH), dims=4)
    with pytest.raises(AlignmentError, match="1 vectors of width 6 have at most 0"):
        PCA.fit(normal(1, WIDTH))
    with pytest.raises(AlignmentError, match="have at most 6 components; 7 are asked for"):
        PCA.fit(normal(40, WIDTH), dims=7)


def test_what_cannot_be_fitted_to_is_told():
    with pytest.raises(AlignmentError, match="(.|\n)*not finite(.|\n)*dims must be a whole number"):
        PCA.fit(torch.full((5, 3), float("nan")), dims=0)
    with pytest.raises(AlignmentError, match=r"\[rows, width\]; given \[5\]"):
        PCA.fit(torch.ones(5))


def test_a_pca_of_tensors_that_do_not_fit_tells_all():
    with pytest.raises(AlignmentError) as caught:
        PCA(torch.zeros(2), torch.ones(3, dtype=torch.int64), torch.eye(3))
    assert "mean must be [width], where width is 3; given [2]" in str(caught.value)
    assert "scale must be a tensor of floating-point values; given torch.int64" in str(caught.value)
    with pytest.raises(AlignmentError) as caught:
        PCA(torch.zeros(3), torch.tensor([1.0, 0, 1]), 2 * torch.eye(3))
    assert "scale must be positive" in str(caught.value)
    assert "reaches 3" in str(caught.value)


# Sparse autoencoders -------------------------------------------------------------------------------------------------------

SIZES = {"W_enc": (WIDTH, 9), "b_enc": (9,), "W_dec": (9, WIDTH), "b_dec": (WIDTH,)}
OLD = {
    "d_in": WIDTH,
    "d_sae": 9,
    "dtype": "float32",
    "device": "cpu",
    "model_name": "gpt2-small",
    "hook_name": "blocks.1.hook_resid_pre",
    "hook_layer": 1,
    "hook_head_index": None,
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "apply_b_dec_to_input": True,
    "finetuning_scaling_factor": False,
    "sae_lens_training_version": "3.20.3",
    "normalize_activations": "none",
    "architecture": "standard",
}
NEW = {
    "d_in": WIDTH,
    "d_sae": 9,
    "dtype": "float32",
    "device": "cpu",
    "apply_b_dec_to_input": False,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "metadata": {"sae_lens_version": "6.21.0", "hook_name": "blocks.1.attn.hook_z", "model_name": "gpt2-small"},
    "architecture": "standard",
}
UNEQUAL = normal(9, WIDTH) * torch.arange(1, 10)[:, None]  # directions of unequal lengths
TOPK = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}


def write(folder, config, *, without=(), dtype=torch.float32, **more):
    weights = {name: normal(*size, seed=i, dtype=dtype) for i, (name, size) in enumerate(SIZES.items())} | more
    save_file({name: x for name, x in weights.items() if name not in without}, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config))
    return {name: x.double().numpy() for name, x in weights.items()}


def by_hand(x, weights, *, center, k=None, rescale=False):
    """Activations and reconstruction of one vector, latent by latent, as SAE Lens documents its architectures."""
    given = x - weights["b_dec"] if center else x
    before = [float(given @ weights["W_enc"][:, i]) + weights["b_enc"][i] for i in range(9)]
    norms = [float(np.sqrt((row**2).sum())) for row in weights["W_dec"]]
    if rescale:
        before = [h * n for h, n in zip(before, norms, strict=True)]
    least = sorted(before, reverse=True)[k - 1] if k else -np.inf
    limits = weights.get("threshold", np.zeros(9))
    acts = [h if h > 0 and h >= least and h > limit else 0.0 for h, limit in zip(before, limits, strict=True)]
    scaled = [a / n for a, n in zip(acts, norms, strict=True)] if rescale else acts
    return acts, sum(a * row for a, row in zip(scaled, weights["W_dec"], strict=True)) + weights["b_dec"]


@pytest.mark.parametrize(
    ("config", "more", "options"),
    [
        (OLD, {}, {"center": True}),
        ({k: x for k, x in OLD.items() if k in ("d_in", "d_sae")}, {}, {"center": True}),  # what is not said is as in version 3
        (OLD | {"normalize_activations": None, "apply_b_dec_to_input": False}, {}, {"center": False}),
        (OLD | {"normalize_activations": False}, {"scaling_factor": torch.ones(9)}, {"center": True}),
        (OLD | {"architecture": "jumprelu"}, {"threshold": normal(9, seed=8).abs()}, {"center": True}),
        (OLD | TOPK, {}, {"center": True, "k": 3}),  # a topk that was called standard
        (OLD | TOPK | {"architecture": "topk"}, {}, {"center": True, "k": 3}),
        (OLD | {"architecture": "topk", "k": 2}, {}, {"center": True, "k": 2}),  # as made of Sparsify's
        (NEW, {}, {"center": False}),
        (NEW | {"architecture": "jumprelu"}, {"threshold": normal(9, seed=8)}, {"center": False}),  # some of them below 0
        (NEW | {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": False}, {}, {"center": False, "k": 3}),
        (
            NEW | {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": True},
            {"W_dec": UNEQUAL},
            {"center": True, "k": 3, "rescale": True},
        ),
        (NEW | {"rescale_acts_by_decoder_norm": True}, {}, {"center": False}),  # which only topk knows
    ],
)
def test_autoencoders_of_sae_lens_do_what_its_formulas_say(tmp_path, config, more, options):
    weights, vectors = write(tmp_path, config, **more), normal(20, WIDTH, seed=9)
    sae = SparseAutoencoder.load(tmp_path)
    features, rest = sae.to_features(vectors)
    expected = [by_hand(x, weights, **options) for x in vectors.double().numpy()]
    assert np.allclose(features.numpy(), [acts for acts, _ in expected], atol=1e-4)
    assert np.allclose((vectors - rest).numpy(), [made for _, made in expected], atol=1e-4)
    assert 0 < float((features > 0).float().mean()) < 1
    if "k" in options:
        assert ((features > 0).sum(1) <= options["k"]).all()


def test_rescaling_changes_which_latents_are_the_largest(tmp_path):
    write(tmp_path, NEW | {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True}, W_dec=UNEQUAL)
    rescaled = SparseAutoencoder.load(tmp_path).to_features(normal(20, WIDTH, seed=9))[0]
    write(tmp_path, NEW | {"architecture": "topk", "k": 3}, W_dec=UNEQUAL)
    plain = SparseAutoencoder.load(tmp_path).to_features(normal(20, WIDTH, seed=9))[0]
    assert not torch.equal(rescaled > 0, plain > 0)


def test_a_direction_of_length_0_is_never_active_when_rescaled(tmp_path):
    decoder = normal(9, WIDTH)
    decoder[4] = 0
    write(tmp_path, NEW | {"architecture": "topk", "k": 9, "rescale_acts_by_decoder_norm": True}, W_dec=decoder)
    features, rest = SparseAutoencoder.load(tmp_path).to_features(normal(20, WIDTH, seed=9))
    assert (features[:, 4] == 0).all()
    assert rest.isfinite().all()


def test_weights_in_half_precision_are_read_in_float32(tmp_path):
    write(tmp_path, NEW | {"dtype": "bfloat16"}, dtype=torch.bfloat16)
    sae = SparseAutoencoder.load(str(tmp_path))
    assert {getattr(sae, f.name).dtype for f in fields(sae)[:4]} == {torch.float32}


@pytest.mark.parametrize(
    ("config", "written", "told"),
    [
        ({"architecture": "gated"}, {}, "architecture 'gated' is not supported; standard, topk, jumprelu are"),
        ({"activation_fn_str": "tanh-relu"}, {}, "activation function 'tanh-relu' is not supported"),
        ({"architecture": "jumprelu"} | TOPK, {}, "activation function 'topk' is not supported"),
        (TOPK | {"activation_fn_kwargs": {"k": 3, "postact_fn": "identity"}}, {}, "may give k alone"),
        ({"normalize_activations": "layer_norm"}, {}, "normalize_activations 'layer_norm' is not supported"),
        ({"normalize_activations": "constant_norm_rescale"}, {}, "'constant_norm_rescale' is not supported"),
        ({"normalize_activations": "expected_average_only_in"}, {}, "the factor is not in the file; fold it in"),
        ({"normalize_activations": True}, {}, "the factor is not in the file; fold it in"),
        ({"reshape_activations": "hook_z"}, {}, "reshape_activations 'hook_z' is not supported"),
        ({"hook_name": "blocks.0.attn.hook_z"}, {}, "reshape_activations 'hook_z' is not supported"),
        ({"architecture": "topk"}, {}, "k belongs to the activation topk, which needs it; given None"),
        ({"architecture": "topk", "k": 99}, {}, "k must be at most the size of the dictionary, 9; given 99"),
        ({"architecture": "topk", "k": 2.5}, {}, "k must be a whole number"),
        ({"architecture": "jumprelu"}, {}, "has no threshold; it has"),
        ({}, {"without": ["b_dec", "W_dec"]}, "has no W_dec, b_dec; it has"),
        ({}, {"r_mag": torch.ones(9), "b_gate": torch.ones(9)}, "has b_gate, r_mag, which 'standard' does not use"),
        ({"finetuning_scaling_factor": True}, {"scaling_factor": torch.full((9,), 2.0)}, "has scaling_factor, which"),
        ({"d_sae": 10}, {}, r"d_sae is 10, but W_enc \[d_in, d_sae\] is \[6, 9\]"),
        ({"apply_b_dec_to_input": "yes"}, {}, "center must be True or False; given 'yes'"),
        ({}, {"W_dec": torch.ones(8, WIDTH)}, r"decoder must be \[dictionary, width\], where dictionary is 9 and width is 6"),
    ],
)
def test_what_is_not_supported_of_sae_lens_is_refused(tmp_path, config, written, told):
    write(tmp_path, OLD | config, **written)
    with pytest.raises(AlignmentError, match=told):
        SparseAutoencoder.load(tmp_path)


def test_all_that_is_not_supported_is_told_at_once(tmp_path):
    write(tmp_path, OLD | {"architecture": "gated", "normalize_activations": "layer_norm", "reshape_activations": "hook_z"})
    with pytest.raises(AlignmentError, match=f"{tmp_path} has 3 problems"):
        SparseAutoencoder.load(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "cfg.json").unlink(),
        lambda folder: (folder / "cfg.json").write_text("{"),
        lambda folder: (folder / "cfg.json").write_text("[]"),
        lambda folder: (folder / "sae_weights.safetensors").unlink(),
        lambda folder: (folder / "sae_weights.safetensors").write_bytes(b"nothing"),
    ],
)
def test_a_spoiled_folder_is_an_error_that_names_it(tmp_path, spoil):
    write(tmp_path, OLD)
    spoil(tmp_path)
    with pytest.raises(AlignmentError, match=str(tmp_path)):
        SparseAutoencoder.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"activation": "relo"}, "no activation 'relo'; did you mean 'relu'"),
        ({"k": 2}, "k belongs to the activation topk, which needs it; given 2 for 'relu'"),
        ({"activation": "topk", "k": True}, "k must be a whole number"),
        ({"activation": "jumprelu"}, "threshold belongs to the activation jumprelu, which needs it; given none"),
        ({"threshold": torch.ones(9)}, "which needs it; given one for 'relu'"),
        ({"activation": "jumprelu", "threshold": torch.ones(8)}, r"threshold must be \[dictionary\], where dictionary is 9"),
        ({"center": 1}, "center must be True or False"),
    ],
)
def test_the_options_of_an_autoencoder_must_fit(options, told):
    with pytest.raises(AlignmentError, match=told):
        autoencoder(**options)


# Flows ---------------------------------------------------------------------------------------------------------------------


def test_a_flow_is_made_of_affine_couplings():
    """A second implementation, layer by layer and coordinate by coordinate."""
    made, vectors = flow(), normal(5, WIDTH, seed=2)
    p = Parameters(*(x.double().numpy() for x in made.parameters))
    expected = []
    for x in vectors.double().numpy():
        for layer in range(4):
            fixed = [i for i in range(WIDTH) if (i + layer) % 2 == 0]
            h = p.inner_bias[layer] + sum(x[i] * p.inner[layer, i] for i in fixed)
            h = h / (1 + np.exp(-h))
            y = x.copy()
            for i in {*range(WIDTH)} - {*fixed}:
                scale = np.exp(np.tanh(h @ p.scale[layer, :, i] + p.scale_bias[layer, i]))
                y[i] = x[i] * scale + h @ p.shift[layer, :, i] + p.shift_bias[layer, i]
            x = y  # noqa: PLW2901
        expected.append(x)
    assert np.allclose(made.to_features(vectors)[0].numpy(), expected, atol=1e-4)


@given(st.integers(0, 99), st.integers(2, 7), st.integers(1, 6), st.sampled_from([0.1, 1, 20]))
@settings(max_examples=40)
def test_flows_are_inverted_in_float32(seed, width, layers, size):
    generator = torch.Generator().manual_seed(seed)
    made = Invertible.random(width, layers=layers, hidden=16, generator=generator)
    vectors = size * torch.randn(8, width, generator=generator)
    features, rest = made.to_features(vectors)
    assert rest.shape == (8, 0)
    assert same(made.from_features(features, rest), vectors)
    assert layers == 1 or not (features == vectors).any()


def test_many_flows_at_once_are_each_alone():
    parameters = drawn(5, layers=3, hidden=8, generator=torch.Generator().manual_seed(0), flows=(4,))
    for x in (normal(4, 7, 5), normal(7, 5)):  # vectors of each, and vectors of all
        together = forward(parameters, x)
        back = inverse(parameters, together)
        assert together.shape == (4, 7, 5)
        for k in range(4):
            alone, mine = Parameters(*(p[k] for p in parameters)), x[k] if x.ndim == 3 else x
            assert torch.allclose(together[k], forward(alone, mine), atol=1e-5)
            assert torch.allclose(back[k], mine, atol=1e-4)
            assert torch.allclose(Invertible(*alone).to_features(mine)[0], together[k], atol=1e-5)


def test_flows_are_trained_at_once():
    """All parameters of each flow get a gradient, none from another's vectors."""
    parameters = Parameters(*(p.requires_grad_() for p in drawn(4, layers=2, hidden=8, generator=torch.Generator(), flows=(3,))))
    x = normal(3, 6, 4)
    (forward(parameters, x)[1].square().sum() + inverse(parameters, x)[1].square().sum()).backward()
    for p in parameters:
        assert p.grad[1].abs().sum() > 0
        assert p.grad[[0, 2]].abs().sum() == 0


def test_random_flows_are_drawn_from_the_generator_alone():
    one, again, other = flow(), flow(), flow(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters, again.parameters, strict=True))
    assert not torch.equal(one.inner, other.inner)


def test_flows_of_no_size_are_errors():
    with pytest.raises(AlignmentError) as caught:
        Invertible.random(0, layers=0, hidden=1.5, generator=torch.Generator())
    assert all(f"{name} must be a whole number" in str(caught.value) for name in ("width", "layers", "hidden"))
    with pytest.raises(AlignmentError, match="width of at least 2; given 1"):
        Invertible.random(1, generator=torch.Generator())
    inner, *others = flow().parameters
    with pytest.raises(AlignmentError, match=r"inner_bias must be \[layers, hidden\], where layers is 3 and hidden is 32"):
        Invertible(inner[:3], *others)


# Composed ------------------------------------------------------------------------------------------------------------------


def test_composed_directions_are_the_product():
    one, other = directions(WIDTH, 4), directions(4, 2, seed=1)
    vectors, composed = normal(3, WIDTH), Composed(Orthogonal(one), Orthogonal(other))
    product = Orthogonal(one @ other)
    features, rest = composed.to_features(vectors)
    assert torch.allclose(features, product.to_features(vectors)[0], atol=1e-6)
    assert rest.shape == (3, WIDTH + 4)
    written = product.from_features(features + 1, product.to_features(vectors)[1])
    assert torch.allclose(composed.from_features(features + 1, rest), written, atol=1e-5)
    assert Composed(composed, Mask(torch.tensor([True, False]))).width == WIDTH


def test_what_cannot_be_composed_is_told():
    with pytest.raises(AlignmentError, match=r"second is not for the features of first: (.|\n)*\[batch, 5\]; given \[1, 4\]"):
        Composed(EXACT["Orthogonal"], Orthogonal(directions(5, 2)))
    with pytest.raises(AlignmentError, match="first must have a width: that of its vectors; Identity has none"):
        Composed(Identity(), EXACT["Orthogonal"])
    with pytest.raises(AlignmentError) as caught:
        Composed(Orthogonal, 3)
    assert "first must be a featurizer" in str(caught.value)
    assert "second must be a featurizer such as Orthogonal(…); given 3" in str(caught.value)


# The reconstruction error --------------------------------------------------------------------------------------------------


def test_what_leaves_nothing_out_has_no_error():
    vectors = normal(20, WIDTH) + 3
    for name in ("Identity", "Orthogonal of full rank", "PCA of full rank", "Mask of all", "Affine", "Invertible"):
        assert reconstruction_error(EXACT[name], vectors) < 1e-9, name


def test_the_error_is_the_share_of_variance_in_the_rest():
    vectors = normal(500, WIDTH) * SCALES + 7
    variances = vectors.double().var(0, correction=0).sort(descending=True).values
    error = reconstruction_error(PCA.fit(vectors, dims=1), vectors)
    assert error == pytest.approx(float(variances[1:].sum() / variances.sum()), rel=0.05)
    sae = SPARSE["jumprelu"]
    _, rest = sae.to_features(vectors)
    spread = (vectors - vectors.mean(0)).square().sum(1).mean()
    assert reconstruction_error(sae, vectors) == pytest.approx(float(rest.square().sum(1).mean() / spread), rel=1e-4)
    assert reconstruction_error(Mask(torch.arange(WIDTH) == 5), vectors) > 1  # the mean, far from 0, would do better


def test_the_error_of_vectors_that_do_not_vary_is_none():
    with pytest.raises(AlignmentError, match="must vary to have a variance; given 4 that are equal"):
        reconstruction_error(Identity(), torch.ones(4, 3))
    with pytest.raises(AlignmentError, match="not finite"):
        reconstruction_error(Identity(), torch.full((4, 3), float("nan")))
