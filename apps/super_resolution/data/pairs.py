"""From a sample to its two pictures: the large one cropped to the scale, and the small one.

A sample names its large picture; `extra["low"]` holds its published small pictures by scale (0: of
whatever scale their size tells). Where there is none of the wanted scale, the small picture is made
from the large one as the published ones were (`apps.super_resolution.imresize.low_resolution`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.data.images import read_image, read_size
from core.data.index import Index, Sample
from core.errors import UserError

TOLERANCE = 1  # pixels by which a published small picture may be larger than the division says


def picture(sample: Sample) -> np.ndarray:
    """Return a sample's own picture, uint8 (H, W, 3); grey ones have three equal channels."""
    return read_image(sample.inputs[0])


def small_file(sample: Sample, scale: int) -> Path | None:
    """Return the published small picture of a scale, or None where it has to be made."""
    low = sample.extra.get("low", {})
    return low.get(scale) or low.get(0)


def pair(sample: Sample, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (small, large), uint8 (H, W, 3) and (H·scale, W·scale, 3).

    Raises:
        UserError: When the sizes of the two do not fit the scale, or there is no small picture
            and none can be made (scale 1), or the picture is smaller than the scale.
    """
    from apps.super_resolution.imresize import low_resolution, modcrop

    path = sample.targets[0]
    if path.suffix == ".npy":
        from apps.super_resolution.data.prepared import open_pair

        return open_pair(sample, scale)
    large, file = read_image(path), small_file(sample, scale)
    if file is None:
        if scale == 1:
            raise UserError(
                f"{path}: has no counterpart to restore it from; a network of scale 1 needs pairs "
                "(such as RealSR's)."
            )
        if min(large.shape[:2]) < scale:
            raise UserError(
                f"{path}: has {large.shape[1]}x{large.shape[0]} pixels, less than the scale "
                f"{scale}; leave it out."
            )
        return low_resolution(large, scale), modcrop(large, scale)
    small = read_image(file)
    _check(file, small.shape[:2], path, large.shape[:2], scale)
    height, width = (min(n // scale, m) for n, m in zip(large.shape, small.shape[:2], strict=False))
    return small[:height, :width], large[: height * scale, : width * scale]


def check(index: Index, scale: int) -> list[str]:
    """Read every file once and return what is wrong, a sentence each."""
    wrong = []
    for sample in index.samples:
        try:
            if sample.targets:
                pair(sample, scale)
            else:
                picture(sample)
        except UserError as error:
            wrong.append(str(error))
    return wrong


def check_sizes(sample: Sample, scale: int) -> None:
    """Raise a `UserError` when a pair does not fit, without decoding the pictures."""
    file = small_file(sample, scale)
    if file is not None:
        path = sample.targets[0]
        _check(file, read_size(file), path, read_size(path), scale)


def _check(small: Path, low: tuple[int, int], large: Path, high: tuple[int, int], scale: int):
    fits = all(0 <= m - n // scale <= TOLERANCE for m, n in zip(low, high, strict=True))
    if not fits or min(low) < 1:
        raise UserError(
            f"{small}: has {low[1]}x{low[0]} pixels, which is not 1/{scale} of the "
            f"{high[1]}x{high[0]} of {large.name}; take the pair out or choose a network of "
            "another scale."
        )
