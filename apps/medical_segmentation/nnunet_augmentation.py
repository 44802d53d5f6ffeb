"""nnU-Net's default augmentation, of images and of windows of volumes.

What LightM-UNet's published training uses: F. Isensee et al., Nature Methods 2021; the order,
probabilities and ranges of its version 2 (github.com/MIC-DKFZ/nnUNet, in the copy of
github.com/MrBlankness/LightM-UNet), the transforms as github.com/MIC-DKFZ/batchgenerators defines
them. One after the other, with these chances:

| | | |
|---|---:|---|
| rotation | 0.2 | of images by any angle, or by 15 degrees where a side is over 1.5 times |
| | | the other; of windows by up to 30 degrees about each axis |
| scaling | 0.2 | by 0.7 to 1.4, together with the rotation in one resampling |
| Gaussian noise | 0.1 | of a standard deviation of 0 to 0.1 |
| Gaussian blur | 0.2 | of half of the channels, sigma 0.5 to 1 |
| brightness | 0.15 | times 0.75 to 1.25 |
| contrast | 0.15 | times 0.75 to 1.25 about the mean; the range stays |
| low resolution | 0.25 | of half of the channels: 0.5 to 1 of the sides, and back |
| gamma of the negative | 0.1 | 0.7 to 1.5; mean and standard deviation stay |
| gamma | 0.3 | likewise |
| mirroring | 0.5 | of each axis |

Windows of fewer slices than a third of their longest side are turned and scaled within their slices
only, by any angle, and keep their slices where the resolution is lowered.

nnU-Net changes intensities after it has brought them to mean 0 and standard deviation 1. Here they
are grey levels before and after, and in between they are brought there by `Greys`: an image by the
mean and deviation of each of its channels, which is nnU-Net's own rule, a part of a volume by those
of the whole volume (nnU-Net's rule for MR; for CT it takes the foreground of all the training
volumes). So brightness is a factor about the mean, a noise of 0.1 is a tenth of the deviation in
grey levels, and what a rotation brings in from outside an image is the mean. Results are rounded
and held within 0 to 255. Where batchgenerators speaks of the noise's variance it uses the number as
the standard deviation, and so does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from core.task import Example

ROTATED, SCALED = 0.2, 0.2
IMAGE, LONG_IMAGE, WINDOW = 180.0, 15.0, 30.0  # degrees that are turned at most
LONG, FLAT = 1.5, 3.0  # longest side over the shortest, and over the number of slices
SCALES = (0.7, 1.4)
NOISY, NOISES = 0.1, (0.0, 0.1)
BLURRED, SIGMAS = 0.2, (0.5, 1.0)
BRIGHTER, CONTRASTED, FACTORS = 0.15, 0.15, (0.75, 1.25)
COARSE, ZOOMS = 0.25, (0.5, 1.0)
CHANNELS = 0.5  # of those that are blurred or made coarse
GAMMA_OF_NEGATIVE, GAMMA, GAMMAS = 0.1, 0.3, (0.7, 1.5)
MIRRORED = 0.5

_REACH = 6  # voxels beyond which a spline does not see
_PADDING = 12  # repeated edges, after which a spline does not see the end


class Greys(NamedTuple):
    """By which grey levels are brought to mean 0 and deviation 1.

    Attributes:
        mean: float32 (C,), or (1,) for all channels.
        deviation: float32, likewise.
    """

    mean: np.ndarray
    deviation: np.ndarray


def augmented(example: Example, rng: np.random.Generator, greys: Greys | None = None) -> Example:
    """Return an image and its mask as a training sees them.

    Args:
        example: uint8 (H, W, C), and uint8 (H, W) class indices or None.
        rng: The source of all randomness.
        greys: None takes the image's own.
    """
    greys = greys or greys_of(example.inputs)
    size = example.inputs.shape[:-1]
    matrix = transformation(size, rng)
    if matrix is not None:
        origin = (0,) * len(size)
        example = resampled(example, matrix, origin, size, outside=greys.mean)
    return mirrored(recoloured(example, rng, greys), rng)


def greys_of(values: np.ndarray) -> Greys:
    """Return mean and deviation of each channel of an image or volume, uint8 (*sides, C)."""
    levels = np.arange(256)
    planes = values if values.ndim > 3 else values[None]  # one after the other: indices are large
    counts = np.sum([_counts(plane) for plane in planes], axis=0)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    variance = shares @ levels**2 - mean**2
    return Greys(mean.astype(np.float32), np.sqrt(np.maximum(variance, 0)).astype(np.float32))


def _counts(plane: np.ndarray) -> np.ndarray:
    """Return how often each grey level is in each channel, int64 (C, 256)."""
    channels = plane.reshape(-1, plane.shape[-1]).T
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])


# --- space ----------------------------------------------------------------------------------------


def transformation(size: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
    """Draw a rotation and a scale for an image or a window of a size; None where it is left as is.

    Returns:
        float64 (n, n): for a place of the result, seen from its middle, the place of the source,
        seen from where the middle comes to lie. A scale above 1 makes things smaller.
    """
    rotate, scale = rng.random(2) < (ROTATED, SCALED)
    matrix = np.eye(len(size))
    within = matrix[1:, 1:] if is_flat(size) else matrix
    if rotate:
        within[...] = rotation(np.radians(rng.uniform(-1, 1, 3) * _degrees(size)), len(within))
    if scale:
        within *= _either(rng, SCALES)
    return matrix if rotate or scale else None


def is_flat(size: Sequence[int]) -> bool:
    """Return whether a window has so few slices that nnU-Net takes them for images."""
    return len(size) == 3 and max(size) > FLAT * size[0]


def rotation(angles: np.ndarray, axes: int) -> np.ndarray:
    """Return the matrix that turns places, columns (d, h, w) or (h, w).

    Args:
        angles: Radians (3,) about d, h and w; of an image only the first is used.
        axes: 2 or 3.
    """
    (c, cosine_h, cosine_w), (s, sine_h, sine_w) = np.cos(angles), np.sin(angles)
    if axes == 2:
        return np.array([[c, s], [-s, c]])
    about_d = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    about_h = np.array([[cosine_h, 0, -sine_h], [0, 1, 0], [sine_h, 0, cosine_h]])
    about_w = np.array([[cosine_w, sine_w, 0], [-sine_w, cosine_w, 0], [0, 0, 1]])
    return about_w @ about_h @ about_d


def resampled(
    example: Example,
    matrix: np.ndarray,
    start: Sequence[int],
    size: Sequence[int],
    *,
    outside: np.ndarray | float,
) -> Example:
    """Return a window of an image or a volume, turned and scaled about its middle.

    Values are interpolated by cubic splines; a place gets the class that has at least half the
    weights of a linear interpolation around it, as in nnU-Net, or background where none has.

    Args:
        example: uint8 (H, W, C) or (D, H, W, C), and uint8 class indices (H, W) or (D, H, W).
        matrix: See `transformation`.
        start: Where the window begins in the example; may lie outside it.
        size: Its sides.
        outside: Grey level of what lies beyond the example, one number or (C,).

    Returns:
        float32 (*size, C), not rounded, and uint8 (*size).
    """
    from scipy.ndimage import spline_filter

    from apps.medical_segmentation.affine_kernel import cubic, majority

    ends = np.array(size) - 1
    shift = np.array(start) + ends / 2 - matrix @ (ends / 2)
    corners = np.stack(np.meshgrid(*((0, end) for end in ends)), axis=-1) @ matrix.T + shift
    corners = corners.reshape(-1, len(ends))
    sides = example.inputs.shape[:-1]
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - _REACH, 0, np.array(sides) - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + _REACH + 1, low + 1, sides)
    part = tuple(map(slice, low, high))
    matrix, shift, full = _in_space(matrix, shift - low, size)

    levels = np.moveaxis(example.inputs[part], -1, 0)
    splines = [
        _with_depth(np.pad(spline_filter(level, 3, np.float32, mode="mirror"), 2, mode="reflect"))
        for level in levels
    ]
    values = np.empty((len(levels), *full), np.float32)
    beyond = np.broadcast_to(np.asarray(outside, np.float32), len(levels))
    cubic(np.stack(splines), matrix, shift, np.ascontiguousarray(beyond), values)
    values = values.reshape(len(levels), *size)
    if example.target is None:
        return Example(np.moveaxis(values, 0, -1))
    labels = np.ascontiguousarray(example.target[part])
    classes = np.empty(full, np.uint8)
    majority(_with_depth(labels), matrix, shift, classes)
    return Example(np.moveaxis(values, 0, -1), classes.reshape(tuple(size)))


def mirrored(example: Example, rng: np.random.Generator) -> Example:
    """Return an example mirrored along each of its axes in half of all cases."""
    image, labels = example.inputs, example.target
    flips = rng.random(image.ndim - 1) < MIRRORED
    way = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    if labels is not None:
        labels = np.ascontiguousarray(labels[way])
    return Example(np.ascontiguousarray(image[way]), labels)


def _degrees(size: Sequence[int]) -> float:
    if len(size) == 2:
        return LONG_IMAGE if max(size) > LONG * min(size) else IMAGE
    return IMAGE if is_flat(size) else WINDOW


def _with_depth(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 3 else values[None]


def _in_space(matrix: np.ndarray, shift: np.ndarray, size: Sequence[int]):
    """Return matrix, shift and sides in three axes: an image is a volume of one slice."""
    if len(size) == 3:
        return matrix, shift, tuple(size)
    whole = np.eye(3)
    whole[1:, 1:] = matrix
    return whole, np.concatenate(([0.0], shift)), (1, *size)


# --- intensities ----------------------------------------------------------------------------------


def recoloured(example: Example, rng: np.random.Generator, greys: Greys) -> Example:
    """Return an example in other grey levels, its labels as they are.

    Args:
        example: (*sides, C) grey levels, uint8 or not yet rounded.
        rng: The source of all randomness.
        greys: Mean and deviation.

    Returns:
        uint8 (*sides, C).
    """
    each = (-1, *(1,) * (example.inputs.ndim - 1))
    mean, deviation = greys.mean.reshape(each), np.maximum(greys.deviation, 1e-8).reshape(each)
    values = np.moveaxis(example.inputs, -1, 0).astype(np.float32, order="C")
    values -= mean
    values /= deviation
    if rng.random() < NOISY:
        values += _noise(rng, values.shape)
    if rng.random() < BLURRED:
        _change_some(values, rng, blurred, SIGMAS)
    if rng.random() < BRIGHTER:
        for channel in values:
            channel *= rng.uniform(*FACTORS)
    if rng.random() < CONTRASTED:
        for channel in values:
            channel[...] = contrasted(channel, _either(rng, FACTORS))
    if rng.random() < COARSE:
        _change_some(values, rng, coarse, ZOOMS)
    if rng.random() < GAMMA_OF_NEGATIVE:
        for channel in values:
            channel[...] = -bent(-channel, _either(rng, GAMMAS))
    if rng.random() < GAMMA:
        for channel in values:
            channel[...] = bent(channel, _either(rng, GAMMAS))
    values *= deviation
    values += mean
    levels = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
    return Example(np.moveaxis(levels, 0, -1), example.target)


def blurred(channel: np.ndarray, sigma: float) -> np.ndarray:
    """Return a channel (*sides) after a Gaussian filter."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(channel, sigma)


