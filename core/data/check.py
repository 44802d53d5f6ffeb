"""What is wrong with the samples of a data set, a sentence each: every one is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from core.data.index import Sample
from core.data.lookalikes import lookalikes
from core.errors import UserError, readable


class Examined(NamedTuple):
    """What was seen of a sample.

    Attributes:
        problems: What is wrong with it, a sentence each.
        content: A digest of its content (see `digest`); empty where there is none.
        look: How it looks (see `core.data.lookalikes.look`); empty where that says nothing.
    """

    problems: Sequence[str] = ()
    content: str = ""
    look: bytes = b""


def check_samples(
    samples: Iterable[Sample],
    examine: Callable[[Sample], Examined | tuple[list[str], str]],
    *,
    labels: Sequence[str] = (),
    workers: int | None = None,
) -> list[str]:
    """Return what is wrong with samples, in their order, and which lie in two splits.

    Then come those that only look the same, and differ in split, group or class.

    Args:
        samples: What to look at.
        examine: Reads a sample; returns at least the first two values of `Examined`. A `UserError`
            it raises is a problem too.
        labels: Class names.
        workers: Threads; None is a few more than cores, for readers that wait for the disk.
    """
    samples = list(samples)

    def examined(sample: Sample) -> Examined:
        try:
            return Examined(*examine(sample))
        except UserError as error:
            return Examined([str(error)])

    problems: list[str] = []
    seen: dict[str, Sample] = {}
    looks: list[bytes] = []
    contents: list[str] = []
    with ThreadPoolExecutor(workers) as pool:  # decoding releases the interpreter's lock
        for sample, one in zip(samples, pool.map(examined, samples), strict=True):
            wrong, content, look = one
            problems += wrong
            looks.append(look)
            contents.append(content)
            other = seen.setdefault(content, sample) if content and sample.split else sample
            if other.split != sample.split:
                problems.append(
                    f"Sample '{sample.id}' ({sample.split}) has the same content as '{other.id}' "
                    f"({other.split}); keep it in one split."
                )
    problems += filter(None, (o.problem(labels) for o in lookalikes(samples, looks, contents)))
    return list(map(readable, problems))


def digest(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's shape, type and values."""
    content = hashlib.sha256(repr((values.shape, values.dtype.str)).encode())
    content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()
