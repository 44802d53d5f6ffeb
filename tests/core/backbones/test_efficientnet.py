"""EfficientNet-B0 against torchvision's and Keras's."""

import backbone_checks
import golden_files
import keras
import numpy as np

from core.backbones.efficientnet import NETWORK, efficientnet

GOLDEN = golden_files.load("aqua20__efficientnet-b0")
ENDS = {
    "feature/features.0": "features.0.2",
    "feature/features.2": "features.2.1",
    "feature/features.4": "features.4.2",
    "feature/features.6": "features.6.3",
    "feature/features.8": "features.8.2",
    "logits": "classifier.1",
}


def test_agrees_with_the_published_network():
    backbone_checks.check_agreement(NETWORK, GOLDEN, "b0", ENDS.get, classes=20)
    assert GOLDEN.outputs.keys() == ENDS.keys()


def test_a_published_checkpoint_loads_whole(tmp_path):
    expected = {"variant": "b0", "classes": 20}
    backbone_checks.check_checkpoint(NETWORK, GOLDEN, expected, "classifier.1", tmp_path)


def test_its_weights_go_into_a_network_of_other_classes():
    backbone_checks.check_other_classes(NETWORK, GOLDEN, "b0", 1280, "classifier.1")


def test_has_as_many_parameters_as_torchvision_with_twenty_classes():
    model = efficientnet(input_shape=(32, 32, 3), classes=20)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == GOLDEN.meta["parameters"]


def test_keras_weights_compute_what_they_do_in_keras(tmp_path):
    backbone_checks.check_keras(NETWORK, keras.applications.EfficientNetB0, 255.0, tmp_path)


def test_starts_as_its_publishers_start_it():
    keras.utils.set_random_seed(3)
    deviations = {
        "features.0.0": (2 / (9 * 32)) ** 0.5,
        "features.6.1.block.2.fc1": (2 / 48) ** 0.5,
        "features.8.0": (2 / 1280) ** 0.5,
        "classifier.1": (1 / 3000) ** 0.5,
    }
    depthwise = {"b0": 2 / (25 * 1152), "b0_tf": 2 / 25}
    for variant, variance in depthwise.items():
        model = efficientnet(variant, (32, 32, 3))
        deviations["features.6.1.block.1.0"] = variance**0.5
        backbone_checks.check_start(model, deviations)
