"""Line segments bound to core: targets, loss, augmentation, decoding, scores."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps import catalog
from apps.line_segments.curve_picture import curve_picture
from apps.line_segments.decoding import brought_to, segments_of
from apps.line_segments.detectors import ClassicalDetector
from apps.line_segments.evaluation import line_scores
from apps.line_segments.losses import LineMapsLoss
from apps.line_segments.metrics.cases import Case
from apps.line_segments.targets import line_maps
from apps.line_segments.task import TASK
from core.command_line.choices import merge
from core.config import TrainConfig
from core.errors import UserError
from core.task import Example

SEGMENTS = np.array([[5, 6, 40, 6], [10, 12, 30, 44], [50, 10, 50.5, 60]], np.float32)
CARDS = {name: catalog.card("lsdnet", name).sized((64,)) for name in ("base", "doubled")}


def config(network="lsdnet", **flags):
    values = merge(TASK, {}, {"network": network, "data": "sample", **flags})
    return TrainConfig.from_dict({"variant": "tiny", **values})


# --- the loss -------------------------------------------------------------------------------------


def loss_of(true, found, weight=1.0):
    return float(LineMapsLoss(weight)(np.asarray(true, np.float32), np.asarray(found, np.float32)))


def maps_of(heat, angle):
    """Return maps (1, 1, N, 2) of heats and of angles by pi."""
    return np.stack([heat, angle], -1)[None, None]


@pytest.mark.parametrize(
    "heat, angle, expected",
    [
        ([0.5, 0.5], [0.25, 0.9], math.log(2)),  # where no segment is, directions are free
        ([0.5, 0.5], [0.75, 0.0], math.log(2) + 2),  # at right angles
        ([0.5, 0.5], [0.5, 0.0], math.log(2) + 1),  # half of that
    ],
)
def test_loss_of_heat_and_direction(heat, angle, expected):
    true = maps_of([1, 0], [0.25, 0])
    assert loss_of(true, maps_of(heat, angle)) == pytest.approx(expected, rel=1e-5)


def test_a_direction_wraps_and_weighs_what_is_asked():
    true = maps_of([1], [0.001])
    across = loss_of(true, maps_of([1], [0.999]))
    assert across == pytest.approx(1 - math.cos(2 * math.pi * 0.002), rel=1e-2)
    off = maps_of([1], [0.3])
    assert loss_of(true, off, 3.0) == pytest.approx(3 * loss_of(true, off), rel=1e-4)


@given(st.floats(0, 0.999), st.floats(0, 0.999))
@settings(max_examples=25, deadline=None)
def test_two_channels_of_length_one_cost_what_one_does(true, found):
    def doubled(angle):
        turn = 2 * math.pi * angle
        return np.array([[[[1, math.cos(turn), math.sin(turn)]]]])

    one = loss_of(maps_of([1], [true]), maps_of([1], [found]))
    assert loss_of(doubled(true), doubled(found)) == pytest.approx(one, abs=1e-5)


def test_the_loss_is_saved_and_refuses_other_maps():
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(LineMapsLoss(2.5))
    )
    assert again.angle_weight == 2.5
    with pytest.raises(ValueError, match="two or three channels"):
        loss_of(np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="angle_weight=-1"):
        LineMapsLoss(-1)


# --- what is trained ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant, channels", [("base", 2), ("doubled", 3)])
def test_maps_are_those_the_network_returns(variant, channels):
    card = CARDS[variant]
    image = np.full((64, 64, 3), 255, np.uint8)
    inputs, maps = TASK.encode(Example(image, SEGMENTS), card)
    assert inputs.dtype == np.float32 and inputs.max() == 1.0
    assert maps.shape == (64, 64, channels) and maps.dtype == np.float32
    assert maps[6, 20, 0] == 1 and maps[30, 5, 0] == 0
    assert maps.shape == (1, *card.input_size, channels)[1:]
    model = catalog.network("lsdnet").build(variant, (64, 64, 3))
    assert model.output_shape == (None, *maps.shape)


def test_a_change_moves_segments_with_the_picture():
    """Bright lines stay where the changed picture's maps are hot."""
    image = np.repeat((line_maps(SEGMENTS, (64, 64))[..., :1] * 255).astype(np.uint8), 3, -1)
    chosen, seen = config(), set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        changed = TASK.augment(Example(image, SEGMENTS), rng, chosen)
        again = TASK.augment(Example(image, SEGMENTS), np.random.default_rng(seed), chosen)
        np.testing.assert_array_equal(changed.inputs, again.inputs)
        hot = line_maps(changed.target, (64, 64))[..., 0] > 0
        if not hot.any():
            continue
        grey = changed.inputs.astype(float).mean(-1)
        assert grey[hot].mean() > grey[~hot].mean() + 60
        seen.add(hot.tobytes())
    assert len(seen) > 6


