"""REIN's encoder is pre-trained on pairs of scans: which spots are the same, and what follows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from lidar_street import pose, write_street
from typer.testing import CliRunner

from apps import catalog
from apps.bev_localization.augment import turned
from apps.bev_localization.cli import app
from apps.bev_localization.data.samples import scan_samples
from apps.bev_localization.images.density import density_image
from apps.bev_localization.images.recipes import recipe
from apps.bev_localization.mining import POSITIVE, neighbours
from apps.bev_localization.models.rein import MAP, POOLING
from apps.bev_localization.place_pairs import (
    HEAD,
    SPOTS,
    TURN,
    features_at,
    places_loss,
    seen_by_partner,
    spots_loss,
    target_of,
)
from apps.bev_localization.places import where, with_places
from apps.bev_localization.pose.features import features_at as features_of_the_network
from apps.bev_localization.pretraining import PlacePretraining
from apps.bev_localization.task import TASK
from core.config import TrainConfig
from core.data.index import make_index
from core.errors import UserError
from core.run_folder import RunFolder
from core.task import Example

TASK_OF_PAIRS = PlacePretraining(TASK)
COARSE = recipe("coarse40")


def pair_config(**choices):
    options = {"recipe": "coarse40", **choices.pop("options", {})}
    return TrainConfig("bev", "rein", "r4_gray", batch=8, options=options, **choices)


# --- the same spots -------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y", "heading", "other"), [(0, 0, 0, 180), (3, -2, 75, -160)])
def test_spots_of_one_scan_are_where_the_other_shows_them(x, y, heading, other):
    """Posts in the world, seen by two scans whose images are turned by any angle."""
    rng = np.random.default_rng(0)
    posts = rng.uniform(-15, 15, (30, 2)) + np.array([1000.0, 5.0])
    examples = []
    for place, yaw, seed in (((1001.0, 4.0), heading, 1), ((1001.0 + x, 4.0 + y), other, 2)):
        angle = math.radians(yaw)
        back = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        seen = np.zeros((len(posts), 3), np.float32)
        seen[:, :2] = (posts - place) @ back
        image = density_image(seen, COARSE)[..., None]
        stored = Example(image, np.array([*place, angle]))
        examples.append(
            TASK_OF_PAIRS.training_example(stored, np.random.default_rng(seed), pair_config())
        )
    targets = np.stack([one.target for one in examples])
    here, there, shown, _ = (
        np.asarray(one[0]) for one in seen_by_partner(targets, COARSE.resolution, COARSE.side)
    )
    assert shown.sum() >= 20
    for number, where_shown in ((0, here[shown]), (1, there[shown])):
        image = examples[number].inputs[..., 0]
        rows, columns = np.nonzero(image)
        apart = np.hypot(
            columns - where_shown[:, :1], rows - where_shown[:, 1:]
        )  # to the nearest pixel that something stands in
        assert apart.min(axis=1).max() <= 1.5


def test_an_image_turned_otherwise_shows_its_own_spots_where_they_went():
    pixels = np.array([[50, 20], [20, 70], [66, 66], [50, 50]])
    rng = np.random.default_rng(0)
    middle = np.array([5.0, -3.0])
    for degrees in (90.0, 37.0):
        first = target_of(middle, 0.4, pixels, rng)
        second = target_of(middle, 0.4 - math.radians(degrees), pixels, rng)
        here, there, shown, places = seen_by_partner(np.stack([first, second]), 0.8, 101)
        assert np.asarray(shown[0]).tolist() == [True] * 4 + [False] * (SPOTS - 4)
        for spot, found in zip(np.asarray(here[0, :4]), np.asarray(there[0, :4]), strict=True):
            image = np.zeros((101, 101, 1), np.uint8)
            column, row = spot.astype(int)
            image[row - 1 : row + 2, column - 1 : column + 2] = 200
            rows, columns = np.nonzero(turned(image, degrees)[..., 0] > 100)
            np.testing.assert_allclose(found, [columns.mean(), rows.mean()], atol=0.5)
        np.testing.assert_allclose(
            np.asarray(places[0, :4]), (50 - np.asarray(there[0, :4]))[:, ::-1] * 0.8, atol=1e-4
        )


def test_positions_beyond_float32_are_told_to_the_millimetre():
    far = np.array([4_012_345.678, 1023.9])
    near = target_of(far, 0.0, np.zeros((0, 2)), np.random.default_rng(0))
    beside = target_of(far + np.array([0.5, 0.25]), 0.0, np.zeros((0, 2)), np.random.default_rng(0))
    assert near.dtype == np.float32 and (near[0] < TURN).all() and (near[HEAD:] == -1).all()
    spot = np.array([[50, 50]])
    first = target_of(far, 0.0, spot, np.random.default_rng(0))
    _, there, _, _ = seen_by_partner(np.stack([first, beside]), 0.5, 101)
    np.testing.assert_allclose(there[0, 0], [50.5, 51.0], atol=1e-3)


def test_features_are_those_the_network_gives_keypoints_on_its_cells():
    rng = np.random.default_rng(0)
    small = rng.standard_normal((1, 13, 13, 8)).astype(np.float32)
    step = 96 // 12
    pixels = np.stack(np.meshgrid(np.arange(1, 12), np.arange(1, 12)), -1).reshape(-1, 2) * step
    ours = np.asarray(features_at(small, pixels[None].astype(np.float32), 97))[0]
    np.testing.assert_allclose(ours, features_of_the_network(small[0], pixels, 97), atol=1e-5)
    between = np.asarray(features_at(small, np.array([[[4.0, 8.0]]], np.float32), 97))[0, 0]
    middle = small[0, 1, 0] + small[0, 1, 1]
    np.testing.assert_allclose(between, middle / np.linalg.norm(middle), atol=1e-5)


# --- losses ---------------------------------------------------------------------------------------


def spots(count, width=64):
    return np.eye(width, dtype=np.float32)[None, :count].repeat(2, 0)


def test_spots_that_look_like_themselves_alone_cost_nothing():
    features = spots(6)
    places = np.stack([np.arange(6) * 10.0, np.zeros(6)], -1)[None].repeat(2, 0).astype("f")
    shown = np.ones((2, 6), bool)
    # The other pair's spots look the same: each of them is one more that is taken for the own.
    loss, matched = spots_loss(features, features, shown, places, 0.1)
    assert float(matched) == 1.0 and 0.3 < float(loss) < 0.4  # half of log 2
    strange = features[:1], np.roll(features, 20, -1)[1:]
    loss, matched = spots_loss(np.concatenate(strange), np.concatenate(strange), shown, places, 0.1)
    assert float(loss) < 1e-3 and float(matched) == 1.0
    swapped = features[:, ::-1]
    loss, matched = spots_loss(features, swapped, shown, places, 0.1)
    assert float(loss) > 5 and float(matched) == 0.0
    near = places / 10  # a metre apart: they may be one corner
    _, matched = spots_loss(features, swapped, shown, near, 0.1)
    assert float(matched) >= 2 / 6


def test_spots_that_one_scan_does_not_show_do_not_count():
    features, wrong = spots(4), spots(4).copy()
    wrong[:, 3] = wrong[:, 0]
    places = np.stack([np.arange(4) * 10.0, np.zeros(4)], -1)[None].repeat(2, 0).astype("f")
    shown = np.array([[True, True, True, False]] * 2)
    assert float(spots_loss(features, wrong, shown, places, 0.1)[1]) == 1.0
    loss, matched = spots_loss(features, wrong, np.zeros_like(shown), places, 0.1)
    assert float(loss) == float(matched) == 0.0


def test_a_scan_is_compared_with_its_partner_and_with_other_places_only():
    alike = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    middles = np.array([[0, 0], [2, 0], [500, 0], [502, 0]], np.float32)
    loss, paired = places_loss(alike, middles, 0.1)
    assert float(loss) < 1e-3 and float(paired) == 1.0
    crossed = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    assert float(places_loss(crossed, middles, 0.1)[1]) == 0.0
    close = np.array([[0, 0], [2, 0], [4, 0], [TURN - 1, 0]], np.float32)  # all within 7 m
    loss, paired = places_loss(crossed, close, 0.1)
    assert float(loss) == pytest.approx(0.0, abs=1e-6) and float(paired) == 1.0


# --- batches --------------------------------------------------------------------------------------


def drive(name, x, y=0.0):
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = x, y
    files = [Path("/nowhere") / name / f"{n:06d}.bin" for n in range(len(x))]
    return scan_samples(files, name, "simulated-town", poses=poses)


def test_every_scan_comes_once_with_a_partner_of_another_drive():
    samples = drive("00", np.arange(12) * 4.0) + drive("01", np.arange(6) * 4.0 + 1, 2.0)
    index = with_places(make_index("simulated-town", "x", samples))
    order = TASK_OF_PAIRS.batch_order(index, pair_config(), np.random.default_rng(0))
    assert max(len(batch) for batch in order) <= 8 and min(len(batch) for batch in order) >= 4
    pairs = np.concatenate(order).reshape(-1, 2)
    assert sorted(set(pairs[:, 0] % 18)) == list(range(18)) and len(pairs) == 18
    assert len(set(pairs.ravel().tolist())) == 36  # each is turned by itself
    places, drives = where(index.samples), np.array([s.group for s in index.samples])
    for first, second in pairs % 18:
        assert first != second and np.linalg.norm(places[first] - places[second]) < POSITIVE
    seen_twice = pairs[pairs[:, 0] % 18 < 6] % 18
    assert all(drives[a] != drives[b] for a, b in seen_twice)
    twice = pair_config(options={"repeats": 2})
    again = TASK_OF_PAIRS.batch_order(index, twice, np.random.default_rng(0))
    assert sum(map(len, again)) == 2 * sum(map(len, order))


def test_scans_at_the_origin_do_not_end_a_training():
    """A thread of TensorFlow takes the float next to 0 for 0, and SciPy's tree then never ends."""
    import tensorflow as tf

    places = np.zeros((40, 3))
    places[30:, 0] = np.arange(10) + 1.0
    found = []

    def look(step):
        found.append(neighbours(places, POSITIVE))
        return step

    dataset = tf.data.Dataset.range(1).map(lambda step: tf.numpy_function(look, [step], tf.int64))
    assert len(list(dataset)) == 1
    assert [len(near) for near in found[0]] == [35] * 30 + [36, 37, 38, 39, 40, 10, 9, 8, 7, 6]


