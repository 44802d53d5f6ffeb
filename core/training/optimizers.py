"""Optimisers of the training, and the moving average of the weights."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from core.config import TrainConfig


class L2Decay(keras.optimizers.Optimizer):
    """Adds `l2` · weight to each gradient after clipping, as PyTorch's `weight_decay` does.

    Keras' own `weight_decay` is the decoupled one (AdamW) for every optimiser.
    """

    l2: float = 0.0

    def update_step(self, gradient, variable, learning_rate):
        gradient = keras.ops.cast(gradient, variable.dtype) + self.l2 * variable
        super().update_step(gradient, variable, learning_rate)


class L2Adam(L2Decay, keras.optimizers.Adam):
    """Adam with an L2 term."""


class L2SGD(L2Decay, keras.optimizers.SGD):
    """SGD with an L2 term."""


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """Return the optimiser of a config.

    Weight decay is decoupled for adamw (Loshchilov and Hutter, ICLR 2019) and an L2 term in the
    gradient for adam, amsgrad and sgd; all trainable variables decay, as in PyTorch.
    """
    common = {
        "learning_rate": config.learning_rate,
        "clipvalue": config.clip_value,
        "global_clipnorm": config.clip_norm,
    }
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(
            weight_decay=config.weight_decay, epsilon=config.epsilon, **common
        )
    if config.optimizer in ("adam", "amsgrad"):
        amsgrad = config.optimizer == "amsgrad"
        optimizer = L2Adam(epsilon=config.epsilon, amsgrad=amsgrad, **common)
    else:
        optimizer = L2SGD(momentum=config.momentum, **common)
    optimizer.l2 = config.weight_decay
    return optimizer


class WeightAverage:
    """Exponential moving average of a model's variables.

    After step t each average moves by (1 - d) of the way to its variable, where
    d = min(decay, (1 + t) / (10 + t)): the rising decay lets short trainings forget the random
    start. The statistics of BatchNormalization are averaged too, so that they fit the averaged
    kernels; integer variables (seeds) are copied.

    Args:
        variables: What is averaged, in the order of the model.
        decay: Upper limit of d.
    """

    def __init__(self, variables: list[keras.Variable], decay: float):
        self._steps = tf.Variable(0.0, trainable=False)
        self._averages = [tf.Variable(tf.convert_to_tensor(v), trainable=False) for v in variables]

        @tf.function
        def update():
            self._steps.assign_add(1.0)
            keep = tf.minimum(decay, (1.0 + self._steps) / (10.0 + self._steps))
            for average, variable in zip(self._averages, variables, strict=True):
                value = tf.convert_to_tensor(variable.value)
                if average.dtype.is_floating:
                    average.assign_add((1.0 - keep) * (value - average))
                else:
                    average.assign(value)

        self.update = update

    @property
    def variables(self) -> list[tf.Variable]:
        """The step counter and the averages: what a checkpoint holds."""
        return [self._steps, *self._averages]

    def values(self) -> list[np.ndarray]:
        """Return the averages in the order of the variables."""
        return [average.numpy() for average in self._averages]
