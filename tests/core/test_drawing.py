"""Drawing: what is put on a sheet is found there again."""

import numpy as np
import pytest
from PIL import ImageDraw

from core import drawing
from core.drawing import (
    PALETTE,
    Sheet,
    grid,
    heat,
    marked,
    overlaid,
    regions,
    shortened,
    side_by_side,
)

RED = np.full((4, 8, 3), (200, 10, 10), np.uint8)


def where(picture, colour):
    """Return the rows and columns from which to which a colour reaches."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    return (rows.min(), rows.max(), columns.min(), columns.max())


def test_a_picture_keeps_its_size_or_is_fitted_into_a_room():
    sheet = Sheet(30, 40)
    sheet.paste(RED, (3, 2))
    assert where(sheet.picture(), (200, 10, 10)) == (2, 5, 3, 10)
    fitted = Sheet(30, 40)
    fitted.paste(RED, (10, 5), room=(20, 24))  # three times as large, centred in the height
    assert where(fitted.picture(), (200, 10, 10)) == (9, 20, 10, 33)


def test_a_frame_is_as_large_as_is_said_and_may_be_dashed():
    whole, dashed = Sheet(30, 40), Sheet(30, 40)
    whole.outline((5, 4), (20, 30), (0, 0, 255), 3)
    dashed.outline((5, 4), (20, 30), (0, 0, 255), 3, dash=4)
    assert where(whole.picture(), (0, 0, 255)) == (4, 23, 5, 34)
    ink = [(sheet.picture() == (0, 0, 255)).all(axis=-1).sum() for sheet in (whole, dashed)]
    assert ink[0] == 2 * 3 * 30 + 2 * 3 * 14 and 0.35 < ink[1] / ink[0] < 0.7


def test_any_text_can_be_written(monkeypatch):
    written, original = [], ImageDraw.ImageDraw.text

    def recorded(self, place, text, **options):
        written.append(text)
        return original(self, place, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recorded)
    sheet = Sheet(20, 60)
    sheet.write("größe 人", (2, 2))
    assert written == ["gr??e ?"] and (sheet.picture() < 128).any()
    assert shortened("abcdefghijklmnop", 9) == "abc..nop" and shortened("abc", 9) == "abc"


def test_cells_stand_in_rows_with_gaps_around_them():
    cells = [np.full((4, 6, 3), n, np.uint8) for n in range(5)]
    sheet = grid(cells, 3, 2)
    assert sheet.shape == (2 * 6 + 2, 3 * 8 + 2, 3)
    assert where(sheet, (4, 4, 4)) == (8, 11, 10, 15)
    pair = side_by_side(cells[0], cells[1], 5)
    assert pair.shape == (4, 17, 3) and (pair[:, 6:11] == 255).all()


def test_classes_are_tinted_and_outlined_in_colours_of_their_own():
    image, mask = np.full((20, 20, 3), 100, np.uint8), np.zeros((20, 20), np.uint8)
    mask[2:10, 2:10], mask[12:18, 12:18] = 1, 8  # the eighth has the first one's colour again
    drawn = regions(image, mask)
    assert (image == 100).all() and (drawn[mask == 0] == 100).all()
    assert tuple(drawn[2, 2]) == PALETTE[0] == tuple(drawn[12, 12])
    np.testing.assert_array_equal(drawn[5, 5], np.rint(65 + 0.35 * np.array(PALETTE[0])))


def test_numbers_become_colours_and_marks_are_red():
    colours = heat(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)).astype(int)
    assert colours[0, 0, 2] > colours[0, 0, 0] and colours[2, 3, 0] > colours[2, 3, 2]
    assert len(np.unique(heat(np.ones((2, 2))).reshape(-1, 3), axis=0)) == 1
    mask = np.arange(32).reshape(4, 8) > 20
    drawn = marked(RED, mask)
    assert (drawn[mask] == drawing.RED).all() and (np.ptp(drawn[~mask], axis=-1) == 0).all()


def test_a_map_is_laid_over_a_picture_and_leaves_alone_what_does_not_count():
    image, values = np.full((8, 16, 3), 100, np.uint8), np.zeros((4, 8), np.float32)
    values[:, 6:] = 1.5
    drawn = overlaid(image, values, opacity=0.5)
    assert drawn.shape == image.shape and (drawn[:, :11] == 100).all()
    assert (drawn[:, 13:, 0] > 110).all() and (drawn[:, 13:, 1:] == 50).all()  # half of dark red
    np.testing.assert_array_equal(overlaid(image, values * 0), image)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"`image` must be uint8 \(H, W, 3\)"):
        Sheet(9, 9).paste(RED.astype(float), (0, 0))