def contrasted(channel: np.ndarray, factor: float) -> np.ndarray:
    """Return a channel whose distances to its mean are others, held within its range."""
    mean = channel.mean()
    return np.clip((channel - mean) * factor + mean, channel.min(), channel.max())


def coarse(channel: np.ndarray, zoom: float) -> np.ndarray:
    """Return a channel (*sides) made smaller by nearest values, and as large as before by splines.

    A flat window keeps its slices.
    """
    sides = [max(1, round(side * zoom)) for side in channel.shape]
    if is_flat(channel.shape):
        sides[0] = channel.shape[0]
    nearest = [
        ((np.arange(new) + 0.5) * (side / new)).astype(np.intp)
        for side, new in zip(channel.shape, sides, strict=True)
    ]
    small = channel[np.ix_(*nearest)]
    large = small.astype(np.float64)  # so that how BLAS shares out a product is rounded away
    for axis, (side, new) in enumerate(zip(channel.shape, sides, strict=True)):
        if side != new:
            large = np.moveaxis(np.tensordot(_enlarging(new, side), large, (1, axis)), 0, axis)
    return np.clip(large.astype(np.float32), small.min(), small.max())


def bent(channel: np.ndarray, gamma: float) -> np.ndarray:
    """Return a channel whose range is raised to a power, with its mean and deviation."""
    mean, deviation, least = channel.mean(), channel.std(), channel.min()
    span = channel.max() - least
    changed = ((channel - least) / (span + 1e-7)) ** np.float32(gamma) * span
    changed -= changed.mean()
    return changed / (changed.std() + 1e-8) * deviation + mean


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    deviation = np.float32(rng.uniform(*NOISES))
    return deviation * rng.standard_normal(shape, dtype=np.float32)