def test_data_without_pairs_and_batches_without_two_are_refused():
    lonely = make_index("simulated-town", "x", drive("00", np.arange(5) * 50.0))
    with pytest.raises(UserError, match=r"x: has none, but .* pairs of scans nearer than 5 m"):
        TASK_OF_PAIRS.batch_order(with_places(lonely), pair_config(), np.random.default_rng(0))
    dense = with_places(make_index("simulated-town", "x", drive("00", np.arange(5.0))))
    small = TrainConfig("bev", "rein", "r4_gray", batch=2, options={"recipe": "coarse40"})
    with pytest.raises(UserError, match=r"--batch is 2, .*two pairs or more"):
        TASK_OF_PAIRS.batch_order(dense, small, np.random.default_rng(0))


# --- the commands ---------------------------------------------------------------------------------


def run_json(*args):
    result = CliRunner().invoke(app, [*map(str, args), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_a_training_takes_the_encoder_over_and_starts_netvlad_from_its_features(tmp_path):
    street = write_street(tmp_path / "drive", [pose(3.0 * n) for n in range(16)])
    shape = ("--set", "options.half_range=16", "--set", "options.resolution=1")
    encoder = tmp_path / "encoder"
    told = run_json(
        "pretrain", "--data", street, "--variant", "r4_gray", *shape, "--batch", 8,
        "--epochs", 2, "--steps-per-epoch", 1, "--set", "warmup_epochs=1", "--out", encoder,
    )  # fmt: skip
    assert told["epochs"] == 2 and 0 <= told["spot_recall"] <= 1 and 0 <= told["place_recall"] <= 1
    found = RunFolder(encoder)
    assert found.holds_encoder and found.card.decode["recipe"]["half_range"] == 16.0
    with pytest.raises(UserError, match=r"encoder: was trained on .* recipe 'place40-16-1'"):
        card = TASK.card_for(catalog.card("rein", "r4_gray"), pair_config(), TASK.read(str(street)))
        TASK.check_start(found, card)
    trained = tmp_path / "run"
    result = CliRunner().invoke(
        app,
        ["train", "--data", str(street), "--variant", "r4_gray", *shape,
         "--initial-weights", str(encoder), "--set", "options.negatives=2", "--batch", "4",
         "--epochs", "1", "--steps-per-epoch", "1", "--learning-rate", "1e-9",
         "--out", str(trained)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    before, after = found.load_model(encoder=True), RunFolder(trained).load_model()
    for layer in before.layers:
        for old, new in zip(layer.weights, after.get_layer(layer.name).weights, strict=False):
            if layer.name != "image":
                np.testing.assert_allclose(np.asarray(old), np.asarray(new), atol=1e-6)
    norms = [one for one in before.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert any(np.abs(np.asarray(norm.moving_mean)).max() > 1e-3 for norm in norms)
    assert after.get_layer(MAP) is not None
    assert float(np.abs(after.get_layer(POOLING).assigning).max()) > 10  # sharp, as clusters are
