"""What stands around the encoder of BEVPlace++: its rotations, of which only one is computed.

L. Luo et al., IEEE Transactions on Robotics 41, 2025, arXiv:2408.01841, Sec. IV. The published
module turns the image by 0, -45, ..., -315 degrees, encodes each, turns the maps back and takes the
largest value of each pixel. A quarter turn only moves pixels, so one image turned by 45 degrees
stands for four of them, and one constant matrix turns four small maps back.
"""

from __future__ import annotations

import keras

from apps.bev_localization.models.bicubic import (
    BORDER,
    TAPS,
    resampling,
    turning,
    turning_matrix,
)

ROTATIONS = (4, 8)
SMALLEST = 1e-12  # norm below which a vector is not made longer


def quarter_turns(x, number: int):
    """Turn (N, n, n, C) by 90 degrees counter-clockwise, several times, without rounding."""
    number %= 4
    if number == 2:
        return keras.ops.flip(x, axis=(1, 2))
    if number:
        x = keras.ops.transpose(x, (0, 2, 1, 3))
        return keras.ops.flip(x, axis=1 if number == 1 else 2)
    return x


def turned(x, degrees: float):
    """Return images (N, n, n, C) turned by bicubic sampling (`bicubic.turning`), same shape.

    Sixteen look-ups, of which sums are made with constants: in a file three times as quick as one
    look-up of sixteen neighbours, and without the memory for them.
    """
    ops = keras.ops
    _, side, _, channels = x.shape
    plan, places = turning(side, degrees), side + BORDER + 1
    first = ops.convert_to_tensor(plan.first)
    x = ops.pad(x, ((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0)))

    def neighbour(row: int, column: int):
        shifted = x[:, row : row + places, column : column + places]
        return ops.take(ops.reshape(shifted, (-1, places * places, channels)), first, axis=1)

    def weighted(values, weights):
        terms = [
            value * ops.convert_to_tensor(weights[:, i, None], x.dtype)
            for i, value in enumerate(values)
        ]
        return sum(terms[1:], terms[0])

    rows = [weighted([neighbour(i, j) for j in range(TAPS)], plan.across) for i in range(TAPS)]
    return ops.reshape(weighted(rows, plan.down), (-1, side, side, channels))


def rotated(x, rotations: int, name: str):
    """Return images (N, n, n, C) in all rotations as one batch (R · N, n, n, C).

    Those of -360 / R · i degrees stand at i · N. Of R = 8 the odd ones are quarter turns of one
    bicubic rotation by 45 degrees; R = 4 has no other than quarter turns.

    Args:
        x: A Keras tensor.
        rotations: R, 8 or 4.
        name: Of the last layer; that of the rotation is this and `.turned`.
    """
    _check(rotations)
    sources = [x] if rotations == 4 else [x, Turned(45.0, name=f"{name}.turned")(x)]
    turns = [quarter_turns(source, -i) for i in range(4) for source in sources]
    return keras.layers.Concatenate(axis=0, name=name)(turns)


def _check(rotations: int) -> None:
    if rotations not in ROTATIONS:
        raise ValueError(f"`rotations` must be 4 or 8. Received: rotations={rotations}")


def unit_length(x):
    """Return vectors, along the last axis, divided by their norms."""
    ops, count = keras.ops, x.shape[-1]
    # By means: of sums the converter makes L2_NORMALIZATION, which a file of integers rounds to
    # 1/128 even where it stays in float.
    squares = ops.mean(ops.square(x), axis=-1, keepdims=True)
    return x / (count**0.5 * ops.sqrt(ops.maximum(squares, SMALLEST**2 / count)))


def resampled(x, side: int):
    """Return maps (N, h, w, C) at (N, side, side, C), bicubic, corners on corners.

    Both axes by a product with a constant matrix each.
    """
    ops = keras.ops
    _, height, width, channels = x.shape
    down = ops.convert_to_tensor(resampling(side, height), x.dtype)
    across = ops.convert_to_tensor(resampling(side, width), x.dtype)
    x = ops.matmul(down, ops.reshape(x, (-1, height, width * channels)))
    x = ops.matmul(across, ops.reshape(x, (-1, width, channels)))
    return ops.reshape(x, (-1, side, side, channels))


class _Float(keras.layers.Layer):
    """A layer without weights, in float32 in networks of integers and of halves too."""

    always_float = True

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})


@keras.saving.register_keras_serializable("gossamer")
class Turned(_Float):
    """Images (N, n, n, C) turned about their centres: one of the published rotations as it is.

    Args:
        degrees: The angle.
    """

    def __init__(self, degrees: float, **kwargs):
        super().__init__(**kwargs)
        self.degrees = float(degrees)

    def call(self, inputs):
        return turned(inputs, self.degrees)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "degrees": self.degrees}


@keras.saving.register_keras_serializable("gossamer")
class LargestTurnedBack(_Float):
    """Maps (R · N, h, h, C) of `rotated` images, turned back; the largest values (N, h, h, C).

    A quarter turn of the image gives the same values, turned.

    Args:
        rotations: R, 8 or 4.
    """

    def __init__(self, rotations: int = 8, **kwargs):
        super().__init__(**kwargs)
        _check(rotations)
        self.rotations = rotations

    def call(self, inputs):
        ops = keras.ops
        maps = ops.split(inputs, self.rotations, axis=0)
        straight, slanted = maps[:: self.rotations // 4], []
        if self.rotations == 8:
            _, side, _, channels = inputs.shape
            matrix = ops.convert_to_tensor(turning_matrix(side, -45.0), inputs.dtype)
            odd = ops.reshape(ops.concatenate(maps[1::2], axis=0), (-1, side * side, channels))
            odd = ops.reshape(ops.matmul(matrix, odd), (-1, side, side, channels))
            slanted = ops.split(odd, 4, axis=0)
        values = [quarter_turns(m, i) for kind in (straight, slanted) for i, m in enumerate(kind)]
        largest = values[0]
        for value in values[1:]:
            largest = ops.maximum(largest, value)
        return largest

    def compute_output_shape(self, input_shape):
        batch, *rest = input_shape
        return (None if batch is None else batch // self.rotations, *rest)

    def get_config(self):
        return {**super().get_config(), "rotations": self.rotations}
