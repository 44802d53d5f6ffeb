"""Whether maps depend on what the network learned: cascading randomisation.

J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt, B. Kim, "Sanity Checks for Saliency
Maps", NeurIPS 2018, arXiv:1810.03292. From the classifier down to the first layer, one layer after
another loses what it learned; a map that stays the same shows the picture, not the network. Here a
layer loses it by a shuffle of each of its arrays, which keeps their sizes and signs, so that a map
does not change only because the values of a start are of another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from core.compress.graph import graph_of
from core.compress.stage import copied
from core.errors import no_such
from core.explain.cam import CamExplainer


@dataclass(frozen=True)
class Randomised:
    """Maps after a layer, and all layers behind it, were randomised.

    Attributes:
        layer: The last one that was.
        correlation: Mean over the pictures of Spearman's rank correlation with their maps before;
            1 where a map did not change, 0 where it has nothing to do with what it was or became
            the same everywhere.
    """

    layer: str
    correlation: float


def cascading_randomisation(
    model: keras.Model,
    inputs: np.ndarray,
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    classes: int | Sequence[int] | None = None,
    stops: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Randomised]:
    """Randomise a network from its head on and see how its maps change.

    Args:
        model: A functional classifier; a copy of it is randomised.
        inputs: float32 (N, H, W, C), normalised as the network expects; a few pictures will do.
        method, layer, classes: Of `core.explain.cam.CamExplainer`; the classes stay the same, None
            takes those the trained network finds.
        stops: Layers, after each of which maps are compared; None compares after every one.
        seed: Of the shuffles.

    Returns:
        What the maps became, from the head to the first layer.

    Raises:
        UserError: When a layer does not exist or has no weights.
    """
    model = copied(model)
    explain = CamExplainer(model, layer)
    before = explain(inputs, classes, method=method)
    rng = np.random.default_rng(seed)
    weighty = [layer for layer in _layers(model) if layer.weights]
    names = [layer.name for layer in weighty]
    for name in stops or ():
        if name not in names:
            raise no_such("layer with weights", name, names)
    found = []
    for one in weighty:
        shuffle_weights(one, rng)
        if stops is None or one.name in stops:
            after = explain(inputs, before.classes.tolist(), method=method)
            pairs = zip(before.raw, after.raw, strict=True)
            mean = float(np.mean([rank_correlation(*pair) for pair in pairs]))
            found.append(Randomised(one.name, mean))
    return found


def shuffle_weights(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Shuffle the values of each of a layer's arrays, running statistics included."""
    layer.set_weights([rng.permuted(array, axis=None) for array in layer.get_weights()])


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps, -1 to 1; 0 where one is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (one, other)]
    centred = [values - values.mean() for values in ranks]
    length = np.prod([np.linalg.norm(values) for values in centred])
    return float(centred[0] @ centred[1] / length) if length else 0.0


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return a network's layers from the last to the first, those of inner models too."""
    found: dict[int, keras.layers.Layer] = {}
    for call in reversed(graph_of(model).calls):
        if isinstance(call.operation, keras.layers.Layer):
            found.setdefault(id(call.operation), call.operation)
    return list(found.values())
