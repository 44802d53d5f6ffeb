"""ShuffleNetV2 against torchvision's, stage by stage, fused and not."""

import backbone_checks
import golden_files
import keras
import numpy as np
import pytest

from core.backbones.shufflenetv2 import FEATURES, NETWORK, VARIANTS, shufflenetv2
from core.export.convert import to_tflite
from core.tflite.inspect import operators

GOLDEN = golden_files.load("aqua20__shufflenet-v2-x1-0")
ENDS = {
    "stage2": "stage2.3",
    "stage3": "stage3.7",
    "stage4": "stage4.3",
    "conv5": "conv5.2",
    "logits": "fc",
}


def end(output: str) -> str:
    return ENDS.get(output.removeprefix("feature/"), output.removeprefix("feature/"))


def test_agrees_with_the_published_network():
    backbone_checks.check_agreement(NETWORK, GOLDEN, "x1_0", end, classes=20)
    assert len(GOLDEN.outputs) == 6


def test_a_published_checkpoint_loads_whole(tmp_path):
    expected = {"variant": "x1_0", "classes": 20}
    backbone_checks.check_checkpoint(NETWORK, GOLDEN, expected, "fc", tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_tells_its_width(variant):
    half = {"x0_5": 24, "x1_0": 58, "x1_5": 88, "x2_0": 122}[variant]
    state = {"stage2.0.branch2.0.weight": np.zeros((half, 24, 1, 1))}
    assert NETWORK.infer(state) == {"variant": variant}


def test_its_weights_go_into_a_network_of_other_classes():
    backbone_checks.check_other_classes(NETWORK, GOLDEN, "x1_0", 1024, "fc")


def test_has_as_many_parameters_as_torchvision_with_twenty_classes():
    model = shufflenetv2(input_shape=(32, 32, 3), classes=20)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == GOLDEN.meta["parameters"]


def test_feature_maps_are_the_published_stages():
    model = backbone_checks.published(NETWORK, GOLDEN, "x1_0", classes=20)
    maps = dict(zip(FEATURES, NETWORK.pyramid(model)(GOLDEN.inputs()), strict=True))
    for stride, stage in {4: "maxpool", 8: "stage2", 16: "stage3", 32: "stage4"}.items():
        assert GOLDEN.error(f"feature/{stage}", maps[stride]) < 1e-4


def test_the_file_moves_channels_by_one_transposition_a_unit():
    model = NETWORK.deploy(shufflenetv2("x0_5", (32, 64, 3), depths=(2, 1, 1)))
    kinds = [operator.name for operator in operators(to_tflite(model))]
    assert kinds.count("TRANSPOSE") == 4 and kinds.count("RESHAPE") == 8
    assert kinds.count("SPLIT") == 1
    assert not {"GATHER", "SHAPE", "PACK", "STRIDED_SLICE"} & set(kinds)


def test_starts_as_pytorch_starts_convolutions():
    keras.utils.set_random_seed(3)
    model = shufflenetv2(input_shape=(32, 32, 3))
    fans = {"conv1.0": 27, "stage4.3.branch2.3": 9, "conv5.0": 464, "fc": 1024}
    backbone_checks.check_start(model, {name: (3 * fan) ** -0.5 for name, fan in fans.items()})
