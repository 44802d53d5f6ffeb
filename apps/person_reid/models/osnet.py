"""OSNet, OSNet-IBN and OSNet-AIN: omni-scale networks for person re-identification.

K. Zhou, Y. Yang, A. Cavallaro, T. Xiang, "Omni-Scale Feature Learning for Person
Re-Identification", ICCV 2019, arXiv:1905.00953; "Learning Generalisable Omni-Scale Representations
for Person Re-Identification", TPAMI 2021, arXiv:1910.06827.
Official code: github.com/KaiyangZhou/deep-person-reid (MIT).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from apps.person_reid.models.osnet_deploy import deploy
from apps.person_reid.models.osnet_names import (
    STREAMS,
    checkpoint_notes,
    infer_arguments,
    light_layer,
    transition,
)
from core.layers.convolution import activate, batch_norm
from core.layers.instance_norm import InstanceNormalization
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# Where a block has instance normalisation; the names of the search: nowhere, inside the residual
# branch (instead of its last batch normalisation), behind the sum, or both.
CANDIDATES = ("plain", "INv1", "INv2", "INv3")
BLOCKS = ("conv2.0", "conv2.1", "conv3.0", "conv3.1", "conv4.0", "conv4.1")
_PLAIN = ("plain",) * 6
_IBN = ("INv2", "INv2", *_PLAIN[2:])
_AIN = ("INv1", "INv1", "plain", "INv1", "INv1", "plain")
_WIDTHS = {
    "x1_0": (64, 256, 384, 512),
    "x0_75": (48, 192, 288, 384),
    "x0_5": (32, 128, 192, 256),
    "x0_25": (16, 64, 96, 128),
}


def _variant(width: str, stem: str, placement: tuple, names: str, parameters: int, macs: float):
    return {
        "widths": _WIDTHS[width],
        "stem": stem,
        "placement": placement,
        "names": names,
        "parameters": parameters,
        "macs": macs,
    }


# Channels of conv1 to conv4, the stem's normalisation, the blocks' instance normalisation, whose
# parameter names; parameters without classifier, and MACs of convolutions and fc at 256x128.
VARIANTS = {
    "x1_0": _variant("x1_0", "batch", _PLAIN, "osnet", 2_169_508, 978.9e6),
    "x0_75": _variant("x0_75", "batch", _PLAIN, "osnet", 1_285_754, 571.8e6),
    "x0_5": _variant("x0_5", "batch", _PLAIN, "osnet", 630_034, 272.9e6),
    "x0_25": _variant("x0_25", "batch", _PLAIN, "osnet", 201_864, 82.3e6),
    "ibn_x1_0": _variant("x1_0", "instance", _IBN, "osnet", 2_170_532, 978.9e6),
    "ain_x1_0": _variant("x1_0", "instance", _AIN, "ain", 2_169_508, 978.9e6),
    "ain_x0_75": _variant("x0_75", "instance", _AIN, "ain", 1_285_754, 571.8e6),
    "ain_x0_5": _variant("x0_5", "instance", _AIN, "ain", 630_034, 272.9e6),
    "ain_x0_25": _variant("x0_25", "instance", _AIN, "ain", 201_864, 82.3e6),
}


def _scores(**by_data: tuple[float, float]) -> dict[str, float]:
    """Return Rank-1 and mAP in percent by data set; "A_B": trained on A, tested on B."""
    found: dict[str, float] = {}
    for data, (rank1, precision) in by_data.items():
        data = data.replace("_", " → ")
        found |= {f"Rank-1 {data}": rank1, f"mAP {data}": precision}
    return found


# The project's model zoo: 256x128, single query, no re-ranking. MSMT17: all images of it.
PUBLISHED = {
    "x1_0": _scores(
        Market=(94.2, 82.6), Duke=(87.0, 70.2), MSMT17=(74.9, 43.8),
        MSMT17_Market=(66.6, 37.5), MSMT17_Duke=(66.0, 45.3),
    ),
    "x0_75": _scores(
        Market=(93.7, 81.2), Duke=(85.8, 69.8), MSMT17=(72.8, 41.4),
        MSMT17_Market=(63.6, 35.5), MSMT17_Duke=(65.3, 44.5),
    ),
    "x0_5": _scores(
        Market=(92.5, 79.8), Duke=(85.1, 67.4), MSMT17=(69.7, 37.5),
        MSMT17_Market=(64.3, 34.9), MSMT17_Duke=(65.2, 43.3),
    ),
    "x0_25": _scores(
        Market=(91.2, 75.0), Duke=(82.0, 61.4), MSMT17=(61.4, 29.5),
        MSMT17_Market=(59.9, 31.0), MSMT17_Duke=(61.5, 39.6),
    ),
    "ibn_x1_0": _scores(
        Market_Duke=(48.5, 26.7), Duke_Market=(57.7, 26.1),
        MSMT17_Market=(66.5, 37.2), MSMT17_Duke=(67.4, 45.6),
    ),
    "ain_x1_0": _scores(
        Market_Duke=(52.4, 30.5), Duke_Market=(61.0, 30.6),
        MSMT17_Market=(70.1, 43.3), MSMT17_Duke=(71.1, 52.7),
    ),
}  # fmt: skip
EMBEDDING = 512
GATE_REDUCTION = 16
STRIDE = 16


def convolution(x, filters: int, kernel: int, name: str, *, strides: int = 1, use_bias=False):
    """Convolve, initialised as Kaiming normal by fan out; padding only where a stride allows it."""
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="valid",
        use_bias=use_bias,
        kernel_initializer=_kaiming(filters * kernel**2),
        name=name,
    )(x)


def _kaiming(fan_out: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / fan_out))


def instance_norm(x, name: str, *, affine: bool = True):
    """Normalise every channel of every sample by itself."""
    return InstanceNormalization(1e-5, center=affine, scale=affine, name=name)(x)


def conv_norm_relu(x, filters: int, name: str, *, affine: bool = True):
    """Convolve by 1x1, normalise, rectify."""
    x = batch_norm(convolution(x, filters, 1, f"{name}.conv"), f"{name}.bn", affine=affine)
    return activate(x, "relu", name)


def light_conv(x, filters: int, name: str, *, affine: bool = True):
    """Light 3x3: a linear 1x1 and a depthwise 3x3 with norm and ReLU (Fig. 3b)."""
    x = convolution(x, filters, 1, f"{name}.conv1")
    x = keras.layers.DepthwiseConv2D(
        3,
        padding="same",
        use_bias=False,
        # PyTorch counts a depthwise kernel's outputs over all channels.
        depthwise_initializer=_kaiming(filters * 9),
        name=f"{name}.conv2",
    )(x)
    return activate(batch_norm(x, f"{name}.bn", affine=affine), "relu", name)


def aggregation_gate(streams: list, name: str) -> list:
    """Weight every stream's channels by one small network, the same for all (Eq. 3).

    Args:
        streams: Tensors (N, H, W, C).
        name: Path of the gate.
    """
    channels = streams[0].shape[-1]
    hidden = channels // GATE_REDUCTION
    squeeze, excite = (
        keras.layers.Conv2D(width, 1, kernel_initializer=_kaiming(width), name=f"{name}.{leaf}")
        for leaf, width in (("fc1", hidden), ("fc2", channels))
    )
    weighted = []
    for t, x in enumerate(streams):
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.{t}.pool")(x)
        gate = excite(activate(squeeze(gate), "relu", f"{name}.{t}.relu"))
        gate = activate(gate, "sigmoid", f"{name}.{t}.sigmoid")
        weighted.append(keras.layers.Multiply(name=f"{name}.{t}")([x, gate]))
    return weighted


def omni_scale_block(
    x, filters: int, name: str, kind: str = "plain", *, names: str = "osnet", affine: bool = True
):
    """Residual block of four streams that see 3, 5, 7 and 9 pixels (Fig. 4).

    Args:
        x: Tensor (N, H, W, C).
        filters: Channels of the result; a quarter of them within.
        name: Path of the block.
        kind: One of `CANDIDATES`.
        names: Family of parameter names, "osnet" or "ain".
        affine: Whether norms have factors and shifts.
    """
    identity, middle = x, filters // 4
    x = conv_norm_relu(x, middle, f"{name}.conv1", affine=affine)
    streams = []
    for t in range(STREAMS):
        y = x
        for i in range(t + 1):
            y = light_conv(y, middle, f"{name}.{light_layer(names, t, i)}", affine=affine)
        streams.append(y)
    x = keras.layers.Add(name=f"{name}.sum")(aggregation_gate(streams, f"{name}.gate"))
    x = convolution(x, filters, 1, f"{name}.conv3.conv")
    if kind in ("INv1", "INv3"):
        x = instance_norm(x, f"{name}.IN" if kind == "INv1" else f"{name}.IN_in", affine=affine)
    else:
        x = batch_norm(x, f"{name}.conv3.bn", affine=affine)
    if identity.shape[-1] != filters:
        identity = convolution(identity, filters, 1, f"{name}.downsample.conv")
        identity = batch_norm(identity, f"{name}.downsample.bn", affine=affine)
    x = keras.layers.Add(name=f"{name}.residual")([x, identity])
    if kind in ("INv2", "INv3"):
        x = instance_norm(x, f"{name}.IN" if kind == "INv2" else f"{name}.IN_out", affine=affine)
    return activate(x, "relu", name)


def skeleton(image, widths: Sequence[int], stem: str, names: str, block, *, affine: bool = True):
    """Return the embedding (N, 512) of images; what stands in the six places is the caller's.

    Args:
        image: Tensor (N, H, W, C), normalised.
        widths: Channels of conv1 to conv4.
        stem: Normalisation of conv1: "batch" or "instance".
        names: Family of parameter names.
        block: `block(x, filters, name)` for each of `BLOCKS`.
        affine: Whether norms have factors and shifts.
    """
    # Keras's "same" pads even sizes to the right and below; PyTorch pads all sides.
    x = keras.layers.ZeroPadding2D(3, name="conv1.pad")(image)
    x = convolution(x, widths[0], 7, "conv1.conv", strides=2)
    normalise = instance_norm if stem == "instance" else batch_norm
    x = activate(normalise(x, "conv1.bn", affine=affine), "relu", "conv1")
    x = keras.layers.ZeroPadding2D(1, name="maxpool.pad")(x)  # zeros are harmless behind a ReLU
    x = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    for stage, width in enumerate(widths[1:], start=2):
        for k in range(2):
            x = block(x, width, f"conv{stage}.{k}")
        if stage < 4:
            path = transition(names, stage)
            x = conv_norm_relu(x, width, path, affine=affine)
            x = keras.layers.AveragePooling2D(2, name=path.removesuffix(".0"))(x)
    x = conv_norm_relu(x, widths[-1], "conv5", affine=affine)
    x = keras.layers.GlobalAveragePooling2D(name="global_avgpool")(x)
    x = linear(x, EMBEDDING, "fc.0")
    return activate(batch_norm(x, "fc.1", affine=affine), "relu", "embedding")


def linear(x, units: int, name: str):
    """Multiply by a matrix, initialised as the official code does."""
    start = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Dense(units, kernel_initializer=start, name=name)(x)


def with_classifier(image, embedding, classes: int | None, name: str) -> keras.Model:
    """Return the model of an embedding, and of its logits where there are classes."""
    if classes is None:
        return keras.Model(image, embedding, name=name)
    return keras.Model(image, [embedding, linear(embedding, classes, "classifier")], name=name)


def osnet(
    variant: str = "x1_0",
    input_shape: tuple[int | None, int | None, int] = (256, 128, 3),
    *,
    classes: int | None = None,
    placement: Sequence[str] | None = None,
) -> keras.Model:
    """Return OSNet.

    Args:
        variant: One of `VARIANTS`: "x1_0" (plain, by width), "ibn_x1_0", "ain_x1_0".
        input_shape: (H, W, C), channels last; H and W are multiples of 16 or None.
        classes: Persons to tell apart while training; None leaves the classifier out.
        placement: One of `CANDIDATES` for each of `BLOCKS`, as the search finds them, instead of
            the variant's own.

    Returns:
        A model from normalised images (N, H, W, C) to embeddings (N, 512), which are behind a ReLU
        and not normalised; with `classes` to [embeddings, logits (N, classes)].
    """
    check_arguments(VARIANTS, variant, input_shape, multiple=STRIDE, classes=classes)
    table = VARIANTS[variant]
    placement = tuple(placement or table["placement"])
    if len(placement) != len(BLOCKS) or not set(placement) <= set(CANDIDATES):
        raise ValueError(
            f"`placement` must be {len(BLOCKS)} of {list(CANDIDATES)}. Received: {placement}"
        )
    kinds = dict(zip(BLOCKS, placement, strict=True))

    def block(x, filters: int, name: str):
        return omni_scale_block(x, filters, name, kinds[name], names=table["names"])

    image = keras.Input(input_shape, name="image")
    embedding = skeleton(image, table["widths"], table["stem"], table["names"], block)
    outputs = (
        embedding if classes is None else [embedding, linear(embedding, classes, "classifier")]
    )
    return keras.Model(image, outputs, name=f"osnet_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    metric = "cosine" if variant.startswith("ain") else "euclidean"
    return ModelCard(
        network="osnet",
        variant=variant,
        app="reid",
        title="Omni-Scale Feature Learning for Person Re-Identification",
        paper="K. Zhou, Y. Yang, A. Cavallaro, T. Xiang, ICCV 2019, arXiv:1905.00953, and "
        "TPAMI 2021, arXiv:1910.06827",
        official_code="github.com/KaiyangZhou/deep-person-reid (MIT)",
        licence="architecture MIT; the authors' weights come of data sets for research only",
        input_size=(256, 128),
        size_multiple=STRIDE,
        resize="bilinear, as Pillow does it (all pixels count where an image shrinks)",
        labels=(),
        output=f"embedding of {EMBEDDING} numbers, not negative, not normalised",
        decode={"metric": metric, "rerank": "off"},
        published={
            "parameters": table["parameters"],
            "GMACs at 256x128": table["macs"] / 1e9,
            **PUBLISHED.get(variant, {}),
        },
        checkpoints="the model zoo of deep-person-reid; huggingface.co/kaiyangzhou/osnet",
    )


NETWORK = Network(
    osnet,
    VARIANTS,
    card,
    deploy=deploy,
    infer=infer_arguments,
    skipped=without_classifier,
    notes=checkpoint_notes,
)
