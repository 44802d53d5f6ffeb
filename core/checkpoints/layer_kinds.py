"""How PyTorch lays out the weights of every kind of layer: one table, used in both directions.

A layer kind is a function from a Keras layer to its entries: the last part of the PyTorch name
(`weight`, `running_mean`) and where and how that array is placed.

A custom layer joins by a method `torch_weights()`, which returns the same as a plain dictionary:
the last part of the PyTorch name mapped to one of

* `(variable, transpose)`, where `transpose` leads from PyTorch's layout to Keras's: None (the same
  layout), a tuple of axes as for `numpy.transpose`, or a function of the array; a function is best
  followed by its inverse, `(variable, to_keras, to_torch)`, which the way back needs, and may be
  by what makes an array of another shape fit, `(variable, to_keras, to_torch, adapt)`;
* a Keras layer of the table, whose entries then follow under this name and a dot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Shape = tuple[int, ...]


def _same(array: np.ndarray) -> np.ndarray:
    return array


@dataclass(frozen=True)
class Place:
    """Where a PyTorch array goes.

    Attributes:
        variable: The Keras variable.
        to_keras, to_torch: The transpositions; `to_torch` is None where a custom layer gives none.
        one_by_one: Whether kernels of size one may come with or without their spatial axes (a 1x1
            convolution's weight for a Dense layer, a Linear weight for a 1x1 convolution).
        one_value: Whether a single value stands for all (PReLU with one parameter).
        adapt: Returns an array of another shape in the place's own (positions of another grid), or
            None where it cannot.
    """

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray] = _same
    to_torch: Callable[[np.ndarray], np.ndarray] | None = _same
    one_by_one: bool = False
    one_value: bool = False
    adapt: Callable[[np.ndarray], np.ndarray | None] = lambda array: None

    @property
    def torch_shape(self) -> Shape | None:
        """The array's shape in PyTorch, None where only the way to Keras is known."""
        if self.to_torch is None:
            return None
        return self.to_torch(np.broadcast_to(np.float32(0), tuple(self.variable.shape))).shape

    @property
    def expected(self) -> Shape:
        """The PyTorch shape to tell the user, or Keras's where that is unknown."""
        shape = self.torch_shape
        return tuple(self.variable.shape) if shape is None else shape

    def fit(self, array: np.ndarray) -> np.ndarray | None:
        """Return `array` in Keras's layout, or None when its shape does not fit."""
        shape = self.torch_shape
        if shape is not None and array.shape != shape:
            if self.one_by_one and _without_ones(array.shape) == _without_ones(shape):
                array = array.reshape(shape)
            elif self.one_value and array.shape == (1,):
                array = np.broadcast_to(array, shape)
            elif (adapted := self.adapt(array)) is not None and adapted.shape == shape:
                array = adapted
            else:
                return None
        try:
            array = self.to_keras(array)
        except (ValueError, IndexError):  # a custom layer's function, met by a foreign shape
            return None
        return array if array.shape == tuple(self.variable.shape) else None


def _without_ones(shape: Shape) -> Shape:
    """Drop the spatial axes (all after the second) when they are all of length one."""
    return shape[:2] if all(n == 1 for n in shape[2:]) else shape


def _kernel_to_keras(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, (0, 1), (-1, -2))


def _kernel_to_torch(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, (-1, -2), (0, 1))


def _kernel(layer) -> dict[str, Place]:
    """(O, I/groups, *spatial) to (*spatial, I/groups, O); transposed: (I, O, …) to (…, O, I)."""
    places = {"weight": Place(layer.kernel, _kernel_to_keras, _kernel_to_torch, one_by_one=True)}
    return places | _optional(bias=layer.bias)


def _depthwise(layer) -> dict[str, Place]:
    """(C * m, 1, *spatial) to (*spatial, C, m); output channel c * m + j is channel c's j-th."""
    *spatial, channels, multiplier = layer.kernel.shape

    def to_keras(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array.reshape(channels, multiplier, *spatial), (0, 1), (-2, -1))

    def to_torch(array: np.ndarray) -> np.ndarray:
        front = np.moveaxis(array, (-2, -1), (0, 1))
        return front.reshape(channels * multiplier, 1, *spatial)

    return {"weight": Place(layer.kernel, to_keras, to_torch)} | _optional(bias=layer.bias)


def _batch_norm(layer) -> dict[str, Place]:
    statistics = {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
    return _optional(weight=layer.gamma, bias=layer.beta, **statistics)


def _norm(layer) -> dict[str, Place]:
    """One value per channel; over several axes (C, H, W) to (H, W, C)."""
    found = _optional(weight=layer.gamma, bias=layer.beta)
    return {
        leaf: Place(
            place.variable,
            lambda array: np.moveaxis(array, 0, -1),
            lambda array: np.moveaxis(array, -1, 0),
        )
        for leaf, place in found.items()
    }


def _prelu(layer) -> dict[str, Place]:
    """(C,) to (1, 1, C); a slope per position, which PyTorch lacks, stays flat and never fits."""
    shape = tuple(layer.alpha.shape)
    flat = Place(
        layer.alpha, lambda a: a.reshape(shape), lambda a: a.reshape(-1), one_value=shape[-1] > 1
    )
    return {"weight": flat}


def _optional(**variables) -> dict[str, Place]:
    return {leaf: Place(v) for leaf, v in variables.items() if v is not None}


KINDS: dict[type, Callable[[Any], dict[str, Place]]] = {
    keras.layers.Conv1D: _kernel,
    keras.layers.Conv2D: _kernel,
    keras.layers.Conv3D: _kernel,
    keras.layers.Conv1DTranspose: _kernel,
    keras.layers.Conv2DTranspose: _kernel,
    keras.layers.Conv3DTranspose: _kernel,
    keras.layers.Dense: _kernel,
    keras.layers.DepthwiseConv1D: _depthwise,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.LayerNormalization: _norm,
    keras.layers.GroupNormalization: _norm,
    keras.layers.PReLU: _prelu,
    keras.layers.Embedding: lambda layer: _optional(weight=layer.embeddings),
}


def places(layer) -> dict[str, Place]:
    """Return a built layer's entries by the last part of their PyTorch name.

    Raises:
        TypeError: When the layer has weights but is neither in the table nor has
            `torch_weights()`.
    """
    if hasattr(layer, "torch_weights"):
        return _custom(layer)
    if not layer.weights:
        return {}
    for kind in type(layer).__mro__:
        if kind in KINDS:
            return KINDS[kind](layer)
    raise TypeError(
        f"Layer '{layer.name}' of type {type(layer).__name__} has weights, but its PyTorch layout "
        "is unknown. Give the class a method `torch_weights()`; see core.checkpoints.layer_kinds."
    )


def _custom(layer) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for leaf, entry in layer.torch_weights().items():
        if isinstance(entry, keras.layers.Layer):
            found |= {f"{leaf}.{inner}": place for inner, place in places(entry).items()}
            continue
        variable, to_keras, *more = entry
        if to_keras is None:
            found[leaf] = Place(variable)
        elif callable(to_keras):
            adapt = {"adapt": more[1]} if len(more) > 1 else {}
            found[leaf] = Place(variable, to_keras, more[0] if more else None, **adapt)
        else:
            found[leaf] = _transposed(variable, tuple(to_keras))
    return found


def _transposed(variable, axes: tuple[int, ...]) -> Place:
    back = tuple(int(i) for i in np.argsort(axes))
    return Place(variable, lambda a: np.transpose(a, axes), lambda a: np.transpose(a, back))


def all_places(model) -> dict[str, Place]:
    """Return every entry of a model by its full PyTorch name, in the order of the layers.

    Layers of nested models keep their own names; a layer used several times appears once.

    Raises:
        TypeError: As `places`.
        ValueError: When the model is not built or two layers claim one name.
    """
    if not model.built:
        raise ValueError(f"Model '{model.name}' has no weights yet; build it first.")
    found: dict[str, Place] = {}
    seen: set[int] = set()

    def collect(layers) -> None:
        for layer in layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if isinstance(layer, keras.Model):
                collect(layer.layers)
                continue
            for leaf, place in places(layer).items():
                name = f"{layer.name}.{leaf}"
                if name in found:
                    raise ValueError(f"Two layers claim the PyTorch name '{name}'; rename one.")
                found[name] = place

    collect(model.layers)
    return found
