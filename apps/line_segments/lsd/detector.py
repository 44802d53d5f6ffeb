"""LSD, the classical line segment detector: on an image, or on maps that stand for its gradient.

R. Grompone von Gioi, J. Jakubowicz, J.-M. Morel, G. Randall: "LSD: A Fast Line Segment Detector
with a False Detection Control", IEEE TPAMI 32(4), 2010; "LSD: a Line Segment Detector", IPOL 2
(2012), DOI 10.5201/ipol.2012.gjmr-lsd, whose release 1.6 gives the same segments.
"""

from __future__ import annotations

import math

import numpy as np

from core.errors import UserError

WINDOW_OFFSET = 0.5  # a gradient of 2x2 pixels belongs to their middle, half a pixel on
_SMALLEST = 2  # pixels of a side that have a gradient
_LARGEST = 2**31 - 1  # pixels that an index of 32 bits counts


def detect(
    image: np.ndarray,
    *,
    scale: float = 0.8,
    sigma_scale: float = 0.6,
    quant: float = 2.0,
    angle_tolerance: float = 22.5,
    log_eps: float = 0.0,
    density: float = 0.7,
    bins: int = 1024,
) -> np.ndarray:
    """Return the line segments of an image.

    Args:
        image: Grey (H, W), of any integer or floating type; thresholds suit values in 0..255.
        scale: The image is looked at blurred and at this size, against staircases.
        sigma_scale: Deviation of that Gaussian, times 1 / scale where the scale is below 1.
        quant: Largest error of a grey value by its rounding; it decides how weak a gradient may be.
        angle_tolerance: By how much directions within a segment may differ, in degrees, above 0
            and below 90.
        log_eps: -log10 of the number of false alarms that is allowed in an image; -inf leaves
            segments unvalidated.
        density: Least share of its rectangle's pixels that a segment has; 0 takes all.
        bins: Steps of the gradient's magnitude, the strongest of which start regions first.

    Returns:
        float64 (N, 7), in the order of detection: x1, y1, x2, y2 and the width in pixels of the
        image, 0 being the centre of the first one; the precision p; and -log10 NFA, the higher the
        surer. The brighter side lies to the left of the way from 1 to 2, as the picture is seen.
        Images with less than two pixels to a side have none.

    Raises:
        ValueError: When an argument is none of these.
        UserError: When the image holds NaN or infinite values.
    """
    image = _grey(image)
    threshold = _threshold(quant, angle_tolerance)
    _check(log_eps, density, bins)
    for name, value in (("scale", scale), ("sigma_scale", sigma_scale)):
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be a positive number. Received: {name}={value}")
    size = [math.ceil(side * scale) for side in image.shape]
    if min(*size, *image.shape) < _SMALLEST:
        return np.empty((0, 7))
    if math.prod(size) > _LARGEST:
        raise UserError(
            f"An image of {size[0]}x{size[1]} pixels has more than LSD can number; scale it down."
        )
    from apps.line_segments.lsd import gradient

    magnitude, direction = gradient.level_lines(
        gradient.scaled(image, scale, sigma_scale), threshold
    )
    tolerance = _radians(angle_tolerance)
    segments = _search(magnitude, direction, direction, tolerance, log_eps, density, bins)
    segments[:, :4] += WINDOW_OFFSET
    segments[:, :5] /= scale
    return segments


