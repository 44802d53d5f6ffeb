"""Changes of image files that know where sizes, counts and checksums stand."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Sequence
from random import Random

from benchmarks.reliability.fuzzing import byte_mutations

_PNG = b"\x89PNG\r\n\x1a\n"
_SIDES = (0, 1, 2, 3, 24, 255, 1000, 4096, 8192, 32768, 65500, 2**20, 2**24, 2**31 - 1, 2**32 - 1)
# Tags of sizes, counts, kinds and places, and a few that are seldom there.
_TAGS = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 297, 317, 320, 322),
    *(323, 324, 325, 330, 338, 339, 347, 530, 34665, 34853, 700, 33723, 34377, 65000),
)
_TIFF_WIDTH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}


def _side(rng: Random) -> int:
    """Return a side; large ones seldom, as a picture of 60 million pixels takes seconds."""
    return rng.choice(_SIDES if rng.random() < 0.2 else _SIDES[:7])


def mutate_png(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a PNG file with changed chunks whose checksums are right."""
    chunks = _png_chunks(data)
    if rng.random() < 0.25 or not chunks:
        return byte_mutations.mutate(data, rng, donors)
    for _ in range(1 + min(3, int(rng.expovariate(1)))):
        if not chunks:
            break
        at = rng.randrange(len(chunks))
        kind, content = chunks[at]
        change = rng.randrange(7)
        if change == 0 and len(chunks) > 1:
            del chunks[at]
        elif change == 1:
            chunks.insert(rng.randrange(len(chunks)), (kind, content))
        elif change == 2:
            chunks[at] = (kind, byte_mutations.mutate(content, rng))
        elif change == 3:
            chunks[0] = (b"IHDR", _png_header(chunks[0][1], rng))
        elif change == 4:
            chunks.insert(rng.randint(1, len(chunks)), _png_extra(rng))
        elif change == 5:
            pixels = [i for i, (name, _) in enumerate(chunks) if name == b"IDAT"]
            if pixels:
                chunks[pixels[0]] = (b"IDAT", _other_pixels(chunks[pixels[0]][1], rng))
        else:
            new = bytes(rng.choice(b"abcdIDATPLTEtRNSzTXt") for _ in range(4))
            chunks[at] = (new, content)
    made = _PNG
    for kind, content in chunks:
        check = zlib.crc32(kind + content)
        made += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
    return made


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while data[:8] == _PNG and at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if at + 12 + length > len(data):
            break
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png_header(content: bytes, rng: Random) -> bytes:
    if len(content) != 13:
        return content
    width, height, *kinds = struct.unpack(">IIBBBBB", content)
    if rng.random() < 0.5:
        width, height = rng.choice((width, _side(rng))), rng.choice((height, _side(rng)))
    else:
        kinds[rng.choice((0, 0, 1, 1, 2, 3, 4))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return struct.pack(">IIBBBBB", width, height, *kinds)


@functools.cache
def _zeros(count: int) -> bytes:
    """Return zeros as a few compressed bytes."""
    return zlib.compress(bytes(count), 9)


def _png_extra(rng: Random) -> tuple[bytes, bytes]:
    bomb = _zeros(rng.choice((2**10, 2**24)))
    return rng.choice(
        (
            (b"zTXt", b"x\x00\x00" + bomb),
            (b"iTXt", b"x\x00\x01\x00\x00\x00" + bomb),
            (b"iCCP", b"x\x00\x00" + bomb),
            (b"eXIf", b"II*\x00" + rng.randbytes(40)),
            (b"eXIf", b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06"),
            (b"tRNS", rng.randbytes(rng.choice((0, 1, 2, 6, 300)))),
            (b"PLTE", rng.randbytes(rng.choice((0, 1, 3, 768, 900)))),
            (b"acTL", struct.pack(">II", rng.choice(_SIDES), 0)),
            (
                b"fcTL",
                struct.pack(">IIIIIHHBB", 0, *(rng.choice(_SIDES) for _ in range(4)), 1, 0, 9, 9),
            ),
            (b"fdAT", rng.randbytes(20)),
            (b"gAMA", rng.randbytes(rng.choice((1, 4)))),
            (b"IEND", b""),
        )
    )


def _other_pixels(content: bytes, rng: Random) -> bytes:
    try:
        raw = bytearray(zlib.decompress(content))
    except zlib.error:
        return content
    for _ in range(rng.choice((1, 4, 30))):
        if raw:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    kept = raw[: rng.choice((len(raw), len(raw) // 2, 0))]
    return zlib.compress(bytes(kept + bytes(rng.choice((0, 0, 100, 10**6)))))


def mutate_tiff(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a TIFF file with changed entries in its directories."""
    entries = _tiff_entries(data)
    if rng.random() < 0.3 or not entries:
        return byte_mutations.mutate(data, rng, donors)
    order = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    for _ in range(1 + min(3, int(rng.expovariate(1)))):
        at = rng.choice(entries)
        tag, kind, count, value = struct.unpack_from(f"{order}HHII", changed, at)
        change = rng.randrange(6)
        if change == 0:
            tag = rng.choice(_TAGS)
        elif change == 1:
            kind = rng.choice((*_TIFF_WIDTH, 0, 13, 17, 99))
        elif change == 2:
            count = rng.choice((count + 1, *byte_mutations.EXTREMES)) % 2**32
        elif change == 3:
            other = rng.choice(entries)
            value = struct.unpack_from(f"{order}I", changed, other + 8)[0]
        else:
            value = rng.choice((value + 1, 2, 5, 6, 7, 8, 99, 32773, *_SIDES)) % 2**32
            if kind == 3 and order == ">":
                value = (value << 16) % 2**32
        struct.pack_into(f"{order}HHII", changed, at, tag, kind, count, value)
    if rng.random() < 0.2:
        last = max(entries) + 12  # where the next directory is: here, or in itself
        if last + 4 <= len(changed):
            struct.pack_into(
                f"{order}I", changed, last, rng.choice((8, min(entries) - 2, len(data)))
            )
    return bytes(changed)


def _tiff_entries(data: bytes) -> list[int]:
    """Return where the entries of all directories begin; none for BigTIFF."""
    if data[:4] not in (b"II*\x00", b"MM\x00*") or len(data) < 8:
        return []
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    found: list[int] = []
    for _ in range(8):
        if not 0 < at <= len(data) - 2:
            break
        (count,) = struct.unpack_from(f"{order}H", data, at)
        end = at + 2 + 12 * count
        if end + 4 > len(data):
            break
        found += range(at + 2, end, 12)
        (at,) = struct.unpack_from(f"{order}I", data, end)
    return found


def mutate_jpeg(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a JPEG file with a changed segment: size, tables, EXIF."""
    starts = _jpeg_segments(data)
    if rng.random() < 0.3 or not starts:
        return byte_mutations.mutate(data, rng, donors)
    changed = bytearray(data)
    at = rng.choice(starts)
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    kind = rng.randrange(5)
    if kind == 0:
        del changed[at : at + 2 + length]
    elif kind == 1:
        changed[at:at] = data[at : at + 2 + length]
    elif kind == 2:
        frames = [i for i in starts if data[i + 1] in range(0xC0, 0xC4)]
        if frames:
            size = struct.pack(">HH", *(_side(rng) % 65536 for _ in range(2)))
            changed[frames[0] + 5 : frames[0] + 9] = size
    else:
        inside = byte_mutations.mutate(data[at + 4 : at + 2 + length], rng)[:65533]
        claimed = len(inside) + 2 if kind == 3 else length
        changed[at + 2 : at + 2 + length] = claimed.to_bytes(2, "big") + inside
    return bytes(changed)


def _jpeg_segments(data: bytes) -> list[int]:
    found, at = [], 2
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:
            break
        found.append(at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found
