"""Keras's weights by layer are read by name; what is no such file is named."""

import h5py
import keras
import numpy as np
import pytest

from core.checkpoints import load_torch_state, read
from core.checkpoints.keras_files import torch_form
from core.errors import UserError


def tiny() -> keras.Model:
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="dw")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2, name="head")(x))


def test_a_saved_model_is_read_by_layer_and_loads_by_name(tmp_path):
    keras.utils.set_random_seed(0)
    model = tiny()
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
    model.save(tmp_path / "model.h5")
    state = read(tmp_path / "model.h5")
    assert {"conv.kernel", "conv.bias", "dw.kernel", "norm.moving_mean"} <= set(state)
    np.testing.assert_array_equal(state["conv.kernel"], model.get_layer("conv").kernel)
    names = {"conv": "conv", "dw": "dw", "norm": "norm", "head": "head"}
    other = tiny()
    assert load_torch_state(other, torch_form(state, names, {"dw"})).complete
    images = np.random.default_rng(1).standard_normal((2, 6, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(other(images), model(images))


def written(path, weights: dict[str, np.ndarray]):
    """Write a file as Keras 2 does: variables end in ":0", layers are groups of groups."""
    with h5py.File(path, "w") as file:
        layers = list(dict.fromkeys(name.partition("/")[0] for name in weights))
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            own = [name for name in weights if name.startswith(f"{layer}/")]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in own]
            for name in own:
                group[name] = weights[name]
    return path


def test_files_of_keras_2_have_the_same_names(tmp_path):
    arrays = {
        "stem/kernel:0": np.zeros((3, 3, 1, 2)),
        "block/dw/depthwise_kernel:0": np.ones((3, 3, 2, 1)),
    }
    state = read(written(tmp_path / "weights.h5", arrays))
    assert {name: array.shape for name, array in state.items()} == {
        "stem.kernel": (3, 3, 1, 2),
        "block.depthwise_kernel": (3, 3, 2, 1),
    }
    form = torch_form(state, {"block": "features.0"}, {"block"})
    assert form["features.0.weight"].shape == (2, 1, 3, 3) and "stem.kernel" in form


def test_a_file_without_names_of_layers_says_what_to_give(tmp_path):
    tiny().save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(UserError, match="without names of layers"):
        read(tmp_path / "model.weights.h5")


def test_damaged_files_and_arrays_that_lie_elsewhere_are_refused(tmp_path):
    path = written(tmp_path / "weights.h5", {"a/kernel:0": np.zeros((64, 64))})
    path.with_name("cut.h5").write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(UserError, match="damaged HDF5"):
        read(path.with_name("cut.h5"))
    with h5py.File(path, "r+") as file:
        del file["a/a/kernel:0"]
        file["a/a/kernel:0"] = h5py.ExternalLink("other.h5", "/secret")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros(3)
    with pytest.raises(UserError, match="damaged HDF5"):
        read(path)
    with h5py.File(path, "r+") as file:
        del file["a/a/kernel:0"]
        file.create_dataset("a/a/kernel:0", (100_000, 1000), compression="gzip")
    with pytest.raises(UserError, match="damaged HDF5"):
        read(path)


def test_names_are_not_taken_from_lists_that_hdf5_may_never_come_back_from(tmp_path):
    path = written(tmp_path / "weights.h5", {"a/kernel:0": np.ones((2, 3))})
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = [2**40]
        file["a"].attrs["weight_names"] = "no list"
    assert list(read(path)) == ["a.kernel"]
    with h5py.File(path, "r+") as file:
        file["a/b"] = file["a"]  # a group within itself
    with pytest.raises(UserError, match="damaged HDF5 file"):
        read(path)
