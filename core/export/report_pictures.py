"""Pictures of a report: what went in, what should come out, what comes out, and what changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.data.index import Sample
from core.drawing import marked
from core.engines import Engine
from core.errors import UserError
from core.evaluate import run
from core.export.report_content import Picture, SamplePictures
from core.export.report_markup import MISSING, Html, tag
from core.task import Task

LONGEST = 480  # pixels; sharp at the size of a report's columns, and a mail can carry the page
LOSSLESS = 96  # photographs up to this size stay PNG
SMALL = 128  # pixels; smaller pictures are enlarged without smoothing


def sample_pictures(
    task: Task, keras: Engine, files: Mapping[str, Engine], samples: Sequence[Sample]
) -> list[SamplePictures]:
    """Return the pictures of some samples: input, target, results and differences.

    What no sample has is left out; a domain without pictures gives none.

    Args:
        task: The domain; draws inputs, truths and results.
        keras: The network the files are compared with.
        files: Engines of the exported files by label.
        samples: What to draw.

    Raises:
        UserError: When a sample cannot be read or a result cannot be drawn.
    """
    drawn = {
        label: [task.draw(one, result, engine.card) for one, result in run(task, engine, samples)]
        for label, engine in {"Keras": keras, **files}.items()
    }
    changes = {label: list(map(changed, drawn["Keras"], drawn[label])) for label in files}
    columns = [
        [picture("Input", task.draw_input(one, keras.card)) for one in samples],
        [picture("Target", task.draw_truth(one, keras.card)) for one in samples],
        [picture("Keras", image) for image in drawn["Keras"]],
    ]
    for label, masks in changes.items():
        pairs = zip(drawn[label], masks, strict=True)
        columns.append([picture(label, image, _share(mask)) for image, mask in pairs])
    for label, masks in changes.items():
        # A column for a file that changes nothing anywhere would be empty.
        if any(mask is None or mask.any() for mask in masks):
            pairs = zip(drawn["Keras"], masks, strict=True)
            tinted = [
                None if base is None or mask is None else marked(base, mask) for base, mask in pairs
            ]
            title = f"Keras against {label}"
            columns.append([picture(title, image, "changed pixels in red") for image in tinted])
    shown = [column for column in columns if any(one.source for one in column)]
    rows = zip(*shown, strict=True)
    return [SamplePictures(one.id, list(row)) for one, row in zip(samples, rows, strict=False)]


def changed(before: np.ndarray | None, after: np.ndarray | None) -> np.ndarray | None:
    """Return the pixels in which two pictures differ, bool (H, W); None for unequal sizes."""
    if before is None or after is None or before.shape != after.shape:
        return None
    return np.any(before != after, axis=-1)


def picture(
    title: str, image: np.ndarray | None, caption: str = "", *, drawn: bool = False
) -> Picture:
    """Return a picture encoded for the page: a photograph made smaller, a drawing kept as it is."""
    from PIL import Image

    if image is None:
        return Picture(title)
    shown = Image.fromarray(np.ascontiguousarray(image))
    if not drawn:
        shown.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if drawn or max(shown.size) <= LOSSLESS:
        kind = "png"
        shown.save(stream, "PNG", optimize=True)
    else:
        kind = "jpeg"
        shown.save(stream, "JPEG", quality=88, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(title, f"data:image/{kind};base64,{encoded}", *shown.size, caption)


def drawable(files: Mapping[str, Path]) -> tuple[dict[str, Engine], list[str]]:
    """Return engines for the files that can be run, by label, and why the others cannot."""
    from core.engines import LiteRTEngine

    engines: dict[str, Engine] = {}
    problems = []
    for label, path in files.items():
        try:
            engines[label] = LiteRTEngine(path)
        except UserError as error:
            problems.append(f"Not drawn: {error}")
    return engines, problems


def _share(mask: np.ndarray | None) -> str:
    if mask is None:
        return "of another size"
    share = float(mask.mean())
    if not share:
        return "equal to Keras"
    return f"{share:.2%} of pixels differ" if share >= 1e-4 else "< 0.01% of pixels differ"


def figure(picture: Picture) -> Html:
    """Return a picture with its title and caption, "–" where there is none."""
    shown = tag("div", MISSING, class_="none")
    if picture.source:
        small = max(picture.width, picture.height) < SMALL
        shown = tag(
            "img",
            src=picture.source,
            alt=picture.title,
            width=picture.width,
            height=picture.height,
            class_="tiny" if small else None,
        )
    note = tag("small", picture.caption) if picture.caption else None
    return tag("figure", shown, tag("figcaption", picture.title, note))
