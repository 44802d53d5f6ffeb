"""Occlusion finds what a classifier looks at, in Keras and in a .tflite file alike."""

import keras
import numpy as np
import pytest
from keras import layers

from core.engines import KerasEngine, LiteRTEngine
from core.errors import UserError
from core.explain.classes import class_probabilities
from core.explain.lime import lime
from core.explain.occlusion import occlusion
from core.export.convert import to_tflite
from core.model_card import ModelCard

CARD = ModelCard(
    "net", "base", "toy", input_size=(12, 16), mean=(0.0,) * 3, std=(1.0,) * 3,
)  # fmt: skip


def red_finder() -> keras.Model:
    """A classifier of two logits: the second is how much red there is."""
    image = keras.Input((12, 16, 3), name="image")
    layer = layers.Conv2D(2, 1, activation="relu")
    x = layers.GlobalAveragePooling2D()(layer(image))
    layer.set_weights([np.float32([[[[0, 40], [1, -40], [1, -40]]]]), np.zeros(2, np.float32)])
    return keras.Model(image, x, name="red")


@pytest.fixture
def picture():
    image = np.full((12, 16, 3), 128, np.uint8)
    image[4:8, 10:14] = (255, 0, 0)
    return image


def test_the_map_is_the_mean_fall_over_the_patches_that_hide_a_pixel(picture):
    def predict(images):
        share = (images[..., 0] - images[..., 1] > 200).mean(axis=(1, 2))
        return np.stack([1 - share, share], axis=1)

    found = occlusion(picture, predict, label=1, patch=4, stride=3, fill=0, batch=5)
    total, times = np.zeros((12, 16)), np.zeros((12, 16))
    for top in (0, 3, 6, 8):
        for left in (0, 3, 6, 9, 12):
            square = np.s_[top : top + 4, left : left + 4]
            hidden = picture.copy()
            hidden[square] = 0
            total[square] += predict(picture[None])[0, 1] - predict(hidden[None])[0, 1]
            times[square] += 1
    np.testing.assert_allclose(found.map, total / times, atol=1e-7)
    assert found.probability == pytest.approx(16 / 192)


def test_a_file_is_explained_as_keras_is(picture):
    model = red_finder()
    engines = KerasEngine(model, CARD), LiteRTEngine(to_tflite(model), CARD)
    keras_found, file_found = (
        occlusion(picture, class_probabilities(engine), patch=4) for engine in engines
    )
    assert file_found.label == keras_found.label == 1
    np.testing.assert_allclose(file_found.map, keras_found.map, atol=1e-5)
    assert np.unravel_index(file_found.map.argmax(), (12, 16)) in [
        (r, c) for r in range(4, 8) for c in range(10, 14)
    ]
    explained = [
        lime(picture, class_probabilities(engine), segmentation="squares", samples=60, labels=1)
        for engine in engines
    ]
    np.testing.assert_allclose(explained[1].row(), explained[0].row(), atol=1e-5)


def test_one_logit_counts_by_its_sigmoid_and_probabilities_are_taken_as_they_are():
    class Fixed:
        name, card = "fixed", CARD

        def __call__(self, batch):
            return [np.full((len(batch), 1), 2.0, np.float32)]

    images = np.zeros((3, 12, 16, 3), np.uint8)
    np.testing.assert_allclose(class_probabilities(Fixed())(images), 1 / (1 + np.exp(-2)), 1e-6)
    np.testing.assert_allclose(class_probabilities(Fixed(), logits=False)(images), 2.0)


def test_what_cannot_be_chosen_is_said(picture):
    model = red_finder()
    predict = class_probabilities(KerasEngine(model, CARD))
    for choice in ({"patch": 13}, {"patch": 3, "stride": 4}, {"patch": 0}):
        with pytest.raises(UserError, match="does not cover a picture of 12x16; take a patch of"):
            occlusion(picture, predict, **choice)
    with pytest.raises(UserError, match="There is no class 2; the network has classes 0 to 1"):
        occlusion(picture, predict, label=2, patch=6)
    features = keras.Model(model.input, model.layers[1].output, name="features")
    with pytest.raises(UserError, match=r"keras: returns \(N, 12, 16, 2\), not one score a class"):
        class_probabilities(KerasEngine(features, CARD))(picture[None])
