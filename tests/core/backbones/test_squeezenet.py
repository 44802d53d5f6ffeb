"""SqueezeNet 1.1 against torchvision's, stage by stage."""

import backbone_checks
import golden_files
import keras
import network_checks
import numpy as np
import pytest

from core.backbones.squeezenet import NETWORK, squeezenet

GOLDEN = golden_files.load("aqua20__squeezenet1-1")


def end(output: str) -> str:
    return {"logits": "classifier.3"}.get(output, output.removeprefix("feature/"))


def test_agrees_with_the_published_network():
    backbone_checks.check_agreement(NETWORK, GOLDEN, "1_1", end, classes=20)
    assert len(GOLDEN.outputs) == 5


def test_a_published_checkpoint_loads_whole(tmp_path):
    expected = {"variant": "1_1", "classes": 20}
    backbone_checks.check_checkpoint(NETWORK, GOLDEN, expected, "classifier.3", tmp_path)
    assert NETWORK.infer({"features.0.weight": np.zeros((96, 3, 7, 7))}) == {}


def test_its_weights_go_into_a_network_of_other_classes():
    backbone_checks.check_other_classes(NETWORK, GOLDEN, "1_1", 512, "classifier.1")


def test_has_as_many_parameters_as_torchvision_with_twenty_classes():
    model = squeezenet(input_shape=(32, 32, 3), classes=20)
    assert model.count_params() == GOLDEN.meta["parameters"]


@pytest.mark.parametrize(
    "size, last", [((17, 25), (1, 1)), ((35, 64), (2, 3)), ((224, 231), (13, 14))]
)
def test_maps_have_the_sizes_of_pooling_that_rounds_up(size, last):
    """PyTorch's: (n - 3) // 2 + 1 of the stem, then three times ceil((n - 3) / 2) + 1."""

    def published(side: int) -> int:
        side = (side - 3) // 2 + 1
        for _ in range(3):
            side = -(-(side - 3) // 2) + 1
        return side

    model = squeezenet(input_shape=(*size, 3))
    assert model.get_layer("features.12").output.shape[1:3] == last
    assert tuple(map(published, size)) == last
    opened = squeezenet(input_shape=(None, None, 3))
    network_checks.check_open_size(model, opened, network_checks.smooth(1, *size, block=1))


def test_starts_as_torchvision_starts_it():
    keras.utils.set_random_seed(3)
    model = squeezenet(input_shape=(32, 32, 3))
    deviations = {
        "features.0": (2 / 27) ** 0.5,
        "features.12.expand3x3": (2 / (9 * 64)) ** 0.5,
        "classifier.1": 0.01,
    }
    backbone_checks.check_start(model, deviations)
