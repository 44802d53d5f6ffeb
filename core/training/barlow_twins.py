"""Barlow Twins: train an encoder without labels, on two augmented views of every image.

J. Zbontar, L. Jing, I. Misra, Y. LeCun, S. Deny, "Barlow Twins: Self-Supervised Learning via
Redundancy Reduction", ICML 2021, arXiv:2103.03230.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

OFF_DIAGONAL = 0.005  # λ, Sec. 3
# Keeps a feature without variance from giving 0 / 0; far below what float32 resolves otherwise.
TINY = 1e-12


def cross_correlation(first, second):
    """Return how every feature of one view goes with every feature of the other (Eq. 2).

    Args:
        first, second: Embeddings (N, D) of the two views, N at least 2.

    Returns:
        float32 (D, D) in [-1, 1]: features are centred and divided by their population standard
        deviation over the batch, then multiplied and averaged.
    """
    first, second = (tf.cast(view, tf.float32) for view in (first, second))
    first, second = (
        (view - tf.reduce_mean(view, axis=0))
        * tf.math.rsqrt(tf.math.reduce_variance(view, axis=0) + TINY)
        for view in (first, second)
    )
    count = tf.cast(tf.shape(first)[0], tf.float32)
    return tf.matmul(first, second, transpose_a=True) / count


def barlow_twins_loss(first, second, *, off_diagonal: float = OFF_DIAGONAL):
    """Return Σ (1 - C_ii)² + λ Σ_{i≠j} C_ij² of the cross-correlation C (Eq. 1), a float32 scalar.

    Args:
        first, second: Embeddings (N, D) of the two views.
        off_diagonal: λ, the weight of what makes features independent.
    """
    return _loss_of(cross_correlation(first, second), off_diagonal)


def _loss_of(correlation, off_diagonal: float):
    diagonal = tf.linalg.diag_part(correlation)
    others = tf.reduce_sum(tf.square(correlation)) - tf.reduce_sum(tf.square(diagonal))
    return tf.reduce_sum(tf.square(1.0 - diagonal)) + off_diagonal * others


@keras.saving.register_keras_serializable("gossamer")
class BarlowTwins(keras.Model):
    """Trains an encoder to embed two views of an image alike, by features that are independent.

    `fit(first, second)` takes a batch's one views as inputs and the other ones as targets, as a
    data set gives them: (views, other views), each what the encoder takes. Both go through the
    network one after the other, each with batch statistics of its own, and both receive a
    gradient. `compile` needs an optimiser only. A call returns the embedding (N, D).

    Logged beside `loss`, in training and in evaluation:

    * `on_diagonal`: mean C_ii, which rises to 1;
    * `off_diagonal`: mean |C_ij|, which falls to what chance leaves (about 0.8 / sqrt(N));
    * `spread`: mean standard deviation over the batch of embeddings of unit length, times sqrt(D).
      It is near 1 where embeddings point everywhere, and near 0 where all are one: a collapse.

    The encoder is trained in place; take `encoder` when done. `save` writes all of it with the
    optimiser, so that a loaded file trains on.

    Args:
        encoder: A functional model with one output: (N, ..., C), averaged over all positions, or
            (N, C).
        projector: Widths of the dense layers behind it; batch normalisation and a ReLU follow all
            but the last. Barlow-Swin has these, the Barlow Twins paper three of 8192.
        off_diagonal: λ of the loss.
        name: Of the Keras model.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: Sequence[int] = (256, 256, 256),
        *,
        off_diagonal: float = OFF_DIAGONAL,
        name: str = "barlow_twins",
        **kwargs,
    ):
        _check_arguments(encoder, projector, off_diagonal)
        super().__init__(name=name, **kwargs)
        self.encoder = encoder
        self.widths, self.off_diagonal = tuple(projector), float(off_diagonal)
        self.projector = _projector(encoder.outputs[0].shape, self.widths, self.dtype_policy)
        names = ("on_diagonal", "off_diagonal", "spread")
        self.trackers = [keras.metrics.Mean(name=name) for name in names]
        self.built = True

    @property
    def inputs(self) -> list:
        """The encoder's symbolic inputs."""
        return self.encoder.inputs

    @property
    def outputs(self) -> list:
        """The projector's symbolic output."""
        return self.projector.outputs

    @property
    def output_names(self) -> list[str]:
        """Names by which `compile` may list losses and metrics."""
        return self.projector.output_names

    def call(self, inputs, training=None):
        """Return the embedding (N, D) of one view of each image."""
        return self.projector(self.encoder(inputs, training=training), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a batch and update the metrics.

        Args:
            x: One view of each image; its embedding is `y_pred`.
            y: The other views.
            y_pred: The embedding (N, D).
            sample_weight: Has no meaning here.
            training: Whether batch statistics are used.
        """
        if y is None:
            raise ValueError("`fit` must be given two views: as inputs and as targets.")
        first, second = tf.cast(y_pred, tf.float32), self(y, training=training)
        correlation = cross_correlation(first, second)
        count = tf.shape(first)[0]
        for tracker, value in zip(self.trackers, _monitored(first, correlation), strict=True):
            tracker.update_state(value, sample_weight=count)
        own = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in self.losses]
        return tf.add_n([_loss_of(correlation, self.off_diagonal), *own])

    def get_config(self) -> dict[str, Any]:
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "projector": self.widths,
            "off_diagonal": self.off_diagonal,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(**{**config, "encoder": encoder})


def _monitored(embedding, correlation) -> list:
    """Return what the metrics follow, without a gradient."""
    embedding, correlation = tf.stop_gradient(embedding), tf.stop_gradient(correlation)
    features = embedding.shape[-1]
    diagonal = tf.linalg.diag_part(correlation)
    others = tf.reduce_sum(tf.abs(correlation)) - tf.reduce_sum(tf.abs(diagonal))
    spread = tf.math.reduce_std(tf.math.l2_normalize(embedding, axis=-1), axis=0)
    return [
        tf.reduce_mean(diagonal),
        others / max(1, features * (features - 1)),
        tf.reduce_mean(spread) * features**0.5,
    ]


def _projector(shape: tuple, widths: tuple[int, ...], policy) -> keras.Model:
    """Return the model from an encoder's output to the embedding."""
    features = x = keras.Input(shape[1:], name="features")
    if len(shape) > 2:
        positions = tuple(range(1, len(shape) - 1))
        x = keras.ops.mean(x, axis=positions)
    for i, width in enumerate(widths):
        x = keras.layers.Dense(width, dtype=policy, name=f"projector.{i}.dense")(x)
        if i + 1 < len(widths):
            x = keras.layers.BatchNormalization(dtype=policy, name=f"projector.{i}.norm")(x)
            x = keras.layers.Activation("relu", dtype=policy, name=f"projector.{i}.relu")(x)
    return keras.Model(features, x, name="projector")


def _check_arguments(encoder, projector: Sequence[int], off_diagonal: float) -> None:
    outputs = getattr(encoder, "outputs", None)
    if not outputs or len(outputs) != 1 or len(outputs[0].shape) < 2:
        raise ValueError(
            f"`encoder` must be a functional model with one output (N, ..., C). Received: {encoder}"
        )
    if not projector or not all(isinstance(w, int | np.integer) and w > 0 for w in projector):
        raise ValueError(f"`projector` must be positive widths. Received: projector={projector}")
    if not 0.0 <= off_diagonal < float("inf"):
        raise ValueError(
            f"`off_diagonal` must be a finite number from 0. Received: off_diagonal={off_diagonal}"
        )
