"""Layers of the published networks that Keras does not have, one family a file.

Importing the package registers them, so that saved networks load.
"""

from core.layers import (
    clip,
    conv3xc,
    conv_lora,
    convolution,
    instance_norm,
    own_range,
    patches,
    pixel_shuffle,
    resize,
    window_attention,
)

__all__ = [
    "clip",
    "conv3xc",
    "conv_lora",
    "convolution",
    "instance_norm",
    "own_range",
    "patches",
    "pixel_shuffle",
    "resize",
    "window_attention",
]
