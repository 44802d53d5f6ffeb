"""What is wrong with the samples of a data set, a sentence each: every one is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from core.data.index import Sample
from core.errors import UserError, readable

Examined = tuple[list[str], str]


def check_samples(
    samples: Iterable[Sample], examine: Callable[[Sample], Examined], *, workers: int | None = None
) -> list[str]:
    """Return what is wrong with samples, in their order, and which lie in two splits.

    Args:
        samples: What to look at.
        examine: Reads a sample; returns what is wrong with it and a digest of its content (see
            `digest`; empty where there is none). A `UserError` it raises is a problem too.
        workers: Threads; None is a few more than cores, for readers that wait for the disk.
    """
    samples = list(samples)

    def examined(sample: Sample) -> Examined:
        try:
            return examine(sample)
        except UserError as error:
            return [str(error)], ""

    problems: list[str] = []
    seen: dict[str, Sample] = {}
    with ThreadPoolExecutor(workers) as pool:  # decoding releases the interpreter's lock
        for sample, (wrong, content) in zip(samples, pool.map(examined, samples), strict=True):
            problems += wrong
            other = seen.setdefault(content, sample) if content and sample.split else sample
            if other.split != sample.split:
                problems.append(
                    f"Sample '{sample.id}' ({sample.split}) has the same content as '{other.id}' "
                    f"({other.split}); keep it in one split."
                )
    return list(map(readable, problems))


def digest(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's shape, type and values."""
    content = hashlib.sha256(repr((values.shape, values.dtype.str)).encode())
    content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()
