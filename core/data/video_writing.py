"""Changing a video frame by frame with OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from core.data.videos import quiet_opencv, read_frames, read_info
from core.errors import UserError
from core.files import write_atomic

# By what every build of OpenCV with FFmpeg can write.
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_RATE = 25.0  # frames per second where the file does not say


def changed_video(
    source: str | Path,
    target: str | Path,
    change: Callable[[np.ndarray], np.ndarray],
    scale: int = 1,
) -> list[str]:
    """Change every frame and write a video of the same rate, as a whole or not at all.

    Args:
        source: A video.
        target: The new file, named .mp4 (MPEG-4) or .avi (Motion JPEG).
        change: uint8 (H, W, 3) RGB to (H·scale, W·scale, 3); called once a frame, in order.
        scale: By which frames are enlarged.

    Returns:
        What was lost or noticed, a sentence each.

    Raises:
        UserError: When the video cannot be read, or this OpenCV cannot write the new one.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() not in CODECS:
        raise UserError(f"{target}: videos are written as .mp4 or .avi; choose one of them.")
    info = read_info(source)
    size = (info.size[0] * scale, info.size[1] * scale)
    counted = []
    write_atomic(
        target,
        lambda file: counted.append(
            _write(file, target, map(change, read_frames(source)), size, info.fps or _RATE)
        ),
    )
    notes = ["has no sound: OpenCV reads pictures only"]
    if info.fps is None:
        notes.append(f"does not say its frame rate; {_RATE:g} frames a second were taken")
    if counted[0] < 0.9 * info.frames:
        notes.append(f"ended after {counted[0]} of {info.frames} frames; the file may be damaged")
    return notes


def _write(file: Path, target: Path, frames: Iterator, size: tuple[int, int], fps: float) -> int:
    """Write frames to `file`, in errors called `target`, and return their number."""
    import cv2

    codec = CODECS[target.suffix.lower()]
    cannot = UserError(
        f"{target}: this OpenCV cannot write {size[0]}x{size[1]} pixels with the codec {codec}; "
        f"pass --video-format {'avi' if codec == 'mp4v' else 'mp4'}, or take its frames as "
        "pictures."
    )
    fourcc = cv2.VideoWriter.fourcc(*codec)
    with quiet_opencv():
        writer = cv2.VideoWriter(str(file), fourcc, fps, size[::-1])
    count = 0
    try:
        if not writer.isOpened():
            raise cannot
        for frame in frames:
            if frame.shape[:2] != size:  # OpenCV would leave it out without a word
                raise UserError(
                    f"{target}: a frame has {frame.shape[0]}x{frame.shape[1]} pixels where "
                    f"{size[0]}x{size[1]} are expected; convert the video to one size first."
                )
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        writer.release()
    try:
        written = read_info(file).size
    except UserError:
        raise cannot from None
    if written != size:
        raise cannot
    return count
