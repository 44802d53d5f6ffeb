"""HDF5 files of others: whatever is wrong with one is told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import refuse_special

DAMAGED = "is not HDF5, cut short or damaged; download or copy it again."


@contextmanager
def damage_told(path: Path, what: str = DAMAGED) -> Iterator[None]:
    """Raise a `UserError` for what goes wrong while a file is read within the block.

    Args:
        path: The file.
        what: What the sentence says of it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # HDF5 raises OSError, RuntimeError and others for damaged files
        raise UserError(f"{path}: {what}") from error


def opened(path: Path, what: str = DAMAGED) -> Any:
    """Return a file, open for reading; what is read of it later is within `damage_told`.

    Raises:
        UserError: When it is no HDF5 or damaged.
    """
    import h5py

    refuse_special(path)
    with damage_told(path, what):
        return h5py.File(path, "r")
