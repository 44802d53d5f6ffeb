"""Decoded values to the suite's one form of a picture: uint8 (H, W, C), 0..255."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from core.errors import UserError

_ROWS = 256  # of a picture that are brought to 8 bits at once
_STRETCH = (0.1, 99.9)  # percentiles


def as_picture(picture: Any, channels: int = 3, *, name: str = "picture") -> np.ndarray:
    """Bring a decoded picture to the form of `read_image`, which says how.

    Args:
        picture: A `PIL.Image.Image` of any mode, or an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) of whole numbers or floats.
        channels: 3 for RGB, 1 for grey.
        name: What to call it in errors.

    Raises:
        UserError: When it is no picture, or one without pixels.
    """
    from PIL import Image, ImageOps

    if isinstance(picture, Image.Image):
        try:
            raw, palette = stored_values(ImageOps.exif_transpose(picture))
        except Exception as error:  # of a file that is decoded only now
            raise UserError(f"{name}: cannot be decoded, it is damaged; replace it.") from error
        if raw.size:
            return known_form(name, raw, palette, channels)
    raw = np.asarray(picture)
    if raw.ndim == 3 and raw.shape[-1] in (1, 4):
        raw = raw[..., 0] if raw.shape[-1] == 1 else raw[..., :3]
    grey_or_rgb = raw.ndim == 2 or (raw.ndim == 3 and raw.shape[-1] == 3)
    if not grey_or_rgb or not raw.size or raw.dtype.kind not in "buif":
        raise UserError(f"{name}: is no picture ({raw.dtype} {raw.shape}); replace it.")
    return known_form(name, raw, None, channels)


def known_form(
    path: str | os.PathLike, raw: np.ndarray, palette: np.ndarray | None, channels: int
) -> np.ndarray:
    """Return stored values as uint8 (H, W, channels)."""
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3. Received: channels={channels}")
    from PIL import Image

    if palette is not None:
        raw = palette[raw]
    pixels = raw if raw.dtype == np.uint8 else _to_8_bits(path, raw)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], channels, axis=-1)
    if channels == 1:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return pixels


def stored_values(image) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a `PIL.Image.Image`'s values without alpha, and the palette if there is one.

    The values are (H, W) or (H, W, 3) of any dtype; the palette is uint8 (256, 3).
    """
    mode = image.mode
    if mode in ("P", "PA"):
        palette = np.zeros((256, 3), np.uint8)
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
        indices = np.array(image)
        return (indices[..., 0] if mode == "PA" else indices), palette
    if mode in ("1", "L", "RGB", "I", "F") or mode.startswith("I;16"):
        pixels = np.array(image)
        return pixels.astype(pixels.dtype.newbyteorder("=")), None
    return np.array(image.convert("L" if mode in ("LA", "La") else "RGB")), None


def _to_8_bits(path: str | os.PathLike, raw: np.ndarray) -> np.ndarray:
    if raw.dtype == bool:
        return raw.astype(np.uint8) * 255
    low, high = finite_range(path, raw)
    if raw.dtype.kind == "f" and low >= 0 and high <= 1:
        return _by_rows(raw, lambda part: part * 255)
    if low >= 0 and high <= 255:
        return _by_rows(raw, lambda part: part)
    low, high = np.percentile(raw, _STRETCH)
    if high <= low:  # constant but for a few pixels
        low, high = finite_range(path, raw)
    if high <= low:
        return np.zeros(raw.shape, np.uint8)
    least, gain = np.float32(low), np.float32(255 / (high - low))
    return _by_rows(raw, lambda part: np.clip((part.astype(np.float32) - least) * gain, 0, 255))


def _by_rows(raw: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return scaled values rounded to 8 bits; floats of all of a large picture are gigabytes."""
    pixels = np.empty(raw.shape, np.uint8)
    for top in range(0, len(raw), _ROWS):
        pixels[top : top + _ROWS] = np.rint(scaled(raw[top : top + _ROWS]))
    return pixels


def finite_range(path: str | os.PathLike, raw: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest value.

    Raises:
        UserError: When one is NaN or infinite.
    """
    low, high = float(raw.min()), float(raw.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{path}: holds NaN or infinite values; export it again without them.")
    return low, high
