"""Small networks clustered and trained side by side: by core.compress, and by tfmot on Keras 2.

Run as a program, in its own process, it is tfmot's side: `clustering_twin.py results.npz`.
"""

from __future__ import annotations

import sys
import zlib

import numpy as np

STEPS = 2
RATE = 0.2
# Case: network, plan.
CASES = {
    "kmeans": ("conv", {"clusters": 6}),
    "per channel": ("conv", {"clusters": 4, "initialiser": "linear", "per_channel": True}),
    "mean": ("dense", {"clusters": 8, "initialiser": "density", "gradient": "mean"}),
    "channel mean": (
        "conv",
        {"clusters": 5, "initialiser": "density", "per_channel": True, "gradient": "mean"},
    ),
    "sparse": ("sparse", {"clusters": 7, "initialiser": "linear", "preserve_sparsity": True}),
    "sparse kmeans": ("sparse", {"clusters": 5, "preserve_sparsity": True}),
}


def network(layers, name: str) -> list:
    """Return the layers of a network; `layers` is either Keras's."""
    return {
        "conv": [
            layers.Conv2D(6, 3, activation="relu", name="a"),
            # tfmot's wrapper forgets to tell the norm that it is training: not trained in either.
            layers.BatchNormalization(trainable=False, name="norm"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="b"),
        ],
        "dense": [
            layers.Flatten(name="flat"),
            layers.Dense(12, activation="tanh", name="a"),
            layers.Dense(5, name="b"),
        ],
        "sparse": [
            layers.Conv2D(4, 3, strides=2, activation="relu", name="a"),
            layers.Conv2D(6, 1, name="b"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(5, name="c"),
        ],
    }[name]


def kernel(name: str, shape) -> np.ndarray:
    """Return the kernel of a layer of a network; of "sparse" three in five weights are zero."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
    keep = rng.random(shape) < (0.4 if name.startswith("sparse") else 1.0)
    return (values * keep).astype(np.float32)


def set_kernels(model, name: str) -> None:
    """Give a network of either Keras its kernels."""
    for layer in model.layers:
        if layer.weights and len(layer.weights[0].shape) > 1:
            layer.weights[0].assign(kernel(f"{name}/{layer.name}", layer.weights[0].shape))


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (16, 8, 8, 3) and targets (16, 5)."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((16, 8, 8, 3), np.float32), rng.standard_normal((16, 5), np.float32)


def main(path: str) -> None:
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras import cluster, cluster_config

    starts = cluster_config.CentroidInitialization
    starts = {
        "kmeans++": starts.KMEANS_PLUS_PLUS,
        "linear": starts.LINEAR,
        "density": starts.DENSITY_BASED,
    }
    gradients = cluster_config.GradientAggregation
    found = {}
    images, targets = batch()
    for case, (name, plan) in CASES.items():
        model = tf_keras.Sequential(network(tf_keras.layers, name))
        model.build(images.shape)
        set_kernels(model, name)
        model = cluster._cluster_weights(
            model,
            plan["clusters"],
            starts[plan.get("initialiser", "kmeans++")],
            preserve_sparsity=plan.get("preserve_sparsity", False),
            cluster_per_channel=plan.get("per_channel", False),
            cluster_gradient_aggregation=(
                gradients.AVG if plan.get("gradient") == "mean" else gradients.SUM
            ),
        )
        wrappers = [layer for layer in model.layers if hasattr(layer, "cluster_centroids")]
        wrappers = [layer for layer in wrappers if layer.cluster_centroids]
        for layer in wrappers:
            start = layer.cluster_centroids["kernel"].numpy()
            found[f"{case}/{layer.layer.name}/start"] = start
        model.compile(tf_keras.optimizers.SGD(RATE), "mse")
        for _ in range(STEPS):
            model.train_on_batch(images, targets)
        model(images)  # brings memberships and kernels up to date
        for layer in wrappers:
            key = f"{case}/{layer.layer.name}"
            found[f"{key}/indices"] = layer.pulling_indices["kernel"].numpy()
            found[f"{key}/clustered"] = layer.layer.kernel.numpy()
            found[f"{key}/original"] = layer.original_clusterable_weights["kernel"].numpy()
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
