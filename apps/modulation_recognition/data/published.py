"""The published splits of the RadioML data sets.

The benchmark's (F. Zhang et al., Digital Signal Processing 2022, DOI 10.1016/j.dsp.2022.103650, as
of MCLDNN and PET-CGDNN) and that of VT-CNN2's notebook (arXiv 1602.04105).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEED = 2016
SPLITTERS = ("benchmark", "vt-cnn2")


def published_split(counts: Sequence[int], rule: str = "benchmark") -> np.ndarray:
    """Return each frame's split, "train", "val" or "test", as an array of text (N,).

    Args:
        counts: Frames of each (class, SNR) in the order of the files' frames: classes sorted, in
            each its labels ascending.
        rule: "benchmark" takes 60 % of each (class, SNR) for training and 20 % for validation;
            "vt-cnn2" half of all frames for training, the rest for the test.
    """
    rng = np.random.RandomState(SEED)  # the published code's generator
    total = sum(counts)
    splits = np.full(total, "test", dtype="<U5")
    if rule == "vt-cnn2":
        splits[rng.choice(total, total // 2, replace=False)] = "train"
        return splits
    if rule != "benchmark":
        raise ValueError(f"`rule` must be one of {SPLITTERS}. Received: rule={rule!r}")
    first = 0
    for count in counts:
        frames = range(first, first + count)
        train = rng.choice(frames, count * 6 // 10, replace=False)
        # The published code draws from the order in which CPython's sets hold integers.
        rest = list(set(frames) - set(train.tolist()))
        val = rng.choice(rest, count * 2 // 10, replace=False)
        splits[train], splits[val] = "train", "val"
        first += count
    return splits


def random_split(count: int, seed: int = SEED) -> np.ndarray:
    """Return a random 60 / 20 / 20 split of all frames, an array of text (count,)."""
    order = np.random.default_rng(seed).permutation(count)
    splits = np.full(count, "test", dtype="<U5")
    splits[order[: count * 6 // 10]] = "train"
    splits[order[count * 6 // 10 : count * 8 // 10]] = "val"
    return splits
