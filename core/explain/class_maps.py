"""Class activation maps as an output of a network, for files that have no gradients.

B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for Discriminative
Localization", CVPR 2016, arXiv:1512.04150. Where a network ends in a global mean and one dense
layer, that layer may be applied before the mean as well: its value at a place is what the place
adds to a class. The map's mean and the bias make the logit, and ReLU of the map is Grad-CAM's, but
for the factor h · w.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from core.compress.graph import graph_of
from core.errors import UserError
from core.explain.classes import check_class
from core.explain.maps import enlarged, unit_scaled

NAME = "class_maps"
_PASSING = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Identity)


def with_class_maps(model: keras.Model) -> keras.Model:
    """Return a network with a second output, the maps of all classes, to be converted to a file.

    Args:
        model: A functional classifier that ends in a global mean and one dense layer; weights are
            shared but for the dense layer's, which are copied for the maps.

    Returns:
        A model from pictures to logits (N, classes) and maps (N, h, w, classes).

    Raises:
        UserError: When it ends in something else.
    """
    graph = graph_of(model)
    makers = {value: call for call in graph.calls for value in call.outputs}
    last = makers.get(graph.outputs[0])
    head = None if last is None else last.operation
    call = None if last is None else makers.get(last.inputs[0])
    while call is not None and isinstance(call.operation, _PASSING):
        call = makers.get(call.inputs[0])
    if (
        len(graph.outputs) != 1
        or not isinstance(head, keras.layers.Dense)
        or head.activation is not keras.activations.linear
        or call is None
        or not isinstance(call.operation, keras.layers.GlobalAveragePooling2D)
    ):
        raise UserError(
            f"{model.name}: does not end in a global mean and one dense layer, so its classes have "
            "no maps to put out; explain it by lime or occlusion."
        )
    tensors = dict(zip(graph.inputs, model.inputs, strict=True))
    for one in graph.calls:
        made = one.replay(one.operation, [tensors[number] for number in one.inputs])
        tensors.update(zip(one.outputs, made, strict=True))
    kernel = head.get_weights()[0]
    place = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name=NAME)
    maps = place(tensors[call.inputs[0]])
    place.set_weights([kernel[None, None]])
    return keras.Model(model.inputs[0], [tensors[graph.outputs[0]], maps], name=model.name)


def class_map(maps: np.ndarray, label: int, size: Sequence[int]) -> np.ndarray:
    """Return what a file's second output says of one class, as `core.explain.cam.Cam.maps`.

    Args:
        maps: (h, w, classes) of one picture.
        label: The class.
        size: (height, width) of the picture.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        UserError: When there is no such class.
    """
    own = maps[..., check_class(label, maps.shape[-1])]
    return unit_scaled(enlarged(np.maximum(own, 0), size))
