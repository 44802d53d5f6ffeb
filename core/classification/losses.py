"""Cross entropy for unequal classes, smoothed and mixed targets, and the weights of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from core.errors import UserError

BETA = 0.999


@keras.saving.register_keras_serializable("gossamer")
class WeightedCrossentropy(keras.losses.Loss):
    """-Σ w_c · t_c · log softmax(logits)_c, t = (1 - s) · target + s / K.

    As PyTorch's `CrossEntropyLoss` with weights and probabilities for targets, the mean being over
    samples. Keras's `fit(class_weight=…)` would weight a mixed sample by its larger part alone,
    and TensorFlow's own cross entropy has a wrong gradient for targets that do not sum to 1.

    Args:
        class_weights: w, one for each of the K classes; None weights all alike.
        label_smoothing: s, in [0, 1) (C. Szegedy et al., CVPR 2016).
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        name: str = "weighted_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                "`label_smoothing` must be 0 or more and less than 1. Received: "
                f"label_smoothing={label_smoothing}"
            )
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Return the loss of each sample (N,).

        Args:
            y_true: Classes (N,) or (N, 1), or the classes' shares (N, K), as of `mixing`.
            y_pred: Logits (N, K).
        """
        classes = y_pred.shape[-1]
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(
                f"`class_weights` must have one for each of {classes} classes. Received: "
                f"{len(self.class_weights)}"
            )
        if len(y_true.shape) == 1 or y_true.shape[-1] != classes:
            y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes)
        logs = ops.log_softmax(ops.cast(y_pred, "float32"))
        shares = (1 - self.label_smoothing) * ops.cast(y_true, "float32")
        shares += self.label_smoothing / classes
        if self.class_weights is not None:
            shares *= ops.convert_to_tensor(self.class_weights, "float32")
        return -ops.sum(shares * logs, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
        }


def balanced_weights(counts: Mapping[str, int]) -> np.ndarray:
    """Return n / (K · n_c) for each class: inverse frequency, as scikit-learn's "balanced".

    The mean over the samples is 1, so the loss keeps its scale and the learning rate its meaning.

    Args:
        counts: Training samples by class name, in class order.

    Returns:
        float64 (K,).

    Raises:
        UserError: When a class has no sample.
    """
    return _of_sample_mean_one(1 / _number(counts), counts)


def effective_number_weights(counts: Mapping[str, int], beta: float = BETA) -> np.ndarray:
    """Return the class-balanced weights, in proportion to (1 - β) / (1 - β^n_c).

    From all alike (β = 0) to inverse frequency (β → 1): further samples of a large class tell less
    (Y. Cui et al., CVPR 2019, arXiv:1901.05555, which scales them to mean 1 over the classes; here
    the mean over the samples is 1, as of `balanced_weights`).

    Args:
        counts: Training samples by class name, in class order.
        beta: β in [0, 1).

    Returns:
        float64 (K,).

    Raises:
        UserError: When a class has no sample.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"`beta` must be 0 or more and less than 1. Received: beta={beta}")
    return _of_sample_mean_one((1 - beta) / (1 - beta ** _number(counts)), counts)


def _number(counts: Mapping[str, int]) -> np.ndarray:
    """Return the samples of each class, none of which may be empty."""
    empty = [name for name, count in counts.items() if count <= 0]
    if empty:
        raise UserError(
            f"Class '{empty[0]}' has no training sample, so it cannot be weighted; add samples "
            "or leave the class out."
        )
    return np.array(list(counts.values()), np.float64)


def _of_sample_mean_one(weights: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
    return weights / np.average(weights, weights=list(counts.values()))
