"""A choice of what `core.compress.freedom` leaves to choose, and kernels written in it."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from core.compress.freedom import Freedom, is_written_and_read
from core.compress.graph import Call


class Basis:
    """A choice: the matrices, and the logarithms of the factors; neutral at first.

    Attributes:
        matrices: Variables, (side, side); features x become matrix · x.
        inverses: Tensors, of `settle`.
    """

    def __init__(self, freedom: Freedom):
        self.freedom = freedom
        self.matrices = [tf.Variable(tf.eye(side)) for side in freedom.matrices]
        self._logarithms = tf.Variable(tf.zeros(freedom.factors))
        self.settle()

    @property
    def variables(self) -> list:
        return [*self.matrices, *([self._logarithms] if self.freedom.factors else [])]

    def settle(self) -> None:
        """Compute what follows from the variables as they are now."""
        self.inverses = [tf.linalg.inv(matrix) for matrix in self.matrices]
        # Number -1, a fixed factor, comes first.
        self._factors = tf.concat([tf.ones(1), tf.exp(self._logarithms)], 0)

    def factors(self, numbers: np.ndarray):
        """Return the positive factors of given numbers, -1 for a fixed one."""
        return tf.gather(self._factors, numbers + 1)

    def kernel(self, call: Call):
        """Return a kernel in the bases of what it reads and writes."""
        layer = call.operation
        kernel = tf.convert_to_tensor(layer.kernel)
        shape, groups = kernel.shape, getattr(layer, "groups", 1)
        if groups > 1:  # which let no matrix pass
            factors = [self.factors(part.factors) for part in self.freedom.segments[call.inputs[0]]]
            factors = tf.transpose(tf.reshape(tf.concat(factors, 0), (groups, -1)))
            parted = tf.reshape(kernel, (*shape[:-1], groups, -1))
            kernel = tf.reshape(parted / factors[..., None], shape)
        else:
            rows, parts = [], self.freedom.segments[call.inputs[0]]
            for part in parts:
                own = kernel if len(parts) == 1 else kernel[..., part.start : part.stop, :]
                if part.matrix is None:
                    rows.append(own / self.factors(part.factors)[:, None])
                else:
                    rows.append(tf.einsum("...io,ij->...jo", own, self.inverses[part.matrix]))
            kernel = rows[0] if len(rows) == 1 else tf.concat(rows, -2)
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = tf.reshape(kernel, (*shape[:-2], -1))
        return tf.reshape(self._written(kernel, call), shape)

    def write_into(self, call: Call) -> None:
        """Change a call's kernel and bias, if it has any."""
        if is_written_and_read(call, self.freedom.segments):
            layer, kernel = call.operation, self.kernel(call)
            if layer.use_bias:
                layer.bias.assign(self._written(tf.convert_to_tensor(layer.bias), call))
            layer.kernel.assign(kernel)

    def _written(self, outputs, call: Call):
        """Return outputs (…, C) of a kernel, or of a bias, in the basis it writes."""
        found, parts = [], self.freedom.segments[call.outputs[0]]
        for part in parts:
            own = outputs if len(parts) == 1 else outputs[..., part.start : part.stop]
            if part.matrix is None:
                found.append(own * self.factors(part.factors))
            else:
                found.append(tf.einsum("...o,po->...p", own, self.matrices[part.matrix]))
        return found[0] if len(found) == 1 else tf.concat(found, -1)
