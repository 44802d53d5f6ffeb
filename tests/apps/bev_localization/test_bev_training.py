"""REIN is trained: from clusters, by the hardest negatives as it stands, and resumed exactly."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from lidar_street import pose, write_street

from apps.bev_localization.models.rein import POOLING
from apps.bev_localization.task import TASK
from apps.bev_localization.training import norms_kept
from core.config import TrainConfig
from core.errors import UserError
from core.training.fit import train

OPTIONS = {"half_range": 16.0, "resolution": 1.0, "negatives": 2}


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    folder = tmp_path_factory.mktemp("street")
    return write_street(folder / "drive", [pose(3.0 * n) for n in range(16)])


def config(street, **choices):
    options = {**OPTIONS, **choices.pop("options", {})}
    known = {
        "data": str(street),
        "epochs": 2,
        "batch": 8,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
        "steps_per_epoch": 1,
        "options": options,
    }
    return TrainConfig("bev", "rein", "r4_gray", **{**known, **choices})


class Notes:
    """Keeps what a training says."""

    def __init__(self):
        self.notes, self.losses = [], []

    def start(self, total_epochs, samples_per_epoch, *, first_epoch=0):
        pass

    def step(self, epoch, done_samples, logs):
        pass

    def epoch(self, epoch, row, timing):
        self.losses.append(row["loss"])

    def note(self, text):
        self.notes.append(text)

    def stop(self):
        pass


@pytest.fixture(scope="module")
def whole(street, tmp_path_factory):
    said = Notes()
    run = train(TASK, config(street), tmp_path_factory.mktemp("runs") / "whole", progress=said)
    return run, said


@pytest.mark.slow
@pytest.mark.parametrize("pretrained", [True, False])
def test_poses_the_wrong_way_round_are_refused(pretrained, tmp_path):
    folder = write_street(tmp_path / "drive", [pose(3.0 * n, degrees=4.0 * n) for n in range(12)])
    file = folder / "poses.txt"
    poses = [np.vstack([row.reshape(3, 4), [0, 0, 0, 1]]) for row in np.loadtxt(file)]
    np.savetxt(file, [np.linalg.inv(one)[:3].ravel() for one in poses])
    task = TASK.pretraining() if pretrained else TASK
    options = {key: OPTIONS[key] for key in ("half_range", "resolution")} if pretrained else OPTIONS
    chosen = config(folder, batch=4 if pretrained else 8)
    with pytest.raises(UserError, match=r"poses of .* are the wrong way round"):
        train(task, dataclasses.replace(chosen, options=options), tmp_path / "run")
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.slow
def test_a_training_starts_from_clusters_and_says_so(whole):
    run, said = whole
    assert said.notes[0].startswith("NetVLAD starts from 64 clusters of ")
    assert "alpha" in said.notes[0] and len(said.losses) == 2
    model = run.load_model()
    assert len(model.outputs) == 2 and model.input_shape == (None, 33, 33, 1)
    # Started logits are sharp; a layer as it is built has weights below 0.1.
    assert float(np.abs(model.get_layer(POOLING).assigning).max()) > 10
    assert run.card.decode["recipe"]["half_range"] == 16.0


def norms_of(model):
    return [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]


@pytest.mark.slow
def test_norms_of_a_network_that_starts_from_nothing_stay_as_new_ones(whole):
    model = whole[0].load_model()
    for norm in norms_of(model):
        values = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        for value, kept in zip(values, (1.0, 0.0, 0.0, 1.0), strict=True):
            np.testing.assert_array_equal(value, np.full(norm.gamma.shape, kept, np.float32))


@pytest.mark.slow
def test_norms_are_trained_where_one_asks_for_it(street, tmp_path):
    chosen = config(street, epochs=1, options={"norms": "trained"})
    model = train(TASK, chosen, tmp_path / "run").load_model()
    first = norms_of(model)[0]
    assert np.abs(first.moving_mean).max() > 1e-3 and np.abs(first.beta).max() > 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, True),
        ({"backbone_weights": "resnet34.pth"}, False),
        ({"backbone_weights": "resnet34.pth", "norms": "kept"}, True),
        ({"norms": "trained"}, False),
    ],
)
def test_norms_are_kept_unless_resnet_brings_its_own(options, kept):
    assert norms_kept(TASK.check_options(options)) is kept


@pytest.mark.slow
def test_a_resumed_training_equals_one_that_was_not_interrupted(whole, street, tmp_path):
    run, said = whole
    train(TASK, config(street, epochs=1), tmp_path / "parts")
    resumed = Notes()
    parts = train(TASK, config(street), tmp_path / "parts", resume=True, progress=resumed)
    assert not any("clusters" in note for note in resumed.notes)
    assert resumed.losses == said.losses[1:]
    states = [
        np.load(one.path / "checkpoints/state.npz", allow_pickle=False) for one in (run, parts)
    ]
    for name in states[0].files:
        if states[0][name].dtype.kind == "f":
            np.testing.assert_array_equal(states[0][name], states[1][name])


def test_the_order_of_an_epoch_asks_the_network(street):
    index = TASK.read(str(street)).split("train")
    asked = []

    def outputs():
        asked.append(1)
        return [np.random.default_rng(0).standard_normal((len(index), 8)).astype(np.float32)]

    chosen = config(street)
    plain = TASK.batch_order(index, chosen, np.random.default_rng(1))
    mined = TASK.mined_order(index, chosen, np.random.default_rng(1), outputs)
    assert asked == [1] and len(plain) == len(mined)
    assert any(not np.array_equal(a, b) for a, b in zip(plain, mined, strict=True))


def test_negatives_at_random_do_not_ask_the_network(street):
    index = TASK.read(str(street)).split("train")

    def outputs():
        raise AssertionError("the network is asked")

    chosen = config(street, options={"mining": "random"})
    assert TASK.mined_order(index, chosen, np.random.default_rng(1), outputs) is None
    assert TASK.preset("light")["options"]["mining"] == "random"


def test_unequal_sides_are_refused(street, tmp_path):
    with pytest.raises(UserError, match="turns its input: height and width must be equal"):
        train(TASK, config(street, input_size=(32, 40)), tmp_path / "run")


def test_a_file_that_is_no_resnet_is_refused(street, tmp_path):
    keras.utils.set_random_seed(0)
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    chosen = config(street, options={"backbone_weights": str(tmp_path / "weights.npz")})
    with pytest.raises(UserError, match=r"weights\.npz"):
        train(TASK, chosen, tmp_path / "run")
