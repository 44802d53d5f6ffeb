"""ConvNet, the example of docs/adding-a-network.md, written as a file of core/backbones/ would be.

What it is for. Authors, venue, year, arXiv number. Official code: where (licence).
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from core.compress.norm_folding import fold_norms
from core.layers.convolution import conv_norm, depthwise_norm, linear
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

VARIANTS = {
    "s": {"widths": (16, 32), "parameters": 1_562, "macs": 314_688},
    "m": {"widths": (32, 64), "parameters": 3_818, "macs": 455_296},
}
STEM = 8


def block(x, filters: int, name: str):
    """Depthwise 3x3 at stride 2, then 1x1 (Fig. 2)."""
    x = depthwise_norm(x, 3, f"{name}.dw", strides=2, activation="relu")
    return conv_norm(x, filters, 1, f"{name}.pw", activation="relu")


def conv_net(variant="s", input_shape=(64, 64, 3), *, classes: int | None = 10) -> keras.Model:
    """Return a model from normalised images (N, H, W, C) to logits (N, classes), or features."""
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    image = keras.Input(input_shape, name="image")
    x = conv_norm(image, STEM, 3, "stem", strides=2, activation="relu")
    for i, width in enumerate(VARIANTS[variant]["widths"]):
        x = block(x, width, f"stages.{i}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = x if classes is None else linear(x, classes, "classifier")
    return keras.Model(image, x, name=f"conv_net_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    for variant, table in VARIANTS.items():
        if state["stages.0.pw.0.weight"].shape[0] == table["widths"][0]:
            found["variant"] = variant
    if "classifier.weight" in state:
        found["classes"] = state["classifier.weight"].shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return ModelCard(
        network="conv_net", variant=variant, app="backbone", title="ConvNet: the paper's title",
        paper="Authors, venue, year, arXiv number", official_code="github.com/… (licence)",
        licence="of the architecture; of the weights", input_size=(64, 64),
        published={"parameters": VARIANTS[variant]["parameters"],
                   "GMACs at 64x64": round(VARIANTS[variant]["macs"] / 1e9, 6)},
        checkpoints="where the authors publish them, or: none published",
    )  # fmt: skip


NETWORK = Network(
    conv_net, VARIANTS, card, deploy=fold_norms, infer=infer_arguments,
    skipped=without_classifier, features={4: "stages.0.pw.2", 8: "stages.1.pw.2"},
)  # fmt: skip
