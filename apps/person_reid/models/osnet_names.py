"""Names of OSNet's parameters and checkpoints as published, and what a checkpoint tells of itself.

Two families name the same parts differently: OSNet and OSNet-IBN ("osnet"), and OSNet-AIN with the
search and its children ("ain"). Source: github.com/KaiyangZhou/deep-person-reid (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import PurePath
from typing import Any

import numpy as np

STREAMS = 4
# Outputs of the first convolution, the only layer whose width alone tells the variant's.
WIDTHS = {64: "x1_0", 48: "x0_75", 32: "x0_5", 16: "x0_25"}
IMAGENET_CLASSES = 1000

_MULTIPLIER = r"x(?:1_0|0_75|0_5|0_25)"
_IN_FILE_NAME = re.compile(rf"osnet_((?:ain_{_MULTIPLIER}|ibn_x1_0|{_MULTIPLIER})(?!\d))")
_STREAM = {
    "osnet": re.compile(r"(?P<block>conv[234]\.\d)\.conv2(?P<stream>[a-d])(?:\.(?P<layer>\d))?"),
    "ain": re.compile(r"(?P<block>conv[234]\.\d)\.conv2\.(?P<stream>\d)\.layers\.(?P<layer>\d)"),
}
_TRANSITION = {
    "osnet": re.compile(r"conv(?P<stage>[23])\.2\.0"),
    "ain": re.compile(r"pool(?P<stage>[23])\.0"),
}


def light_layer(family: str, stream: int, layer: int) -> str:
    """Return what a light 3x3 layer is called inside its block: stream and layer count from 0."""
    if family == "ain":
        return f"conv2.{stream}.layers.{layer}"
    return f"conv2{'abcd'[stream]}" + (f".{layer}" if stream else "")


def transition(family: str, stage: int) -> str:
    """Return what the 1x1 convolution behind a stage (2 or 3) is called."""
    return f"pool{stage}.0" if family == "ain" else f"conv{stage}.2.0"


def renamed(state: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Return a state dict under the names of the other family, wherever the two differ.

    A plain OSNet is also a child of the search whose six blocks are plain, but for its stem, whose
    batch normalisation has statistics; so the weights of one can start the other.

    Args:
        state: Anything by published name.
        family: "osnet" or "ain": whose names are wanted.
    """
    other = "osnet" if family == "ain" else "ain"

    def rename(name: str) -> str:
        if match := _STREAM[other].match(name):
            stream = match["stream"]
            stream = "abcd".index(stream) if other == "osnet" else int(stream)
            layer = light_layer(family, stream, int(match["layer"] or 0))
            return f"{match['block']}.{layer}{name[match.end() :]}"
        if match := _TRANSITION[other].match(name):
            return transition(family, int(match["stage"])) + name[match.end() :]
        return name

    return {rename(name): value for name, value in state.items()}


def guess_variant(file: str | PathLike) -> str | None:
    """Return the variant a file's name speaks of, or None.

    Trackers rename the files, and `osnet_x1_0` may stand in a folder's or an experiment's part of
    the name beside `osnet_ain_x1_0`: the longest match counts.

    Args:
        file: Name or path, such as "osnet_x0_25_msmt17.pt".
    """
    name = re.sub(r"[-. ]", "_", PurePath(file).name.lower())
    return max(_IN_FILE_NAME.findall(name), key=len, default=None)


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as names and shapes tell them.

    Args:
        state: Arrays by published name, in PyTorch's layout.
    """
    found: dict[str, Any] = {}
    stem = state.get("conv1.conv.weight")
    width = WIDTHS.get(stem.shape[0]) if stem is not None and stem.ndim == 4 else None
    if width is not None:
        if any(_STREAM["ain"].match(name) for name in state):
            found["variant"] = f"ain_{width}"
        elif "conv2.0.conv2a.conv1.weight" in state:
            mixed = "conv2.0.IN.weight" in state
            if not mixed:
                found["variant"] = width
            elif width == "x1_0":  # the only one there is
                found["variant"] = "ibn_x1_0"
    head = state.get("classifier.weight")
    if head is not None and head.ndim == 2:
        found["classes"] = int(head.shape[0])
    return found


def is_imagenet_only(source: Mapping[str, Any] | str | PathLike) -> str:
    """Return a warning if a checkpoint knows ImageNet's classes but no persons, else "".

    Args:
        source: A published state dict, or the file's name, which counts when it says so.
    """
    if isinstance(source, Mapping):
        head = source.get("classifier.weight")
        only = head is not None and head.shape[0] == IMAGENET_CLASSES
    else:
        only = re.search(r"image_?net", re.sub(r"[-. ]", "_", PurePath(source).name.lower()))
    if not only:
        return ""
    return (
        "The checkpoint was trained on ImageNet only: its embeddings do not tell persons apart "
        "(3.9 % mAP on Market-1501); train it on re-identification data before you use it."
    )


def checkpoint_notes(state: Mapping[str, Any], file: str) -> list[str]:
    """Return what a user shall know about a published checkpoint.

    Args:
        state: Its arrays by published name.
        file: Its name.
    """
    head = state.get("classifier.weight")
    warning = is_imagenet_only(state) or is_imagenet_only(file)
    notes = [warning] if warning else []
    if head is not None:
        notes.append(
            f"The classifier of {head.shape[0]} classes is left out: embeddings need none, and "
            "training on other persons makes its own."
        )
    return notes
