"""Feature maps of two networks brought to one size, and their vectors to one length.

Sizes may be unknown until a batch comes (networks for any image size): where they are known, they
are plain numbers and the graph holds no arithmetic on shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

EPSILON = 1e-8  # added to the norm of a position's features, as FAKD does


def unit(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Return x / (‖x‖₂ + 1e-8) along an axis; zero vectors stay zero and pass no gradient back."""
    squares = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    dead = squares < 1e-30
    norm = tf.sqrt(tf.where(dead, 1.0, squares)) + EPSILON
    return tf.where(dead, 0.0, x / norm)


def same_size(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return two maps (N, H, W, C) with the finer averaged down to the coarser, side by side."""
    sizes = [_smaller(p, q) for p, q in zip(size_of(a), size_of(b), strict=True)]
    return averaged(a, sizes), averaged(b, sizes)


def block_side(height: Any, width: Any, limit: int) -> Any:
    """Return the smallest k with ⌈height / k⌉ · ⌈width / k⌉ ≤ limit; a tensor if a side is one."""
    if isinstance(height, int) and isinstance(width, int):
        sides = range(1, max(height, width) + 1)
        return next(k for k in sides if -(-height // k) * -(-width // k) <= limit)
    sides = tf.range(1, tf.maximum(height, width) + 1)
    fits = -(-height // sides) * -(-width // sides) <= limit
    return tf.argmax(tf.cast(fits, tf.int32), output_type=tf.int32) + 1


def averaged(x: tf.Tensor, sizes: Sequence[Any]) -> tf.Tensor:
    """Return a map averaged over equal blocks to (height, width)."""
    (height, width), (new_height, new_width) = size_of(x), sizes
    if all(isinstance(side, int) for side in (height, width, new_height, new_width)):
        if (height, width) == (new_height, new_width):
            return x
    else:
        message = "Features of student and teacher: their sizes differ by no integer factor."
        fits = [
            tf.debugging.assert_equal(side % new, 0, message)
            for side, new in ((height, new_height), (width, new_width))
        ]
        with tf.control_dependencies([check for check in fits if check is not None]):
            x = tf.identity(x)
    blocks = (
        tf.shape(x)[0], new_height, height // new_height, new_width, width // new_width, x.shape[-1]
    )  # fmt: skip
    return tf.reduce_mean(tf.reshape(x, blocks), axis=(2, 4))


def pooled(x: tf.Tensor, side: Any) -> tf.Tensor:
    """Return a map averaged over blocks of side by side, incomplete ones over what they hold."""
    if isinstance(side, int) and side == 1:
        return x
    height, width = size_of(x)
    room = [[0, 0], [0, -height % side], [0, -width % side], [0, 0]]
    sizes = (-(-height // side), -(-width // side))
    share = averaged(tf.pad(tf.ones_like(x[:1, :, :, :1]), room), sizes)
    return averaged(tf.pad(x, room), sizes) / share


def grid(x: tf.Tensor) -> tf.Tensor:
    """Return features with two spatial axes: (N, L, C) becomes (N, L, 1, C)."""
    return x[:, :, None] if len(x.shape) == 3 else x


def size_of(x: tf.Tensor) -> tuple[Any, Any]:
    """Return height and width of a map: numbers where they are known, else tensors."""
    dynamic = tf.shape(x)
    height, width = (dynamic[i] if x.shape[i] is None else int(x.shape[i]) for i in (1, 2))
    return height, width


def _smaller(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else tf.minimum(a, b)


def float32(x: Any) -> tf.Tensor:
    """Return anything that is a tensor in float32."""
    return tf.cast(tf.convert_to_tensor(x), tf.float32)
