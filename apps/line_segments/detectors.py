"""Detectors behind one call: classical ones by name, networks from a run or a .tflite file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from apps.line_segments.detections import Detections
from core.errors import UserError, no_such

if TYPE_CHECKING:
    from core.engines import Engine


@dataclass(frozen=True)
class Timed:
    """What was found, and how long it took.

    Attributes:
        found: The segments.
        network_ms: Milliseconds of the picture's way through the network; None without one.
        grouping_ms: Of all that makes segments, of the maps or of the picture.
    """

    found: Detections
    network_ms: float | None
    grouping_ms: float


class Detector(Protocol):
    """Finds the segments of pictures.

    Attributes:
        name: For tables.
        shown: Segments are drawn whose score is above this.
    """

    name: str

    @property
    def shown(self) -> float: ...

    def __call__(self, image: np.ndarray) -> Timed:
        """Return the segments of a picture, uint8 (H, W, 3) RGB, in its pixels."""
        ...


class ClassicalDetector:
    """A detector that is no network; its scores are -log10 of the number of false alarms.

    Args:
        name: "lsd", as this suite has it, or "opencv", as OpenCV has it.
    """

    def __init__(self, name: str):
        if name not in _CLASSICAL:
            raise no_such("detector", name, _CLASSICAL)
        self.name = name
        self.shown = -np.inf

    def __call__(self, image: np.ndarray) -> Timed:
        import cv2

        begun = time.perf_counter()
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        segments, scores = _CLASSICAL[self.name](grey)
        found = Detections(segments, scores, image.shape[:2])
        return Timed(found, None, 1000 * (time.perf_counter() - begun))


class NetworkDetector:
    """A network with the decoding that its card says.

    Args:
        engine: Keras or LiteRT.
        name: For tables.
    """

    def __init__(self, engine: Engine, name: str):
        self.name, self.engine = name, engine

    @property
    def shown(self) -> float:
        """What the card says."""
        return float(self.engine.card.decode.get("score", 0.0))

    def __call__(self, image: np.ndarray) -> Timed:
        from apps.line_segments.decoding import brought_to, segments_of

        card = self.engine.card
        begun = time.perf_counter()
        values = card.normalise(brought_to(image, card))
        outputs = [output[0] for output in self.engine(values[None])]
        between = time.perf_counter()
        found = segments_of(outputs, card, image.shape[:2])
        ended = time.perf_counter()
        return Timed(found, 1000 * (between - begun), 1000 * (ended - between))


def _lsd(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return segments measured from the picture's corner, as all of the suite, and -log10 NFA."""
    from apps.line_segments.lsd.detector import detect

    rows = detect(grey)
    return rows[:, :4] + 0.5, rows[:, 6]


def _opencv(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    if min(grey.shape) < 2:
        return np.zeros((0, 4)), np.zeros(0)
    make = getattr(cv2, "createLineSegmentDetector", None)
    if make is None:
        raise UserError("This OpenCV has no line segment detector; use lsd.")
    # The detector that counts false alarms, as the other one here does.
    lines, _, _, scores = make(cv2.LSD_REFINE_ADV).detect(grey)
    if lines is None:
        return np.zeros((0, 4)), np.zeros(0)
    # OpenCV adds half a pixel for the gradient's window, and leaves out the half from a pixel's
    # corner to its centre; both in the image that it looks at, which has 0.8 of the size.
    return lines.reshape(-1, 4) + 0.5 / 0.8, scores


_CLASSICAL: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "lsd": _lsd,
    "opencv": _opencv,
}
