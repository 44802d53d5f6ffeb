"""The files of CUHK03: `cuhk-03.mat` (HDF5, MATLAB 7.3) and the new protocol's (MATLAB 5).

MATLAB's arrays lie transposed in HDF5, and its cells are references to other arrays. A camera pair
is a cell of persons times ten images, the first five by one camera, the others by the second.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.checkpoints.archives import DAMAGE
from core.data import hdf5
from core.data.matlab5 import read_matlab5
from core.errors import UserError
from core.files import explained, folder_aside

TRIALS = 20
_PER_CAMERA = 5
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Protocol:
    """The new protocol: file names with their persons, and who is where.

    Attributes:
        files, persons: Of all images.
        train, query, gallery: Positions in these, from 0.
    """

    files: tuple[str, ...]
    persons: tuple[int, ...]
    train: tuple[int, ...]
    query: tuple[int, ...]
    gallery: tuple[int, ...]


def read_protocol(path: Path) -> Protocol:
    """Return what `cuhk03_new_protocol_config_detected.mat` (or `_labeled`) holds.

    Raises:
        UserError: When the file is damaged or another one.
    """
    try:
        content = read_matlab5(path)
    except (OSError, *DAMAGE) as error:
        raise UserError(
            f"{path}: cannot be read as a MATLAB file, it is damaged or cut off; copy or download "
            "it again."
        ) from error
    try:
        files = tuple(content["filelist"])
        persons = tuple(int(value) for value in content["labels"])
        places = {
            name: tuple(int(value) - 1 for value in content[f"{name}_idx"])
            for name in ("train", "query", "gallery")
        }
        if not all(isinstance(file, str) for file in files):
            raise TypeError("names that are no text")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path}: is not a protocol of CUHK03 (filelist, labels, train_idx, query_idx, "
            "gallery_idx); download it again."
        ) from error
    every = [place for part in places.values() for place in part]
    if len(files) != len(persons) or not every or not 0 <= min(every) <= max(every) < len(files):
        raise UserError(f"{path}: its lists do not fit each other; download it again.")
    return Protocol(files, persons, **places)


def classic_trials(path: Path) -> list[set[tuple[int, int]]]:
    """Return the classic protocol's tested persons, (camera pair, person) from 1, for each trial.

    Raises:
        UserError: When the file is damaged or another one.
    """
    with _opened(path) as file:
        return [
            {(int(pair), int(person)) for pair, person in file[reference][:].T}
            for reference in file["testsets"][:].ravel()
        ]


def extract(path: Path, kind: str, folder: Path) -> None:
    """Write the images of `cuhk-03.mat` as PNG files into a folder that appears when all are done.

    They are named `<pair>_<person>_<view>_<image>.png`, as the protocols name them.

    Args:
        path: The file.
        kind: "detected" or "labeled".
        folder: New.

    Raises:
        UserError: When the file is damaged, or the folder cannot be written.
    """
    from PIL import Image

    with _opened(path) as file:
        if kind not in file:
            raise KeyError(kind)
        try:
            with folder_aside(folder.parent, folder.name) as aside:
                for name, pixels in _images(file, kind):
                    with explained(folder):
                        Image.fromarray(pixels).save(aside / name, "PNG")
                with explained(folder):
                    aside.chmod(0o755)
                    if not folder.exists():  # or else another process was quicker
                        aside.replace(folder)
        except OSError as error:  # of making the folder aside
            if error.errno in _CLOSED:
                raise UserError(
                    f"{folder.parent}: the images of {path.name} are written out once, but this "
                    f"folder is closed to you; copy {path.name} to a folder you may write to."
                ) from error
            with explained(folder):
                raise


def _images(file, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and uint8 (H, W, 3) of each image; empty cells are passed over."""
    for pair, reference in enumerate(file[kind][:].ravel(), 1):
        for person, cells in enumerate(file[reference][:].T, 1):
            for number, cell in enumerate(cells, 1):
                pixels = file[cell]
                if pixels.ndim == 3:
                    view = 1 if number <= _PER_CAMERA else 2
                    name = f"{pair}_{person:03d}_{view}_{number:02d}.png"
                    yield name, np.ascontiguousarray(pixels[:].T.astype(np.uint8))


@contextmanager
def _opened(path: Path) -> Iterator:
    damaged = (
        "cannot be read as HDF5 (MATLAB 7.3), it is damaged or cut off; copy or download it again."
    )
    with hdf5.damage_told(path, damaged), hdf5.opened(path, damaged) as file:
        try:
            yield file
        except KeyError as error:
            raise UserError(
                f"{path}: is not cuhk-03.mat (it lacks labeled, detected or testsets); pass the "
                "file of cuhk03_release."
            ) from error
