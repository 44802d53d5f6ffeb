"""Reading the golden files: parameters follow from their names, so only outputs are stored."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
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
        in_keras = str(self.meta.get("framework", "")).startswith("Keras layouts")
        rule = keras_parameter if in_keras else parameter
        state = {name: rule(name, shape) for name, shape in self.shapes.items()}
        if gain:
            for name, value in state.items():
                if value.ndim == 1 and name.endswith("weight"):
                    state[name] = value * np.float32(gain)
        return state

    def inputs(self, mean: float = 0.0, deviation: float = 1.0) -> np.ndarray:
        """Return the input, channels last: normal noise, shifted as `meta["input"]` says."""
        spec = self.meta.get("input")
        shape, seed = (
            (spec["shape"], spec["seed"])
            if isinstance(spec, dict)
            else (self.meta["input_shape"], self.meta["seed"])
        )
        noise = np.random.default_rng(seed).standard_normal(tuple(shape)).astype(np.float32)
        values = (mean + deviation * noise).astype(np.float32)
        return values if self.channels_last else np.moveaxis(values, 1, -1)

    @property
    def channels_last(self) -> bool:
        """Whether input and outputs are stored as a Keras network has them."""
        spec = self.meta.get("input")
        return isinstance(spec, dict) and spec.get("layout") == "NHWC"

    def case(self, name: str, input_shape: Sequence[int] | None = None) -> Golden:
        """Return one of several small modules: parameters `<name>.…`, outputs `<name>/…`.

        Args:
            name: Of the case.
            input_shape: (N, C, H, W), where the file does not say it.
        """
        shape = input_shape or self.meta["cases"][name]["input_shape"]
        return Golden(
            {**self.meta, "input": {"shape": shape, "seed": 0}},
            {k: v for k, v in self.shapes.items() if k.startswith(f"{name}.")},
            {k: v for k, v in self.outputs.items() if k.startswith(f"{name}/")},
        )

    def error(self, name: str, value: np.ndarray) -> float:
        """Return the largest difference of a value, relative to the output's scale.

        Args:
            name: Of the output.
            value: (N, …, C), or (N, C) where the published one may have sides of one. What a file
                has as tokens (N, H·W, C) may come as an image.
        """
        expected, shape, stride = self.outputs[name]
        value = np.asarray(value)
        if value.ndim > 3 and len(shape) == 3:
            value = value.reshape(len(value), -1, value.shape[-1])
        elif value.ndim > 3 and not self.channels_last:
            value = np.moveaxis(value, -1, 1)
        if value.ndim == 2 and shape[2:] == (1, 1):
            value = value[..., None, None]
        assert value.shape == shape, (name, value.shape, shape)
        return float(np.abs(value.ravel()[::stride] - expected).max() / np.abs(expected).max())

    def errors(
        self,
        model,
        inputs: np.ndarray,
        end: Callable[[str], str] = lambda name: name,
        names: Iterable[str] | None = None,
    ) -> dict[str, float]:
        """Return the error of every output (or of some) of a model, read at its layers.

        Args:
            model: A Keras model with these parameters.
            inputs: Its inputs.
            end: Output's name → name of the layer that gives it.
            names: Which outputs.
        """
        import keras

        names = list(self.outputs if names is None else names)
        assert names
        layers = [model.get_layer(end(name)).output for name in names]
        values = keras.tree.flatten(keras.Model(model.input, layers)(inputs, training=False))
        return {n: self.error(n, value) for n, value in zip(names, values, strict=True)}


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


def keras_parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return `parameter` of a file in Keras's layouts: kernels have their outputs last."""
    if not name.endswith("kernel"):
        return parameter(name, shape)
    gain = 1.0 if name.endswith("recurrent_kernel") else 2.0
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return np.asarray(noise * math.sqrt(gain / math.prod(shape[:-1])), np.float32)


def load(name: str, folder: Path | None = None) -> Golden:
    """Read `<folder>/<name>.npz`, by default of `tests/golden/`."""
    with np.load((folder or GOLDEN) / f"{name}.npz", allow_pickle=False) as data:
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
