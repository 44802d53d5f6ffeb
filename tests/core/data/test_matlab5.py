"""MATLAB 5 files are read as SciPy writes them; a damaged one cannot end the process."""

import struct

import numpy as np
import pytest
from scipy.io import savemat

from core.checkpoints.archives import DAMAGE
from core.data.matlab5 import read_matlab5


def cells(*values) -> np.ndarray:
    found = np.empty((len(values), 1), object)
    found[:, 0] = values
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_text_and_cells(tmp_path, compressed):
    content = {
        "numbers": np.arange(6.0).reshape(2, 3),
        "small": np.array([[1], [255]], np.uint8),
        "text": "a text",
        "names": cells("1_001_1_01.png", "é", np.array([[2.5]])),
        "nothing": np.zeros((0, 0)),
        "structure": {"field": 1},
    }
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    found = read_matlab5(tmp_path / "a.mat")
    assert found["numbers"].tolist() == [0, 3, 1, 4, 2, 5]  # columns first
    assert found["small"].tolist() == [1, 255] and found["nothing"].tolist() == []
    assert found["text"] == "a text" and found["names"][:2] == ["1_001_1_01.png", "é"]
    assert found["names"][2].tolist() == [2.5] and "structure" not in found


def matrix(array_class: int, count: int, *parts: bytes) -> bytes:
    """Return a file of one array called "x" of `count` rows."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    inside = (
        element(6, struct.pack("<II", array_class, 0))
        + element(5, struct.pack("<ii", count, 1))
        + element(1, b"x")
        + b"".join(parts)
    )
    return bytes(126) + b"IM" + element(14, inside)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(128),
        matrix(1, 2**31 - 1),  # cells that are not there: SciPy's reader wrote beyond its memory
        matrix(1, 5, struct.pack("<II", 14, 0)),
        matrix(6, 2**31 - 1, struct.pack("<II", 9, 8) + bytes(8)),
        matrix(6, 1, struct.pack("<II", 99, 8) + bytes(8)),
        matrix(6, 1, struct.pack("<II", 9, 2**32 - 1) + bytes(8)),
        matrix(6, 1),
        matrix(4, 1, struct.pack("<II", 16, 1) + b"\xff".ljust(8, b"\0")),
    ],
    ids=["empty", "zeros", "cells", "a cell", "numbers", "kind", "length", "no content", "text"],
)
def test_damage_is_an_ordinary_error(tmp_path, content):
    path = tmp_path / "protocol.mat"
    path.write_bytes(content)
    with pytest.raises(DAMAGE):
        read_matlab5(path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"names": cells("a", "b"), "labels": np.arange(3.0)})
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        try:
            assert "labels" not in read_matlab5(path)
        except DAMAGE:
            continue
