"""The published way to regions: four quadrants grown apart, and joined where they meet.

Lev Teplyakov et al., "LSDNet", IEEE Access 10 (2022); the published program grows the quadrants in
four threads. Joining them keeps its order and its slip: a region that is joined only when a later
quadrant has its turn was already given out by itself, so its pixels stand in two regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Component = tuple[tuple[int, ...], tuple[int, ...]]


class Quadrant(NamedTuple):
    """Regions of a quadrant.

    Attributes:
        window: First row, row behind the last, and the same of columns.
        members: int32 (P,) numbers of the pixels of all regions, one region after the other.
        starts: int32 (R + 1,) where each begins.
        means: (R, 2) their mean directions.
    """

    window: tuple[int, int, int, int]
    members: np.ndarray
    starts: np.ndarray
    means: np.ndarray

    def region(self, number: int) -> np.ndarray:
        """Return the pixels of a region."""
        return self.members[self.starts[number] : self.starts[number + 1]]


@dataclass
class _Merge:
    """Regions of one segment: of the quadrant before, of one, and of the quadrant behind it."""

    before: tuple[int, ...]
    own: tuple[int, ...]
    after: tuple[int, ...]


@dataclass
class _Seam:
    """What is linked across the border of two quadrants.

    Attributes:
        components: Numbers of regions on the first and on the second side that hang together.
        used: Those that were merged already.
    """

    components: list[Component]
    used: set[int] = field(default_factory=set)

    def unused(self) -> list[tuple[int, Component]]:
        """Return the components that were not merged yet, with their numbers."""
        return [(i, c) for i, c in enumerate(self.components) if i not in self.used]

    def touches(self, side: int, regions: Sequence[int]) -> bool:
        """Return whether one of a side's regions is linked across the seam."""
        return any(set(component[side]) & set(regions) for component in self.components)


def windows(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Return the quadrants in the cyclic order they are joined in, beginning at the upper left."""
    top, left = height // 2, width // 2
    rows, columns = ((0, top), (top, height)), ((0, left), (left, width))
    return [(*rows[r], *columns[c]) for r, c in ((0, 0), (0, 1), (1, 1), (1, 0))]


def join(
    quadrants: Sequence[Quadrant], rows: np.ndarray, columns: np.ndarray, spread: float
) -> list[np.ndarray]:
    """Return the regions of the whole map, in the published order.

    Args:
        quadrants: In the order of `windows`.
        rows, columns: Of the pixels, by their numbers.
        spread: Squared length below which two regions' mean directions agree.

    Returns:
        int32 numbers of the pixels of each region, in the order that its sums are made in.
    """
    labels = [_labelled(quadrant, rows, columns) for quadrant in quadrants]
    seams = [_seam(n, quadrants, labels, spread) for n in range(4)]
    merges = [_merges(n, seams) for n in range(4)]
    found: list[np.ndarray] = []
    taken: list[set[int]] = [set() for _ in range(4)]
    for n, quadrant in enumerate(quadrants):
        before, after = (n - 1) % 4, (n + 1) % 4
        for merge in merges[n]:
            taken[before] |= set(merge.before)
            taken[n] |= set(merge.own)
            taken[after] |= set(merge.after)
            base, *others = merge.own
            parts = [quadrant.region(r) for r in (base, *others)]
            parts += [quadrants[before].region(r) for r in merge.before]
            parts += [quadrants[after].region(r) for r in merge.after]
            found.append(np.concatenate(parts[::-1]))
        alone = [r for r in range(len(quadrant.means)) if r not in taken[n]]
        found += [quadrant.region(r) for r in alone]
    return found[::-1]


def _labelled(quadrant: Quadrant, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the region's number of every pixel of a quadrant, -1 where there is none."""
    top, bottom, left, right = quadrant.window
    labels = np.full((bottom - top, right - left), -1)
    numbers = np.repeat(np.arange(len(quadrant.means)), np.diff(quadrant.starts))
    labels[rows[quadrant.members] - top, columns[quadrant.members] - left] = numbers
    return labels


def _seam(n: int, quadrants, labels: Sequence[np.ndarray], spread: float) -> _Seam:
    """Return what is linked across the border of quadrant n and the one behind it."""
    first, second = quadrants[n], quadrants[(n + 1) % 4]
    # The lines of pixels beside the border: right | left, lower | upper, left | right, upper |
    # lower, of the quadrants in their order.
    sides = (
        (np.s_[:, -1], np.s_[:, 0]),
        (np.s_[-1, :], np.s_[0, :]),
        (np.s_[:, 0], np.s_[:, -1]),
        (np.s_[0, :], np.s_[-1, :]),
    )[n]
    runs = _runs(labels[n][sides[0]]), _runs(labels[(n + 1) % 4][sides[1]])
    links = set()
    for a, start, end in runs[0]:
        for b, other_start, other_end in runs[1]:
            if other_start <= end and other_end >= start:  # also corner to corner
                off = first.means[a] - second.means[b]
                if off @ off < spread:
                    links.add((a, b))
    return _Seam(_components(links))


def _runs(line: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (label, start, end) of the runs of equal labels in a line, without those of -1."""
    cuts = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
    runs = [(int(line[start]), start, end) for start, end in pairwise(cuts)]
    return [run for run in runs if run[0] >= 0]


def _components(links: set[tuple[int, int]]) -> list[Component]:
    """Return what hangs together, by the smallest number on the first side."""
    found: list[Component] = []
    pending = sorted(links)
    while pending:
        firsts, seconds = {pending[0][0]}, set[int]()
        grown = True
        while grown:
            inside = [(a, b) for a, b in pending if a in firsts or b in seconds]
            size = len(firsts) + len(seconds)
            firsts |= {a for a, _ in inside}
            seconds |= {b for _, b in inside}
            grown = len(firsts) + len(seconds) > size
        found.append((tuple(sorted(firsts)), tuple(sorted(seconds))))
        pending = [(a, b) for a, b in pending if a not in firsts]
    return found


def _merges(n: int, seams: Sequence[_Seam]) -> list[_Merge]:
    """Return what is merged when quadrant n has its turn; its seams remember what was."""
    entering, leaving = seams[(n - 1) % 4], seams[n]
    found = []
    for number, (own, after) in leaving.unused():
        reached = [(i, c) for i, c in entering.unused() if set(c[1]) & set(own)]
        if not reached and seams[(n + 1) % 4].touches(0, after):
            continue  # the next quadrant merges it, with what lies behind
        firsts = sorted({region for _, component in reached for region in component[0]})
        together = sorted({*own, *(region for _, component in reached for region in component[1])})
        found.append(_Merge(tuple(firsts), tuple(together), after))
        entering.used |= {i for i, _ in reached}
        leaving.used.add(number)
    for number, (before, own) in entering.unused():
        if not seams[(n - 2) % 4].touches(1, before):
            found.append(_Merge(before, own, ()))
            entering.used.add(number)
    return found
