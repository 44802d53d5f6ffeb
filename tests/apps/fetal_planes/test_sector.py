"""Finding the ultrasound sector and blanking what the scanner writes beside it."""

import numpy as np
import pytest
from PIL import Image

from apps.fetal_planes.anatomy import DRAWN
from apps.fetal_planes.drawing import Machine, Sector, labelled
from apps.fetal_planes.sector import box_of, cropped, sector_mask, share_inside
from apps.fetal_planes.simulation import draw
from apps.fetal_planes.task import TASK
from core.data.index import Sample
from core.errors import UserError
from core.model_card import ModelCard

MACHINE = Machine(
    (240, 320), 0.6, 0.2, ("MI 1.1", "22w3d"), "GE", (225, 205, 60), "RGB", 1.0, 0.8
)  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    """A drawn picture with text, and the sector's true pixels."""
    rng = np.random.default_rng(0)
    return draw(1, MACHINE, np.zeros(3), rng), Sector(MACHINE, 0.3).inside


def test_the_sector_is_found_to_a_few_pixels(frame):
    picture, inside = frame
    np.testing.assert_allclose(box_of(sector_mask(picture)), box_of(inside), atol=6)


def test_the_crop_is_the_sectors_box_without_the_text_in_its_corners(frame):
    picture, _ = frame
    top, left, bottom, right = box_of(sector_mask(picture))
    crop = cropped(picture, "sector")
    assert crop.shape == (bottom - top, right - left, 3)
    coloured = np.ptp(crop, axis=-1) > 40
    assert (np.ptp(picture, axis=-1) > 40).any() and not coloured.any()


def test_text_becomes_black_and_the_sector_stays(frame):
    picture, inside = frame
    blanked = cropped(picture, "text")
    assert blanked.shape == picture.shape
    written = (picture.max(axis=-1) > 100) & ~inside
    assert written.sum() > 100 and blanked[written].max() < 30
    assert (blanked != picture).any(axis=-1)[inside].mean() < 0.01


@pytest.mark.parametrize("border", [255, 90])
def test_a_banner_and_a_frame_of_one_colour_are_no_sector(frame, border):
    picture, inside = frame
    with_banner = np.concatenate([np.full((60, 320, 3), border, np.uint8), picture])
    with_banner[20:40, 30:200:7] = 255 - border  # something like letters
    box = box_of(sector_mask(with_banner))
    assert box[0] > 60 + box_of(inside)[0] - 8
    assert cropped(with_banner, "text")[:50].max() == 0
    framed = np.pad(picture, ((12, 12), (12, 12), (0, 0)), constant_values=border)
    np.testing.assert_allclose(box_of(sector_mask(framed)), np.add(box_of(inside), 12), atol=6)


def test_a_grey_picture_stays_grey(frame):
    grey = frame[0].max(axis=-1, keepdims=True)
    assert cropped(grey, "text").shape == grey.shape
    assert cropped(grey, "sector").shape[-1] == 1


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 900, 1), (64, 64, 3)])
def test_without_a_sector_a_picture_stays_as_it_is(value, shape):
    picture = np.full(shape, value, np.uint8)
    for crop in ("off", "text", "sector"):
        np.testing.assert_array_equal(cropped(picture, crop), picture)


def test_heat_is_counted_inside_the_sector(frame):
    picture, inside = frame
    assert share_inside(inside.astype(np.float32), picture) > 0.97
    assert share_inside((~inside).astype(np.float32), picture) < 0.1
    assert share_inside(np.zeros(inside.shape), picture) == 1.0
    assert share_inside(np.ones(inside.shape), np.zeros_like(picture)) == 1.0


def test_other_crops_are_a_programmers_mistake():
    with pytest.raises(ValueError, match="Received: crop='middle'"):
        cropped(np.zeros((4, 4, 3), np.uint8), "middle")


def card(crop: str) -> ModelCard:
    return ModelCard("fetal_net", "b0-none", "fetal", input_size=(32, 48), decode={"crop": crop})


def test_the_card_decides_what_the_network_sees(frame, tmp_path):
    file = tmp_path / "frame.png"
    Image.fromarray(frame[0]).save(file)
    sample = Sample("frame.png", (file,), label=1)
    seen = {crop: TASK.load(sample, card(crop)).inputs for crop in ("off", "sector", "text")}
    assert {values.shape for values in seen.values()} == {(32, 48, 3)}
    assert not np.array_equal(seen["off"], seen["text"])
    assert not np.array_equal(seen["text"], seen["sector"])
    without = ModelCard("fetal_net", "b0-none", "fetal", input_size=(32, 48))
    np.testing.assert_array_equal(TASK.load(sample, without).inputs, seen["off"])
    np.testing.assert_array_equal(
        TASK.draw_input(sample, card("sector")), TASK.picture(sample, card("sector"))
    )


def test_a_card_with_another_crop_is_refused():
    TASK.check_decoding(card("text"))
    with pytest.raises(UserError, match=r"--set: crop is 'sectr'\. Did you mean 'sector'\?"):
        TASK.check_decoding(card("sectr"))
    with pytest.raises(UserError, match="Option 'crop' is 'fan'"):
        TASK.check_options({"crop": "fan"})


@pytest.mark.parametrize("form", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_pictures_of_any_form_are_three_equal_channels_when_grey(form, tmp_path):
    grey = np.tile(np.arange(0, 200, 10, dtype=np.uint8), (12, 1))
    deep = form == "I;16"
    picture = Image.fromarray(grey.astype(np.uint16) * 257 if deep else grey)
    file = tmp_path / "grey.png"
    (picture if deep else picture.convert(form)).save(file)
    seen = TASK.picture(Sample("grey.png", (file,)), card("off"))
    assert seen.shape == (12, 20, 3) and seen.dtype == np.uint8
    assert (seen == seen[..., :1]).all() and np.ptp(seen) > 100


@pytest.mark.parametrize("content, told", [(b"", "is empty"), (b"\x89PNG\r\n\x1a\n", "image")])
def test_broken_files_are_told_in_a_sentence(content, told, tmp_path):
    file = tmp_path / "broken.png"
    file.write_bytes(content)
    with pytest.raises(UserError, match=told):
        TASK.load(Sample("broken.png", (file,)), card("sector"))


def test_every_plane_is_drawn_within_its_sector():
    for plane in range(len(DRAWN)):
        picture = draw(plane, MACHINE, np.zeros(3), np.random.default_rng(plane))
        assert picture.shape == (240, 320, 3) and picture.dtype == np.uint8
        inside = Sector(MACHINE, 0.3).inside
        assert picture[inside].std() > 15


def test_what_a_scanner_writes_is_in_its_colour():
    picture = labelled(np.zeros(MACHINE.size, np.uint8), MACHINE, "30Hz")
    assert (np.ptp(picture, axis=-1) > 60).sum() > 30
