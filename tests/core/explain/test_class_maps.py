"""Maps of classes that a .tflite file puts out beside its logits."""

import keras
import numpy as np
import pytest

from core.engines import LiteRTEngine
from core.errors import UserError
from core.explain.cam import CamExplainer
from core.explain.class_maps import class_map, with_class_maps
from core.export.convert import to_tflite
from core.model_card import ModelCard


@pytest.fixture
def inputs():
    return np.random.default_rng(5).normal(size=(2, 33, 47, 3)).astype(np.float32)


def test_a_files_maps_are_those_of_grad_cam(network, inputs):
    content = to_tflite(with_class_maps(network), "float32", input_shape=(33, 47, 3))
    card = ModelCard("net", "base", "toy", input_size=(33, 47))
    outputs = LiteRTEngine(content, card)(inputs)
    (logits,) = (one for one in outputs if one.ndim == 2)
    (maps,) = (one for one in outputs if one.ndim == 4)
    found = CamExplainer(network)(inputs, 4)
    np.testing.assert_allclose(logits, found.logits, atol=1e-5)
    area = maps.shape[1] * maps.shape[2]
    raw = np.maximum(maps[..., 4], 0) / area
    np.testing.assert_allclose(raw, found.raw, atol=1e-5 * np.abs(found.raw).max())
    shown = np.stack([class_map(one, 4, (33, 47)) for one in maps])
    np.testing.assert_allclose(shown, found.maps, atol=1e-4)


def test_their_mean_and_the_bias_are_the_logits_as_before(network, inputs):
    logits, maps = with_class_maps(network)(inputs)
    bias = network.get_layer("fc").get_weights()[1]
    np.testing.assert_allclose(np.mean(maps, axis=(1, 2)) + bias, logits, atol=1e-5)
    np.testing.assert_allclose(network(inputs), logits, atol=1e-6)


def test_a_dropout_before_the_classes_does_not_matter(inputs):
    image = keras.Input((33, 47, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(3)(x))
    assert [tuple(one.shape) for one in with_class_maps(model).outputs] == [
        (None, 3),
        (None, 31, 45, 3),
    ]


def test_another_ending_has_no_such_maps(ending_network):
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalMaxPooling2D()(image)
    largest = keras.Model(image, keras.layers.Dense(3)(x), name="largest")
    for model in (ending_network("softmax"), largest):
        with pytest.raises(UserError, match=f"{model.name}: does not end in a global mean"):
            with_class_maps(model)


def test_a_class_that_is_not_there_is_named(network, inputs):
    _, maps = with_class_maps(network)(inputs)
    with pytest.raises(UserError, match="no class 6; the network has classes 0 to 5"):
        class_map(np.asarray(maps)[0], 6, (33, 47))
