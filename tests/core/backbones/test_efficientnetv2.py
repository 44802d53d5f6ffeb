"""EfficientNetV2-B0 against Keras's network; names are those of timm's weights."""

import backbone_checks
import keras
import numpy as np

from core.backbones.efficientnetv2 import NETWORK, efficientnetv2
from core.checkpoints import parameter_shapes


def test_keras_weights_compute_what_they_do_in_keras(tmp_path):
    builder = keras.applications.EfficientNetV2B0
    backbone_checks.check_keras(NETWORK, builder, 1.0, tmp_path, include_preprocessing=False)


def test_a_state_of_timm_tells_its_variant_and_classes():
    shapes = parameter_shapes(efficientnetv2(input_shape=(32, 32, 3), classes=4))
    for name, shape in {
        "conv_stem.weight": (32, 3, 3, 3),
        "blocks.0.0.conv.weight": (16, 32, 3, 3),
        "blocks.1.0.conv_exp.weight": (64, 16, 3, 3),
        "blocks.2.1.bn2.running_var": (48,),
        "blocks.3.0.conv_dw.weight": (192, 1, 3, 3),
        "blocks.3.0.se.conv_reduce.weight": (12, 192, 1, 1),
        "blocks.5.7.conv_pwl.weight": (192, 1152, 1, 1),
        "bn2.running_mean": (1280,),
        "classifier.weight": (4, 1280),
    }.items():
        assert shapes[name] == shape
    state = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    assert NETWORK.infer(state) == {"variant": "b0", "classes": 4}
    assert NETWORK.convert_state(state).keys() == state.keys()


def test_without_classes_it_gives_the_features_before_the_classifier():
    model = efficientnetv2(input_shape=(32, 64, 3), classes=None)
    assert model.output_shape == (None, 1280)
    (pattern,) = NETWORK.skipped(model)
    assert pattern == r"classifier\.(weight|bias)"


def test_only_late_blocks_have_squeeze_and_excitation():
    names = [layer.name for layer in efficientnetv2(input_shape=(32, 32, 3)).layers]
    excited = [name for name in names if name.endswith("se.conv_reduce")]
    assert len(excited) == 3 + 5 + 8 and excited[0] == "blocks.3.0.se.conv_reduce"
