"""What a training step costs with quantizers, masks or clusters, against the plain step.

    .venv/bin/python benchmarks/training_step.py [--network mk_unet --variant t --size 256 256]

The steps take turns in one process; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="mk_unet")
    parser.add_argument("--variant")
    parser.add_argument("--size", type=int, nargs=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    import keras
    import numpy as np
    import tensorflow as tf

    from apps import catalog
    from core.compress.clustering import cluster_aware
    from core.compress.clusters import ClusterPlan
    from core.compress.pruning import Pruner, PruningPlan
    from core.compress.quantize import quantize_aware
    from core.compress.ranges import calibrate
    from core.compress.scheme import Scheme
    from core.compress.stage import copied
    from core.export.benchmark import compare

    card = catalog.card(options.network, options.variant)
    size = tuple(options.size or card.input_size)
    keras.utils.set_random_seed(0)
    model = catalog.build(options.network, options.variant, input_shape=(*size, card.channels))
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((options.batch, *size, card.channels), np.float32)
    targets = (rng.random((options.batch, *model.output.shape[1:])) > 0.5).astype(np.float32)

    def step_of(network, before=lambda: None):
        network.compile(
            optimizer=keras.optimizers.AdamW(1e-4),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=False,
        )
        network.make_train_function()
        batches = iter(tf.data.Dataset.from_tensors((inputs, targets)).repeat())

        def step():
            before()
            tf.nest.map_structure(float, network.train_function(batches))

        return step

    quantized, learned = (
        quantize_aware(model, Scheme(observer=observer))
        for observer in ("moving_average", "learned")
    )
    for network in (quantized, learned):
        calibrate(network, inputs[:2])
    pruned = copied(model)
    # The mask update itself is due every `frequency` steps; here at the first one only.
    pruner = Pruner(pruned, PruningPlan(schedule="constant", begin_step=1, frequency=10**6))
    steps = {
        "plain": step_of(model),
        "quantize": step_of(quantized),
        "quantize, ranges learned": step_of(learned),
        "prune": step_of(pruned, pruner.before_step),
        "cluster": step_of(cluster_aware(model, ClusterPlan())),
    }
    found = compare(steps, rounds=options.rounds)
    print(f"{model.name} at {size[0]}x{size[1]}, batch {options.batch}, {options.rounds} rounds")
    for name, result in found.items():
        milliseconds = result.timing.median_ms
        print(f"  {name:24s} {milliseconds:8.1f} ms   {1 / result.ratio:5.2f} of the plain step")


if __name__ == "__main__":
    main()
