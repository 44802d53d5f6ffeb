"""Pictures that look the same although their values differ: near-duplicates of a data set.

One was saved again or at another size, or a camera or a probe hardly moved between two frames. They
are found by a perceptual hash (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010): the signs of the lowest coefficients of a small grey picture's cosine transform,
of which recompression turns few and another picture half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.data.images import resized
from core.data.index import Sample

BITS = 255  # of a hash
# Bits that may differ. In the apps' samples JPEG of quality 50 turns up to 22, different pictures
# differ in 36 and more; the next frame of a beating heart differs in up to 18.
NEAR = 24
_SIDE, _FREQUENCIES = 64, 16  # of the small picture, and of its lowest coefficients
_DETAIL = 128  # coefficients that must be above rounding: of less, signs are chance
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ROWS, _PENDING = 256, 2**20  # compared with all later ones at a time; pairs held before thinning

REASONS = "one was saved again or at another size, or they were taken a moment apart"

# How much a group matters: where its pictures lie apart, the worst first.
SPLIT, GROUP, LABEL, NOWHERE = range(4)


@dataclass(frozen=True)
class Lookalikes:
    """Pictures that look the same, each like another one of them.

    Attributes:
        samples: The closest two of those that lie apart most, then the others in their order.
        distance: Bits by which the hashes of the first two differ, at most `NEAR`.
        apart: What tells the first two apart: `SPLIT`, `GROUP`, `LABEL` or `NOWHERE`.
    """

    samples: tuple[Sample, ...]
    distance: int
    apart: int

    def told(self) -> str:
        """Return what was found as a clause: "'a' (train) and 'b' (test) look the same (…)"."""
        one, other = (f"'{s.id}'" + (f" ({s.split})" if s.split else "") for s in self.samples[:2])
        more = len(self.samples) - 2
        names = f"{one}, {other} and {more} more" if more else f"{one} and {other}"
        return f"{names} look the same ({self.distance} of {BITS} bits of a perceptual hash differ)"

    def problem(self, labels: Sequence[str] = ()) -> str:
        """Return what it means and what to do as a sentence; "" where nothing is apart.

        Args:
            labels: Class names.
        """
        first, second = self.samples[:2]
        if self.apart == SPLIT:
            return f"{self.told()}: {REASONS}; keep them in one split."
        if self.apart == GROUP:
            return (
                f"{self.told()}, of '{first.group}' and '{second.group}': {REASONS}; see whether "
                "these are one."
            )
        if self.apart == LABEL:
            names = dict(enumerate(labels))
            one, other = (names.get(s.label or 0, f"class {s.label}") for s in (first, second))
            return f"{self.told()}, but show {one} and {other}; see which is right."
        return ""


def look(picture: np.ndarray) -> bytes:
    """Return the perceptual hash of a picture, 32 bytes; none where it is all but flat.

    Size, aspect ratio, brightness, contrast and compression hardly change it. A mirrored picture
    differs from its original in about 128 bits.

    Args:
        picture: uint8 (H, W, 1 or 3).
    """
    small = resized(picture, (_SIDE, _SIDE)).astype(np.float32)
    grey = small @ _LUMA if small.shape[-1] == 3 else small[..., 0]
    found = (_COSINES @ grey @ _COSINES.T).ravel()[1:]  # without the mean
    if np.count_nonzero(np.abs(found) > 1) < _DETAIL:
        return b""
    return np.packbits(found > 0).tobytes()


def lookalikes(
    samples: Sequence[Sample], looks: Sequence[bytes], contents: Sequence[str]
) -> list[Lookalikes]:
    """Return the groups of pictures that look the same, those that lie apart most first.

    Time grows with the square of the number of pictures: 12,400 take a few seconds. Memory grows
    with the number itself, however many look the same.

    Args:
        samples: The pictures' samples.
        looks: Of `look`, one for each; pictures without one are like no other.
        contents: Digests of the pictures, one for each: the same ones are copies and make no pair.
    """
    seen = [place for place, one in enumerate(looks) if one]
    if len(seen) < 2:
        return []
    words = np.frombuffer(b"".join(looks), np.uint64).reshape(len(seen), -1)
    chosen = [samples[place] for place in seen]
    keys = [
        _numbered([one.split or None for one in chosen]),
        _numbered([one.group or None for one in chosen]),
        _numbered([one.label for one in chosen]),
    ]
    forest = _forest(words, keys, _numbered([contents[place] for place in seen]))
    return _groups(forest, chosen)


def _cosines() -> np.ndarray:
    """Return the first rows of the orthonormal cosine transform, float32 (16, 64)."""
    angles = np.arange(_FREQUENCIES)[:, None] * (2 * np.arange(_SIDE) + 1) * np.pi / (2 * _SIDE)
    rows = np.cos(angles) * np.sqrt(2 / _SIDE)
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


_COSINES = _cosines()


def _numbered(values: Sequence[Any]) -> np.ndarray:
    """Return a number for each value, the same for the same ones, and -1 for None."""
    numbers: dict[Any, int] = {None: -1}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values])


def _forest(words: np.ndarray, keys: Sequence[np.ndarray], contents: np.ndarray) -> Any:
    """Return the pairs that join all groups, as a sparse (N, N) matrix of their weights.

    A weight is 1 + distance + 256 · how little the two lie apart: the lightest pairs that join a
    group are its minimum spanning tree, and thinning by it keeps what matters in little memory.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    count = len(words)
    pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def thinned() -> Any:
        one, other, weights = map(np.concatenate, zip(*pending, strict=True))
        pairs = coo_array((weights, (one, other)), shape=(count, count))
        return minimum_spanning_tree(pairs.tocsr()).tocoo()

    empty = np.zeros(0, np.int32)
    pending.append((empty, empty, empty.astype(np.float64)))
    for start in range(0, count, _ROWS):
        rows, later = words[start : start + _ROWS], words[start:]
        distances = np.zeros((len(rows), len(later)), np.uint8)
        for word in range(words.shape[1]):
            distances += np.bitwise_count(rows[:, word, None] ^ later[:, word])
        one, other = np.nonzero(np.triu(distances <= NEAR, 1))
        bits = distances[one, other].astype(np.float64)
        one, other = one + start, other + start
        new = contents[one] != contents[other]
        one, other, bits = one[new], other[new], bits[new]
        apart = np.full(len(one), NOWHERE)
        for level, numbers in reversed(list(enumerate(keys))):
            left, right = numbers[one], numbers[other]
            apart[(left >= 0) & (right >= 0) & (left != right)] = level
        pending.append((one, other, 1 + bits + 256 * apart))
        if sum(len(part[0]) for part in pending) > _PENDING:
            kept = thinned()
            pending[:] = [(kept.row, kept.col, kept.data)]
    return thinned()


def _groups(forest: Any, samples: Sequence[Sample]) -> list[Lookalikes]:
    from scipy.sparse.csgraph import connected_components

    names = connected_components(forest, directed=False)[1]
    members: dict[int, list[int]] = {}
    for place in np.unique(np.concatenate([forest.row, forest.col])):
        members.setdefault(names[place], []).append(int(place))
    found: dict[int, Lookalikes] = {}
    for pair in np.lexsort((forest.col, forest.row, forest.data)):
        one, other = int(forest.row[pair]), int(forest.col[pair])
        if names[one] not in found:
            others = [place for place in members[names[one]] if place not in (one, other)]
            apart, distance = divmod(int(forest.data[pair]) - 1, 256)
            group = tuple(samples[place] for place in sorted((one, other)) + others)
            found[names[one]] = Lookalikes(group, distance, apart)
    return list(found.values())
