"""Reading the golden files: parameters follow from their names, so only outputs are stored."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    """One file: `meta`, the PyTorch parameters' shapes, and outputs (values, shape, stride)."""

    meta: dict
    shapes: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[np.ndarray, tuple[int, ...], int]]

    def state(self) -> dict[str, np.ndarray]:
        """Return the PyTorch state dict the outputs were made with."""
        gain = self.meta.get("norm_gain")
        state = {name: parameter(name, shape) for name, shape in self.shapes.items()}
        if gain:
            for name, value in state.items():
                if value.ndim == 1 and name.endswith("weight"):
                    state[name] = value * np.float32(gain)
        return state

    def inputs(self) -> np.ndarray:
        """Return the input, channels last."""
        spec = self.meta["input"]
        values = np.random.default_rng(spec["seed"]).standard_normal(tuple(spec["shape"]))
        return values.astype(np.float32).transpose(0, 2, 3, 1)

    def error(self, name: str, value: np.ndarray) -> float:
        """Return the largest difference of a (N, H, W, C) value, relative to the output's scale."""
        expected, shape, stride = self.outputs[name]
        value = np.asarray(value).transpose(0, 3, 1, 2)
        assert value.shape == shape, (name, value.shape, shape)
        return float(np.abs(value.ravel()[::stride] - expected).max() / np.abs(expected).max())


def parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the value a parameter of this name has in every golden file."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_mean" or leaf == "bias" or leaf.endswith("_bias"):
        value = 0.1 * rng.standard_normal(shape)
    elif leaf == "running_var" or len(shape) <= 1:
        value = rng.uniform(0.5, 1.5, shape)
    else:
        value = rng.standard_normal(shape) * math.sqrt(2.0 / math.prod(shape[1:]))
    return np.asarray(value, np.float32)


def load(name: str) -> Golden:
    """Read `tests/golden/<name>.npz`."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as data:
        shapes = {k: tuple(v) for k, v in json.loads(str(data["shapes"])).items()}
        names = [key.removeprefix("output/") for key in data.files if key.startswith("output/")]
        outputs = {
            key: (
                data[f"output/{key}"],
                tuple(int(n) for n in data[f"shape/{key}"]),
                int(data[f"stride/{key}"]),
            )
            for key in names
        }
        return Golden(json.loads(str(data["meta"])), shapes, outputs)
