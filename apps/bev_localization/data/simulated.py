"""The data sets that `apps.bev_localization.simulator` writes: KITTI's layout, a note beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from apps.bev_localization.data.kitti import read_kitti
from core.data.index import Index
from core.data.readers import Reader
from core.documents import BadDocument, read_json

RECORD = "about.json"
GENERATOR = "gossamer bev simulate"


def _recognises(path: Path) -> bool:
    if not (path / RECORD).is_file():
        return False
    try:
        record = read_json(path / RECORD)
    except (BadDocument, OSError):
        return False
    return isinstance(record, dict) and record.get("generator") == GENERATOR


def _read(path: Path) -> Index:
    notes = ("A simulation, not measurements: a map, and sequences that come back to it.",)
    return replace(read_kitti(path), format="simulated-town", notes=notes)


READERS = (
    Reader(
        "simulated-town",
        "a town simulated by `gossamer bev simulate`, in KITTI's layout",
        lambda path: path.is_dir() and _recognises(path),
        _read,
    ),
)
