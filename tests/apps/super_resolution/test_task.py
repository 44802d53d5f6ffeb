"""What a training sees: patches of both pictures from one place, in the network's own range."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from apps.super_resolution.enlarge import levels_of, scale_of
from apps.super_resolution.task import TASK
from core.config import TrainConfig
from core.data.index import Index, Sample
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Example

CARD = ModelCard("imdn", "x2", "superres", mean=(0, 0, 0), std=(1, 1, 1), decode={"scale": 2})
BYTES = CARD.replace(std=(1 / 255,) * 3)


def config(network="imdn", augment=True, **options) -> TrainConfig:
    values = {"patch": 8, "intensity": "off", **options}
    return TrainConfig("superres", network, "x2", augment=augment, options=values)


def places() -> Example:
    """Return pictures whose pixels tell where they are: the large one's as in the small one."""
    y, x = np.mgrid[:24, :30]
    small = np.stack([y, x, np.zeros_like(y)], axis=-1).astype(np.uint8)
    return Example(small, small.repeat(2, axis=0).repeat(2, axis=1))


def patch_of(seed: int, **choices) -> Example:
    return TASK.training_example(places(), np.random.default_rng(seed), config(**choices))


@pytest.mark.parametrize("augment", [True, False])
def test_both_patches_show_the_same_place(augment):
    seen = set()
    for seed in range(20):
        patch = patch_of(seed, augment=augment)
        assert patch.inputs.shape == (8, 8, 3) and patch.target.shape == (16, 16, 3)
        np.testing.assert_array_equal(patch.target[::2, ::2], patch.inputs)
        np.testing.assert_array_equal(patch.target[1::2, 1::2], patch.inputs)
        seen.add(patch.inputs[0, 0].tobytes())
    assert len(seen) > 15


def test_all_eight_turns_occur_and_none_without_augmentation():
    def turn(patch: Example) -> tuple:
        corner = patch.inputs[0, 0].astype(int)
        return (
            *np.sign(patch.inputs[0, 7] - corner)[:2],
            *np.sign(patch.inputs[7, 0] - corner)[:2],
        )

    assert len({turn(patch_of(seed)) for seed in range(80)}) == 8
    assert {turn(patch_of(seed, augment=False)) for seed in range(20)} == {(0, 1, 1, 0)}


def test_patches_have_the_published_size_unless_told_otherwise():
    large = Example(np.zeros((200, 200, 3), np.uint8), np.zeros((400, 400, 3), np.uint8))
    for network, side in (("imdn", 96), ("abpn", 64), ("xlsr", 32)):
        patch = TASK.training_example(large, np.random.default_rng(0), config(network, patch=0))
        assert patch.inputs.shape == (side, side, 3)


def test_dark_copies_are_dark_on_both_sides():
    values = set()
    for seed in range(30):
        patch = patch_of(seed, intensity="on")
        np.testing.assert_allclose(patch.target[::2, ::2], patch.inputs)
        whole = patch_of(seed)
        values.add(round(float(patch.inputs.max() / whole.inputs.max()), 2))
    assert values == {1.0, 0.7, 0.5}


def quantizing(**choices) -> TrainConfig:
    compress = {"method": "quantize", "choices": {"teacher_weight": 1.0, **choices}, "after": []}
    return dataclasses.replace(config(), compress=compress, initial_weights="a run")


def test_a_network_that_is_its_own_teacher_enlarges_large_pictures_too():
    sources, colours = [], set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patch = TASK.training_example(places(), rng, quantizing(task_weight=0.0))
        assert patch.inputs.shape == (8, 8, 3) and patch.target.shape == (16, 16, 3)
        np.testing.assert_array_equal(patch.target[::2, ::2], patch.inputs)
        # In the large picture every pixel of the small one stands four times.
        steps = np.abs(np.diff(patch.inputs.astype(int), axis=0)).sum(axis=(1, 2))
        sources.append("large" if (steps == 0).any() else "small")
        colours.add(int(np.argmin(patch.inputs.reshape(-1, 3).sum(axis=0))))
    assert 15 < sources.count("large") < 45 and colours == {0, 1, 2}


