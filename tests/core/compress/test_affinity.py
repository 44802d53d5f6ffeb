"""The affinity term and the image terms against the golden file of DSCLoRA."""

import json

import golden_files
import numpy as np
import pytest

from core.compress.distill import Affinity, FeatureMatch, View


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "dsclora__lora_and_loss.npz") as data:
        arrays = {k: data[k] for k in data.files if k != "meta"}
        return json.loads(str(data["meta"]))["losses"], arrays


def last(array):
    return array.transpose(0, 2, 3, 1)


def test_matrices_agree_with_the_published_ones(golden):
    _, arrays = golden
    for role in ("student", "teacher"):
        found = np.asarray(Affinity({"a": "a"}).matrix(last(arrays[f"{role}_f1"])))
        np.testing.assert_allclose(found, arrays[f"affinity_{role}_f1"], atol=1e-6)


def test_losses_agree_with_the_published_ones(golden):
    losses, arrays = golden
    maps = [(last(arrays[f"student_f{k}"]), last(arrays[f"teacher_f{k}"])) for k in (1, 2)]
    for number, pair in enumerate(maps, start=1):
        value = float(Affinity({"a": "a"}).compare(*pair))
        assert value == pytest.approx(losses[f"affinity_f{number}"], rel=1e-5)
    # The mean over the pairs is the paper's; FAKD's code sums them, which the weight makes up for.
    term = Affinity({"a": "a", "b": "b"}, weight=2.0)
    ours, theirs = (View("", (), [pair[i] for pair in maps]) for i in (0, 1))
    value = float(term(ours, theirs))
    assert value == pytest.approx(losses["affinity_mean"], rel=1e-5)
    assert term.weight * value == pytest.approx(losses["affinity_sum"], rel=1e-5)


def test_images_are_compared_by_their_mean_absolute_difference(golden):
    losses, arrays = golden
    images = {name: last(arrays[name]) for name in ("student_sr", "teacher_sr", "hr")}
    term = FeatureMatch({"a": "a"}, distance="l1")
    for other, name in (("teacher_sr", "teacher_student"), ("hr", "reconstruction")):
        value = float(term.compare(images["student_sr"], images[other]))
        assert value == pytest.approx(losses[name], rel=1e-5)


def test_pooled_affinity_is_the_affinity_of_pooled_features():
    """The "PSA" variant: k by k blocks without overlap, incomplete ones at the border included."""
    features = np.random.default_rng(0).standard_normal((1, 5, 4, 3)).astype(np.float32)
    blocks = [[features[0, y : y + 2, x : x + 2].mean((0, 1)) for x in (0, 2)] for y in (0, 2, 4)]
    vectors = np.reshape(blocks, (6, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    found = np.asarray(Affinity({"a": "a"}, max_positions=6).matrix(features))
    np.testing.assert_allclose(found[0], vectors @ vectors.T, atol=1e-6)
