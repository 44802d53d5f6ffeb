"""The start of NetVLAD: its clusters and how sharply features are assigned to them.

R. Arandjelović et al., "NetVLAD", CVPR 2016, and the published code of BEVPlace++. Without it a
network that is trained from the start learns nothing of use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.errors import UserError

CLUSTERS = 64
IMAGES, FEATURES_OF_EACH = 400, 25  # 10,000 features, as published
_ITERATIONS = 100
_SECOND = 0.01  # weight of the second nearest cluster, relative to the nearest


@dataclass(frozen=True)
class Assignment:
    """Parameters of a NetVLAD layer.

    Attributes:
        centroids: float32 (K, C), centres as k-means found them.
        weights: float32 (K, C), of the 1x1 convolution without bias: alpha times unit centres.
        alpha: Sharpness; the logits of unit features lie in -alpha..alpha.
    """

    centroids: np.ndarray
    weights: np.ndarray
    alpha: float


def netvlad_clusters(
    features: np.ndarray, clusters: int = CLUSTERS, *, seed: int = 0
) -> Assignment:
    """Return NetVLAD's parameters for a sample of local features.

    Args:
        features: float32 (N, C), of unit length: a few random pixels of each of some hundred
            training images, randomly rotated.
        clusters: K.
        seed: Of k-means.

    Raises:
        UserError: When there are fewer features than clusters, or all are one.
    """
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or clusters < 2:
        raise ValueError(
            "`features` must be (N, C) and `clusters` at least 2. "
            f"Received: shape={features.shape}, clusters={clusters}"
        )
    if len(features) < clusters:
        raise UserError(
            f"NetVLAD's {clusters} clusters need as many local features, but there are "
            f"{len(features)}; give more training images."
        )
    from sklearn.cluster import KMeans

    found = KMeans(clusters, n_init=1, max_iter=_ITERATIONS, random_state=seed).fit(features)
    return assignment(found.cluster_centers_.astype(np.float32), features)


def assignment(centroids: np.ndarray, features: np.ndarray) -> Assignment:
    """Return NetVLAD's parameters for given centres.

    alpha is such that, on average, the second nearest cluster has a hundredth of the weight.

    Args:
        centroids: float32 (K, C), K at least 2.
        features: float32 (N, C), of unit length.

    Raises:
        UserError: When the features are equally near to two clusters throughout.
    """
    units = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    closeness = np.sort(features @ units.T, axis=1)
    margin = float(np.mean(closeness[:, -1] - closeness[:, -2], dtype=np.float64))
    if not margin > 0:
        raise UserError(
            "The local features lie all in one place, so that NetVLAD cannot be started with them; "
            "check the training images and the network's weights."
        )
    alpha = -math.log(_SECOND) / margin
    return Assignment(centroids, (alpha * units).astype(np.float32), alpha)
