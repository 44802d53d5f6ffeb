"""Crops of moving people from the video of a camera that stands still.

People are what moves before a background learned from the video (Z. Zivkovic, ICPR 2004, OpenCV's
MOG2). Boxes of neighbouring frames are joined where they overlap most; what is joined is a track.
This is no detector of people: two who walk together may be one track, and one who was hidden two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

LEARNING = 20  # frames in which the background is learned before anything is followed
OVERLAP = 0.3  # of two boxes (intersection over union) that may be the same person
GAP = 5  # frames a person may be hidden
LEAST_FRAMES = 12  # of a track
UPRIGHT = (1.4, 4.5)  # height over width
MARGIN = 0.06  # of the height, kept around a box
CROPS = 8  # of a track


@dataclass
class Track:
    """A person through some frames.

    Attributes:
        frames: Numbers of the frames, from 0.
        boxes: (top, left, bottom, right) in each.
        crops: uint8 (H, W, 3) in each.
    """

    frames: list[int] = field(default_factory=list)
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)

    def chosen(self, count: int = CROPS) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (frame, crop) at the middles of `count` equal parts of the track."""
        count = min(count, len(self.frames))
        for i in range(count):
            place = (2 * i + 1) * len(self.frames) // (2 * count)
            yield self.frames[place], self.crops[place]


def follow(frames: Iterable[np.ndarray], *, least_height: int = 60) -> list[Track]:
    """Return the tracks of people, in the order in which they appear.

    Args:
        frames: uint8 (H, W, 3) RGB, of one size.
        least_height: Of a box, in pixels.
    """
    import cv2

    background = cv2.createBackgroundSubtractorMOG2(history=200, varThreshold=32)
    open_tracks: list[Track] = []
    ended: list[Track] = []
    for number, frame in enumerate(frames):
        moving = background.apply(frame)
        if number < LEARNING:
            continue
        boxes = _boxes(moving, least_height)
        joined = _joined(open_tracks, boxes)
        for i, box in enumerate(boxes):
            track = joined.get(i)
            if track is None:
                track = Track()
                open_tracks.append(track)
            track.frames.append(number)
            track.boxes.append(box)
            track.crops.append(_crop(frame, box))
        lost = [track for track in open_tracks if number - track.frames[-1] > GAP]
        ended += lost
        open_tracks = [track for track in open_tracks if track not in lost]
    tracks = [track for track in [*ended, *open_tracks] if len(track.frames) >= LEAST_FRAMES]
    return sorted(tracks, key=lambda track: (track.frames[0], track.boxes[0]))


def _boxes(moving: np.ndarray, least_height: int) -> list[tuple[int, int, int, int]]:
    """Return upright boxes of what moves; 255 is moving, 127 a shadow."""
    import cv2

    mask = (moving == 255).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((15, 7), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    found = []
    for left, top, width, height, area in stats[1:].tolist():  # the first is the background
        upright = UPRIGHT[0] <= height / width <= UPRIGHT[1]
        if height >= least_height and upright and area >= 0.35 * width * height:
            found.append((top, left, top + height, left + width))
    return found


def _joined(tracks: list[Track], boxes: list[tuple]) -> dict[int, Track]:
    """Return the track of each box that continues one: the pairs of most overlap in all."""
    from scipy.optimize import linear_sum_assignment

    if not tracks or not boxes:
        return {}
    last = np.array([track.boxes[-1] for track in tracks], float)
    overlaps = _overlaps(np.array(boxes, float), last)
    rows, columns = linear_sum_assignment(-overlaps)
    return {
        int(row): tracks[column]
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] >= OVERLAP
    }


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(end - start, 0, None).prod(axis=2)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (a, b)]
    return common / (areas[0][:, None] + areas[1][None, :] - common)


def _crop(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    margin = round(MARGIN * (box[2] - box[0]))
    top, left = max(0, box[0] - margin), max(0, box[1] - margin)
    return frame[top : box[2] + margin, left : box[3] + margin].copy()
