"""MobileNetV2 against torchvision's, stage by stage, fused and not."""

import backbone_checks
import golden_files
import keras
import numpy as np
import pytest

from core.backbones.mobilenetv2 import NETWORK, STAGES, mobilenetv2
from core.export.convert import to_tflite
from core.tflite.inspect import operators

GOLDEN = golden_files.load("aqua20__mobilenet-v2")
ENDS = {"features.0": "features.0.2", "features.18": "features.18.2", "logits": "classifier.1"}


def end(output: str) -> str:
    return ENDS.get(output.removeprefix("feature/"), output.removeprefix("feature/"))


def test_agrees_with_the_published_network():
    """The stored `features.18`, in float32, is 1.1e-4 away from what exact arithmetic gives: its
    ReLU6 cuts values of up to 32, whose errors then count as errors of 6."""
    loose = {"feature/features.18": 3e-4}
    backbone_checks.check_agreement(NETWORK, GOLDEN, "x1_0", end, others=loose, classes=20)
    assert len(GOLDEN.outputs) == 6


def test_a_published_checkpoint_loads_whole(tmp_path):
    expected = {"variant": "x1_0", "classes": 20}
    backbone_checks.check_checkpoint(NETWORK, GOLDEN, expected, "classifier.1", tmp_path)
    assert NETWORK.infer({"features.0.0.weight": np.zeros((16, 3, 3, 3))}) == {}


def test_its_weights_go_into_a_network_of_other_classes():
    backbone_checks.check_other_classes(NETWORK, GOLDEN, "x1_0", 1280, "classifier.1")


def test_has_as_many_parameters_as_torchvision_with_twenty_classes():
    model = mobilenetv2(input_shape=(32, 32, 3), classes=20)
    assert (
        model.count_params() - sum(np.prod(w.shape) for w in model.non_trainable_weights)
        == (GOLDEN.meta["parameters"])
    )


def test_starts_as_torchvision_starts_it():
    keras.utils.set_random_seed(3)
    model = mobilenetv2(input_shape=(32, 32, 3))
    deviations = {
        "features.0.0": (2 / (9 * 32)) ** 0.5,
        "features.14.conv.1.0": (2 / (9 * 576)) ** 0.5,
        "features.17.conv.2": (2 / 320) ** 0.5,
        "classifier.1": 0.01,
    }
    backbone_checks.check_start(model, deviations)
    assert not model.get_layer("classifier.1").get_weights()[1].any()


def test_fewer_blocks_keep_the_names_of_the_stages_ends():
    model = mobilenetv2(input_shape=(64, 64, 3), depths=(1, 2, 1, 1, 1, 1, 1))
    assert [tensor.shape[1:3] for tensor in NETWORK.pyramid(model).outputs] == [
        (64 // stride, 64 // stride) for stride in sorted(NETWORK.features)
    ]
    for depths in [(1, 1, 1), tuple(repeats + 1 for _, _, repeats, _ in STAGES), (0,) * 7]:
        with pytest.raises(ValueError, match=r"7 numbers from 1 to those of \(1, 2, 3, 4"):
            mobilenetv2(depths=depths)


def test_the_file_has_an_operator_for_each_kernel_and_no_activation():
    model = NETWORK.deploy(mobilenetv2(input_shape=(32, 32, 3), depths=(1, 2, 1, 1, 1, 1, 1)))
    kinds = [operator.name for operator in operators(to_tflite(model))]
    assert kinds.count("DEPTHWISE_CONV_2D") == 8 and "RELU6" not in kinds
    assert kinds.count("ADD") == 1
