"""ONNX files are read by their initialisers, from the file or beside it, never from elsewhere."""

import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from core.checkpoints import read
from core.errors import UserError

ARRAYS = {
    "conv/weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "steps": np.array([3, -1], np.int64),
    "scale": np.float32(0.5).reshape(()),
}


def model_of(tensors) -> onnx.ModelProto:
    """Return a network that has these initialisers."""
    node = helper.make_node("Identity", ["x"], ["y"])
    value = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    return helper.make_model(helper.make_graph([node], "g", value[:1], value[1:], tensors))


def written(path, arrays=ARRAYS):
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    path.write_bytes(model_of(tensors).SerializeToString())
    return path


def beside(path, **said):
    """Write a file whose one tensor (2, 3) lies in another."""
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in said.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model_of([tensor]).SerializeToString())
    return path


@pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
def test_initialisers_are_read_by_name(tmp_path, name):
    state = read(written(tmp_path / name))
    assert list(state) == list(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(state[key], array, strict=True)
        assert state[key].flags.writeable


def test_types_that_numpy_lacks_become_float32(tmp_path):
    tensor = helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [3], [1.0, -2.5, 0.125])
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of([tensor]).SerializeToString())
    np.testing.assert_array_equal(
        read(path)["w"], np.array([1.0, -2.5, 0.125], np.float32), strict=True
    )


def test_tensors_in_a_file_beside_are_read(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "weights.data").write_bytes(b"1234" + array.tobytes())
    path = beside(tmp_path / "model.onnx", location="weights.data", offset=4, length=24)
    np.testing.assert_array_equal(read(path)["w"], array)


@pytest.mark.parametrize(
    "said, sentence",
    [
        ({"location": "../secret.data"}, "outside of its folder"),
        ({"location": "/etc/hostname"}, "outside of its folder"),
        ({"location": "link.data"}, "outside of its folder"),
        ({}, "outside of its folder"),
        ({"location": "missing.data"}, "'missing.data', which is missing"),
        ({"location": "short.data"}, "does not fit"),
        ({"location": "short.data", "length": 2**40}, "does not fit"),
        ({"location": "short.data", "offset": -8}, "does not fit"),
    ],
)
def test_tensors_that_lie_elsewhere_are_refused(tmp_path, said, sentence):
    folder = tmp_path / "network"
    folder.mkdir()
    (tmp_path / "secret.data").write_bytes(bytes(24))
    (folder / "link.data").symlink_to(tmp_path / "secret.data")
    (folder / "short.data").write_bytes(bytes(20))
    with pytest.raises(UserError, match=sentence):
        read(beside(folder / "model.onnx", **said))


def test_damaged_files_are_refused(tmp_path):
    path = written(tmp_path / "model.onnx")
    content = path.read_bytes()
    for cut in range(4, len(content), 7):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match=r"no ONNX file|damaged|download"):
            read(path)
    for text in (b"\x00" * 64, b"some words"):
        path.write_bytes(text)
        with pytest.raises(UserError, match=r"no ONNX file"):
            read(path)


def test_a_shape_that_the_numbers_do_not_fill_is_refused(tmp_path):
    tensor = numpy_helper.from_array(ARRAYS["conv/weight"], "w")
    path = tmp_path / "model.onnx"
    for sides in ([2, 3, 2, 3], [2**40], [-24], [1] * 70):
        tensor.ClearField("dims")
        tensor.dims.extend(sides)
        path.write_bytes(model_of([tensor]).SerializeToString())
        with pytest.raises(UserError, match=r"model.onnx"):
            read(path)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = written(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"gossamer-keras\[onnx\]"):
        read(path)


def test_names_that_are_no_text_are_told(tmp_path):
    path = written(tmp_path / "model.onnx", {"weight": np.ones(2, np.float32)})
    path.write_bytes(path.read_bytes().replace(b"weight", b"we\xffght"))
    with pytest.raises(UserError, match=r"model\.onnx: .*(names that are no text|cut short)"):
        read(path)