def test_a_training_may_see_squares_of_the_input():
    card, chosen = CARDS["doubled"], config(options={"crop": 32}, augment=False)
    assert TASK.training_input_shape(card, chosen) == (32, 32, 3)
    assert TASK.training_input_shape(card, config()) == card.input_shape
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = line_maps(SEGMENTS, (64, 64), doubled=True)
    places = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        seen = TASK.training_example(Example(image, SEGMENTS), rng, chosen)
        views = np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0]
        ((top, left),) = np.argwhere((views == seen.inputs).all((2, 3, 4)))
        places.add((top, left))
        _, maps = TASK.encode(seen, card)
        same = np.isclose(maps, whole[top : top + 32, left : left + 32], atol=1e-3).all(-1)
        assert maps.shape == (32, 32, 3) and same[6:-6, 6:-6].all()  # at the border segments end
    assert len(places) > 5
    for side, words in ((36, "multiple of 8"), (72, "at most 64")):
        with pytest.raises(UserError, match=words):
            TASK.training_input_shape(card, config(options={"crop": side}))


def test_the_network_with_whole_angles_is_trained_where_none_is_chosen():
    made = config()
    assert (made.network, made.variant, made.optimizer) == ("lsdnet", "doubled", "adam")
    assert TASK.objective(made).loss.angle_weight == 1.0


def test_mlsd_is_not_trained():
    with pytest.raises(UserError, match="not to be trained; train --network lsdnet"):
        TASK.objective(config("mlsd"))


# --- decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["refined", "official"])
def test_perfect_maps_give_their_segments_at_the_pictures_size(mode):
    for variant, card in CARDS.items():
        maps = line_maps(SEGMENTS, (64, 64), doubled=variant == "doubled")
        found = segments_of([maps], card.replace(decode={"mode": mode}), (128, 192))
        expected = SEGMENTS * np.array([3, 2, 3, 2])
        for segment in expected:
            ends = [found.segments - segment, found.segments[:, [2, 3, 0, 1]] - segment]
            assert min(np.abs(one).max(1).min() for one in ends) < 10
        assert found.size == (128, 192) and (found.scores > 0.99).all()


@pytest.mark.parametrize(
    "decode, words",
    [
        ({"mode": "refind"}, "Did you mean 'refined'"),
        ({"heat": -1}, "'heat' is -1"),
        ({"score": "high"}, "'score' is 'high'; it must be a number from 0"),
        ({"protocol": "hawk"}, "Did you mean 'hawp'"),
    ],
)
def test_a_decoding_that_cannot_be_followed_is_told(decode, words):
    card = CARDS["doubled"]
    with pytest.raises(UserError, match=words):
        TASK.check_decoding(card.replace(decode={**card.decode, **decode}))


def test_integers_a_little_above_one_are_one():
    maps = 1.004 * line_maps(SEGMENTS, (64, 64), doubled=True)
    found = segments_of([maps], CARDS["doubled"], (64, 64))
    assert len(found) and found.scores.max() == 1


def test_maps_of_a_damaged_network_are_told():
    maps = line_maps(SEGMENTS, (64, 64), doubled=True)
    maps[3, 4, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        segments_of([maps], CARDS["doubled"], (64, 64))


def test_pictures_are_resized_as_the_card_says():
    image = np.zeros((8, 8, 3), np.uint8)
    image[::2] = 255  # rows: the mean of all is grey, that of two neighbours too
    area = brought_to(image, catalog.card("mlsd", "tiny").sized((16,)).replace(input_size=(2, 2)))
    assert np.abs(area.astype(int) - 128).max() <= 1
    with pytest.raises(ValueError, match="must be one of"):
        brought_to(image, CARDS["base"].replace(resize="nearest"))


def test_a_detector_by_a_wrong_name_is_told():
    with pytest.raises(UserError, match="Did you mean 'lsd'"):
        ClassicalDetector("lsdd")


# --- scores ---------------------------------------------------------------------------------------


def case(found, scores):
    return Case(found, np.asarray(scores), SEGMENTS, (64, 64))


def test_what_is_found_exactly_scores_one():
    scores = line_scores([("a", case(SEGMENTS, [0.9, 0.8, 0.7]))])
    assert scores.summary["fh"] == scores.summary["sap5"] == scores.summary["msap"] == 1
    assert scores.per_sample == [
        {"id": "a", "true_segments": 3, "found_segments": 3, "recall": 1.0, "precision": 1.0,
         "fh": 1.0}
    ]  # fmt: skip
    by = {row["threshold"]: row for row in scores.tables["by_threshold"]}
    assert by[0.4]["recall"] == 1 and by[0.9]["recall"] == 0  # a score counts when it is above
    assert 0 < by[0.8]["recall"] < by[0.7]["recall"] < 1


def test_scores_of_any_size_are_thresholded_at_their_quantiles():
    far = np.array([[1, 62, 30, 63]], np.float32)
    cases = [("a", case(np.concatenate([SEGMENTS, far]), [90.0, 70.0, 40.0, -3.0]))]
    scores = line_scores(cases)
    assert scores.summary["fh"] == 1 and -3 <= scores.details.best_threshold < 40
    assert "quantiles" in scores.protocol and "by_threshold" not in scores.tables


def test_nothing_found_scores_nothing_and_draws():
    scores = line_scores([("a", case(np.zeros((0, 4)), []))])
    assert scores.summary["fh"] == 0 and math.isnan(scores.per_sample[0]["precision"])
    assert curve_picture({"none": scores.details}).dtype == np.uint8


def test_a_quick_score_is_at_fewer_thresholds():
    scores = line_scores([("a", case(SEGMENTS, [0.9, 0.8, 0.7]))], quick=True)
    assert set(scores.summary) == {"fh", "aph", "samples"} and scores.summary["fh"] == 1
    assert len(scores.details.thresholds) == 12
