"""The picture of networks side by side."""

import numpy as np
import pytest

from core.drawing import Sheet, text_width
from core.export import interval_plot as module
from core.export.interval_plot import Panel, interval_plot


@pytest.fixture
def written(monkeypatch):
    """Return the boxes (left, top, right, bottom) of all lines that are written."""
    boxes, write = [], Sheet.write

    def seen(self, text, place, *, size=11, middle=False):
        top = place[1] - size / 2 if middle else place[1]
        boxes.append((place[0], top, place[0] + text_width(text, size), top + size))
        write(self, text, place, size=size, middle=middle)

    monkeypatch.setattr(Sheet, "write", seen)
    return boxes


@pytest.mark.parametrize("high", [4e-10, 1e-3, 0.97, 99.0, 1234.5, 4e6])
def test_no_label_lies_over_another_or_beyond_the_edge(high, written):
    names = ["a", "runs/" + 40 * "long_name_", "c.tflite", "d"]
    values = [(high, high, high), (high / 2, 0.0, high), (float("nan"),) * 3, (0.0, 0.0, high / 9)]
    panels = [Panel("Dice", values, 3), Panel("latency, ms (p10 to p90)", values[::-1], 2)]
    picture = interval_plot(names, panels, "a note that says what was measured, and how")
    for n, (left, top, right, bottom) in enumerate(written):
        assert 0 <= left < right <= picture.shape[1] and 0 <= top < bottom <= picture.shape[0]
        for other in written[:n]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, ((left, top, right, bottom), other)


def test_a_dot_stands_where_its_value_is():
    panel = Panel("Dice", [(0.25, 0.0, 0.5), (0.75, 0.5, 1.0)], 2)
    picture = interval_plot(["a", "b"], [panel], "")
    blue = (picture == np.array(module.PALETTE[4])).all(axis=-1)
    columns = [np.flatnonzero(blue[module._middle(row)]) for row in range(2)]
    width = columns[1].max() - columns[0].min()
    assert abs(width - module._PANEL) <= 4
    middles = [int(np.median(found)) for found in columns]
    assert abs(middles[1] - middles[0] - module._PANEL / 2) <= 4


def test_an_axis_does_not_magnify_what_the_numbers_do_not_tell(monkeypatch):
    texts, write = [], Sheet.write
    monkeypatch.setattr(
        Sheet,
        "write",
        lambda self, text, place, **how: texts.append(text) or write(self, text, place, **how),
    )
    interval_plot(["a"], [Panel("Dice", [(4e-10, 3e-10, 5e-10)], 3)], "")
    assert "0.002" in texts and not any("e-" in text for text in texts)
