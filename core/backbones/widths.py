"""Widths and depths of scaled networks."""

from __future__ import annotations

from collections.abc import Sequence


def make_divisible(width: float, divisor: int, *, least_share: float = 0.9) -> int:
    """Return the multiple of a divisor nearest to a width, at least one divisor.

    The rule of the MobileNets: a result below `least_share` of the width is taken one divisor
    larger. Other families leave that out (0), or round up: see their sheets.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < least_share * width else rounded


def block_numbers(repeats: Sequence[int], depths: Sequence[int] | None) -> list[range]:
    """Return how the blocks of each stage are numbered, from 0 in every stage.

    A stage may have fewer blocks than the published one. They have the numbers of its last, so
    that the stage's end is called the same.

    Args:
        repeats: Blocks of each published stage.
        depths: Blocks of each stage; None takes all.

    Raises:
        ValueError: When a stage has none, or more than the published one.
    """
    depths = tuple(repeats if depths is None else depths)
    fits = len(depths) == len(repeats)
    if not fits or not all(1 <= d <= r for d, r in zip(depths, repeats, strict=True)):
        raise ValueError(
            f"`depths` must be {len(repeats)} numbers from 1 to those of {tuple(repeats)}. "
            f"Received: depths={depths}"
        )
    return [range(r - d, r) for d, r in zip(depths, repeats, strict=True)]
