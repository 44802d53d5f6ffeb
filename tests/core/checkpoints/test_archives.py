"""Arrays from .npz files of anybody: numbers, or one sentence."""

import io
import os
import zipfile

import numpy as np
import pytest

from core.checkpoints import read
from core.checkpoints.archives import read_archive
from core.errors import UserError


def with_entry(path, content: bytes, name: str = "a.npy"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def npy(header: str, version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + bytes(16)


def test_arrays_come_back_in_order_and_in_this_machines_bytes(tmp_path):
    saved = {"b": np.arange(6, dtype=">f4").reshape(2, 3), "a": np.asfortranarray(np.eye(2))}
    np.savez(tmp_path / "a.npz", **saved)
    found = read_archive(tmp_path / "a.npz")
    assert list(found) == ["b", "a"]
    for name, array in saved.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.isnative


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,"),  # EOF in the header
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"),
        npy("{'descr': 'O', 'fortran_order': False, 'shape': (1,), }"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99,), }"),
        npy("", b"\x09\x09"),
        b"no array",
        b"",
    ],
    ids=["cut header", "negative", "objects", "too short", "version", "text", "empty"],
)
def test_a_damaged_array_is_one_sentence(tmp_path, content):
    path = with_entry(tmp_path / "a.npz", content)
    with pytest.raises(UserError, match=r"a\.npz: "):
        read(path)


def test_an_archive_that_unfolds_without_end_is_refused(tmp_path):
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(2**26, np.float32))  # 268 MB in a file of 260 kB
    path = with_entry(tmp_path / "a.npz", zeros.getvalue())
    with pytest.raises(UserError, match=r"a\.npz: .*larger than the file"):
        read(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(UserError, match="is a pipe or a device"):
        read(tmp_path / "a.npz")
