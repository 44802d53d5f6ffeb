"""Which mutation suits a file, by its name and its first bytes."""

from __future__ import annotations

import contextlib
import gzip
import posixpath
import re
import zlib
from collections.abc import Sequence
from random import Random

from benchmarks.reliability.fuzzing import byte_mutations
from benchmarks.reliability.fuzzing.archive_mutations import (
    Mutation,
    mutate_npy,
    mutate_safetensors,
    mutate_zip,
)
from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.document_mutations import (
    mutate_json,
    mutate_lines,
    mutate_table,
    mutate_yaml,
)
from benchmarks.reliability.fuzzing.hdf5_mutations import mutate_hdf5
from benchmarks.reliability.fuzzing.image_mutations import mutate_jpeg, mutate_png, mutate_tiff
from benchmarks.reliability.fuzzing.keras_mutations import mutate_keras_config
from benchmarks.reliability.fuzzing.pickle_mutations import mutate_pickle
from benchmarks.reliability.fuzzing.tflite_mutations import mutate_tflite

_BY_SUFFIX: dict[str, Mutation] = {
    ".json": mutate_json,
    ".sigmf-meta": mutate_json,
    ".yaml": mutate_yaml,
    ".csv": mutate_table,
    ".tsv": mutate_table,
    ".txt": mutate_lines,
    ".npy": mutate_npy,
    ".safetensors": mutate_safetensors,
    ".tflite": mutate_tflite,
}


def mutation_of(name: str, content: bytes) -> Mutation:
    """Return the mutation for a file."""
    head = content[:8]
    if head[:2] == b"PK":
        return _zip
    if head[:2] == b"\x1f\x8b":
        return _gzip
    if head == b"\x89HDF\r\n\x1a\n":
        return mutate_hdf5
    if head == b"\x89PNG\r\n\x1a\n":
        return mutate_png
    if head[:4] in (b"II*\x00", b"MM\x00*"):
        return mutate_tiff
    if head[:2] == b"\xff\xd8":
        return mutate_jpeg
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if head[:1] == b"\x80" or suffix in (".pkl", ".pth"):
        return mutate_pickle
    return byte_mutations.mutate


def mutate_content(case: Case, rng: Random, donors: Sequence[bytes] = (), focus: str = "") -> Case:
    """Return the case with one of its files changed by the mutation that suits it.

    Args:
        case: At least one of its entries is a file.
        rng: The source of all randomness.
        donors: Other files, parts of which may be taken.
        focus: Files, as a regular expression, that are changed far more often than others.
    """
    # Documents decide how the other files are read: they are changed more often.
    files = case.files()
    weights = [4 if posixpath.splitext(name)[1] in _BY_SUFFIX else 1 for name in files]
    if focus:
        weights = [200 if re.search(focus, name) else 1 for name in files]
    name = rng.choices(files, weights)[0]
    content = case.entries[name]
    if not isinstance(content, bytes):
        raise TypeError(f"{name} is no file")
    changed = mutation_of(name, content)(content, rng, donors)
    return case.with_entries({**case.entries, name: changed})


def _gzip(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Change what is packed, three times in four, else the packing."""
    if rng.random() < 0.75:
        with contextlib.suppress(OSError, EOFError, zlib.error):  # changed before
            content = byte_mutations.mutate(gzip.decompress(data), rng, donors)
            return gzip.compress(content, compresslevel=1, mtime=0)
    return byte_mutations.mutate(data, rng, donors)


def _zip(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    def inside(name: str) -> Mutation:
        def change(content: bytes, rng: Random, donors: Sequence[bytes]) -> bytes:
            if name == "config.json":
                return mutate_keras_config(content, rng, donors)
            return mutation_of(name, content)(content, rng, donors)

        return change

    return mutate_zip(data, rng, donors, inside)
