"""From a sample to its two pictures: the large one cropped to the scale, and the small one.

A sample names its large picture; `extra["low"]` holds its published small pictures by scale (0: of
whatever scale their size tells). Where there is none of the wanted scale, the small picture is made
from the large one as the published ones were (`apps.super_resolution.imresize.low_resolution`),
unless `extra["made"]` says that they were not made so.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.data.check import Examined, check_samples, digest
from core.data.images import read_image
from core.data.index import Index, Sample
from core.data.lookalikes import look
from core.errors import UserError

TOLERANCE = 1  # pixels by which a published small picture may be larger than the division says
# dB between a small picture and the large one reduced, below which they show different things: two
# photographs have about 10, the hardest of the published degradations 18.
SAME_PICTURE = 14.0


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
            and none can be made (scale 1, degraded data), or the picture is smaller than the scale.
    """
    if _prepared(sample):
        from apps.super_resolution.data.prepared import open_pair

        return open_pair(sample, scale)
    return _paired(sample, scale, read_image(sample.targets[0]))


def check(index: Index, scale: int) -> list[str]:
    """Read every file once and return what is wrong, a sentence each.

    Found are files that cannot be read, sizes that do not fit, small pictures that show something
    else than their large one, and large pictures that lie in two splits, pixel for pixel.

    Args:
        index: Of this app.
        scale: Of small pictures whose scale no name tells, and of those that have to be made;
            published ones are read at every scale there is.
    """
    alike: dict[tuple, list[Sample]] = {}  # versions of a small picture share their large one
    for sample in index.samples:
        file = (sample.targets or sample.inputs)[0]
        alike.setdefault((file, sample.extra.get("row")), []).append(sample)
    versions = {samples[0].id: samples for samples in alike.values()}
    return check_samples(
        [replace(samples[0], group="") for samples in versions.values()],  # each is a group
        lambda sample: _examined(versions[sample.id], scale),
        workers=os.cpu_count(),
    )


def _paired(sample: Sample, scale: int, large: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (small, large) as `pair` does, the whole large picture given."""
    from apps.super_resolution.imresize import low_resolution, modcrop

    path, file = sample.targets[0], small_file(sample, scale)
    if file is None:
        if scale == 1:
            raise UserError(
                f"{path}: has no counterpart to restore it from; a network of scale 1 needs pairs "
                "(such as RealSR's)."
            )
        if not sample.extra.get("made", True):
            known = ", ".join(f"x{one}" for one in sorted(sample.extra["low"]))
            raise UserError(
                f"{path}: has degraded small pictures of {known}, and none of x{scale} can be "
                "made; choose a network of that scale, or --format div2k for bicubic ones."
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


def _examined(samples: list[Sample], scale: int) -> Examined:
    """Return what is wrong with the samples of one large picture, and what that one shows."""
    first, wrong = samples[0], []
    if not first.targets:
        picture(first)
        return Examined()
    large = (
        pair(first, min(first.extra["low"]))[1]
        if _prepared(first)
        else read_image(first.targets[0])
    )
    for sample in samples:
        for one in _scales(sample, scale):
            try:
                wrong += _differing(sample, one, large)
            except UserError as error:
                wrong.append(str(error))
    return Examined(wrong, digest(large), look(np.asarray(large)))


def _scales(sample: Sample, scale: int) -> list[int]:
    """Return the scales a sample has small pictures of, and `scale` where those can be made."""
    low = sample.extra.get("low", {})
    fixed = 0 in low or _prepared(sample) or not sample.extra.get("made", True)
    return sorted({one or scale for one in low} | (set() if fixed else {scale}))


def _differing(sample: Sample, scale: int, large: np.ndarray) -> list[str]:
    """Return a sentence when the small picture of a scale shows something else, or none."""
    from apps.super_resolution.imresize import low_resolution

    small, large = pair(sample, scale) if _prepared(sample) else _paired(sample, scale, large)
    file = small_file(sample, scale)
    if file is None:
        return []
    difference = np.subtract(small, low_resolution(np.asarray(large), scale), dtype=np.float32)
    error = float(np.vdot(difference, difference)) / difference.size
    if error <= 255**2 / 10 ** (SAME_PICTURE / 10):
        return []
    return [
        f"{file}: does not show what {sample.targets[0].name} does (PSNR "
        f"{10 * math.log10(255**2 / error):.1f} dB to its reduction); pair them again."
    ]


def _prepared(sample: Sample) -> bool:
    return sample.targets[0].suffix == ".npy"


def _check(small: Path, low: tuple[int, int], large: Path, high: tuple[int, int], scale: int):
    fits = all(0 <= m - n // scale <= TOLERANCE for m, n in zip(low, high, strict=True))
    if not fits or min(low) < 1:
        raise UserError(
            f"{small}: has {low[1]}x{low[0]} pixels, which is not 1/{scale} of the "
            f"{high[1]}x{high[0]} of {large.name}; take the pair out or choose a network of "
            "another scale."
        )
