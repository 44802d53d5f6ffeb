"""Small networks pruned side by side: by core.compress, and by tfmot on Keras 2 in its own process.

Run as a program it is tfmot's side and writes its masks to a file: `pruning_twin.py masks.npz`.
"""

from __future__ import annotations

import sys
import zlib

import numpy as np

STEPS = 7
GRADUAL = {"begin_step": 1, "end_step": 5, "frequency": 2, "final_sparsity": 0.8}
# Case: network, plan.
CASES = {
    "conv": ("conv", {**GRADUAL, "initial_sparsity": 0.3}),
    "separable": ("separable", GRADUAL),
    "transposed": ("transposed", GRADUAL),
    "constant": ("conv", {"schedule": "constant", "frequency": 3, "final_sparsity": 0.5}),
    "blocks": ("dense", {**GRADUAL, "block": (1, 4)}),
    "max blocks": ("dense", {**GRADUAL, "block": (3, 2), "block_pooling": "MAX"}),
    "2 of 4": ("conv", {"m_by_n": (2, 4)}),
}


def network(layers, name: str) -> list:
    """Return the layers of a network; `layers` is either Keras's."""
    return {
        "conv": [
            layers.Conv2D(6, 3, name="a"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(5, 1, activation="relu", name="b"),
            layers.Flatten(name="flat"),
            layers.Dense(7, name="c"),
        ],
        "separable": [
            layers.SeparableConv2D(8, 3, name="a"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(9, name="b"),
        ],
        "transposed": [
            layers.Conv2D(4, 3, strides=2, name="a"),
            layers.Conv2DTranspose(6, 3, strides=2, name="b"),
        ],
        "dense": [
            layers.Flatten(name="flat"),
            layers.Dense(10, name="a"),
            layers.Dense(7, name="b"),
        ],
    }[name]


def drift(name: str, step: int, shape) -> np.ndarray:
    """Return what "the optimiser" adds to a kernel after a step; rounded, so that ties occur."""
    rng = np.random.default_rng(zlib.crc32(f"{name}/{step}".encode()))
    return (np.round(rng.standard_normal(shape) * 8) / 8).astype(np.float32)


def main(path: str) -> None:
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparsity = tfmot.sparsity.keras

    def schedule(plan):
        if "m_by_n" in plan:
            return sparsity.ConstantSparsity(0.5, 0)
        begin, end = plan.get("begin_step", 0), plan.get("end_step", -1)
        if plan.get("schedule") == "constant":
            return sparsity.ConstantSparsity(plan["final_sparsity"], begin, end, plan["frequency"])
        return sparsity.PolynomialDecay(
            plan.get("initial_sparsity", 0.0),
            plan["final_sparsity"],
            begin,
            end,
            frequency=plan["frequency"],
        )

    found = {}
    image = tf.zeros((1, 8, 8, 3))
    for case, (name, plan) in CASES.items():
        model = tf_keras.Sequential(network(tf_keras.layers, name))
        model.build(image.shape)
        model = sparsity.prune_low_magnitude(
            model,
            schedule(plan),
            block_size=plan.get("block", (1, 1)),
            block_pooling_type=plan.get("block_pooling", "AVG"),
            sparsity_m_by_n=plan.get("m_by_n"),
        )
        counter = sparsity.UpdatePruningStep()
        counter.set_model(model)
        counter.on_train_begin()
        pruned = {w.layer.name: w.pruning_vars[0] for w in model.layers if w.pruning_vars}
        for layer, (kernel, _, _) in pruned.items():
            kernel.assign(drift(layer, 0, kernel.shape))
        for step in range(1, STEPS + 1):
            model(image, training=True)
            for layer, (kernel, mask, _) in pruned.items():
                found[f"{case}/{layer}/{step}/mask"] = mask.numpy()
                found[f"{case}/{layer}/{step}/kernel"] = kernel.numpy()
                kernel.assign_add(drift(layer, step, kernel.shape))
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
