"""PSNR and SSIM as the field reports them; the protocol decides more than the network does.

Both compare pictures of 8 bits. Papers score the luma of BT.601 with studio range, without rounding
it, after taking `scale` pixels off all four sides; scripts that round the luma are 0.02 to 0.09 dB
lower, OpenCV's full-range luma is 1.3 dB lower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.errors import UserError, no_such

WINDOW, SIGMA = 11, 1.5  # of SSIM (Z. Wang et al., IEEE TIP 13(4), 2004)
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Protocol:
    """What a protocol's name stands for.

    Attributes:
        name: Its name.
        summary: The definition in words, to be printed with every table of scores.
        plane: "y" (luma, not rounded), "y8" (luma rounded to 8 bits) or "rgb".
        shave: Pixels taken off each side; None is as many as the scale.
    """

    name: str
    summary: str
    plane: str = "y"
    shave: int | None = None


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "y",
            "luma (BT.601 studio range, not rounded) of 8-bit results, scale pixels shaved off "
            "each side; mean of per-image PSNR in dB and SSIM (11-tap Gaussian, valid region)",
        ),
        Protocol(
            "y8",
            "luma (BT.601 studio range) rounded to 8 bits, scale pixels shaved off each side; mean "
            "of per-image PSNR in dB and SSIM (11-tap Gaussian, valid region)",
            "y8",
        ),
        Protocol(
            "rgb",
            "joint RGB error of 8-bit results, scale pixels shaved off each side; mean of "
            "per-image PSNR in dB and SSIM (mean over channels)",
            "rgb",
        ),
        Protocol(
            "ntire",
            "NTIRE efficient super-resolution challenge: joint RGB error of 8-bit results, 4 "
            "pixels shaved off each side; mean of per-image PSNR in dB and SSIM (mean over "
            "channels)",
            "rgb",
            4,
        ),
        Protocol(
            "mai",
            "Mobile AI challenge: joint RGB error of 8-bit results, 1 pixel shaved off each side; "
            "mean of per-image PSNR in dB and SSIM (mean over channels)",
            "rgb",
            1,
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Return the protocol called `name`, or raise a `UserError`."""
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise no_such("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def luma(image: np.ndarray) -> np.ndarray:
    """Return Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, float64 (H, W), of uint8 RGB."""
    return 16.0 + image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255.0


def psnr(result: np.ndarray, truth: np.ndarray, scale: int, protocol: Protocol) -> float:
    """Return 10 log10(255² / mean squared difference) in dB; infinity for equal pictures.

    Args:
        result, truth: uint8 RGB (H, W, 3) of one size.
        scale: Of the enlargement.
        protocol: What is compared.
    """
    first, second = _compared(result, truth, scale, protocol)
    error = float(np.mean(np.square(first - second)))
    return math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error)


def ssim(result: np.ndarray, truth: np.ndarray, scale: int, protocol: Protocol) -> float:
    """Return the structural similarity, over RGB the mean of the channels; arguments as `psnr`.

    Raises:
        UserError: When no window fits into what shaving leaves.
    """
    first, second = _compared(result, truth, scale, protocol)
    if min(first.shape[:2]) < WINDOW:
        raise UserError(
            f"A picture of {truth.shape[1]}x{truth.shape[0]} pixels is too small for SSIM, whose "
            f"window has {WINDOW} pixels a side; leave it out."
        )
    mean1, mean2 = _smoothed(first), _smoothed(second)
    variance1 = _smoothed(first * first) - mean1 * mean1
    variance2 = _smoothed(second * second) - mean2 * mean2
    covariance = _smoothed(first * second) - mean1 * mean2
    likeness = (2 * mean1 * mean2 + C1) * (2 * covariance + C2)
    likeness /= (mean1 * mean1 + mean2 * mean2 + C1) * (variance1 + variance2 + C2)
    return float(likeness.mean())


def _compared(
    result: np.ndarray, truth: np.ndarray, scale: int, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    """Return both pictures as the protocol compares them: float64 (H, W) or (H, W, 3)."""
    if result.shape != truth.shape:
        raise ValueError(
            f"`result` and `truth` must have one size. Received: {result.shape}, {truth.shape}"
        )
    shave = scale if protocol.shave is None else protocol.shave
    height, width = truth.shape[:2]
    if min(height, width) <= 2 * shave:
        raise UserError(
            f"A picture of {width}x{height} pixels has nothing left when {shave} are shaved off "
            "each side; leave it out."
        )
    inner = np.s_[shave : height - shave, shave : width - shave]
    planes = []
    for image in (result[inner], truth[inner]):
        if protocol.plane == "rgb":
            planes.append(image.astype(np.float64))
        else:
            plane = luma(image)
            planes.append(np.rint(plane) if protocol.plane == "y8" else plane)
    return planes[0], planes[1]


def _smoothed(plane: np.ndarray) -> np.ndarray:
    """Return the Gaussian mean around each pixel whose whole window lies inside."""
    import cv2

    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    margin = WINDOW // 2
    blurred = cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel)
    return blurred[margin:-margin, margin:-margin]