def detect_in_field(
    magnitude: np.ndarray,
    angle: np.ndarray,
    *,
    threshold: float = 0.0,
    evidence: np.ndarray | None = None,
    offset: float = 0.0,
    angle_tolerance: float = 22.5,
    log_eps: float = 0.0,
    density: float = 0.7,
    bins: int = 1024,
) -> np.ndarray:
    """Return the line segments of maps in place of an image's gradient, such as a network's.

    Args:
        magnitude: (H, W), not negative: which pixels start regions first, and how they weigh.
        angle: (H, W) in radians, of the level line, in which a whole turn counts (`oriented` gives
            those of undirected ones); NaN where there is none.
        threshold: Pixels of magnitudes up to this have no direction.
        evidence: Angles (H, W) that segments are validated with, NaN where there is none; such as
            `level_line_angles` of the image. None takes `angle`.
        offset: What is added to coordinates: `WINDOW_OFFSET` for maps made of 2x2 pixels each.
        angle_tolerance, log_eps, density, bins: As of `detect`.

    Returns:
        As `detect`.

    Raises:
        ValueError: When an argument is none of these.
        UserError: When magnitudes are NaN or infinite.
    """
    magnitude, angle = _grey(magnitude).astype(np.float64), np.asarray(angle, np.float64)
    evidence = angle if evidence is None else np.asarray(evidence, np.float64)
    tolerance = _radians(angle_tolerance)
    _check(log_eps, density, bins)
    if not magnitude.shape == angle.shape == evidence.shape:
        raise ValueError(
            "maps must have one shape. "
            f"Received: {magnitude.shape}, {angle.shape} and {evidence.shape}"
        )
    if magnitude.min(initial=0.0) < 0 or not 0 <= threshold < math.inf:
        raise ValueError(
            "`magnitude` and `threshold` must not be negative. "
            f"Received: magnitude from {magnitude.min(initial=0)}, threshold={threshold}"
        )
    if min(magnitude.shape) < _SMALLEST:
        return np.empty((0, 7))
    from apps.line_segments.lsd import gradient

    direction = gradient.unit_vectors(np.where(magnitude > threshold, angle, np.nan))
    checked = direction if evidence is angle else gradient.unit_vectors(evidence)
    segments = _search(magnitude, direction, checked, tolerance, log_eps, density, bins)
    segments[:, :4] += offset
    return segments


def level_line_angles(
    image: np.ndarray, *, quant: float = 2.0, angle_tolerance: float = 22.5
) -> np.ndarray:
    """Return the angles of an image's level lines in radians, float64 (H, W), NaN for none.

    Args:
        image: As of `detect`; it is not scaled.
        quant, angle_tolerance: As of `detect`; they decide how weak a gradient may be.
    """
    threshold = _threshold(quant, angle_tolerance)
    image = _grey(image).astype(np.float64)
    if min(image.shape) < _SMALLEST:
        return np.full(image.shape, np.nan)
    from apps.line_segments.lsd import gradient

    _, direction = gradient.level_lines(image, threshold)
    return gradient.angles(direction)


def oriented(angle: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return undirected angles turned by pi where the level lines of an image run the other way.

    Args:
        angle: (H, W) in radians.
        image: Grey (H, W); where it is flat, angles stay as they are.
    """
    lines = level_line_angles(image, quant=0.0)
    return np.where(np.cos(angle - lines) < 0, angle + math.pi, angle)


def _search(magnitude, direction, evidence, tolerance, log_eps, density, bins) -> np.ndarray:
    from apps.line_segments.lsd import gradient, search

    order = gradient.strongest_first(magnitude, direction, bins)
    found = search.find_segments(
        order, magnitude, direction, evidence, tolerance, float(density), float(log_eps)
    )
    return found.copy()  # what is found is the begin of an array for all that might be


def _grey(image: np.ndarray) -> np.ndarray:
    """Return a map (H, W) as uint8 or float64, checked."""
    image = np.asarray(image)
    if image.ndim != 2 or image.dtype.kind not in "buif":
        raise ValueError(
            "expected a grey image or map (H, W) of numbers. "
            f"Received: shape={image.shape}, dtype={image.dtype}"
        )
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    image = np.ascontiguousarray(image, np.float64)
    if not np.isfinite(image).all():
        raise UserError("An image for LSD holds NaN or infinite values; replace them.")
    return image


def _threshold(quant: float, angle_tolerance: float) -> float:
    """Return the magnitude up to which rounding of grey values may turn a gradient too far."""
    if not 0 <= quant < math.inf:
        raise ValueError(f"`quant` must not be negative. Received: quant={quant}")
    return quant / math.sin(_radians(angle_tolerance))


def _radians(angle_tolerance: float) -> float:
    if not 0 < angle_tolerance < 90:
        raise ValueError(
            "`angle_tolerance` must lie between 0 and 90 degrees. "
            f"Received: angle_tolerance={angle_tolerance}"
        )
    return math.radians(angle_tolerance)


def _check(log_eps: float, density: float, bins: int) -> None:
    """Raise a `ValueError` for parameters of the search that make none."""
    if not log_eps < math.inf:
        raise ValueError(f"`log_eps` must be a number or -inf. Received: log_eps={log_eps}")
    if not 0 <= density <= 1:
        raise ValueError(f"`density` must lie in 0..1. Received: density={density}")
    if bins < 1:
        raise ValueError(f"`bins` must be a positive integer. Received: bins={bins}")
