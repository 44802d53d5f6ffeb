"""The data of the super-resolution app: published layouts, one's own folders, pairs, the sample."""

from __future__ import annotations

from pathlib import Path

from apps.super_resolution.data import layouts, prepared
from apps.super_resolution.data.pairs import check, pair, picture
from core.data.readers import Reader

__all__ = ["READERS", "SAMPLE_DATA", "check", "pair", "picture"]

SAMPLE_DATA: Path = Path(__file__).resolve().parent.parent / "sample_data"

_SAMPLE = Reader(
    "sample",
    "the built-in sample: parts of photographs that may be passed on",
    lambda path: path.resolve() == SAMPLE_DATA,
    lambda path: layouts.read("sample", layouts.folder, path),
    "public domain, CC0 and CC BY, picture by picture (sample_data/README.md)",
)

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (_SAMPLE, prepared.READER, *layouts.READERS)
}
