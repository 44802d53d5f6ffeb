"""LIME for pictures: which regions speak for a class, by a linear model of the network around one.

M. Ribeiro, S. Singh, C. Guestrin, "Why Should I Trust You?", KDD 2016, arXiv:1602.04938, with the
definitions of lime 0.2.0.1. The network is asked only for probabilities, so .tflite files are
explained like Keras models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError, one_of
from core.explain.classes import BATCH, Predict, check_class, checked_picture, probabilities_of
from core.explain.segmentation import Segmentation, named_segmentation

SAMPLES, LABELS, FEATURES = 1000, 5, 5
KERNEL_WIDTH, ALPHA = 0.25, 1.0
_NONE = 1e-20  # variance of probabilities that are all the same


@dataclass(frozen=True)
class Surrogate:
    """A linear model of the probabilities, one row for each class.

    Attributes:
        coefficients: (classes, regions) how much a region adds to the probability.
        intercepts: (classes,).
        scores: (classes,) weighted R²: how well the linear model fits, 1 is exactly.
        predictions: (classes,) what it says about the whole picture.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    scores: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class Lime:
    """What speaks for and against classes of one picture.

    Attributes:
        segments: int (H, W) the regions' numbers, 0 to n - 1.
        classes: (labels,) classes explained, the most probable one first.
        probabilities: (classes,) what the network says about the whole picture.
        surrogate: The linear model; its rows are those of `classes`.
    """

    segments: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    surrogate: Surrogate

    def row(self, label: int | None = None) -> np.ndarray:
        """Return the regions' coefficients (n,) for a class; None is the first one.

        Raises:
            UserError: When the class was not explained.
        """
        if label is None:
            return self.surrogate.coefficients[0]
        known = [str(index) for index in self.classes]
        return self.surrogate.coefficients[known.index(one_of(str(label), known, "The class"))]

    def map(self, label: int | None = None) -> np.ndarray:
        """Return every pixel's coefficient, float32 (H, W), negative where it speaks against."""
        return self.row(label)[self.segments].astype(np.float32)

    def ranking(self, label: int | None = None) -> np.ndarray:
        """Return the regions' numbers, those of the largest coefficients (of any sign) first."""
        return np.argsort(-np.abs(self.row(label)), kind="stable")

    def mask(self, label: int | None = None, features: int = FEATURES) -> np.ndarray:
        """Return where the regions are that speak most for a class, bool (H, W).

        Args:
            label: The class; None is the first one.
            features: How many regions, fewer where fewer speak for it.
        """
        coefficients = self.row(label)
        ranked = self.ranking(label)
        return np.isin(self.segments, ranked[coefficients[ranked] > 0][:features])


def lime(
    image: np.ndarray,
    predict: Predict,
    *,
    classes: Sequence[int] | None = None,
    segmentation: str | Segmentation | np.ndarray = "quickshift",
    samples: int = SAMPLES,
    labels: int = LABELS,
    fill: float | Sequence[float] | None = None,
    seed: int = 0,
    batch: int = BATCH,
    advance: Callable[[int], None] | None = None,
) -> Lime:
    """Explain a picture by what the network says of versions of it that lack regions.

    Args:
        image: (H, W, C) stored values at the network's size.
        predict: The network, such as of `core.explain.classes.class_probabilities`.
        classes: Which classes; None takes the `labels` most probable ones.
        segmentation: One of `core.explain.REGIONS`, a function of the image, or int (H, W) numbers.
        samples: Versions of the picture, the whole one included.
        labels: How many classes, where they are not chosen.
        fill: Colour of what is taken away; None takes each region's mean.
        seed: Of the choice of regions.
        batch: Pictures a call of `predict`.
        advance: Called with the number of versions done, for a progress bar.

    Raises:
        UserError: When there is no such class or segmentation, or it finds a single region.
    """
    picture = checked_picture(image)
    segments = _segments(image, segmentation)
    count = int(segments.max()) + 1
    if count < 2:
        raise UserError(
            f"the {segments.shape[1]}x{segments.shape[0]} picture is a single region, of which "
            "nothing can be taken away; cut it into squares instead (--regions squares)."
        )
    rows = perturbations(count, samples, seed)
    blank = filled(picture, segments, fill)
    found = probabilities_of(
        predict,
        lambda part: versions(picture, blank, segments, rows[part]),
        len(rows),
        batch=batch,
        advance=advance,
    )
    if classes is None:
        chosen = np.argsort(-found[0], kind="stable")[:labels]
    else:
        chosen = np.array([check_class(index, found.shape[1]) for index in classes])
    return Lime(segments, chosen, found[0], fitted(rows, found[:, chosen]))


