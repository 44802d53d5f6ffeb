"""Pictures of a report: what went in, what should come out, what comes out, and what changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np

from core.data.index import Sample
from core.engines import Engine
from core.errors import UserError
from core.evaluate import run
from core.export.report_content import Picture, SamplePictures
from core.model_card import ModelCard
from core.task import Task

LONGEST = 480  # pixels; sharp at the size of a report's columns, and a mail can carry the page
LOSSLESS = 96  # pictures up to this size stay PNG
RED = np.array((230, 30, 45), np.float32)


def sample_pictures(
    task: Task, keras: Engine, files: Mapping[str, Engine], samples: Sequence[Sample]
) -> list[SamplePictures]:
    """Return the pictures of some samples: input, target, results and differences.

    Args:
        task: The domain; draws results and truths.
        keras: The network the files are compared with.
        files: Engines of the exported files by label.
        samples: What to draw.

    Raises:
        UserError: When a sample cannot be read or a result cannot be drawn.
    """
    engines = {"Keras": keras, **files}
    drawn = {
        label: [
            task.draw(sample, result, engine.card) for sample, result in run(task, engine, samples)
        ]
        for label, engine in engines.items()
    }
    shares = {label: list(map(changed, drawn["Keras"], drawn[label])) for label in files}
    # A column for a file that changes nothing anywhere would be empty.
    compared = [
        label for label, found in shares.items() if any(m is None or m.any() for m in found)
    ]
    made = []
    for position, sample in enumerate(samples):
        base = drawn["Keras"][position]
        pictures = [
            picture("Input", input_picture(task, sample, keras.card)),
            picture("Target", task.draw_truth(sample, keras.card)),
            picture("Keras", base),
        ]
        for label in files:
            caption = _share(shares[label][position])
            pictures.append(picture(label, drawn[label][position], caption))
        for label in compared:
            mask = shares[label][position]
            tinted = None if mask is None else tint(base, mask)
            pictures.append(picture(f"Keras against {label}", tinted, "changed pixels in red"))
        made.append(SamplePictures(sample.id, pictures))
    return made


def input_picture(task: Task, sample: Sample, card: ModelCard) -> np.ndarray | None:
    """Return a sample's image, uint8 (H, W, 3), or None where its input is no image."""
    from core.data.images import SUFFIXES, read_image

    if sample.inputs and sample.inputs[0].suffix.lower() in SUFFIXES:
        pixels = read_image(sample.inputs[0], card.channels, page=sample.extra.get("page", 0))
    else:
        pixels = np.asarray(task.load(sample, card).inputs)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
            return None
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """Return the pixels in which two pictures differ, bool (H, W); None for unequal sizes."""
    if before.shape != after.shape:
        return None
    return np.any(before != after, axis=-1)


def tint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a pale grey version of a picture, uint8 (H, W, 3), red where the mask holds."""
    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1) * 0.6 + 90
    return np.rint(np.where(mask[..., None], RED, grey)).astype(np.uint8)


def picture(title: str, image: np.ndarray | None, caption: str = "") -> Picture:
    """Return a picture encoded for the page, made smaller where it is large."""
    from PIL import Image

    if image is None:
        return Picture(title)
    shown = Image.fromarray(np.ascontiguousarray(image))
    shown.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if max(shown.size) <= LOSSLESS:
        kind = "png"
        shown.save(stream, "PNG", optimize=True)
    else:
        kind = "jpeg"
        shown.save(stream, "JPEG", quality=88, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(title, f"data:image/{kind};base64,{encoded}", *shown.size, caption)


def drawable(files: Mapping[str, object]) -> tuple[dict[str, Engine], list[str]]:
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
