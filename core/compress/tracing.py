"""Whether a graph is being traced that a file is made from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_EXPORTING: list[bool] = []


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Leave out of graphs traced within the block what only simulates a file's kernels."""
    _EXPORTING.append(True)
    try:
        yield
    finally:
        _EXPORTING.pop()


def is_exporting() -> bool:
    """Return whether a graph is traced that a file is made from."""
    return bool(_EXPORTING)
