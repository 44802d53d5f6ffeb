"""Changes inside archives (.npz, .pth, .keras): a part is changed and the checksums made anew."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from random import Random

from benchmarks.reliability.fuzzing import byte_mutations, payloads

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]

_NAMES = ("", "../x", "/x", "a" * 300, "data.pkl", "x/data.pkl", "config.json", "é", "\x00", "x/")
_TYPES = (
    *("<f4", ">f4", "<f8", "<f2", "|b1", "|i1", "<i8", "<u8", "<c16", "<f16", "|O", "|S0", "<U0"),
    *(
        "<U3",
        "<U99999999",
        "|V0",
        "|V8",
        "<M8[ns]",
        "<m8",
        "x",
        "",
        "<f4,<f4",
        "O8",
        "|S2147483647",
    ),
)
_SHAPES = (
    *("()", "(0,)", "(1,)", "(-1,)", "(2, 3)", "(1000000000000,)", "(65536, 65536, 65536)"),
    *(
        "(0, 9223372036854775807)",
        "(True,)",
        "(1.0,)",
        "None",
        "[2]",
        "(1,) * 9",
        "3",
        f"({'1,' * 99})",
    ),
)


def mutate_zip(
    data: bytes, rng: Random, donors: Sequence[bytes], inside: Callable[[str], Mutation]
) -> bytes:
    """Return an archive with a changed part, or with changed bytes.

    Args:
        data: The archive.
        rng: The source of all randomness.
        donors: Other archives.
        inside: Name of a part → how its content is changed.
    """
    if rng.random() < 0.2:
        return byte_mutations.mutate(data, rng, donors)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [(info, archive.read(info)) for info in archive.infolist()]
    except Exception:  # an earlier change broke it
        return byte_mutations.mutate(data, rng, donors)
    contents = [content for _, content in parts]
    for _ in range(1 if rng.random() < 0.8 else 2):
        if parts:
            parts = _changed(parts, rng, contents, inside)
    made = _zipped(parts)
    return _with_wrong_claims(made, rng) if rng.random() < 0.1 else made


def _changed(parts: list, rng: Random, contents: list[bytes], inside) -> list:
    at = rng.randrange(len(parts))
    info, content = parts[at]
    kind = rng.randrange(20)
    changed = list(parts)
    if kind == 0:
        del changed[at]
    elif kind == 1:
        changed.insert(rng.randrange(len(parts)), parts[at])
    elif kind == 2:
        changed[at] = (_named(info, rng.choice(_NAMES)), content)
    elif kind == 3:
        other = rng.randrange(len(parts))
        changed[at] = (info, parts[other][1])
    elif kind == 4:
        method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))
        changed[at] = (_named(info, info.filename, method), content)
    elif kind == 5:
        bomb = bytes(rng.choice((2**16, 2**20, 2**24)))
        changed[at] = (_named(info, info.filename, zipfile.ZIP_DEFLATED), content + bomb)
    elif kind == 6:
        changed[at] = (info, b"")
    else:
        changed[at] = (info, inside(info.filename)(content, rng, contents))
    return changed


def _named(info: zipfile.ZipInfo, name: str, method: int | None = None) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, info.date_time)
    made.compress_type = info.compress_type if method is None else method
    return made


def _zipped(parts: list) -> bytes:
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of names that occur twice
        for info, content in parts:
            archive.writestr(_named(info, info.filename), content, info.compress_type)
    return stream.getvalue()


def _with_wrong_claims(data: bytes, rng: Random) -> bytes:
    """Return the archive with a wrong size, place or method in one of its headers."""
    changed = bytearray(data)
    marks = [i for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for i in _all(data, mark)]
    if not marks:
        return data
    at = rng.choice(marks) + 4 + rng.randrange(42)
    width = rng.choice((1, 2, 4))
    value = rng.choice(byte_mutations.EXTREMES) % 2 ** (8 * width)
    changed[at : at + width] = value.to_bytes(width, "little")
    return bytes(changed)


def _all(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


def mutate_npy(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a .npy file with another header, other values or a pickle inside."""
    chance = rng.random()
    if chance < 0.08:
        return payloads.object_array()
    if chance < 0.4 or data[:6] != b"\x93NUMPY" or len(data) < 12:
        return byte_mutations.mutate(data, rng, donors)
    width = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    header = data[8 + width : 8 + width + length].decode("latin-1")
    body = data[8 + width + length :]
    parts = [part for part in header.strip().strip("{}").split(", '")]
    kind = rng.randrange(6)
    if kind == 0:
        header = _replaced(header, "descr", repr(rng.choice(_TYPES)))
    elif kind == 1:
        header = _replaced(header, "shape", rng.choice(_SHAPES))
    elif kind == 2:
        header = _replaced(header, "descr", "[('a', '<f4'), ('b', '|O')]")
    elif kind == 3:
        header = _replaced(header, "fortran_order", rng.choice(("True", "1", "None", "'x'")))
    elif kind == 4:
        header = rng.choice(("{}", "", "[]", "{" * 500, "(" * 3000, "-" * 9000, str(parts)))
    else:
        header = byte_mutations.mutate(header.encode("latin-1"), rng).decode("latin-1")
    written = header.encode("latin-1")
    version = rng.choice((1, 1, 1, 2, 3, 0, 9))
    size = struct.pack("<H", len(written) % 2**16) if version in (0, 1, 9) else None
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + (size or struct.pack("<I", len(written)))
        + written
        + body
    )


def _replaced(header: str, key: str, value: str) -> str:
    """Return the header with another value of a key (none of the values holds a colon)."""
    start = header.find(f"'{key}':")
    ends = [i for i in (header.find(", '", start), header.find("}", start)) if i > 0]
    if start < 0 or not ends:
        return header
    end = min(ends)
    return f"{header[:start]}'{key}': {value}{header[end:]}"


def mutate_safetensors(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a .safetensors file whose header says something else."""
    from benchmarks.reliability.fuzzing.document_mutations import mutate_json

    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.25 or len(data) < 8 + length:
        return byte_mutations.mutate(data, rng, donors)
    header = mutate_json(data[8 : 8 + length], rng)
    try:
        written = json.loads(header)
    except (ValueError, RecursionError):
        written = None
    if isinstance(written, dict) and written and rng.random() < 0.3:
        entry = written[rng.choice(sorted(written))]
        if isinstance(entry, dict):
            entry["dtype"] = rng.choice(("F32", "BF16", "BOOL", "F8_E4M3", "I64", "", 3))
            header = json.dumps(written).encode()
    claimed = len(header) if rng.random() < 0.9 else rng.choice(byte_mutations.EXTREMES) % 2**64
    return struct.pack("<Q", claimed) + header + data[8 + length :]
