"""The data sets of line segments, in the form users download them."""

from __future__ import annotations

from apps.line_segments.data import labelme, lcnn, lists, markup, wireframe, york
from apps.line_segments.data.annotations import Truth, notes_on, read_truth
from core.data.readers import Reader

__all__ = ["READERS", "Truth", "notes_on", "read_truth"]

# The particular before the general: "auto" takes the first that recognises a path.
READERS: dict[str, Reader] = {
    one.name: one
    for one in (
        *wireframe.READERS,
        *lcnn.READERS,
        *york.READERS,
        *markup.READERS,
        *lists.READERS,
        *labelme.READERS,
    )
}
