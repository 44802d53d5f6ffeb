"""What the values of a mask file mean, and the check of a data set's every file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.data.check import Examined, check_samples, digest
from core.data.images import read_image, read_mask, read_size
from core.data.index import Index, Sample
from core.data.lookalikes import look
from core.errors import UserError

_SHOWN = 6  # values listed in an error


def load_mask(sample: Sample, classes: int) -> np.ndarray:
    """Return the class index of every pixel.

    Args:
        sample: Its targets are the mask files; `extra["page"]` chooses a page of a stack.
        classes: 1 for a binary mask, which is binarised by MK-UNet's rule: where the largest value
            of the file is beyond 127, foreground is > 20 (so noise of JPEG masks and grey edges
            are settled), otherwise >= 1; 16-bit instance labels: > 0. Several masks are merged:
            foreground is what any of them marks. 2 or more: the values are class indices, 0 is
            background; of several masks the highest index counts.

    Returns:
        uint8 (H, W), 0..max(classes - 1, 1).

    Raises:
        UserError: When a mask cannot be read, differs in size from the image, has values that are
            not class indices, or the sample has no mask.
    """
    if not sample.targets:
        raise UserError(f"Sample '{sample.id}' has no mask; evaluate on data with masks.")
    if not 1 <= classes <= 256:
        raise UserError(f"Masks of {classes} classes cannot be read; choose 1 to 256 --classes.")
    page = sample.extra.get("page", 0)
    size = read_size(sample.inputs[0])
    merged = np.zeros(size, np.uint8)
    for path in sample.targets:
        raw = read_mask(path, page=page)
        if raw.shape != size:
            raise UserError(
                f"Mask '{path}' is {_size(raw.shape)} (height x width) but its image "
                f"'{sample.inputs[0].name}' {_size(size)}; export them at the same size."
            )
        lossy = path.suffix.lower() in (".jpg", ".jpeg")
        binary = classes == 1
        values = binarise(raw, lossy=lossy) if binary else class_indices(path, raw, classes)
        np.maximum(merged, values, out=merged)
    return merged


def binarise(raw: np.ndarray, *, lossy: bool = False) -> np.ndarray:
    """Return 0 and 1 of a raw mask: uint8 or uint16 (H, W) to uint8 (H, W).

    A lossless mask is foreground above 20 (MK-UNet's rule), a JPEG above 127: its compression
    leaves specks around every border, as in Kvasir-SEG.

    More than 127 instance labels in an 8-bit file cannot be told from a noisy 0/255 mask: such
    masks belong in 16-bit files.
    """
    if raw.dtype == np.uint16:
        return (raw > 0).astype(np.uint8)
    if raw.max() <= 127:
        return (raw >= 1).astype(np.uint8)
    return (raw > (127 if lossy else 20)).astype(np.uint8)


def class_indices(path: Path, raw: np.ndarray, classes: int) -> np.ndarray:
    """Return uint8 class indices of numbers of any type, or refuse others, naming the file."""
    whole = raw.dtype.kind != "f" or (raw == np.rint(raw)).all()
    if whole and raw.min() >= 0 and raw.max() < classes:
        return raw.astype(np.uint8)
    values = np.unique(raw).tolist()
    shown = ", ".join(f"{value:g}" for value in values[:_SHOWN])
    shown += ", …" if len(values) > _SHOWN else ""
    raise UserError(
        f"Mask '{path}' has values {{{shown}}}; expected class indices 0..{classes - 1}. Pass "
        "--classes 1 if it is a binary mask, or store class indices."
    )


def check(index: Index, classes: int) -> list[str]:
    """Decode every file of an index and return what is wrong with it, a sentence each.

    Found are files that cannot be decoded, masks of another size than their image, values that are
    not class indices, images that are in two splits pixel by pixel, and those that only look the
    same, in two splits or of two patients.
    """

    def examine(sample: Sample) -> Examined:
        image = read_image(sample.inputs[0], page=sample.extra.get("page", 0))
        if sample.targets:
            load_mask(sample, classes)
        return Examined([], digest(image), look(image))

    return check_samples(index.samples, examine)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
