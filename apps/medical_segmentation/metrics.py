"""Metrics of segmentation: overlap, surface distances, and how they are averaged.

The formulas are common; what published numbers differ in is the treatment of empty masks. Each
convention is therefore named in the call (`empty=`), and is one of

"smooth"  MK-UNet's test script: Dice and IoU carry 1e-6 in numerator and denominator, the ratios
          1e-8 in the denominator only. Both masks empty: Dice = IoU = 1, but precision = recall
          = 0. One mask empty: Dice and IoU about 1e-9, not exactly 0.
"one"     Barlow-Swin: 0/0 is 1.0.
"nan"     nnU-Net: 0/0 is NaN, so that an average can leave the image out.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from apps.medical_segmentation.protocols import protocol_named
from core.errors import UserError, near_miss

EMPTY = ("smooth", "one", "nan")
OVERLAPS = ("dice", "iou", "precision", "recall", "specificity")
POOLINGS = ("pooled", "max")


class Counts(NamedTuple):
    """Pixels (or voxels) by outcome: true/false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


def overlap(prediction: np.ndarray, truth: np.ndarray) -> Counts:
    """Count the outcomes of two boolean masks of equal shape, of any rank."""
    _check_masks(prediction, truth)
    tp = int(np.count_nonzero(prediction & truth))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def dice(counts: Counts, *, empty: str = "smooth") -> float:
    """Return 2 TP / (2 TP + FP + FN) in [0, 1]; 0/0, both masks empty, follows `empty`."""
    return _overlap_ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, empty)


def iou(counts: Counts, *, empty: str = "smooth") -> float:
    """Return TP / (TP + FP + FN) in [0, 1]; 0/0, both masks empty, follows `empty`."""
    return _overlap_ratio(counts.tp, counts.tp + counts.fp + counts.fn, empty)


def precision(counts: Counts, *, empty: str = "smooth") -> float:
    """Return TP / (TP + FP) in [0, 1]; 0/0, nothing predicted, follows `empty`."""
    return _rate(counts.tp, counts.tp + counts.fp, empty)


def recall(counts: Counts, *, empty: str = "smooth") -> float:
    """Return TP / (TP + FN), also called sensitivity; 0/0, nothing to find, follows `empty`."""
    return _rate(counts.tp, counts.tp + counts.fn, empty)


def specificity(counts: Counts, *, empty: str = "smooth") -> float:
    """Return TN / (TN + FP) in [0, 1]; 0/0, the truth fills the image, follows `empty`."""
    return _rate(counts.tn, counts.tn + counts.fp, empty)


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each surface element of one mask to the nearest of the other.

    The surface of a mask are its elements with a background neighbour among the four (2-D) or six
    (3-D) face neighbours; beyond the image's edge is background. Distances are Euclidean, between
    centres, and exact.

    Args:
        prediction: bool mask of any rank, not empty.
        truth: bool mask of the same shape, not empty.
        spacing: Size of an element along each axis, in millimetres for instance; None means 1.

    Returns:
        Two float64 vectors, in the unit of `spacing`: from the prediction's surface to the
        truth's, and from the truth's to the prediction's.

    Raises:
        ValueError: When a mask is empty, so that no distance exists.
    """
    _check_masks(prediction, truth)
    if not (prediction.any() and truth.any()):
        raise ValueError("An empty mask has no surface. Received: a mask without a True element")
    sides = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, float)
    if sides.shape != (truth.ndim,) or not (np.isfinite(sides) & (sides > 0)).all():
        raise ValueError(
            f"`spacing` must hold {truth.ndim} positive numbers. Received: spacing={spacing}"
        )
    # Outside of the masks' common bounding box all is background, as it is outside of the image:
    # leaving the rest away changes nothing.
    box = _bounding_box(prediction | truth)
    surfaces = _surface(prediction[box]), _surface(truth[box])
    elements = sum(np.count_nonzero(surface) for surface in surfaces)
    # Both ways are exact. A tree over the surface is quick while surfaces are thin lines; noise
    # (an untrained network's) is nearly all surface, where the distance transform is quicker.
    nearest = _distances_by_tree if elements * 8 < surfaces[0].size else _distances_by_transform
    return nearest(*surfaces, sides), nearest(*surfaces[::-1], sides)


def hd95(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    *,
    empty: float = 100.0,
    pooling: str = "pooled",
) -> float:
    """Return the 95 % Hausdorff distance of two boolean masks (percentile with interpolation).

    Args:
        prediction: bool mask.
        truth: bool mask of the same shape.
        spacing: As in `surface_distances`; None gives pixels.
        empty: Returned when either mask, or both, are empty. MK-UNet: 100.
        pooling: "pooled" takes the percentile of both directions' distances in one list (medpy,
            MK-UNet); "max" takes the larger of the two directions' percentiles (Metrics Reloaded,
            DeepMind's surface-distance). The two are different numbers.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"Unknown `pooling`.{near_miss(pooling, POOLINGS)} Received: {pooling!r}")
    _check_masks(prediction, truth)
    if not (prediction.any() and truth.any()):
        return float(empty)
    there, back = surface_distances(prediction, truth, spacing)
    if pooling == "pooled":
        return float(np.percentile(np.concatenate([there, back]), 95))
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def assd(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    *,
    empty: float = float("nan"),
) -> float:
    """Return the average symmetric surface distance: the mean over both directions in one list.

    (medpy's `assd`, the mean of the two directions' means, differs when the surfaces do in size.)
    Arguments as in `hd95`; `empty` is returned when either mask, or both, are empty.
    """
    _check_masks(prediction, truth)
    if not (prediction.any() and truth.any()):
        return float(empty)
    there, back = surface_distances(prediction, truth, spacing)
    return float(np.concatenate([there, back]).mean())


