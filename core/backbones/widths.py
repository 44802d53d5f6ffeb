"""Widths of scaled networks."""

from __future__ import annotations


def make_divisible(width: float, divisor: int, *, least_share: float = 0.9) -> int:
    """Return the multiple of a divisor nearest to a width, at least one divisor.

    The rule of the MobileNets: a result below `least_share` of the width is taken one divisor
    larger. Other families leave that out (0), or round up: see their sheets.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < least_share * width else rounded
