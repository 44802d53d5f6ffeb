"""The scans that a user asks about: files, folders and data sets, with poses or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from apps.bev_localization.data import READERS
from apps.bev_localization.data.clouds import SUFFIXES
from apps.bev_localization.data.records import LAYOUTS
from apps.bev_localization.data.samples import IMAGE, LAYOUT, scan_samples
from apps.bev_localization.data.scan_folder import OWN
from core.data.images import SUFFIXES as PICTURES
from core.data.index import Sample
from core.data.readers import read_with
from core.errors import UserError, no_such, not_found

_BINARY = ".bin"


def query_samples(paths: Sequence[Path], format: str | None = None) -> list[Sample]:
    """Return the scans that paths name.

    Args:
        paths: Scans (.pcd, .ply, .bin), ready images, folders of them, data sets.
        format: A reader of folders, or a layout of the points in .bin files; None and "auto"
            recognise folders and take KITTI's points.

    Raises:
        UserError: When there is nothing, the format is unknown, or two scans have one name.
    """
    format = None if format == "auto" else format
    if format is not None and format not in {*READERS, *LAYOUTS}:
        raise no_such("format", format, dict.fromkeys([*READERS, *LAYOUTS]))
    found: dict[str, Sample] = {}
    folders = _distinct_folders([path for path in paths if path.is_file()])
    for path in paths:
        for sample in _of(path, format, folders):
            if sample.id in found:
                raise UserError(
                    f"{sample.inputs[0]}: a second scan is called '{sample.id}' and its result "
                    "would overwrite the first one's; localize them one after the other."
                )
            found[sample.id] = sample
    return list(found.values())


def _distinct_folders(files: Sequence[Path]) -> dict[Path, str]:
    """Return what the folder of each file is called: as many of its parents as tell all apart."""
    parts = {path: path.resolve().parts[1:-1] for path in files}
    names: dict[Path, str] = {}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        names = {path: "/".join(own[-depth:]) for path, own in parts.items()}
        if len({(name, path.name) for path, name in names.items()}) == len(files):
            break
    return names


def _of_folder(path: Path, format: str | None) -> Sequence[Sample]:
    """Return the scans of a folder; a layout's name tells the points of those of no data set."""
    if format not in LAYOUTS:
        return read_with(READERS, path, format or "auto").samples
    index = read_with(READERS, path, "auto")
    if index.format == OWN:
        return [replace(one, extra={**one.extra, LAYOUT: format}) for one in index.samples]
    return read_with(READERS, path, format).samples if format in READERS else index.samples


def _of(path: Path, format: str | None, folders: dict[Path, str]) -> Sequence[Sample]:
    if not path.exists():
        raise not_found(path)
    if path.is_dir():
        return _of_folder(path, format)
    ending = path.suffix.lower()
    if ending in PICTURES:
        layout = IMAGE
    elif ending in (*SUFFIXES, _BINARY):
        layout = format if format in LAYOUTS else "kitti"
    else:
        raise UserError(f"{path}: is no scan; pass .pcd, .ply or .bin files, or their folder.")
    return scan_samples([path], folders.get(path) or "scans", layout)
