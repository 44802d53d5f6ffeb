"""How REIN is trained: where it starts from, and what a step compares.

L. Luo et al., IEEE Transactions on Robotics 41, 2025, arXiv:2408.01841, and the published code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.bev_localization.retrieval.clusters import FEATURES_OF_EACH, IMAGES, netvlad_clusters
from core.errors import UserError

if TYPE_CHECKING:
    import keras

    from core.config import TrainConfig
    from core.data.pipeline import TrainingData

_START = 3  # keeps the random numbers of the start apart from those of order and augmentation
_AT_ONCE = 8  # images
_SETTLED = 16  # images whose statistics new normalisations get


def start_clusters(model: keras.Model, data: TrainingData, config: TrainConfig) -> str:
    """Start NetVLAD from clusters of local features, and return what was done in words.

    400 training images, each turned at random, or as many as there are, give 25 features each; of
    fewer images more, so that there are 10,000.

    Args:
        model: Of `rein`, not deployed.
        data: The training samples.
        config: Its seed decides images, pixels and clusters.

    Raises:
        UserError: When the features are too few or all alike.
    """
    import keras

    from apps.bev_localization.models.rein import MAP, POOLING

    rng = np.random.default_rng([config.seed, _START])
    images = min(data.count, IMAGES)
    chosen = rng.permutation(data.count)[:images].tolist()
    each = -(-IMAGES * FEATURES_OF_EACH // images)
    pooling = model.get_layer(POOLING)
    if not (config.options.get("backbone_weights") or norms_kept(config.options)):
        _settle_norms(model, data.inputs(0, chosen[:_SETTLED]))
    encoder = keras.Model(model.input, model.get_layer(MAP).output)
    found = []
    for start in range(0, images, _AT_ONCE):
        maps = encoder.predict_on_batch(data.inputs(0, chosen[start : start + _AT_ONCE]))
        for features in np.asarray(pooling.features(np.asarray(maps, np.float32))):
            picked = rng.choice(len(features), min(each, len(features)), replace=False)
            found.append(features[picked])
    sampled = np.concatenate(found)
    assignment = netvlad_clusters(sampled, pooling.clusters, seed=config.seed)
    pooling.start(assignment)
    return (
        f"NetVLAD starts from {pooling.clusters} clusters of {len(sampled)} local features of "
        f"{images} images, alpha {assignment.alpha:.1f}."
    )


def norms_kept(options: Mapping[str, Any]) -> bool:
    """Return whether batch normalisations stay as they are while all else is trained.

    "auto" trains them, as published, where the encoder starts from ResNet-34. With random weights
    features tell places and keypoints well as long as means are 0 and variances 1: with the
    statistics of images a third as many keypoints agree on a pose (docs/bev-localization.md).
    """
    chosen = options.get("norms", "auto")
    return chosen == "kept" or (chosen == "auto" and not options.get("backbone_weights"))


def keep_norms(model: keras.Model) -> None:
    """Let the batch normalisations of a model work as at inference, and keep their weights."""
    for norm in _norms(model):
        norm.trainable = False


def _norms(model: keras.Model) -> list:
    import keras

    return [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]


def _settle_norms(model: keras.Model, images: np.ndarray) -> None:
    """Give new batch normalisations the statistics of some images.

    Clusters are found at inference, and trained with the statistics of batches: those of a network
    that was never trained, 0 and 1, would be of other features than a step sees.
    """
    norms = _norms(model)
    momenta = [one.momentum for one in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def bring_encoder(model: keras.Model, path: str) -> str:
    """Start the encoder from a file of torchvision's ResNet-34, and return what was done.

    Raises:
        UserError: When the file cannot be read or does not fit; the model is unchanged.
    """
    from apps.bev_localization.models.rein import load_resnet34
    from core.checkpoints import read

    try:
        report = load_resnet34(model, read(path))
    except UserError as error:
        raise UserError(f"{path}: is not torchvision's ResNet-34: {error}") from error
    return f"The encoder starts from {path}: {len(report.matched)} arrays of ResNet-34."
