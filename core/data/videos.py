"""Reading videos frame by frame with OpenCV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError, not_found
from core.files import refuse_special

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header says.

    Attributes:
        size: (height, width) in pixels.
        fps: Frames per second; None where the file does not say.
        frames: Number of frames, which may be an estimate; 0 where the file does not say.
    """

    size: tuple[int, int]
    fps: float | None
    frames: int


def read_info(path: str | Path) -> VideoInfo:
    """Return size, rate and number of frames.

    Raises:
        UserError: When the file is missing or no video OpenCV can read.
    """
    with _opened(Path(path)) as (capture, info):
        del capture
        return info


def read_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the frames, uint8 (H, W, 3) RGB, turned as the camera says.

    Raises:
        UserError: When the file is missing, no video OpenCV can read, or without a frame.
    """
    import cv2

    path, count = Path(path), 0
    with _opened(path) as (capture, _):
        while True:
            ready, frame = capture.read()
            if not ready:
                break
            count += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    if not count:
        raise UserError(f"{path}: holds no frame that can be decoded; copy or convert it again.")


@contextmanager
def _opened(path: Path) -> Iterator[tuple]:
    """Give an open `cv2.VideoCapture` and its `VideoInfo`."""
    import cv2

    refuse_special(path)
    if not path.is_file():
        raise not_found(path, "video file")
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        height, width, fps, frames = (
            capture.get(key) if capture.isOpened() else 0.0
            for key in (
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
            )
        )
        if not (height >= 1 and width >= 1):
            raise UserError(
                f"{path}: is not a video that OpenCV can read; convert it to .mp4 first."
            )
        known = math.isfinite(fps) and 0 < fps <= 1000
        count = int(frames) if 0 < frames < 2**31 else 0
        yield capture, VideoInfo((int(height), int(width)), float(fps) if known else None, count)
    finally:
        capture.release()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from warning of what is raised here in a sentence."""
    from cv2.utils import logging

    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