def segmentation_scores(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    classes: int = 1,
    protocol: str = "native",
    spacing: Sequence[float] | None = None,
    distances: bool = True,
) -> dict[str, float]:
    """Return the scores of one image as one flat row.

    Args:
        prediction: bool (H, W) for one class; integer (H, W) class indices, 0 = background, for
            more. From `protocols.binary_prediction` or `class_prediction`.
        truth: The same, from `protocols.prepare_truth` with the same protocol.
        classes: Outputs of the network: 1 (binary), or the number of classes with background.
        protocol: Name of the protocol, which sets the conventions for empty masks.
        spacing: Size of a pixel for HD95; None gives pixels.
        distances: Whether HD95, which takes most of the time, is computed; else it is left out.

    Returns:
        Binary: "dice", "iou", "precision", "recall", "specificity" in [0, 1] by the "smooth"
        convention, "hd95" (100 when either mask is empty), and the counts "tp", "fp", "fn", "tn".

        Several classes: each of these for each foreground class k as "dice_k" and so on, by the
        "nan" convention: a class in neither mask has Dice, IoU and HD95 NaN; a class in one mask
        only has Dice and IoU 0 and HD95 100. "dice", ..., "hd95" are the means over the
        foreground classes, NaN left out (NaN when all are).

    Raises:
        UserError: When a class index is not in 0..classes-1.
    """
    rules = protocol_named(protocol, classes=classes)
    distance = partial(hd95, spacing=spacing, empty=rules.empty_distance, pooling=rules.pooling)
    if classes == 1:
        counts = overlap(prediction, truth)
        scores = _overlaps(counts, rules.empty)
        if distances:
            scores["hd95"] = distance(prediction, truth)
        return {**scores, **counts._asdict()}

    _check_indices(prediction, truth, classes)
    row: dict[str, float] = {}
    for k in range(1, classes):
        predicted, true = prediction == k, truth == k
        counts = overlap(predicted, true)
        scores = _overlaps(counts, "nan")
        absent = counts.tp + counts.fp + counts.fn == 0
        if distances:
            scores["hd95"] = float("nan") if absent else distance(predicted, true)
        row |= {f"{name}_{k}": value for name, value in {**scores, **counts._asdict()}.items()}
    names = (*OVERLAPS, "hd95") if distances else OVERLAPS
    means = {name: _mean([row[f"{name}_{k}"] for k in range(1, classes)]) for name in names}
    return means | row


