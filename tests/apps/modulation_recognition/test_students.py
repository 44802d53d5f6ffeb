"""KD-CNN and KD-MobileNet, the students that are integer throughout."""

import frame_checks
import numpy as np
import pytest

from apps.modulation_recognition.models import kd_cnn, kd_mobilenet
from core.checkpoints import torch_state

# Each with its least length and its first layer.
STUDENTS = [(kd_cnn.NETWORK, 16, "stages.0.0"), (kd_mobilenet.NETWORK, 1, "stem.0")]
each = pytest.mark.parametrize("network, smallest, first", STUDENTS)


@each
def test_has_the_parameters_of_its_card(network, smallest, first):
    frame_checks.check_parameters(network)


@each
def test_lengths_that_fit_and_that_do_not(network, smallest, first):
    frame_checks.check_lengths(network, smallest)


@each
def test_float_file_agrees_with_keras(network, smallest, first):
    frame_checks.check_float_file(network, "base", 128)


@each
def test_int8_file_is_small_integer_and_what_keras_simulates(network, smallest, first):
    assert len(frame_checks.check_int8_file(network, "base", 128)) <= 60_000


@each
def test_its_state_says_how_to_build_it(network, smallest, first):
    state = torch_state(network.build("base", (32, 2), classes=7))
    assert network.infer(network.published(state)) == {"variant": "base", "classes": 7}
    assert network.infer({f"{first}.weight": np.zeros((8, 2, 1, 7))}) == {}


@each
def test_takes_frames_of_mean_magnitude_one(network, smallest, first):
    frames = frame_checks.frames(network.card("base"), 128)
    np.testing.assert_allclose(np.linalg.norm(frames, axis=2).mean(axis=1), 1.0, rtol=1e-5)
