"""The card: what it knows of an input, for pictures and for everything else."""

import json

import numpy as np
import pytest

from core.errors import UserError
from core.model_card import ModelCard

PICTURE = ModelCard("net", "base", "toy")
SIGNAL = ModelCard(
    "net", "base", "toy", input_size=(128,), channels=2, color_order="",
    full_scale=32768.0, mean=(0.0, 0.5), std=(0.25, 0.5),
)  # fmt: skip
# As version 0.1 wrote it into run folders and files, before a card could be of anything else.
EARLIER = {
    "network": "mk_unet", "variant": "t", "app": "medseg", "title": "MK-UNet", "paper": "",
    "official_code": "", "licence": "MIT", "input_size": [256, 192], "size_multiple": 32,
    "channels": 3, "color_order": "RGB", "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225], "resize": "bilinear", "labels": ["polyp"], "output": "logits",
    "decode": {"threshold": 0.5}, "published": {"parameters": 27000}, "checkpoints": "",
}  # fmt: skip


def test_a_card_of_an_earlier_version_says_what_it_said():
    card = ModelCard.from_dict(EARLIER)
    assert card.is_picture and card.input_shape == (256, 192, 3)
    pixels = np.array([[[0, 128, 255]]], np.uint8)
    expected = (pixels / 255 - EARLIER["mean"]) / EARLIER["std"]
    np.testing.assert_allclose(card.normalise(pixels), expected, rtol=1e-6)
    assert {k: v for k, v in card.to_dict().items() if k != "full_scale"} == EARLIER


@pytest.mark.parametrize("card", [PICTURE, SIGNAL, SIGNAL.replace(input_size=(8, 16, 24))])
def test_a_card_survives_json(card):
    assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_stored_values_are_divided_by_their_full_scale():
    values = np.array([[-32768, 0], [16384, 16384]], np.int16)
    found = SIGNAL.normalise(values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[-4, -1], [2, 0]], atol=1e-6)


def test_only_pictures_have_a_black_and_a_white():
    grey = PICTURE.replace(channels=1, color_order="gray", mean=(0.5,), std=(0.5,))
    assert grey.pixel_range() == (-1.0, 1.0)
    assert PICTURE.pixel_range() is None  # another for each channel
    assert SIGNAL.replace(mean=(0.0, 0.0), std=(1.0, 1.0)).pixel_range() is None


@pytest.mark.parametrize(
    "card, size, sides, said",
    [
        (PICTURE, (256, 256), ("height", "width"), "256 × 256 × 3 (height, width, channels), RGB"),
        (SIGNAL, (128,), ("length",), "128 × 2 (length, channels)"),
        (SIGNAL, (4, 5, 6), ("depth", "height", "width"),
         "4 × 5 × 6 × 2 (depth, height, width, channels)"),
        (SIGNAL, (4, 5), ("height", "width"), "4 × 5 × 2 (height, width, channels)"),
    ],
)  # fmt: skip
def test_the_sides_of_an_input_have_names(card, size, sides, said):
    card = card.replace(input_size=size)
    assert card.sides == sides and card.input_in_words()["Input"] == said


def test_what_is_no_picture_is_not_resized_as_one():
    assert PICTURE.input_in_words()["Normalisation"] == "(pixel / 255 − mean) / std"
    assert PICTURE.input_in_words()["Resized"] == "bilinear"
    assert SIGNAL.input_in_words()["Normalisation"] == "(value / 32768 − mean) / std"
    floats = SIGNAL.replace(full_scale=1.0).input_in_words()
    assert floats["Normalisation"] == "(value − mean) / std" and "Resized" not in floats


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"input_size": [8, 8, 8]}, r"input_size \(8, 8, 8\) for a picture"),
        ({"input_size": [8]}, r"input_size \(8,\) for a picture"),
        ({"color_order": "", "input_size": []}, r"input_size \(\) for a network"),
        ({"input_size": [8.5, 8]}, r"input_size \(8\.5, 8\)"),
        ({"size_multiple": 3, "input_size": [9, 8]}, "but sides are multiples of 3"),
        ({"size_multiple": 0}, "but sides are multiples of 0"),
        ({"size_multiple": 1, "input_size": [10**9, 8]}, "multiples of 1 up to 65536"),
        ({"std": [0.2, 0.2, 0.0]}, "std or full_scale is not above 0"),
        ({"full_scale": 0}, "std or full_scale is not above 0"),
        ({"channels": 2}, "mean, std and channels differ"),
    ],
)
def test_a_damaged_card_is_refused(changes, said):
    with pytest.raises(UserError, match=f"^card.json: .*{said}"):
        ModelCard.from_dict({**EARLIER, **changes}, source="card.json")


def test_a_side_that_no_device_holds_is_refused():
    card = ModelCard("net", "base", "toy", input_size=(64, 64))
    assert card.sized((128,)).input_size == (128, 128)
    with pytest.raises(UserError, match="9999999999x64: sides are at most 65536"):
        card.sized((9_999_999_999, 64))
