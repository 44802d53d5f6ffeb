"""The search for OSNet-AIN: which blocks of a network for unknown cameras need instance norms.

K. Zhou, Y. Yang, A. Cavallaro, T. Xiang, "Learning Generalisable Omni-Scale Representations for
Person Re-Identification", TPAMI 2021, arXiv:1910.06827, Sec. 4; official code:
github.com/KaiyangZhou/deep-person-reid, projects/OSNet_AIN (MIT).

Each of the six blocks is a mixture of four candidates whose weights are drawn anew in every step
and sharpened over the epochs; weights and importances are trained together on the same data:

    search = osnet_search(classes=4101)
    search.compile(...)
    search.fit(data, callbacks=[TemperatureSchedule()])
    child = osnet("ain_x1_0", placement=derive(search), classes=751)
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from apps.person_reid.models.osnet import (
    BLOCKS,
    CANDIDATES,
    STRIDE,
    VARIANTS,
    omni_scale_block,
    skeleton,
    with_classifier,
)
from core.network import check_arguments

EPSILON = 1e-12
FIRST_TEMPERATURE = 10.0
LAST_TEMPERATURE = 1.0
# The published recipe; the test metric at the end of a search says nothing of its child.
RECIPE = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "epochs": 120,
    "batch": 512,
}


def mixing_weights(importance, uniform, temperature):
    """Return the weights of the candidates: a Gumbel-softmax draw, differentiable by importance.

    Args:
        importance: (K,), counted as zero where negative.
        uniform: (K,), drawn from [0, 1).
        temperature: λ; the lower, the nearer the draw is to a choice of one.
    """
    ops = keras.ops
    gumbel = -ops.log(-ops.log(uniform + EPSILON))
    logits = ops.log(ops.relu(importance) + EPSILON) + gumbel
    odds = ops.exp(logits / temperature)
    return odds / (ops.sum(odds) + EPSILON)


@keras.saving.register_keras_serializable("gossamer")
class CandidateMixture(keras.layers.Layer):
    """Weighted sum of candidates; one draw for the whole batch, in evaluation too.

    Args:
        seed: Decides the draws.
    """

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        self.importance = self.add_weight(
            name="importance", shape=(len(input_shape),), initializer="ones"
        )
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(FIRST_TEMPERATURE),
            trainable=False,
        )

    def call(self, inputs, uniform=None):
        """Mix.

        Args:
            inputs: A list of tensors of one shape.
            uniform: What to use instead of a draw, (K,) in [0, 1).
        """
        if uniform is None:
            uniform = keras.random.uniform((len(inputs),), dtype="float32", seed=self.generator)
        weights = mixing_weights(
            keras.ops.cast(self.importance, "float32"),
            keras.ops.cast(uniform, "float32"),
            keras.ops.cast(self.temperature, "float32"),
        )
        weights = keras.ops.cast(weights, self.compute_dtype)
        total = inputs[0] * weights[0]
        for k, candidate in enumerate(inputs[1:], start=1):
            total = total + candidate * weights[k]
        return total

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def torch_weights(self) -> dict:
        """Return PyTorch's name of the importances."""
        return {"weights": (self.importance, None)}

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def search_cell(x, filters: int, name: str, *, seed: int | None = None):
    """One place of the search: the four candidates and their mixture.

    Args:
        x: Tensor (N, H, W, C).
        filters: Channels of the result.
        name: Path of the cell.
        seed: Decides the draws.
    """
    candidates = [
        omni_scale_block(x, filters, f"{name}.os_block.{i}", kind, names="ain", affine=False)
        for i, kind in enumerate(CANDIDATES)
    ]
    return CandidateMixture(seed, name=name)(candidates)


def osnet_search(
    input_shape: tuple[int | None, int | None, int] = (256, 128, 3),
    *,
    classes: int | None = None,
    variant: str = "ain_x1_0",
    seed: int | None = 0,
) -> keras.Model:
    """Return the super-network of the search; its norms have no factors and shifts.

    Args:
        input_shape: (H, W, C), channels last; H and W are multiples of 16 or None.
        classes: Persons to tell apart; None leaves the classifier out.
        variant: Whose widths and stem it has; the published search is that of "ain_x1_0".
        seed: Decides the draws of all cells, each by a seed of its own; None takes Keras's.

    Returns:
        A model from normalised images (N, H, W, C) to embeddings (N, 512), with `classes` to
        [embeddings, logits (N, classes)].
    """
    check_arguments(VARIANTS, variant, input_shape, multiple=STRIDE, classes=classes)
    table = VARIANTS[variant]
    seeds = {name: None if seed is None else seed + k for k, name in enumerate(BLOCKS)}

    def block(x, filters: int, name: str):
        return search_cell(x, filters, name, seed=seeds[name])

    image = keras.Input(input_shape, name="image")
    embedding = skeleton(image, table["widths"], table["stem"], "ain", block, affine=False)
    return with_classifier(image, embedding, classes, f"osnet_search_{variant}")


def temperature_at(
    epoch: int,
    *,
    first: float = FIRST_TEMPERATURE,
    last: float = LAST_TEMPERATURE,
    factor: float = 0.5,
    every: int = 20,
) -> float:
    """Return λ in an epoch (from 0): max(last, first · factor^⌊epoch / every⌋)."""
    return max(last, first * factor ** (epoch // every))


class TemperatureSchedule(keras.callbacks.Callback):
    """Sets λ of all cells when an epoch begins.

    Args:
        options: Those of `temperature_at`.
    """

    def __init__(self, **options: Any):
        super().__init__()
        temperature_at(0, **options)
        self.options = options

    def on_epoch_begin(self, epoch, logs=None):
        for cell in cells(self.model).values():
            cell.temperature.assign(temperature_at(epoch, **self.options))


def cells(model: keras.Model) -> dict[str, CandidateMixture]:
    """Return a super-network's cells by the name of their block.

    Raises:
        ValueError: When the model is none.
    """
    found = {x.name: x for x in model._flatten_layers() if isinstance(x, CandidateMixture)}
    if set(found) != set(BLOCKS):
        raise ValueError(
            f"`model` must be a network of `osnet_search`. Received: '{model.name}' with the cells "
            f"{sorted(found)}"
        )
    return {name: found[name] for name in BLOCKS}


def derive(model: keras.Model) -> list[str]:
    """Return what a search found: the most important candidate of each block.

    Args:
        model: A network of `osnet_search`.

    Returns:
        One of `CANDIDATES` a block, for `osnet(placement=…)`.
    """
    return [
        CANDIDATES[int(np.argmax(keras.ops.convert_to_numpy(cell.importance)))]
        for cell in cells(model).values()
    ]