def summarise(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the scores of a data set from the rows of its images.

    Args:
        rows: What `segmentation_scores` returned, one per image, all with the same classes; other
            entries (an "id") are ignored.

    Returns:
        "dice", ..., "hd95" (and "dice_k", ... with several classes): the mean over images of the
        per-image scores, NaN left out (NaN when all are).

        "dice_pooled" (and "dice_pooled_k"): 2 TP / (2 TP + FP + FN) with the counts summed over
        the data set, so that large objects weigh more; without smoothing, NaN when a class is in
        no mask at all. With several classes "dice_pooled" is the mean of the foreground classes',
        NaN left out.

        "samples": the number of images; "samples_<score>": the number of images behind that mean,
        only for scores that are NaN in some image.

    Raises:
        ValueError: When there are no rows.
    """
    if not rows:
        raise ValueError("`rows` must hold one row per image. Received: no rows")
    suffixes = [key.removeprefix("tp") for key in rows[0] if key == "tp" or key.startswith("tp_")]
    metrics = [name for name in (*OVERLAPS, "hd95") if name in rows[0]]
    names = [f"{name}{suffix}" for suffix in ["", *suffixes] for name in metrics]
    summary: dict[str, float] = {}
    missing: dict[str, float] = {}
    for name in dict.fromkeys(names):
        values = np.array([row[name] for row in rows], float)
        summary[name] = _mean(values)
        present = int(np.count_nonzero(~np.isnan(values)))
        if present < len(rows):
            missing[f"samples_{name}"] = present

    pooled = {}
    for suffix in suffixes:
        totals = [sum(int(row[f"{count}{suffix}"]) for row in rows) for count in Counts._fields]
        pooled[f"dice_pooled{suffix}"] = dice(Counts(*totals), empty="nan")
    summary["dice_pooled"] = _mean(list(pooled.values()))
    return summary | pooled | {"samples": len(rows)} | missing


def _overlaps(counts: Counts, empty: str) -> dict[str, float]:
    functions = (dice, iou, precision, recall, specificity)
    return {
        name: function(counts, empty=empty)
        for name, function in zip(OVERLAPS, functions, strict=True)
    }


def _overlap_ratio(part: int, whole: int, empty: str) -> float:
    return (part + 1e-6) / (whole + 1e-6) if empty == "smooth" else _rate(part, whole, empty)


def _rate(part: int, whole: int, empty: str) -> float:
    if empty not in EMPTY:
        raise ValueError(f"Unknown `empty`.{near_miss(empty, EMPTY)} Received: empty={empty!r}")
    if empty == "smooth":
        return part / (whole + 1e-8)
    return part / whole if whole else (1.0 if empty == "one" else float("nan"))


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean without the NaNs; NaN, and no warning, when nothing is left."""
    kept = np.asarray(values, float)
    kept = kept[~np.isnan(kept)]
    return float(kept.mean()) if kept.size else float("nan")


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        box.append(slice(filled[0], filled[-1] + 1))
    return tuple(box)


def _surface(mask: np.ndarray) -> np.ndarray:
    """The mask without its erosion by the cross; the array's edge borders on background."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    middle = (slice(1, -1),) * mask.ndim
    for axis in range(mask.ndim):
        for shifted in (slice(None, -2), slice(2, None)):
            inner &= padded[(*middle[:axis], shifted, *middle[axis + 1 :])]
    return mask & ~inner


def _distances_by_tree(source: np.ndarray, goal: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    return KDTree(np.argwhere(goal) * spacing).query(np.argwhere(source) * spacing)[0]


def _distances_by_transform(
    source: np.ndarray, goal: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~goal, sampling=spacing)[source]


def _check_masks(prediction: np.ndarray, truth: np.ndarray) -> None:
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if getattr(mask, "dtype", None) != np.dtype(bool):
            # A 0/255 mask taken for numbers gives Dice values far outside of [0, 1].
            raise ValueError(
                f"`{name}` must be a boolean array. Received: "
                f"{getattr(mask, 'dtype', type(mask).__name__)}"
            )
    _check_shapes(prediction, truth)


def _check_indices(prediction: np.ndarray, truth: np.ndarray, classes: int) -> None:
    _check_shapes(prediction, truth)
    for name, indices in (("prediction", prediction), ("truth", truth)):
        if not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"`{name}` must hold integers. Received: dtype={indices.dtype}")
        if indices.size and (indices.min() < 0 or indices.max() >= classes):
            raise UserError(
                f"A {name} has values {indices.min()}..{indices.max()}; expected class indices "
                f"0..{classes - 1}: check the masks' values and the number of classes."
            )


def _check_shapes(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            "`prediction` and `truth` must have the same shape. "
            f"Received: {prediction.shape} and {truth.shape}"
        )
