"""How far a map can be believed: deletion and insertion curves.

V. Petsiuk, A. Das, K. Saenko, "RISE", BMVC 2018, arXiv:1806.07421: if a map is right, the class
falls soon when the pixels it names first are taken away, and rises soon when they are put back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.explain.classes import BATCH, Predict, check_class, checked_picture, probabilities_of

STEPS = 20
KERNEL, SIGMA = 11, 5.0  # of the blur, in pixels (the paper's, at 224x224)


@dataclass(frozen=True)
class Curve:
    """A class's probability while pixels are taken away or put back.

    Attributes:
        fractions: (steps + 1,) share of the pixels changed so far, 0 to 1.
        probabilities: (steps + 1,).
        area: Under the curve: of a deletion the less the better, of an insertion the more.
    """

    fractions: np.ndarray
    probabilities: np.ndarray
    area: float


def deletion(image: np.ndarray, values: np.ndarray, predict: Predict, label: int, **choices):
    """Return the `Curve` of taking pixels away, the map's largest first; see `insertion`."""
    picture = checked_picture(image)
    return _curve(picture, values, predict, label, away=True, **choices)


def insertion(image: np.ndarray, values: np.ndarray, predict: Predict, label: int, **choices):
    """Return the `Curve` of putting pixels back, the map's largest first.

    Args:
        image: (H, W, C) stored values at the network's size.
        values: The map (H, W); pixels of equal values go in their order in rows.
        predict: The network, such as of `core.explain.classes.class_probabilities`.
        label: The class.
        choices: `steps`, 20 by default; `baseline`, (H, W, C) what stands for pixels that are not
            there, by default the picture blurred; `batch`, pictures a call; `advance`, called with
            the number of pictures done.

    Raises:
        UserError: When there is no such class.
    """
    picture = checked_picture(image)
    return _curve(picture, values, predict, label, away=False, **choices)


def blurred(image: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, C) without its details."""
    import cv2

    soft = cv2.GaussianBlur(np.asarray(image, np.float32), (KERNEL, KERNEL), SIGMA)
    return soft.reshape(image.shape)  # OpenCV drops an axis of one channel


def _curve(
    picture: np.ndarray,
    values: np.ndarray,
    predict: Predict,
    label: int,
    *,
    away: bool,
    steps: int = STEPS,
    baseline: np.ndarray | None = None,
    batch: int = BATCH,
    advance: Callable[[int], None] | None = None,
) -> Curve:
    values = np.asarray(values)
    if values.shape != picture.shape[:2] or steps < 1:
        raise ValueError(
            f"`values` must be a map {picture.shape[:2]} and `steps` positive. Received: shape "
            f"{values.shape}, steps={steps}"
        )
    base = blurred(picture) if baseline is None else np.asarray(baseline, np.float32)
    first, second = (picture, base) if away else (base, picture)
    order = np.argsort(-values, axis=None, kind="stable")
    rank = np.argsort(order).reshape(values.shape)
    fractions = np.linspace(0, 1, steps + 1)
    changed = np.rint(fractions * values.size)

    def stages(part: slice) -> np.ndarray:
        return np.where((rank < changed[part, None, None])[..., None], second, first)

    found = probabilities_of(predict, stages, steps + 1, batch=batch, advance=advance)
    fallen = found[:, check_class(label, found.shape[1])]
    return Curve(fractions, fallen, float(np.trapezoid(fallen, fractions)))
