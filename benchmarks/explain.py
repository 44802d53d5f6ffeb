"""What maps of a batch cost against one training step on it.

    .venv/bin/python benchmarks/explain.py [--batch 32 --size 224 --rounds 5]

MobileNetV2 with 20 classes, random weights. Step and maps take turns in one process; the ratio is
the median over the rounds. The bound for Grad-CAM is three steps. --lime also measures a LIME of
1,000 samples.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BOUND = 3.0
CLASSES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lime", action="store_true")
    options = parser.parse_args()

    import keras
    import numpy as np
    import tensorflow as tf

    from core.backbones.mobilenetv2 import card, mobilenetv2
    from core.engines import KerasEngine
    from core.explain.cam import METHODS, CamExplainer
    from core.explain.classes import class_probabilities
    from core.explain.lime import SAMPLES, lime
    from core.export.benchmark import compare

    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    model = mobilenetv2(input_shape=shape, classes=CLASSES)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((options.batch, *shape), np.float32)
    labels = rng.integers(0, CLASSES, options.batch)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((inputs, labels)).repeat())
    explainer = CamExplainer(model)
    steps = {"step": lambda: tf.nest.map_structure(float, model.train_function(batches))}
    for method in METHODS:
        steps[method] = lambda method=method: explainer(inputs, method=method)
    found = compare(steps, rounds=options.rounds, warmup=1)
    print(f"{model.name} at {options.size}x{options.size}, batch {options.batch}")
    for name, result in found.items():
        cost = 1 / result.ratio
        print(f"  {name:10s} {result.timing.median_ms:8.0f} ms   {cost:5.2f} training steps")
    if options.lime:
        predict = class_probabilities(KerasEngine(model, card("x1_0")))
        image = rng.integers(0, 256, shape).astype(np.uint8)
        start = time.perf_counter()
        lime(image, predict, segmentation="squares")
        print(f"  LIME, {SAMPLES} samples: {time.perf_counter() - start:.1f} s")
    if 1 / found["grad-cam"].ratio > BOUND:
        sys.exit(f"Grad-CAM costs more than {BOUND:g} training steps.")


if __name__ == "__main__":
    main()
