"""What goes wrong when a volume's file is opened: no package, no file, no memory for its claims."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import ModuleType

from core.errors import UserError, not_found
from core.files import refuse_special

MAX_VOXELS = 2**29  # 512 x 512 x 2048; the largest scans in use (LiTS) have half of that
_DENSEST = 1100  # bytes that one compressed byte becomes, at most (deflate: 1032)
_SLACK = 2**24  # bytes; tiny files of one colour may be denser in other compressions


def package(name: str, kind: str) -> ModuleType:
    """Return a package of the extra 'medical'.

    Args:
        name: What is imported.
        kind: What it reads: "NIfTI".

    Raises:
        UserError: When it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{kind} files need {name.partition('.')[0]}, which is not installed; install with: "
            "pip install 'gossamer-keras[medical]'."
        ) from error


@contextmanager
def explained(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever reading a file of a `kind` ("NIfTI", "DICOM") raises into one sentence."""
    refuse_special(path)
    try:
        yield
    except (UserError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise not_found(path, "file") from error
    except PermissionError as error:
        raise UserError(f"{path}: permission denied; make the file readable.") from error
    except Exception as error:  # the packages raise anything from struct.error to RecursionError
        raise UserError(
            f"{path}: cannot be read as {kind}, it is damaged or cut off; copy or download it "
            "again."
        ) from error


def refuse_huge(path: Path, shape: Sequence[int], voxel_bytes: int, *, compressed: bool) -> None:
    """Raise a `UserError` for a file that claims more voxels than it can hold or anyone can use.

    Called before memory is taken: a damaged or hostile header of a few bytes may claim terabytes.

    Args:
        path: The file.
        shape: Voxels it claims along each axis.
        voxel_bytes: Of one voxel, decompressed.
        compressed: Whether its values are.
    """
    size = " x ".join(map(str, shape))
    voxels = prod(shape)
    if voxels > MAX_VOXELS:
        raise UserError(
            f"{path}: claims {size} voxels, more than this suite opens ({MAX_VOXELS // 10**6} "
            "million); crop or resample the volume first."
        )
    held = path.stat().st_size
    if voxels * voxel_bytes > (held * _DENSEST + _SLACK if compressed else held):
        raise UserError(
            f"{path}: claims {size} voxels, which {held} bytes cannot hold, so it is cut off or "
            "damaged; copy or download it again."
        )
