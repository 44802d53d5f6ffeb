"""What is special about PET-CGDNN."""

import frame_checks
import numpy as np

from apps.modulation_recognition.models.pet_cgdnn import NETWORK, PhaseRotation
from core.checkpoints import load_torch_state, read
from core.tflite.inspect import operators


def test_int8_file_computes_its_recurrence_in_float():
    content = frame_checks.check_int8_file(NETWORK, "base", 16)
    found = [operator.name for operator in operators(content)]
    assert (found.count("WHILE"), found.count("COS")) == (1, 1)


def test_weights_that_keras_saved_load_whole(tmp_path):
    theirs = frame_checks.trained_like(NETWORK.build, "base", 16)
    theirs.save(tmp_path / "weights.h5")
    state = NETWORK.published(read(tmp_path / "weights.h5"))
    assert NETWORK.infer(state) == {"variant": "base", "input_size": (16,), "classes": 11}
    model = NETWORK.build("base", (16, 2))
    assert load_torch_state(model, NETWORK.convert_state(state), ignored=NETWORK.ignored).complete
    inputs = frame_checks.frames(NETWORK.card("base"), 16)
    np.testing.assert_array_equal(*(np.asarray(one(inputs)) for one in (theirs, model)))


def test_turns_a_frame_by_its_angle():
    frame = np.array([[[3.0, 4.0], [1.0, 0.0]]], np.float32)
    turned = PhaseRotation()([frame, np.array([[np.pi / 2]], np.float32)])
    np.testing.assert_allclose(turned, [[[4.0, -3.0], [0.0, -1.0]]], atol=1e-6)
