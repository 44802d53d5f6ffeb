"""FetalNet: an EfficientNet, attention on its features, and a perceptron of three layers.

After A. Sivasubramanian, D. Sasidharan, Sowmya V., V. Ravi, arXiv:2410.17396, who published neither
code nor weights: the backbones and the three layers are theirs, the kind of attention, the layers'
widths and the dropout are not known, so this is not their network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from apps.fetal_planes.data.layouts import PLANES
from apps.fetal_planes.models.attention import ATTENTIONS, PREFIXES
from core.backbones import efficientnet, efficientnet_lite, efficientnetv2
from core.backbones.mbconv import KERAS_INPUTS
from core.classification.task import OUTPUT, RESIZE
from core.compress.norm_folding import fold_norms
from core.layers.convolution import activate, linear
from core.model_card import ModelCard
from core.network import PROFILES, Network, check_arguments

WIDTHS, DROPOUT = (256, 64), 0.3
LAST = "mlp.6"  # the layer that gives the logits, numbered as in an nn.Sequential


@dataclass(frozen=True)
class Backbone:
    """A network whose features are refined.

    Attributes:
        network: With its names of layers.
        variant: Of it.
        top: The layer with the features, (N, ceil(H / 32), ceil(W / 32), 1280).
        first: Its first kernel in PyTorch's form, by which a state dict is known.
        parameters: Trainable ones up to `top`.
    """

    network: Network
    variant: str
    top: str
    first: str
    parameters: int


BACKBONES = {
    "b0": Backbone(efficientnet.NETWORK, "b0_tf", "features.8.2", "features.0.0.weight", 4_007_548),
    "v2b0": Backbone(efficientnetv2.NETWORK, "b0", "head", "conv_stem.weight", 5_858_704),
    "lite0": Backbone(efficientnet_lite.NETWORK, "lite0", "head", "_conv_stem.weight", 3_371_008),
}
# Parameters of the attention on 1280 channels and of the perceptron for six classes.
ATTENTION_PARAMETERS = {
    "spatial-gate": 85_601,
    "se": 206_160,
    "cbam": 206_259,
    "mhsa": 1_315_328,
    "none": 0,
}
MLP_PARAMETERS = 344_774
VARIANTS: dict[str, dict[str, Any]] = {
    f"{backbone}-{attention}": {
        "backbone": backbone,
        "attention": attention,
        "parameters": BACKBONES[backbone].parameters
        + ATTENTION_PARAMETERS[attention]
        + MLP_PARAMETERS,
    }
    for backbone in BACKBONES
    for attention in ATTENTIONS
}


def fetal_net(
    variant: str = "b0-spatial-gate",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int = len(PLANES),
    dropout: float = DROPOUT,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return the network.

    Args:
        variant: One of `VARIANTS`, named by backbone and attention.
        input_shape: (H, W, C), channels last; H and W may be None.
        classes: Classes to tell apart.
        dropout: Share of a hidden layer's outputs that training leaves out.
        depths: Blocks of each stage of the backbone, at most its own; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes).
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    table = VARIANTS[variant]
    backbone = BACKBONES[table["backbone"]]
    whole = backbone.network.build(backbone.variant, input_shape, classes=None, depths=depths)
    x = ATTENTIONS[table["attention"]](whole.get_layer(backbone.top).output)
    for number, width in enumerate(WIDTHS):
        x = linear(x, width, f"mlp.{3 * number}")
        x = activate(x, "relu", f"mlp.{3 * number + 1}")
        x = keras.layers.Dropout(dropout, name=f"mlp.{3 * number + 2}")(x)
    x = linear(x, classes, LAST)
    return keras.Model(whole.input, x, name=f"fetal_net_{variant}")


def feature_layers(model: keras.Model) -> dict[int, str]:
    """Return stride → layer of the backbone's maps; the coarsest is what attention refines."""
    names = {layer.name for layer in model.layers}
    backbone = next(one for one in BACKBONES.values() if _kernel(one) in names)
    return {**backbone.network.features_of(model), 32: backbone.top}


def published_backbone(variant: str) -> tuple[str, str]:
    """Return name and variant of the published network below a variant's attention."""
    backbone = BACKBONES[VARIANTS[variant]["backbone"]]
    return backbone.network.card(backbone.variant).network, backbone.variant


def _kernel(backbone: Backbone) -> str:
    return backbone.first.removesuffix(".weight")


def convert_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict in PyTorch's names, also of a backbone that Keras saved."""
    if "stem_conv.kernel" not in state:
        return dict(state)
    first = any(name.startswith("block1a_dwconv.") for name in state)  # V2's is fused
    return BACKBONES["b0" if first else "v2b0"].network.convert_state(dict(state))


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a state dict of this network; none of a backbone alone."""
    last = state.get(f"{LAST}.bias")
    backbone = next((name for name, one in BACKBONES.items() if one.first in state), None)
    if last is None or backbone is None:
        return {}
    beginnings = PREFIXES.items()
    kinds = (kind for kind, start in beginnings if any(name.startswith(start) for name in state))
    return {"variant": f"{backbone}-{next(kinds, 'none')}", "classes": last.shape[0]}


def card(variant: str) -> ModelCard:
    """Return the model card; its input is the backbone's."""
    table = VARIANTS[variant]
    backbone = BACKBONES[table["backbone"]]
    below = backbone.network.card(backbone.variant)
    return below.replace(
        network="fetal_net",
        variant=variant,
        app="fetal",
        title="Efficient Feature Extraction Using Light-Weight CNN Attention-Based Deep Learning "
        "Architectures for Ultrasound Fetal Plane Classification (after it, not its network)",
        paper="A. Sivasubramanian et al., arXiv:2410.17396",
        official_code="none",
        licence=f"Apache-2.0; weights of the backbone: {below.licence}",
        input_size=(224, 224),
        resize=RESIZE,
        labels=PLANES,
        output=OUTPUT,
        published={"parameters": table["parameters"]},
        checkpoints=f"none of the whole; of the backbone: {below.checkpoints}",
    )


NETWORK = Network(
    fetal_net,
    VARIANTS,
    card,
    deploy=fold_norms,
    convert_state=convert_state,
    infer=infer_arguments,
    ignored=(*PROFILES, *KERAS_INPUTS),
    # The classes of a published backbone are not these.
    skipped=lambda model: (r"(classifier(\.1)?|_fc|predictions)\.\w+",),
    backbone=published_backbone,
    features=feature_layers,
    head=r"(gate|se|cbam|mhsa|mlp)\..*",
)
