"""Changes of raw bytes: what a bad disk, a broken download or a hostile hand does to any file."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from random import Random

# Values at which lengths, counts and offsets go wrong.
EXTREMES = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 512, 1000),
    *(1023, 1024, 4095, 4096, 32767, 32768, 65535, 65536, 100_000, 2**20, 2**24 - 1, 2**24),
    *(2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63),
    *(2**64 - 8, 2**64 - 1),
)
_LARGEST = 2**21  # bytes of a mutated file
_HEAD = 160  # most formats keep their lengths near the beginning
_DIGITS = re.compile(rb"\d+")


def mutate(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return the bytes with one to eight changes.

    Args:
        data: Of a file.
        rng: The source of all randomness.
        donors: Other files, parts of which may be taken.
    """
    changed = bytearray(data)
    for _ in range(1 + min(7, int(rng.expovariate(0.7)))):
        if not changed:
            changed += rng.randbytes(rng.randint(1, 64))
        rng.choices(_CHANGES, _WEIGHTS)[0](changed, rng, donors)
        del changed[_LARGEST:]
    return bytes(changed)


def place(length: int, rng: Random) -> int:
    """Return a position, every second time one near the beginning."""
    return rng.randrange(min(length, _HEAD) if rng.random() < 0.5 else length)


def _flip(data: bytearray, rng: Random, _) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[place(len(data), rng)] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, rng: Random, _) -> None:
    data[place(len(data), rng)] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))


def _set_number(data: bytearray, rng: Random, _) -> None:
    width = rng.choice((1, 2, 4, 4, 8))
    if len(data) < width:
        return
    start = min(place(len(data), rng), len(data) - width)
    if rng.random() < 0.5:
        start -= start % width
    order = rng.choice(("little", "big"))
    old = int.from_bytes(data[start : start + width], order)
    new = rng.choice((rng.choice(EXTREMES), old + rng.choice((-2, -1, 1, 2, 8)), old * 2, -old))
    data[start : start + width] = (new % 2 ** (8 * width)).to_bytes(width, order)


def _set_float(data: bytearray, rng: Random, _) -> None:
    kind, width = rng.choice((("<f", 4), ("<d", 8), (">f", 4), (">d", 8)))
    if len(data) < width:
        return
    start = min(place(len(data), rng), len(data) - width)
    value = rng.choice((float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-38, 3e38))
    data[start : start + width] = struct.pack(kind, value)


def _cut(data: bytearray, rng: Random, _) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: Random, _) -> None:
    start = place(len(data), rng)
    del data[start : start + _length(data, rng)]


def _repeat(data: bytearray, rng: Random, _) -> None:
    start = place(len(data), rng)
    block = data[start : start + _length(data, rng)]
    data[start:start] = block * rng.choice((1, 1, 2, 16))


def _swap(data: bytearray, rng: Random, _) -> None:
    length = _length(data, rng)
    first, second = sorted((place(len(data), rng), place(len(data), rng)))
    if first + length <= second <= len(data) - length:
        ours, theirs = slice(first, first + length), slice(second, second + length)
        data[ours], data[theirs] = data[theirs], data[ours]


def _fill(data: bytearray, rng: Random, _) -> None:
    start = place(len(data), rng)
    length = min(_length(data, rng), len(data) - start)
    kind = rng.randrange(3)
    data[start : start + length] = (bytes(length), b"\xff" * length, rng.randbytes(length))[kind]


def _extend(data: bytearray, rng: Random, _) -> None:
    length = rng.choice((1, 7, 64, 4096))
    data += rng.choice((bytes(length), rng.randbytes(length)))


def _splice(data: bytearray, rng: Random, donors: Sequence[bytes]) -> None:
    donor = rng.choice(donors) if donors else bytes(data)
    if donor:
        start, length = rng.randrange(len(donor)), _length(donor, rng)
        at = place(len(data), rng)
        data[at : at + (length if rng.random() < 0.5 else 0)] = donor[start : start + length]


def _rewrite_digits(data: bytearray, rng: Random, _) -> None:
    found = list(_DIGITS.finditer(bytes(data[: 2**16])))
    if found:
        one = rng.choice(found)
        new = rng.choice(("-1", "1e999", "", "9" * 40, str(rng.choice(EXTREMES))))
        data[one.start() : one.end()] = new.encode()


def _length(data: Sequence, rng: Random) -> int:
    return max(1, min(len(data), int(rng.choice((1, 2, 4, 8, 16, 64, 256, len(data) // 4)))))


_CHANGES = (
    _flip,
    _set_byte,
    _set_number,
    _set_float,
    _cut,
    _remove,
    _repeat,
    _swap,
    _fill,
    _extend,
    _splice,
    _rewrite_digits,
)
_WEIGHTS = (4, 3, 6, 1, 2, 2, 1, 1, 2, 1, 2, 2)
