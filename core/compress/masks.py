"""Masks of zeros and ones over kernels: made by tfmot's algorithm, applied in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from core.compress import toolkit
from core.errors import UserError

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


class Masks:
    """The masks of several kernels, all driven by one step counter.

    Args:
        kernels: (layer, variable) pairs.
        plan: A `core.compress.pruning.PruningPlan`.

    Attributes:
        step: int64 variable, training steps begun so far.
        masks: A variable of zeros and ones for each kernel.

    Raises:
        UserError: When a kernel cannot be cut into the plan's blocks; the layer is named.
    """

    def __init__(self, kernels: Sequence[tuple], plan):
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="pruning_step")
        self._views = [View.of(layer, tuple(variable.shape), plan) for layer, variable in kernels]
        self._kernels = [variable.value for _, variable in kernels]
        self.masks = [
            tf.Variable(tf.ones_like(kernel), trainable=False, name="pruning_mask")
            for kernel in self._kernels
        ]
        self._schedule = plan.make_schedule()
        self._once = plan.m_by_n is not None
        self._threshold_and_mask = toolkit.magnitude_mask(
            self._schedule,
            lambda: self.step,
            block=plan.block,
            pooling=plan.block_pooling,
            m_by_n=plan.m_by_n,
        )

    @tf.function
    def advance(self) -> None:
        """Count a step, make new masks where the schedule says so, and apply the masks."""
        self.step.assign_add(1)
        # m:n masks are made once, from the weights that training starts with.
        due = tf.equal(self.step, 1) if self._once else self._schedule(self.step)[0]
        if due:
            for kernel, mask, view in zip(self._kernels, self.masks, self._views, strict=True):
                mask.assign(view.back(self._threshold_and_mask(view.see(kernel))[1]))
        self.apply()

    @tf.function
    def apply(self) -> None:
        """Set the weights to weights · mask."""
        for kernel, mask in zip(self._kernels, self.masks, strict=True):
            kernel.assign(kernel * mask)


@dataclass(frozen=True)
class View:
    """How a kernel is laid out for an algorithm that wants (…, inputs, outputs).

    Attributes:
        straight: The kernel's shape with its last axes in this order.
        shape: The shape the algorithm sees.
        swapped: Whether the kernel itself ends in (outputs, inputs).
    """

    straight: tuple[int, ...]
    shape: tuple[int, ...]
    swapped: bool = False

    @classmethod
    def of(cls, layer, shape: tuple[int, ...], plan) -> View:
        """Return the view for a layer's kernel; single weights are pruned as they lie."""
        if plan.m_by_n is None and plan.block == (1, 1):
            return cls(shape, shape)
        swapped = isinstance(layer, TRANSPOSED)
        straight = (*shape[:-2], shape[-1], shape[-2]) if swapped else shape
        window = math.prod(shape[:-2])
        known = len(shape) == 2 or not isinstance(layer, keras.layers.EinsumDense)
        if known and plan.m_by_n is not None:
            return cls(straight, (window, 1, *straight[-2:]), swapped)
        if known and window == 1:
            return cls(straight, straight[-2:], swapped)
        structure = f"blocks of {plan.block}" if plan.m_by_n is None else f"{plan.m_by_n} groups"
        raise UserError(
            f"{layer.name} ({type(layer).__name__}): its kernel {shape} cannot be pruned in "
            f"{structure}; use policy 'pointwise', which leaves such layers out, or prune single "
            "weights."
        )

    def see(self, kernel):
        """Return the kernel in `shape`."""
        return tf.reshape(self._turned(tf.convert_to_tensor(kernel)), self.shape)

    def back(self, mask):
        """Return a mask of `shape` laid out as the kernel is."""
        return self._turned(tf.reshape(mask, self.straight))

    def _turned(self, tensor):
        return tf.linalg.matrix_transpose(tensor) if self.swapped else tensor


def zeros_kept(kernel) -> np.ndarray:
    """Return the mask that holds a kernel's zeros: 0 where it is exactly zero now, else 1.

    Multiplied into the kernel before a later stage rounds or clusters it, it keeps the zeros.

    Args:
        kernel: A variable, tensor or array of any shape.
    """
    kernel = keras.ops.convert_to_numpy(kernel)
    return (kernel != 0).astype(kernel.dtype)
