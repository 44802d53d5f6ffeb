"""LIME against lime 0.2.0.1, and what it tells of classifiers whose reasons are known."""

import golden_files
import numpy as np
import pytest
from scipy.special import softmax

from core.errors import UserError
from core.explain import REGIONS
from core.explain.lime import (
    distances,
    filled,
    fitted,
    kernel_weights,
    lime,
    perturbations,
    versions,
)


@pytest.fixture(scope="module")
def stored():
    with np.load(golden_files.GOLDEN / "explain__lime.npz") as data:
        return {name: data[name] for name in data.files if name != "meta"}


def corner(images: np.ndarray) -> np.ndarray:
    """Return how bright the left upper quarter is, as a probability of class 1 of 3."""
    light = images[:, :8, :8].mean(axis=(1, 2, 3)) / 255
    return np.stack([0.8 * (1 - light), 0.8 * light, np.full(len(light), 0.2)], axis=1)


def test_every_step_agrees_with_the_golden_file(stored):
    rows, image = stored["perturbations"], stored["image"].astype(np.float32)
    blank = filled(image, stored["segments"])
    pictures = versions(image, blank, stored["segments"], rows.astype(bool))
    logits = pictures.reshape(len(rows), -1) @ stored["model_weights"]
    np.testing.assert_allclose(softmax(logits, axis=1), stored["probabilities"], atol=1e-4)
    np.testing.assert_allclose(distances(rows), stored["distances"], atol=1e-12)
    np.testing.assert_allclose(kernel_weights(rows), stored["kernel_weights"], atol=1e-12)
    found = fitted(rows, stored["probabilities"][:, stored["top_labels"]])
    for row in (0, 1):
        np.testing.assert_allclose(found.coefficients[row], stored[f"coef{row}"], atol=1e-10)
        assert abs(found.intercepts[row] - stored[f"intercept{row}"]) < 1e-10
    assert abs(found.scores[0] - stored["score0"]) < 1e-10
    assert abs(found.predictions[0] - stored["local_pred0"][0]) < 1e-10


def test_masks_and_labels_agree_with_the_golden_file(stored, monkeypatch):
    monkeypatch.setattr(
        "core.explain.lime.perturbations", lambda *_: stored["perturbations"].astype(bool)
    )
    found = lime(
        stored["image"],
        lambda images: softmax(images.reshape(len(images), -1) @ stored["model_weights"], axis=1),
        segmentation=stored["segments"],
        labels=2,
        batch=64,
    )
    np.testing.assert_array_equal(found.classes, stored["top_labels"])
    for row, label in enumerate(found.classes):
        np.testing.assert_allclose(found.row(label), stored[f"coef{row}"], atol=1e-4)
        np.testing.assert_array_equal(found.mask(label, 3), stored[f"mask{row}_top3_positive"])


def test_finds_the_region_a_classifier_looks_at_with_few_calls():
    image = np.random.default_rng(0).integers(120, 255, (16, 24, 3)).astype(np.uint8)
    sizes = []

    def predict(images):
        sizes.append(len(images))
        return corner(images)

    quarters = (np.arange(16)[:, None] // 8) * 3 + np.arange(24) // 8
    found = lime(image, predict, segmentation=quarters * 7, samples=300, fill=0, classes=[1, 0])
    assert sizes == [32] * 9 + [12]
    assert found.ranking(1)[0] == 0 and found.mask(1, 1)[:8, :8].all()
    assert found.mask(1).sum() >= 64 and not found.mask(0)[:8, :8].any()
    assert found.map(0)[0, 0] < -0.1 < 0.1 < found.map(1)[0, 0]
    assert found.surrogate.scores[0] > 0.8
    again = lime(image, corner, segmentation=quarters, samples=300, fill=0, classes=[1, 0], batch=7)
    np.testing.assert_allclose(again.surrogate.coefficients, found.surrogate.coefficients)
    with pytest.raises(UserError, match=r"The class is '2'\. Known: 1, 0"):
        found.mask(2)


@pytest.mark.parametrize("name", REGIONS)
def test_the_same_seed_draws_the_same_map_whatever_the_regions_are(name):
    if name == "slic":
        pytest.importorskip("skimage")
    image = np.random.default_rng(3).integers(200, 256, (48, 64, 3)).astype(np.uint8)
    image[:, 32:] //= 3
    image[24:] //= 2

    def drawn(seed):
        return lime(image, corner, segmentation=name, samples=60, fill=0, seed=seed).map()

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert (drawn(1) != drawn(2)).any()


def test_perturbations_are_a_fair_coin_after_the_whole_picture():
    rows = perturbations(50, 200, seed=3)
    assert rows[0].all() and 0.47 < rows[1:].mean() < 0.53
    np.testing.assert_array_equal(rows, perturbations(50, 200, seed=3))
    assert (rows != perturbations(50, 200, seed=4)).any()
    assert distances(np.array([[0, 0], [1, 1]])).tolist() == [1, 0]


def test_a_constant_probability_has_no_reasons():
    rows = perturbations(6, 40)
    found = fitted(rows, np.full((40, 1), 0.3))
    np.testing.assert_allclose(found.coefficients, 0, atol=1e-12)
    assert abs(found.intercepts[0] - 0.3) < 1e-12 and found.scores[0] == 1


def test_what_cannot_be_chosen_is_said():
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UserError, match=r"The segmentation is 'quikshift'\. Did you mean"):
        lime(image, corner, segmentation="quikshift")
    with pytest.raises(UserError, match="There is no class 3; the network has classes 0 to 2"):
        lime(image, corner, segmentation="squares", samples=3, classes=[3])
    with pytest.raises(ValueError, match=r"`segmentation` must number the pixels \(16, 16\)"):
        lime(image, corner, segmentation=np.zeros((4, 4), int))
    with pytest.raises(ValueError, match="`samples` must be a positive integer"):
        lime(image, corner, segmentation="squares", samples=0)