def perturbations(count: int, samples: int, seed: int = 0) -> np.ndarray:
    """Return which regions stay, bool (samples, count): a fair coin each, all in the first row."""
    if samples < 1:
        raise ValueError(f"`samples` must be a positive integer. Received: samples={samples}")
    rows = np.random.default_rng(seed).integers(0, 2, (samples, count)).astype(bool)
    rows[0] = True
    return rows


def filled(
    image: np.ndarray, segments: np.ndarray, fill: float | Sequence[float] | None = None
) -> np.ndarray:
    """Return the picture (H, W, C) with every region in its mean colour, or in `fill`."""
    if fill is not None:
        return np.broadcast_to(np.asarray(fill, np.float32), image.shape)
    numbers, sizes = segments.ravel(), np.bincount(segments.ravel())
    means = np.stack(
        [np.bincount(numbers, channel.ravel()) / sizes for channel in np.moveaxis(image, -1, 0)],
        axis=-1,
    )
    return means[segments].astype(np.float32)


def versions(
    image: np.ndarray, blank: np.ndarray, segments: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return pictures (N, H, W, C): regions that are False in a row are taken from `blank`."""
    return np.where(rows[:, segments][..., None], image, blank)


def distances(rows: np.ndarray) -> np.ndarray:
    """Return the cosine distance of every row to that of all regions; 1 where none is left."""
    return 1.0 - np.sqrt(np.mean(rows, axis=1, dtype=np.float64))


def kernel_weights(rows: np.ndarray, width: float = KERNEL_WIDTH) -> np.ndarray:
    """Return how much every version counts: sqrt(exp(-d² / width²))."""
    return np.sqrt(np.exp(-(distances(rows) ** 2) / width**2))


def fitted(rows: np.ndarray, values: np.ndarray, *, alpha: float = ALPHA) -> Surrogate:
    """Fit weighted ridge regressions with intercept; all classes share one Cholesky factor.

    Args:
        rows: (samples, regions) which regions stay.
        values: (samples, classes) probabilities.
        alpha: Of the ridge, the intercept is free.
    """
    from scipy.linalg import cho_factor, cho_solve

    rows, values = np.asarray(rows, np.float64), np.asarray(values, np.float64)
    weights = kernel_weights(rows)[:, None]
    total = weights.sum()
    centre, mean = (weights * rows).sum(axis=0) / total, (weights * values).sum(axis=0) / total
    left, right = rows - centre, values - mean
    normal = left.T @ (weights * left) + alpha * np.eye(rows.shape[1])
    solved = cho_solve(cho_factor(normal), left.T @ (weights * right))
    intercepts = mean - centre @ solved
    missed = (weights * (right - left @ solved) ** 2).sum(axis=0)
    spread = (weights * right**2).sum(axis=0)
    scores = 1.0 - np.divide(
        missed, spread, out=np.zeros_like(missed), where=spread > _NONE * total
    )
    return Surrogate(solved.T, intercepts, scores, intercepts + solved.sum(axis=0))


def _segments(image: np.ndarray, segmentation: str | Segmentation | np.ndarray) -> np.ndarray:
    """Return regions numbered without gaps."""
    if isinstance(segmentation, str):
        segmentation = named_segmentation(segmentation)
    found = segmentation(image) if callable(segmentation) else np.asarray(segmentation)
    if found.shape != image.shape[:2]:
        raise ValueError(
            f"`segmentation` must number the pixels {image.shape[:2]}. Received: {found.shape}"
        )
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)
