"""Found segments as files: text, JSON and SVG, every one with its score."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from apps.line_segments.detections import Detections
from core.files import write_atomic, write_json

_LAYERS = 10  # of an SVG file: by tenths of the score


def write_segments(path: Path, found: Detections) -> Path:
    """Write a line a segment, the surest first: x1 y1 x2 y2 score, in pixels."""
    rows = zip(found.segments.tolist(), found.scores.tolist(), strict=True)
    lines = (" ".join(f"{end:.2f}" for end in ends) + f" {score:.6g}\n" for ends, score in rows)
    return write_atomic(path, "".join(lines))


def write_list(path: Path, found: Mapping[str, Detections]) -> Path:
    """Write the segments of images as the JSON list HAWP's program writes and others read.

    Args:
        path: The file.
        found: By the image's file name.
    """
    entries = [
        {
            "filename": name,
            "width": one.size[1],
            "height": one.size[0],
            "lines_pred": [[round(end, 3) for end in ends] for ends in one.segments.tolist()],
            "lines_score": [round(score, 6) for score in one.scores.tolist()],
        }
        for name, one in found.items()
    ]
    return write_json(path, entries)


def write_svg(path: Path, found: Detections, *, picture: str = "") -> Path:
    """Write the segments as an SVG drawing at the image's size.

    Each line has its score as `data-score`. Lines stand in layers by tenths of the score, which
    drawing programs hide and show: one file for every threshold.

    Args:
        path: The file.
        found: The segments.
        picture: Name of the image file, shown beneath where it lies beside the drawing.
    """
    height, width = found.size
    layers: list[list[str]] = [[] for _ in range(_LAYERS)]
    for ends, score in zip(found.segments.tolist(), found.scores.tolist(), strict=True):
        x1, y1, x2, y2 = (f"{end:.2f}" for end in ends)
        layer = layers[min(max(int(score * _LAYERS), 0), _LAYERS - 1)]
        layer.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" data-score="{score:.6g}">'
            f"<title>{score:.3f}</title></line>"
        )
    body = [
        f'<g id="score-{number / _LAYERS:.1f}" inkscape:groupmode="layer" '
        f'inkscape:label="score from {number / _LAYERS:.1f}" stroke="{_colour(number)}">\n'
        + "\n".join(reversed(lines))  # the surest on top
        + "\n</g>"
        for number, lines in enumerate(layers)
        if lines
    ]
    if picture:
        name = escape(picture, quote=True)
        body.insert(0, f'<image href="{name}" width="{width}" height="{height}"/>')
    stroke = max(1.0, max(height, width) / 400)
    content = "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" '
            'xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'stroke-width="{stroke:g}" stroke-linecap="round">',
            *body,
            "</svg>\n",
        ]
    )
    return write_atomic(path, content)


def _colour(layer: int) -> str:
    """Return the colour of a layer: from blue over to red, as the drawn pictures have it."""
    return f"hsl({240 - round(240 * layer / (_LAYERS - 1))}, 90%, 50%)"
