"""Evaluation protocols: how logits and the stored mask become the two masks that are compared.

"native" is the honest one: the logits are resized to the image's own rows x columns, thresholded at
a probability (0.5) and compared with the mask as it is stored. "official" repeats the published
MK-UNet test script (M. M. Rahman, R. Marculescu, ICCV Workshops 2025, arXiv:2509.18493; code
github.com/SLDGroup/MK-UNet) with its two traps, for numbers that can be set beside the paper's:

1. The size tuple is (width, height) but is used as (height, width), so everything is compared on a
   grid with W rows and H columns, stretched to the transposed aspect.
2. Probabilities are min-max normalised per image. An empty prediction is impossible (some pixel is
   always 1, unless all are equal), and poor calibration is hidden.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError, no_such


@dataclass(frozen=True)
class Protocol:
    """What a protocol's name stands for.

    Attributes:
        name: "native" or "official".
        summary: The definition in words, to be printed with every table of scores.
        empty: Convention of the overlap metrics for binary masks (see `metrics`).
        empty_distance: HD95, in pixels, of an image where one of the two masks is empty.
        pooling: How HD95 joins its two directions (see `metrics.hd95`).
        multiclass: Whether the protocol is defined for more than one class.
    """

    name: str
    summary: str
    empty: str = "smooth"
    empty_distance: float = 100.0
    pooling: str = "pooled"
    multiclass: bool = True

    def in_words(self, threshold: float = 0.5) -> str:
        """Return name and definition at a threshold."""
        summary = self.summary.replace("threshold 0.5", f"threshold {threshold:g}")
        return f"{self.name}: {summary}"


PROTOCOLS = {
    "native": Protocol(
        "native",
        "logits resized bilinearly to the image's own size, threshold 0.5 (argmax for several "
        "classes), against the stored mask; mean of per-image scores; HD95 in pixels",
    ),
    "official": Protocol(
        "official",
        "published MK-UNet script: probabilities min-max normalised per image, threshold 0.5, on a "
        "grid of W rows and H columns, against the mask resized to the network's size and back; "
        "mean of per-image scores; HD95 in pixels of that grid",
        multiclass=False,
    ),
}


def protocol_named(name: str, *, classes: int = 1) -> Protocol:
    """Return the protocol called `name`.

    Raises:
        UserError: When there is none, or it is not defined for this number of classes.
    """
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise no_such("protocol", name, PROTOCOLS)
    protocol = PROTOCOLS[name]
    if classes > 1 and not protocol.multiclass:
        raise UserError(
            f"Protocol '{name}' is defined for binary masks only and the network has {classes} "
            "classes; choose the protocol 'native'."
        )
    return protocol


def check_threshold(threshold: object, protocol: str, *, classes: int = 1) -> None:
    """Raise a `UserError` unless a threshold is a probability that the protocol can use."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise UserError(f"The threshold is {threshold!r}; pass a number between 0 and 1.")
    if not 0 < threshold < 1:
        raise UserError(f"The threshold is {threshold:g}; pass a number between 0 and 1.")
    if threshold != 0.5 and (protocol != "native" or classes > 1):
        why = "several classes are told apart" if classes > 1 else f"'{protocol}' is defined"
        raise UserError(f"The threshold is {threshold:g}, but {why} without one; leave it at 0.5.")


def binary_prediction(
    logits: np.ndarray,
    size: tuple[int, int],
    protocol: str = "native",
    threshold: float = 0.5,
) -> np.ndarray:
    """Return the predicted mask of one image.

    Args:
        logits: float (h, w) at the network's size.
        size: (H, W), rows and columns of the original image.
        protocol: "native" or "official".
        threshold: Probability in (0, 1) from which "native" takes a pixel for foreground.

    Returns:
        bool (H, W) with "native": True where sigmoid(logit) >= threshold.
        bool (W, H) with "official" (rows and columns exchanged, as published): True where the
        min-max normalised probability (p - min) / (max - min + 1e-8) is >= 0.5.
    """
    _check_plane(logits, "logits")
    if protocol_named(protocol).name == "native":
        return resize_logits(logits, size) >= math.log(threshold / (1 - threshold))
    height, width = size
    scores = resize_logits(logits, (width, height))
    with np.errstate(over="ignore"):
        scores = 1 / (1 + np.exp(-scores))
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low + np.float32(1e-8)) >= 0.5


def class_prediction(
    logits: np.ndarray, size: tuple[int, int], protocol: str = "native"
) -> np.ndarray:
    """Return the class index map of one image: argmax of the resized logits.

    Args:
        logits: float (h, w, C), C in 2..128 (OpenCV takes no more), at the network's size.
        size: (H, W), rows and columns of the original image.
        protocol: Only "native" is defined for several classes.

    Returns:
        uint8 (H, W) in 0..C-1; of equal logits the lower class wins.
    """
    if np.ndim(logits) != 3 or not 1 < np.shape(logits)[-1] <= 128:
        raise ValueError(
            "`logits` must have shape (h, w, classes) with 2 to 128 classes. "
            f"Received: shape={np.shape(logits)}"
        )
    protocol_named(protocol, classes=logits.shape[-1])
    return resize_logits(logits, size).argmax(axis=-1).astype(np.uint8)


def prepare_truth(
    truth: np.ndarray, network_size: Sequence[int], protocol: str = "native"
) -> np.ndarray:
    """Return the mask the prediction of `protocol` is compared with.

    Args:
        truth: bool (H, W) mask, or integer (H, W) class indices, at the original size.
        network_size: (h, w) of the network's input.
        protocol: "native" returns `truth` itself. "official" (bool only) resizes it, nearest
            neighbour, to `network_size` and from there to (W, H).

    Returns:
        bool or integer (H, W) with "native", bool (W, H) with "official".
    """
    _check_plane(truth, "truth")
    if protocol_named(protocol).name == "native":
        return truth
    if truth.dtype != bool:
        raise ValueError(f"`truth` must be boolean. Received: dtype={truth.dtype}")
    import cv2

    # The script's two resizes round differently when a pixel centre falls on a pixel border: the
    # loader uses OpenCV, the way back is PyTorch. Each is kept as it is.
    rows, columns = network_size
    small = cv2.resize(truth.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
    height, width = truth.shape
    return small[_nearest(rows, width)[:, None], _nearest(columns, height)[None, :]].astype(bool)


def resize_logits(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bilinearly with half-pixel centres, without antialiasing, edges repeated.

    The definition of `tf.image.resize` and of PyTorch's `align_corners=False`. Those two round
    their sampling positions and differ from the exact values by up to 1e-4 of the contrast between
    neighbours, this by 1e-6.

    Args:
        logits: float (h, w) or (h, w, C), C at most 128.
        size: (H, W) wanted, rows and columns.

    Returns:
        float32 (H, W) or (H, W, C).
    """
    import cv2

    values = np.ascontiguousarray(logits, np.float32)
    height, width = size
    resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, *values.shape[2:])


def _nearest(source: int, length: int) -> np.ndarray:
    """Source index of each of `length` positions, in PyTorch's float32 arithmetic."""
    scale = np.float32(source) / np.float32(length)
    positions = np.floor(np.arange(length, dtype=np.float32) * scale).astype(np.intp)
    return np.minimum(positions, source - 1)


def _check_plane(array: np.ndarray, name: str) -> None:
    if np.ndim(array) != 2:
        raise ValueError(f"`{name}` must have shape (rows, columns). Received: {np.shape(array)}")
