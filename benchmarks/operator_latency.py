"""Which operators are slower in a TFLite file than in a compiled tf.function?

Small networks of one kind of operator at 128x128, one thread each, the smallest of many times. The
super-resolution networks that are not faster as float files consist of 3x3 convolutions of few
channels, where TensorFlow's oneDNN kernels beat XNNPACK's; everything else is faster in the file.

    .venv/bin/python benchmarks/operator_latency.py
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from core.engines import interpreter
from core.export.convert import to_tflite

SIDE, REPEATS, LAYERS = 128, 40, 4


def network(kind: str, channels: int) -> keras.Model:
    """Return a few layers of one kind on (128, 128, channels)."""
    image = x = keras.Input((SIDE, SIDE, channels))
    if kind == "concatenation":
        parts = [keras.layers.Activation("relu")(x) for _ in range(LAYERS)]
        return keras.Model(image, keras.layers.Concatenate()(parts))
    for _ in range(LAYERS):
        if kind.startswith("3x3"):
            x = keras.layers.Conv2D(channels, 3, padding="same")(x)
        if kind.endswith("SiLU"):
            x = keras.layers.Activation("silu")(x)
        if kind == "gate":
            x = keras.layers.Multiply()([x, keras.layers.Activation("sigmoid")(x)])
    return keras.Model(image, x)


def quickest(call) -> float:
    """Return the smallest of many times in milliseconds."""
    call()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return 1000 * min(times)


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print("| operators | channels | tf.function, ms | TFLite float32, ms | ratio |")
    print("|---|---:|---:|---:|---:|")
    cases = [("3x3", n) for n in (26, 28, 36, 48, 64)]
    cases += [(kind, 48) for kind in ("3x3, SiLU", "SiLU", "gate", "concatenation")]
    for kind, channels in cases:
        model = network(kind, channels)
        values = np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32)
        compiled = tf.function(lambda x, model=model: model(x, training=False))
        tensor = tf.constant(values)
        runner = interpreter(to_tflite(model), threads=1, delegate=True)
        runner.set_tensor(runner.get_input_details()[0]["index"], values)
        peer = quickest(lambda compiled=compiled, tensor=tensor: compiled(tensor).numpy())
        ours = quickest(runner.invoke)
        print(f"| {kind} | {channels} | {peer:.2f} | {ours:.2f} | {ours / peer:.2f} |", flush=True)


if __name__ == "__main__":
    main()
