"""Tracklets: images of one person in a row, described by one embedding.

A tracklet's embedding is the mean over 15 of its frames, evenly sampled (as in the video part of
the re-identification library; K. Zhou, T. Xiang, "Torchreid", arXiv 1910.10093).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.data.index import Sample

FRAMES = 15
POOLINGS = ("folder", "name")
_SEQUENCE = re.compile(r"(-?\d+)_c(\d+)(?:s(\d+))?(?!\d)")


@dataclass(frozen=True)
class Tracklet:
    """Images that make one row of an embedding file.

    Attributes:
        name: The folder, or "0002_c1s1"; empty for an image by itself.
        samples: The frames taken, in order.
    """

    name: str
    samples: tuple[Sample, ...]


def single(samples: Sequence[Sample]) -> list[Tracklet]:
    """Return every image by itself."""
    return [Tracklet("", (sample,)) for sample in samples]


def grouped(samples: Sequence[Sample], pooling: str, root: str = "") -> list[Tracklet]:
    """Return the tracklets of images, each with at most 15 of its frames.

    Args:
        samples: In order of time within a tracklet; ids are paths.
        pooling: "folder": a folder is a tracklet. "name": images of a folder with equal person,
            camera and sequence in their names are; junk (-1), distractors (0) and names that tell
            nothing stay by themselves, as they are of many people.
        root: Name for images that lie in no folder.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"`pooling` must be one of {POOLINGS}. Received: pooling={pooling!r}")
    found: dict[str, list[Sample]] = {}
    alone = set()
    for sample in samples:
        path = PurePosixPath(sample.id)
        if pooling == "folder":
            name = root if path.parent == PurePosixPath(".") else str(path.parent)
        else:
            seen = _SEQUENCE.match(path.name)
            if seen is not None and int(seen[1]) > 0:
                name = str(path.with_name(seen[0]))
            else:
                name = str(path)
                alone.add(name)
        found.setdefault(name, []).append(sample)
    return [
        Tracklet("" if name in alone else name, tuple(frames[i] for i in evenly(len(frames))))
        for name, frames in found.items()
    ]


def evenly(count: int, limit: int = FRAMES) -> list[int]:
    """Return positions of at most `limit` of `count` frames: the middles of equal parts."""
    if count <= limit:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * limit) for part in range(limit)]
