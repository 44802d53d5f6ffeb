"""`train --backbone-weights`: published weights where an app builds upon published networks."""

import numpy as np
import pytest
from color_task import NETWORK, SIDE
from torch_files import write_zip

from core.checkpoints import torch_state
from core.run_folder import RunFolder


@pytest.fixture
def weights(tmp_path):
    published = torch_state(NETWORK.build("base", (SIDE, SIDE, 3), classes=7))
    return write_zip(tmp_path / "net.pth", published), published


@pytest.fixture
def train(colours, colour_run, tmp_path):
    def call(*arguments):
        return colours(
            "train", "--data", colour_run.config.data, "--out", tmp_path / "run", "--quick",
            "--input-size", SIDE, *arguments,
        )  # fmt: skip

    return call


def test_a_training_begins_with_them(train, weights, tmp_path):
    """The only epoch trains the head, so that the backbone is the published one afterwards."""
    file, published = weights
    done = train("--backbone-weights", file)
    assert done.exit_code == 0, done.stderr
    assert "10 arrays of net.pth were loaded" in done.stdout + done.stderr
    run = RunFolder(tmp_path / "run")
    assert run.config.options["backbone_weights"] == str(file)
    state = torch_state(run.load_model())
    np.testing.assert_array_equal(state["conv2.weight"], published["conv2.weight"])
    assert state["classifier.weight"].shape[0] == 3


def test_what_does_not_go_together_is_refused(train, weights, colour_run, tmp_path):
    file, _ = weights
    for more, sentence in (
        (("--initial-weights", colour_run.path), "exclude each other"),
        (("--set", "options.backbone_weights=package"), "by its own option and by --set"),
    ):
        done = train("--backbone-weights", file, *more)
        assert done.exit_code == 2 and sentence in done.stderr
        assert not (tmp_path / "run").exists()


def test_weights_that_are_not_there_leave_nothing_behind(train, tmp_path):
    done = train("--backbone-weights", tmp_path / "nowhere.pth")
    assert done.exit_code == 2 and "nowhere.pth: no such file" in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_app_without_published_backbones_says_so(toy, toy_data, tmp_path):
    out = tmp_path / "run"
    done = toy("train", "--data", toy_data, "--out", out, "--backbone-weights", "package")
    assert done.exit_code == 2 and "has no published backbones" in done.stderr
    assert not out.exists()
