"""How much of what post-training int8 loses does training with the quantizers win back?

    .venv/bin/python benchmarks/quantization_recovery.py

A MobileNet-style network on scikit-learn's 8x8 digits (1,797 real scans, BSD-3-Clause), whose
channels are then rescaled by factors between 1/30 and 30: the float network computes the same, but
one range for all channels of an activation no longer fits (arXiv:1806.08342, Sec. 4). Accuracy on
the 597 digits held out; a smoke check of the method, no benchmark of the network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

from core.compress.equalize import equalize
from core.compress.freezing import FreezeNorms, FreezeRanges
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.engines import LiteRTEngine
from core.export.convert import to_tflite
from core.model_card import ModelCard

WIDTHS, SPREAD = (24, 32, 48), 30.0
EPOCHS, FINE_TUNING = 15, 15


def digits():
    """Return (images, labels) for training and held out: float32 (N, 8, 8, 1) in 0..1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = (data.images[order, ..., None] / 16.0).astype(np.float32)
    labels = data.target[order]
    return (images[:1200], labels[:1200]), (images[1200:], labels[1200:])


def network() -> keras.Model:
    """Return a small MobileNet: stem, three depthwise-separable units, pooling, classes."""

    def normal(x, name):
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}.norm")(x)
        return layers.ReLU(name=f"{name}.relu")(x)

    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
    x = normal(x, "stem")
    for i, width in enumerate(WIDTHS):
        x = layers.DepthwiseConv2D(
            3, padding="same", strides=2 if i == 1 else 1, use_bias=False, name=f"unit{i}.depth"
        )(x)
        x = normal(x, f"unit{i}.depth")
        x = layers.Conv2D(width, 1, use_bias=False, name=f"unit{i}.point")(x)
        x = normal(x, f"unit{i}.point")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(10, name="head")(x), name="digits")


def unbalance(model: keras.Model) -> None:
    """Scale channels apart, each undone by the next kernel, so that the outputs stay."""
    rng = np.random.default_rng(1)
    units = range(len(WIDTHS))
    pairs = [("stem.norm", "unit0.depth")]
    pairs += [(f"unit{i}.depth.norm", f"unit{i}.point") for i in units]
    pairs += [(f"unit{i}.point.norm", f"unit{i + 1}.depth") for i in units[:-1]]
    for norm, following in pairs:
        norm, layer = model.get_layer(norm), model.get_layer(following)
        factor = np.exp(rng.uniform(-np.log(SPREAD), np.log(SPREAD), norm.gamma.shape))
        factor = factor.astype(np.float32)
        norm.gamma.assign(norm.gamma * factor)
        norm.beta.assign(norm.beta * factor)
        layer.kernel.assign(np.asarray(layer.kernel) / factor[:, None])


def fit(model: keras.Model, data, *, rate: float, epochs: int, callbacks=()) -> None:
    """Train a classifier."""
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(*data, epochs=epochs, batch_size=64, verbose=0, callbacks=list(callbacks))


def measure() -> dict[str, float]:
    """Return the accuracy of the float network and of three int8 files."""
    keras.utils.set_random_seed(0)
    train, held_out = digits()
    model = network()
    fit(model, train, rate=3e-3, epochs=EPOCHS)
    unbalance(model)

    def file_accuracy(quantized) -> float:
        engine = LiteRTEngine(to_tflite(quantized, "int8"), ModelCard("digits", "a", "none"))
        return float((engine(held_out[0])[0].argmax(axis=1) == held_out[1]).mean())

    def calibrated(float_model, scheme):
        quantized = quantize_aware(float_model, scheme)
        calibrate(quantized, train[0][:200])
        return quantized

    found = {
        "float": float((model.predict(held_out[0], verbose=0).argmax(1) == held_out[1]).mean())
    }
    after_training = Scheme(observer="minmax")
    found["post-training int8"] = file_accuracy(calibrated(model, after_training))
    equal, _ = equalize(model)
    found["post-training int8, equalized"] = file_accuracy(calibrated(equal, after_training))
    aware = calibrated(model, Scheme())
    freeze = [FreezeNorms(FINE_TUNING * 3 // 5), FreezeRanges(FINE_TUNING * 4 // 5)]
    fit(aware, train, rate=1e-3, epochs=FINE_TUNING, callbacks=freeze)
    found["quantization-aware training"] = file_accuracy(aware)
    return found


def recovered(found: dict[str, float]) -> float:
    """Return the share of the loss of post-training int8 that training won back."""
    lost = found["float"] - found["post-training int8"]
    return 1.0 - (found["float"] - found["quantization-aware training"]) / lost


def main() -> None:
    found = measure()
    for name, accuracy in found.items():
        print(f"{name:32} {accuracy:.1%}")
    print(f"won back by training: {recovered(found):.0%}")


if __name__ == "__main__":
    main()
