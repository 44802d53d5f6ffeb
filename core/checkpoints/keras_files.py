"""Weights that Keras saved by layer (.h5), such as those of Keras Applications."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError

MAGIC = b"\x89HDF\r\n\x1a\n"
MODEL = "model_weights"  # where a whole model has its weights
_MOST, _DEEPEST = 100_000, 16  # groups and arrays; names in one path
# PyTorch's names by Keras's of variables.
LEAVES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def read_hdf5(path: Path) -> dict[str, np.ndarray]:
    """Return arrays by layer and variable ("stem_conv.kernel"), in Keras's layout.

    Args:
        path: A file of `save_weights` or of a whole model, in the format that names layers
            (.h5; not .weights.h5, which only numbers them).

    Raises:
        UserError: When the file is damaged, or is none of Keras's by layer.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = (
                file[MODEL] if isinstance(file.get(MODEL, getlink=True), h5py.HardLink) else file
            )
            if "layer_names" not in group.attrs:
                raise UserError(
                    f"{path}: is an HDF5 file without names of layers; give Keras weights that "
                    "were saved by layer, as model.save('file.h5') does."
                )
            size = path.stat().st_size
            found = ((path.partition("/")[2], data) for path, data in _datasets(group))
            return {_name(weight): _array(data, weight, size) for weight, data in found if weight}
    except UserError:
        raise
    except Exception as error:  # HDF5 raises OSError, RuntimeError and others for damaged files
        raise UserError(
            f"{path}: is a damaged HDF5 file (Keras weights); download or copy it again."
        ) from error


def _datasets(top) -> Iterator[tuple[str, Any]]:
    """Yield every array below a group by its path: the layer, then the weight's name.

    Keras lists these names in attributes too, but HDF5 does not come back, or crashes, where such
    a list of texts is damaged.

    Raises:
        ValueError: For a link to elsewhere, or in a circle.
    """
    import h5py

    pending, seen = [("", top)], 0
    while pending:
        path, group = pending.pop(0)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name} is not in the file")
            found, own = group[name], f"{path}/{name}".lstrip("/")
            seen += 1
            if seen > _MOST or own.count("/") > _DEEPEST:
                raise ValueError("links without end")
            if isinstance(found, h5py.Group):
                pending.append((own, found))
            elif isinstance(found, h5py.Dataset):
                yield own, found


def _name(weight: str) -> str:
    """Return "layer.variable" of "layer/…/variable:0"."""
    parts = weight.rpartition(":")[0] or weight
    layer, _, rest = parts.partition("/")
    return f"{layer}.{rest.rpartition('/')[2]}"


def _array(data, name: str, size: int) -> np.ndarray:
    """Return a dataset that lies in the file itself; what would unfold or refers elsewhere fails.

    Args:
        data: HDF5 dataset.
        name: Its path.
        size: Bytes of the file.
    """
    if data.is_virtual or data.external or data.nbytes > size or data.dtype.kind not in "biuf":
        raise ValueError(f"{name} is not in the file, or holds no numbers")
    return data[()]


def torch_form(
    state: Mapping[str, np.ndarray], layers: Mapping[str, str], depthwise: Collection[str]
) -> dict[str, np.ndarray]:
    """Return a state dict with Keras's arrays in PyTorch's names and layouts.

    Args:
        state: Arrays by name; those of other layers stay as they are, so that a state dict that is
            PyTorch's already passes.
        layers: PyTorch's names of modules by Keras's of layers.
        depthwise: Keras's names of the layers that convolve every channel by itself.
    """
    found = {}
    for name, array in state.items():
        layer, _, leaf = name.rpartition(".")
        if layer not in layers or leaf not in LEAVES:
            found[name] = array
            continue
        if leaf.endswith("kernel"):  # (…, in, out), of a depthwise one (…, channels, 1)
            last = (-2, -1) if layer in depthwise else (-1, -2)
            array = np.moveaxis(array, last, (0, 1))
        found[f"{layers[layer]}.{LEAVES[leaf]}"] = array
    return found
