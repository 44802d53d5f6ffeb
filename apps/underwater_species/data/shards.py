"""Parquet shards of pictures as the Hugging Face hub stores them, read without its client.

A shard is a table of rows {image: {bytes, path}, label}. Labels are read at once; pictures are
taken from their row when they are needed, a row group at a time.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from core.data.folders import SPLIT_FOLDERS, find_files, folders, plain
from core.documents import parse_json
from core.errors import UserError
from core.files import refuse_special

EXTRA = "reading parquet needs the 'parquet' extra: pip install 'gossamer-keras[parquet]'"
KEPT = 4  # row groups in memory
LARGEST = 64 * 2**20  # bytes of a row group that is kept; the hub writes about 100 rows a group
_ROWS = 16  # read at once of a row group that is too large to be kept
_NAME = re.compile(r"(?P<split>[a-z]+)-(?P<part>\d{5})-of-(?P<parts>\d{5})(-[0-9a-f]+)?\.parquet")


def shards_at(path: Path) -> dict[str, list[Path]]:
    """Return the shards at a path by split, in their order; empty where there are none.

    Args:
        path: The data set's folder, with the files in it or in its `data/`, or one file.

    Raises:
        UserError: When a shard of several is missing.
    """
    found: dict[str, list[Path]] = {}
    for file in _files(path):
        name = _NAME.fullmatch(file.name)
        split = SPLIT_FOLDERS.get(plain(name["split"])) if name else None
        if split:
            found.setdefault(split, []).append(file)
    for files in found.values():
        _refuse_incomplete(files)
    return found


def looks_like_shards(path: Path) -> bool:
    """Return whether a path is or holds files named as shards are, complete or not."""
    return any(_NAME.fullmatch(file.name) for file in _files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    places = [path, *(one for one in folders(path) if one.name == "data")]
    for place in places:
        try:
            return find_files(place, "parquet", (".parquet",))
        except UserError:
            continue
    return []


def _refuse_incomplete(files: Sequence[Path]) -> None:
    names = [name for file in files if (name := _NAME.fullmatch(file.name))]
    parts = sorted(int(name["part"]) for name in names)
    wanted = int(names[0]["parts"])
    if parts == list(range(wanted)):
        return
    missing = sorted(set(range(wanted)) - set(parts))
    if not missing:
        raise UserError(
            f"{files[0].parent}: holds {len(parts)} {names[0]['split']} shards of {wanted}; keep "
            "those of one download."
        )
    raise UserError(
        f"{files[0].parent}: shard {names[0]['split']}-{missing[0]:05d}-of-{wanted:05d}.parquet is "
        f"missing ({len(parts)} of {wanted} are there); download it too."
    )


class Shard:
    """One parquet file of pictures.

    Attributes:
        path: The file.
        labels: Of its rows, as stored; None where one is null.
        names: Class names in its metadata; empty where it has none.
        notes: Sentences about how it is stored.

    Raises:
        UserError: When the file is cut off, no parquet, or has other columns.
    """

    def __init__(self, path: Path):
        self.path = path
        file = _opened(path)
        with _explained(path):
            self._check(file)
            self.labels: list[int | None] = file.read(columns=["label"])["label"].to_pylist()
            self.names = _class_names(file)
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
        self.notes: list[str] = []
        if groups and max(group.total_byte_size for group in groups) > LARGEST:
            self.notes.append(
                f"{path.name}: its row groups are larger than {LARGEST // 2**20} MB, so pictures "
                "are found slowly; write it again with 100 rows a group."
            )

    def _check(self, file) -> None:
        import pyarrow.types as types

        schema = file.schema_arrow
        for column in ("image", "label"):
            if column not in schema.names:
                listed = ", ".join(schema.names)
                raise UserError(
                    f"{self.path}: has no column '{column}' (only {listed}); check the data set."
                )
        image, label = schema.field("image").type, schema.field("label").type
        if not types.is_struct(image) or "bytes" not in [field.name for field in image]:
            raise UserError(
                f"{self.path}: column 'image' is {image}, not a struct with 'bytes'; download the "
                "data set as parquet, with its pictures inside."
            )
        if not types.is_integer(label):
            raise UserError(f"{self.path}: column 'label' is {label}, not whole numbers.")


class _Rows:
    """The pictures' bytes in shards, a few row groups of which are kept. Safe in any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self._files: dict[Path, tuple[Any, list[int]]] = {}
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def content(self, path: Path, row: int) -> bytes | None:
        """Return the encoded picture in a row; None where the row holds none."""
        with self._lock, _explained(path):
            file, ends = self._file(path)
            group = next((n for n, end in enumerate(ends) if row < end), None)
            if group is None:
                raise UserError(f"{path}: has no row {row} any more; read the data set anew.")
            within = row - (ends[group - 1] if group else 0)
            if file.metadata.row_group(group).total_byte_size > LARGEST:
                return _found(file, group, within)
            column = self._groups.get((path, group))
            if column is None:
                column = _bytes_of(file.read_row_group(group, columns=["image"]))
                self._groups[path, group] = column
                while len(self._groups) > KEPT:
                    self._groups.popitem(last=False)
            self._groups.move_to_end((path, group))
            return column[within].as_py()

    def _file(self, path: Path) -> tuple[Any, list[int]]:
        if path not in self._files:  # opened once: what replaces a file meanwhile is not seen
            file, ends, rows = _opened(path), [], 0
            for number in range(file.metadata.num_row_groups):
                rows += file.metadata.row_group(number).num_rows
                ends.append(rows)
            self._files[path] = file, ends
        return self._files[path]


@cache
def _rows() -> _Rows:
    return _Rows()


def picture_bytes(path: Path, row: int) -> bytes:
    """Return the encoded picture in a shard's row.

    Raises:
        UserError: When the row holds no picture, or the file is damaged there.
    """
    content = _rows().content(path, row)
    if content is None:
        raise UserError(
            f"{path}, row {row}: holds no picture (null); download the data set with its pictures "
            "inside, or take the row out."
        )
    return content


def _found(file, group: int, within: int) -> bytes | None:
    """Return a row of a large row group, by going through it piece by piece."""
    for batch in file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=["image"]):
        if within < batch.num_rows:
            return _bytes_of(batch)[within].as_py()
        within -= batch.num_rows
    return None


def _bytes_of(table) -> Any:
    """Return the encoded pictures of a table or batch; null where the image itself is."""
    import pyarrow.compute as compute

    return compute.struct_field(table["image"], "bytes")


def _class_names(file) -> tuple[str, ...]:
    """Return what the hub's client wrote of the label column beside the schema."""
    try:
        stored = file.schema_arrow.metadata[b"huggingface"]
        names = parse_json(stored)["info"]["features"]["label"]["names"]
        return tuple(map(str, names))
    except (TypeError, KeyError, ValueError):
        return ()


def _opened(path: Path):
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UserError(f"{path}: {EXTRA}.") from error

    refuse_special(path)
    with _explained(path):
        return parquet.ParquetFile(path, memory_map=False)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises into one sentence for the user."""
    from pyarrow import ArrowException

    try:
        yield
    except UserError:
        raise
    except (ArrowException, OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            reason = os.strerror(error.errno)
            raise UserError(f"{path}: cannot be read: {reason}; check the path.") from error
        raise UserError(
            f"{path}: is cut off or damaged, or no parquet file; download it again."
        ) from error
