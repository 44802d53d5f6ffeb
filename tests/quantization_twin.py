"""Small networks quantized side by side: by core.compress, and by tfmot on Keras 2.

Run as a program it is tfmot's side and writes its outputs: `quantization_twin.py out.npz`.
"""

from __future__ import annotations

import sys
import zlib

import numpy as np

BATCHES = 3
CASES = ("conv", "dense", "residual")


def network(keras, name: str):
    """Return a functional network; `keras` is either Keras. Initial weights follow from names."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    if name == "conv":
        x = layers.Conv2D(6, 3, use_bias=False, name="a")(image)
        x = layers.ReLU(name="a_relu")(layers.BatchNormalization(name="a_norm")(x))
        x = layers.Conv2D(4, 1, activation="relu", name="b")(x)
    elif name == "dense":
        x = layers.Flatten(name="flat")(image)
        x = layers.Dense(9, activation="relu", name="a")(x)
        x = layers.Dense(5, name="b")(x)
    else:
        x = layers.Conv2D(6, 3, padding="same", activation="relu", name="a")(image)
        y = layers.Conv2D(6, 1, name="b")(x)
        x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, y]))
    model = keras.Model(image, x, name=name)
    for layer in model.layers:
        values = [fixed(layer.name, i, w.shape) for i, w in enumerate(layer.get_weights())]
        if layer.name.endswith("norm"):
            values = [np.abs(value) + 0.5 for value in values]
        layer.set_weights(values)
    return model


def fixed(name: str, number: int, shape) -> np.ndarray:
    """Return the values a weight has on both sides."""
    rng = np.random.default_rng(zlib.crc32(f"{name}/{number}".encode()))
    return (0.4 * rng.standard_normal(shape)).astype(np.float32)


def batch(number: int) -> np.ndarray:
    """Return a batch of inputs, of another scale each time so that ranges move."""
    rng = np.random.default_rng(number)
    return ((1.0 + number) * rng.standard_normal((4, 8, 8, 3))).astype(np.float32)


def main(path: str) -> None:
    import tensorflow_model_optimization as tfmot
    import tf_keras

    found = {}
    for name in CASES:
        model = tfmot.quantization.keras.quantize_model(network(tf_keras, name))
        for number in range(BATCHES):
            found[f"{name}/train/{number}"] = model(batch(number), training=True).numpy()
        found[f"{name}/infer"] = model(batch(1), training=False).numpy()
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
