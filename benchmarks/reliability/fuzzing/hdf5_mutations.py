"""Changes of HDF5 files: near the structures of the format, and of what the file holds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from random import Random

from benchmarks.reliability.fuzzing import byte_mutations

_SIGNATURES = (b"\x89HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"BTHD", b"OCHK")
_REACH = 96  # bytes behind a signature that belong to its structure


def mutate_hdf5(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return an HDF5 file that is damaged where it matters, or holds other things."""
    chance = rng.random()
    if chance < 0.25:
        return byte_mutations.mutate(data, rng, donors)
    if chance < 0.65:
        return _damaged_structure(data, rng)
    return _other_content(data, rng)


def _damaged_structure(data: bytes, rng: Random) -> bytes:
    places = []
    for signature in _SIGNATURES:
        at = data.find(signature)
        while at >= 0 and len(places) < 400:
            places.append(at)
            at = data.find(signature, at + 1)
    if not places:
        return byte_mutations.mutate(data, rng)
    changed = bytearray(data)
    for _ in range(1 + min(4, int(rng.expovariate(1)))):
        # Object headers of the old format have no signature: they lie anywhere, at multiples of 8.
        anywhere = rng.random() < 0.5
        at = rng.randrange(0, len(data), 8) if anywhere else rng.choice(places)
        at += rng.randrange(16 if anywhere else _REACH)
        width = rng.choice((1, 1, 2, 4, 8))
        if at + width <= len(changed):
            old = int.from_bytes(changed[at : at + width], "little")
            new = rng.choice((*byte_mutations.EXTREMES[:32], old + 1, old - 1, old ^ 1, old * 2))
            new = rng.choice((new, rng.choice(places), len(data)))
            changed[at : at + width] = (new % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(changed)


def _other_content(data: bytes, rng: Random) -> bytes:
    """Return the file with another data set, attribute or link, as another program writes it."""
    import h5py
    import numpy as np

    stream = io.BytesIO(data)
    values = (
        np.zeros(3),
        np.zeros((2, 0)),
        np.zeros((1, 1, 1, 1), np.uint8),
        np.float16([1, 2]),
        np.bytes_(b"text"),
        np.array([b"a", b"bc"]),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.array(7),
        np.full((3, 9, 4), 300, np.int64),
        np.full(4, np.nan),
        np.array([2**63], np.uint64),
        "text",
        h5py.Empty("f4"),
    )
    try:
        with h5py.File(stream, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            for _ in range(1 + min(2, int(rng.expovariate(1)))):
                _change(file, names, values, rng)
    except Exception:  # an earlier change broke it
        return byte_mutations.mutate(data, rng)
    return stream.getvalue()


def _change(file, names: list[str], values: tuple, rng: Random) -> None:
    import h5py

    name = rng.choice(names) if names else "x"
    if name not in file:
        return
    kind = rng.randrange(9)
    if kind == 0:
        del file[name]
    elif kind == 1:
        del file[name]
        file[name] = rng.choice(values)
    elif kind == 2:
        del file[name]
        file[name] = h5py.SoftLink(rng.choice((name, "/", "/nowhere", rng.choice(names))))
    elif kind == 3:
        del file[name]
        file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "model.keras", "x.h5")), "/")
    elif kind == 4:
        del file[name]
        file.create_group(name)
    elif kind == 5:
        other = rng.choice(names)
        if other in file and not name.startswith(other):
            del file[name]
            file[name] = file[other]
    elif kind == 6 and isinstance(file[name], h5py.Dataset):
        values_now = file[name][()]
        del file[name]
        if getattr(values_now, "dtype", None) is not None and values_now.dtype.kind in "uif":
            kinds = ("f8", "f2", "i1", ">f4", "u8", "b1")
            values_now = values_now.astype(rng.choice(kinds))
            shape = rng.choice((values_now.shape, values_now.shape[::-1], (-1,), (1, -1)))
            file.create_dataset(
                name,
                data=values_now.reshape(shape),
                compression=rng.choice((None, None, "gzip"))
                if values_now.size and values_now.reshape(shape).ndim
                else None,
            )
    elif kind == 7:
        file[name].attrs[rng.choice(("MATLAB_class", "x", "name"))] = rng.choice(values)
    elif kind == 8:
        # Values in another file: a careless reader shows it to whoever sees the result.
        del file[name]
        file.create_dataset(name, (9,), "u1", external=[("/etc/passwd", 0, 9)])