def _change_some(values, rng, change, between) -> None:
    """Change half of the channels, each by a number of its own."""
    for channel in values:
        if rng.random() < CHANNELS:
            channel[...] = change(channel, rng.uniform(*between))


def _either(rng: np.random.Generator, between: tuple[float, float]) -> float:
    """Return a factor that is below 1 as often as above."""
    low, high = between
    return rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)


@lru_cache(maxsize=8)  # the axes of an image are often of one length
def _enlarging(small: int, large: int) -> np.ndarray:
    """Return the matrix, float64 (large, small), of a cubic spline along an axis, edges repeated.

    What `scipy.ndimage.zoom(order=3, mode="nearest", grid_mode=True)` does along one axis; a spline
    in several axes is one after the other.
    """
    from scipy.ndimage import spline_filter1d

    basis = np.pad(np.eye(small), ((_PADDING, _PADDING), (0, 0)), mode="edge")
    basis = spline_filter1d(basis, 3, axis=0, mode="mirror")
    at = (np.arange(large) + 0.5) * (small / large) - 0.5 + _PADDING
    first = np.floor(at).astype(np.intp)
    t = at - first
    weights = ((1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3)
    taps = np.zeros((large, len(basis)))
    for tap, weight in enumerate(weights):
        taps[np.arange(large), first - 1 + tap] = weight / 6
    return taps @ basis
