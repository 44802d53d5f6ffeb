"""What LSDNet is trained by: cross entropy of the heat, and a loss of directions that wraps.

The authors published no training. This is *reconstructed*: the published heat is calibrated, as an
unweighted cross entropy makes it, directions mean something on segments only, and horizontal ones
come out as 1 of [0, 1), which a loss without a period would not do.
"""

from __future__ import annotations

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("gossamer")
class LineMapsLoss(keras.losses.Loss):
    """Binary cross entropy of the heat + `angle_weight` times the directions' loss.

    The latter is 1 - cos 2(θ - θ*) of each pixel on a segment, averaged over those of an image, 0
    where there are none. Of two channels it is half the squared distance of (cos 2θ, sin 2θ) from
    the truth, which is the same where the prediction has the length 1.

    Args:
        angle_weight: Of the directions' loss; it is about 1 where they are random.

    Call with maps (N, H, W, 2 or 3) as `apps.line_segments.targets.line_maps` makes them, the
    prediction's heat in (0, 1).
    """

    def __init__(self, angle_weight: float = 1.0, name: str = "line_maps", **kwargs):
        super().__init__(name=name, **kwargs)
        if not angle_weight >= 0:
            raise ValueError(
                f"`angle_weight` must not be negative. Received: angle_weight={angle_weight}"
            )
        self.angle_weight = angle_weight

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        if y_pred.shape[-1] not in (2, 3) or y_true.shape[-1] != y_pred.shape[-1]:
            raise ValueError(
                "expected maps of two or three channels, both alike. "
                f"Received: {y_true.shape} and {y_pred.shape}"
            )
        line = y_true[..., :1]
        heat = ops.mean(ops.binary_crossentropy(line, y_pred[..., :1]), axis=(1, 2, 3))
        true, found = y_true[..., 1:], y_pred[..., 1:]
        if y_pred.shape[-1] == 2:
            turned = 1 - ops.cos(2 * math.pi * (found - true))
        else:
            turned = ops.sum(ops.square(found - true), axis=-1, keepdims=True) / 2
        pixels = ops.sum(line, axis=(1, 2, 3))
        angle = ops.sum(turned * line, axis=(1, 2, 3)) / ops.maximum(pixels, 1)
        return heat + self.angle_weight * angle

    def get_config(self):
        return {**super().get_config(), "angle_weight": self.angle_weight}
