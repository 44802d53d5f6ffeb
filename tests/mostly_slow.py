"""Parameters of which a few stand for all in the quick suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def mostly_slow(values: Iterable, quick: Collection) -> list:
    """Return all values for `parametrize`, those that are not in `quick` marked slow."""
    return [
        value if value in quick else pytest.param(*_several(value), marks=pytest.mark.slow)
        for value in values
    ]


def _several(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)
