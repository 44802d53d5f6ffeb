"""Layers of the published networks that Keras does not have, one family a file.

Importing the package registers them, so that saved networks load.
"""

from core.layers import (
    clip,
    conv3xc,
    conv_lora,
    convolution,
    group_norm,
    instance_norm,
    mamba,
    own_range,
    patches,
    pixel_shuffle,
    resize,
    scale,
    selective_scan,
    volumes,
    window_attention,
)

__all__ = [
    "clip",
    "conv3xc",
    "conv_lora",
    "convolution",
    "group_norm",
    "instance_norm",
    "mamba",
    "own_range",
    "patches",
    "pixel_shuffle",
    "resize",
    "scale",
    "selective_scan",
    "volumes",
    "window_attention",
]
