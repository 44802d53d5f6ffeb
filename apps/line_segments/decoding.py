"""From a picture to a network's input, and from what that returns to segments of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np

from apps.line_segments.detections import Detections
from apps.line_segments.grouping.grouper import MODES, group
from apps.line_segments.grouping.maps import Parameters, heat_and_direction
from core.errors import UserError, one_of
from core.model_card import ModelCard

_RESIZING = ("bilinear", "area")


def brought_to(image: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return a picture at a network's size, its aspect ratio not kept, as the card says.

    Args:
        image: uint8 (H, W, C).
        card: Its `resize` is "bilinear" or "area", OpenCV's both.
    """
    import cv2

    kind = card.resize.split()[0]
    if kind not in _RESIZING:
        raise ValueError(f"`card.resize` must be one of {_RESIZING}. Received: {card.resize!r}")
    height, width = card.input_size
    how = cv2.INTER_AREA if kind == "area" else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).reshape(height, width, -1)


def is_doubled(card: ModelCard) -> bool:
    """Return whether a network's directions are (cos 2θ, sin 2θ), not θ / π."""
    from apps.line_segments.models.lsdnet import traits

    return traits(card.variant)["doubled"]


def segments_of(
    outputs: Sequence[np.ndarray], card: ModelCard, size: tuple[int, int]
) -> Detections:
    """Return the segments of a picture of (height, width), all of them with their scores.

    Args:
        outputs: A network's for one picture, without the batch axis.
        card: Says which network it is, and how its maps are decoded.
        size: Of the picture.

    Raises:
        UserError: When the maps hold NaN or infinity.
    """
    return Detections(*_DECODERS[card.network](outputs, card, size), size)


def check_decoding(card: ModelCard) -> None:
    """Raise a `UserError` for a choice in `card.decode` that cannot be followed."""
    if card.network not in _DECODERS:
        raise UserError(f"'{card.network}' is no network of this app; export it again.")
    decode = card.decode
    for name, value in decode.items():
        if name in ("mode", "protocol"):
            continue
        if isinstance(value, str) or not isinstance(value, int | float) or not value >= 0:
            raise UserError(f"The decoding's '{name}' is {value!r}; it must be a number from 0.")
    if card.network == "lsdnet":
        one_of(decode.get("mode", MODES[0]), MODES, "mode")
        _parameters(card)
    elif not (decode.get("window", 3) % 2 == 1 and decode.get("top", 1) >= 1):
        raise UserError("The decoding's 'window' must be odd, and its 'top' at least 1.")


def _lsdnet(outputs, card: ModelCard, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    heat, direction = heat_and_direction(outputs[0])
    heat = np.clip(heat, 0, 1)  # the integers of a file reach a little further
    mode = card.decode.get("mode", MODES[0])
    return group(heat, direction, size=size, mode=mode, parameters=_parameters(card))


def _mlsd(outputs, card: ModelCard, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    from apps.line_segments.mlsd_decoding import SETTINGS, decode

    centre, displacement = sorted(outputs, key=lambda output: output.shape[-1])  # 1 and 4 maps
    settings = {**SETTINGS["official"], **card.decode}
    return decode(
        centre,
        displacement,
        size,
        window=int(settings["window"]),
        top=int(settings["top"]),
        score=settings["score"],
        length=settings["length"],
    )


def _parameters(card: ModelCard) -> Parameters:
    known = {field.name for field in fields(Parameters)}
    try:
        return Parameters(**{name: v for name, v in card.decode.items() if name in known})
    except ValueError as error:
        raise UserError(f"The decoding cannot be followed: {error}") from error


_DECODERS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "lsdnet": _lsdnet,
    "mlsd": _mlsd,
}
