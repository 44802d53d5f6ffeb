"""What every explanation asks of a classifier: probabilities of pictures, and classes it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.classification.metrics import softmax
from core.engines import Engine
from core.errors import UserError

BATCH = 32  # pictures a call; the results do not depend on it

# (N, H, W, C) pictures at the network's size, stored values → (N, classes) probabilities.
Predict = Callable[[np.ndarray], np.ndarray]


def class_probabilities(
    engine: Engine,
    *,
    logits: bool = True,
    encode: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Predict:
    """Return what gives an engine's class probabilities for pictures of its card's size.

    Args:
        engine: A Keras network or a .tflite file that returns (N, classes).
        logits: Whether it returns scores before the softmax (before the sigmoid, of one class);
            else it returns probabilities.
        encode: Makes the network's inputs of pictures (N, H, W, C); None normalises as the card
            says.

    Raises:
        UserError: By the function, when the engine returns anything but one row of numbers a
            picture.
    """
    encode = encode or engine.card.normalise

    def predict(images: np.ndarray) -> np.ndarray:
        scores = class_scores(engine(encode(images)), engine.name)
        return probabilities(scores) if logits else scores

    return predict


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits (N, classes): their softmax, of one class its sigmoid."""
    from scipy.special import expit

    return expit(logits) if logits.shape[1] == 1 else softmax(logits)


def class_scores(outputs: list[np.ndarray], name: str) -> np.ndarray:
    """Return the one output (N, classes) of a classifier.

    Args:
        outputs: All outputs.
        name: Of the network or file, for the error.

    Raises:
        UserError: When there are more or they are no rows of finite numbers.
    """
    if len(outputs) != 1 or outputs[0].ndim != 2:
        raise no_classifier(name, [output.shape for output in outputs])
    if not np.isfinite(outputs[0]).all():
        raise UserError(f"{name}: returns NaN or infinity for this picture; look at its weights.")
    return outputs[0]


def no_classifier(name: str, shapes: Sequence[tuple]) -> UserError:
    """Return the error of a network with outputs of other shapes than (N, classes)."""
    returned = " and ".join(map(shown_shape, shapes))
    return UserError(
        f"{name}: returns {returned}, not one score a class; only classifiers are explained."
    )


def shown_shape(shape: tuple) -> str:
    """Return a shape with batch axis in words: "(N, 7, 7, 320)"."""
    return f"({', '.join(['N', *map(str, shape[1:])])})"


def check_class(index: int, count: int) -> int:
    """Return the index of a class; a `UserError` when there is no such class."""
    if not 0 <= index < count:
        raise UserError(f"There is no class {index}; the network has classes 0 to {count - 1}.")
    return int(index)


def probabilities_of(
    predict: Predict,
    images: Callable[[slice], np.ndarray],
    count: int,
    *,
    batch: int = BATCH,
    advance: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the probabilities (count, classes) of pictures that are made batch by batch.

    Args:
        predict: The classifier.
        images: Makes the pictures (N, H, W, C) of a slice of 0..count.
        count: How many there are.
        batch: Most pictures in memory at a time.
        advance: Called with the number of pictures done, for a progress bar.
    """
    if batch < 1:
        raise ValueError(f"`batch` must be a positive integer. Received: batch={batch}")
    found = []
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        found.append(np.asarray(predict(images(slice(start, stop)))))
        if advance is not None:
            advance(stop - start)
    return np.concatenate(found)


def checked_picture(image: np.ndarray) -> np.ndarray:
    """Return a picture as float32; a `ValueError` for an array that is none."""
    image = np.asarray(image)
    if image.ndim != 3 or not image.size:
        raise ValueError(f"`image` must be (H, W, C). Received: shape {image.shape}")
    return image.astype(np.float32)
