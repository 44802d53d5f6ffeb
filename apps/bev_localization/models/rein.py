"""REIN of BEVPlace++: a vector of the place and a map of local features of a LiDAR scan's image.

L. Luo, S.-Y. Cao, X. Li, J. Xu, R. Ai, Z. Yu, X. Chen, "BEVPlace++: Fast, Robust, and Lightweight
LiDAR Global Localization for Unmanned Ground Vehicles", IEEE Transactions on Robotics 41, 2025,
arXiv:2408.01841. Official code: github.com/zjuluolun/BEVPlace2. The encoder is the beginning of
torchvision's ResNet-34, whose file it starts from; names are the published ones.

The published network encodes eight warped images one after the other. Here they are one batch, of
which a single bicubic rotation is computed (`apps.bev_localization.models.rotation`). At inference
both give the same. In training the batch normalisations see the rotations together, once a step,
the published ones one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from apps.bev_localization.models.netvlad import NetVLAD
from apps.bev_localization.models.rein_deploy import deploy
from apps.bev_localization.models.rotation import LargestTurnedBack, rotated
from core.backbones.resnet import normalised
from core.backbones.widths import block_numbers
from core.checkpoints import Report, load_torch_state
from core.layers.convolution import activate, batch_norm, conv_norm, fan_out_normal
from core.layers.pooling import max_pool
from core.model_card import ModelCard
from core.network import Network, check_arguments

# `macs`: of the kernels in one pass of the encoder at 201x201; a frame takes one a rotation.
VARIANTS: dict[str, dict[str, Any]] = {
    "r8": {"rotations": 8, "channels": 3, "parameters": 1_364_288, "macs": 1_424_410_304},
    "r4": {"rotations": 4, "channels": 3, "parameters": 1_364_288, "macs": 1_424_410_304},
    "r4_gray": {"rotations": 4, "channels": 1, "parameters": 1_358_016, "macs": 1_360_429_632},
    "r8_gray": {"rotations": 8, "channels": 1, "parameters": 1_358_016, "macs": 1_360_429_632},
}
SIDE = 201
FULL_SCALE = 256.0  # of the published code, not 255
STRIDE, POOLED = 8, 4  # of the map, and of the one that is pooled, which is larger
STEM, DEPTHS, WIDTHS = 64, (3, 4), (64, 128)
ENCODER, ROTATED, MAP, POOLING = "rem.encoder", "rem.rotated", "rem", "pooling"
SMALLEST = 8


@keras.saving.register_keras_serializable("gossamer")
class StemConvolution(keras.layers.Conv2D):
    """The first convolution. One of a single plane takes the sum of a kernel over three.

    The published images are one plane three times, so that the two are equal.
    """

    def torch_weights(self) -> dict:
        def summed(array: np.ndarray) -> np.ndarray | None:
            fits = array.ndim == 4 and array.shape[1] == 3 and self.kernel.shape[2] == 1
            return array.sum(axis=1, keepdims=True) if fits else None

        axes, back = (2, 3, 1, 0), (3, 2, 0, 1)
        named = {
            "weight": (
                self.kernel,
                lambda array: array.transpose(axes),
                lambda array: array.transpose(back),
                summed,
            )
        }
        return named | ({"bias": (self.bias, None)} if self.use_bias else {})


def basic_block(x, filters: int, name: str, *, strides: int = 1):
    """Two 3x3 convolutions and the input added (K. He et al., CVPR 2016, Fig. 5, left).

    Args:
        x: Features (N, H, W, C).
        filters: Of both convolutions.
        name: The published module's path.
        strides: 1 or 2, of the first.
    """
    y = normalised(x, filters, 3, f"{name}.", 1, strides=strides)
    y = normalised(activate(y, "relu", f"{name}.relu1"), filters, 3, f"{name}.", 2)
    if strides > 1 or x.shape[-1] != filters:
        start = fan_out_normal()
        x = conv_norm(x, filters, 1, f"{name}.downsample", strides=strides, initializer=start)
    return activate(keras.layers.Add(name=f"{name}.sum")([x, y]), "relu", name)


def encoder(x, depths: Sequence[int] | None = None):
    """Return the features (N, ceil(H / 8), ceil(W / 8), 128) of images (N, H, W, C)."""
    x = keras.layers.ZeroPadding2D(3, name=f"{ENCODER}.0.padding")(x)
    x = StemConvolution(
        STEM, 7, strides=2, use_bias=False, kernel_initializer=fan_out_normal(),
        name=f"{ENCODER}.0",
    )(x)  # fmt: skip
    x = activate(batch_norm(x, f"{ENCODER}.1"), "relu", f"{ENCODER}.2")
    x = max_pool(x, f"{ENCODER}.3")
    numbers = block_numbers(DEPTHS, depths)
    for stage, (filters, blocks) in enumerate(zip(WIDTHS, numbers, strict=True)):
        for i in blocks:
            strides = 2 if stage and i == blocks[0] else 1
            x = basic_block(x, filters, f"{ENCODER}.{4 + stage}.{i}", strides=strides)
    return x


def rein(
    variant: str = "r8",
    input_shape: tuple[int, int, int] | None = None,
    *,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return REIN.

    Args:
        variant: One of `VARIANTS`: eight or four rotations, images of three equal planes, as
            published, or of one.
        input_shape: (n, n, C), channels last: square, of a known side. None: 201x201.
        depths: Blocks of both stages, at most 3 and 4; None takes all.

    Returns:
        A model from images (N, n, n, C), whose pixels were divided by 256, to two tensors: the map
        E (N, h, h, 128) with h = ceil(n / 8), of which the local features are read
        (`apps.bev_localization.pose.features`), and the global descriptor (N, 8192), of length 1.
        A quarter turn of the image turns the map and leaves the descriptor as it is.

    Raises:
        ValueError: When the side is open, below 8, or differs from the other.
    """
    shape = _square(variant, input_shape)
    rotations = VARIANTS[variant]["rotations"]
    image = keras.Input(shape, name="image")
    x = encoder(rotated(image, rotations, ROTATED), depths)
    features = LargestTurnedBack(rotations, name=MAP)(x)
    descriptor = NetVLAD(side=shape[0] // POOLED, name=POOLING)(features)
    return keras.Model(image, [features, descriptor], name=f"rein_{variant}")


def _square(variant: str, input_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return the shape of a network's images, or raise a `ValueError`."""
    channels = VARIANTS.get(variant, {}).get("channels")
    shape = (SIDE, SIDE, channels or 3) if input_shape is None else input_shape
    check_arguments(VARIANTS, variant, shape, channels=channels, smallest=SMALLEST)
    side, width, _ = shape
    if side is None or side != width:
        raise ValueError(
            "`input_shape` must be square and must not hold None: the image is turned. "
            f"Received: input_shape={tuple(shape)}"
        )
    return side, width, shape[2]


def encoder_for_one_rotation(
    variant: str = "r8", input_shape: tuple[int, int, int] | None = None
) -> keras.Model:
    """Return the encoder alone, for images as they are: (N, n, n, C) to (N, h, h, 128).

    Its layers have the names they have inside `rein`, whose arguments these are.
    """
    image = keras.Input(_square(variant, input_shape), name="image")
    return keras.Model(image, encoder(image), name="encoder")


def published_names(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict by REIN's names: one of torchvision's ResNet-34 is renamed."""
    parts = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5"}
    pattern = re.compile(rf"(?:resnet34\.)?({'|'.join(parts)})\.(.*)")
    renamed = {}
    for name, array in state.items():
        match = pattern.fullmatch(name)
        renamed[f"{ENCODER}.{parts[match[1]]}.{match[2]}" if match else name] = array
    return renamed


def load_resnet34(model: keras.Model, state: Mapping[str, np.ndarray]) -> Report:
    """Start the encoder of a model from torchvision's ResNet-34, complete or not at all.

    NetVLAD keeps its weights; it is started from clusters of what the encoder then gives
    (`NetVLAD.start`).

    Args:
        model: Of `rein`, not deployed.
        state: As `core.checkpoints.read` gives it.

    Raises:
        UserError: When something is missing or does not fit; the model is unchanged.
    """
    inner = encoder_of(model)
    return load_torch_state(inner, published_names(state), ignored=(r"layer[34]\..*", r"fc\..*"))


def encoder_of(model: keras.Model) -> keras.Model:
    """Return the encoder inside a model, for all rotations: (R · N, n, n, C) to its features."""
    images, features = model.get_layer(ROTATED).output, model.get_layer(MAP).input
    return keras.Model(images, features, name="encoder")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return the variant of a state dict, as far as it tells it: not the number of rotations."""
    stem = state.get(f"{ENCODER}.0.weight")
    return {} if stem is None else {"variant": "r8" if stem.shape[1] == 3 else "r8_gray"}


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    channels, gmacs = table["channels"], table["macs"] / 1e9
    published = variant == "r8"
    return ModelCard(
        network="rein",
        variant=variant,
        app="bev",
        title="BEVPlace++: Fast, Robust, and Lightweight LiDAR Global Localization for Unmanned "
        "Ground Vehicles",
        paper="L. Luo, S.-Y. Cao, X. Li, J. Xu, R. Ai, Z. Yu, X. Chen, IEEE Transactions on "
        "Robotics 41, 2025, arXiv:2408.01841",
        official_code="github.com/zjuluolun/BEVPlace2 (MIT)",
        licence="architecture MIT; the weights lie in the same repository, without a licence of "
        "their own",
        input_size=(SIDE, SIDE),
        channels=channels,
        color_order="RGB" if channels == 3 else "gray",
        full_scale=FULL_SCALE,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        resize="none",
        output="map of local features at an eighth of the size; global descriptor of length 1",
        published={
            "parameters": table["parameters"],
            "GMACs at 201x201, one rotation": round(gmacs, 3),
            "GMACs at 201x201, all rotations": round(table["rotations"] * gmacs, 2),
            **(
                {"recall@1 KITTI 08": 99.41, "recall@1 NCLT 2012-02-04": 94.79} if published else {}
            ),
        },
        checkpoints="github.com/zjuluolun/BEVPlace2, model_best.pth.tar"
        if published
        else "those of r8 load (three planes are summed up), but were trained otherwise",
    )


NETWORK = Network(
    rein,
    VARIANTS,
    card,
    deploy=deploy,
    convert_state=published_names,
    infer=infer_arguments,
    features={STRIDE: MAP},
    head=POOLING,
    smallest=SMALLEST,
    any_size=False,
    square=True,
)