def test_a_network_that_is_its_own_teacher_needs_no_dark_copies():
    published = config("xlsr", intensity="auto")
    compress = quantizing(task_weight=0.0).compress
    taught = dataclasses.replace(published, compress=compress, initial_weights="a run")
    seen = {}
    for name, chosen in (("published", published), ("taught", taught)):
        patches = [
            TASK.training_example(places(), np.random.default_rng(seed), chosen).inputs
            for seed in range(20)
        ]
        seen[name] = {patch.dtype for patch in patches}
    assert seen == {"published": {np.dtype("float32")}, "taught": {np.dtype("uint8")}}


@pytest.mark.parametrize("choices", [{"task_weight": 0.5}, {"task_weight": 1.0}])
def test_a_loss_on_the_truth_sees_pairs_only(choices):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        patch = TASK.training_example(places(), rng, quantizing(**choices))
        expected = patch_of(seed)
        np.testing.assert_array_equal(patch.inputs, expected.inputs)
        np.testing.assert_array_equal(patch.target, expected.target)


def test_targets_are_in_the_range_of_the_outputs():
    example = Example(np.full((2, 2, 3), 255, np.uint8), np.full((4, 4, 3), 255, np.uint8))
    for card, white in ((CARD, 1.0), (BYTES, 255.0)):
        inputs, target = TASK.encode(example, card)
        assert inputs.max() == pytest.approx(white) and target.max() == pytest.approx(white)
        result = TASK.decode([target], Sample("a", ()), card)
        np.testing.assert_array_equal(result.image, example.target)
    assert (scale_of(CARD), levels_of(CARD)) == (2, 255.0)


def test_results_are_rounded_and_limited_to_pixels():
    values = np.array([[[-0.2, 0.5 / 255, 1.4]]], np.float32)
    assert TASK.decode([values], Sample("a", ()), CARD).image.tolist() == [[[0, 0, 255]]]


def test_a_picture_below_the_patch_is_refused():
    with pytest.raises(UserError, match=r"24x30 pixels .* less than a patch of 25"):
        patch_of(0, patch=25)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"patch": 3}, "'patch' is 3; .* at least 8"),
        ({"patches": 0}, "'patches' is 0; it must be a whole number, 1 or more"),
        ({"patch": True}, "'patch' is True; it must be a whole number"),
        ({"loss": "l3"}, "'loss' is 'l3'. Known: auto, l1"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(UserError, match=words):
        TASK.check_options(options)


def test_calibration_takes_the_middle_of_a_picture_and_mirrors_small_ones():
    sample = Sample("a", ())
    small = places().inputs
    TASK_LIKE = type("Fixed", (type(TASK),), {"load": lambda self, s, c: Example(small)})()
    inputs = TASK_LIKE.network_input(sample, CARD.replace(input_size=(8, 40)))
    assert inputs.shape == (8, 40, 3)
    np.testing.assert_allclose(inputs[:, :30] * 255, small[8:16], atol=1e-4)
    np.testing.assert_allclose(inputs[:, 30:], inputs[:, 28:18:-1])


def test_calibration_shows_other_colours_and_negatives_too(monkeypatch):
    small, large = np.full((9, 9, 3), (10, 20, 30), np.uint8), np.zeros((18, 18, 3), np.uint8)
    monkeypatch.setattr(type(TASK), "load", lambda self, sample, card: Example(small, large))
    card, index = CARD.replace(input_size=(9, 9)), Index("folder", Path(), [Sample("a", ())])
    inputs = TASK.calibration_inputs(index, card, 15)
    assert len(inputs) == 15 and all(tile.shape == (9, 9, 3) for tile in inputs)
    seen = [tuple(np.rint(tile[0, 0] * 255).astype(int).tolist()) for tile in inputs]
    assert seen[0] == (10, 20, 30) and seen[1:5] == [(0, 0, 0)] * 4
    assert seen[5] == (30, 10, 20) and seen[10] == (245, 235, 225)
    assert len(TASK.calibration_inputs(index, card, 4)) == 4


def test_a_small_picture_alone_is_turned_alone():
    turned = TASK.augment(Example(places().inputs), np.random.default_rng(0), config())
    assert turned.target is None and sorted(turned.inputs.shape) == [3, 24, 30]
