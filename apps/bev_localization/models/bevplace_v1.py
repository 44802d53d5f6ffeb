"""BEVPlace: the predecessor of BEVPlace++, with features that stand rotation by group convolutions.

L. Luo et al., "BEVPlace: Learning LiDAR-based Place Recognition using Bird's Eye View Images", ICCV
2023, arXiv:2302.14325. Code: github.com/zjuluolun/BEVPlace as of 2023. Published names.

The network has two halves, and one model holds both so that a checkpoint loads whole. The first
gives features of every warped image; between them points are followed on the host
(`apps.bev_localization.models.bevplace_v1_images`); the second makes the place's descriptor.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from apps.bev_localization.models.bevplace_v1_images import (
    DEGREES,
    SCALES,
    sampled,
    warped_images,
)
from apps.bev_localization.models.netvlad import NetVLAD
from core.layers.convolution import activate, convolution
from core.layers.instance_norm import InstanceNormalization
from core.model_card import ModelCard
from core.network import Network, check_arguments

VARIANTS = {"iccv2023": {"parameters": 440_392}}
EXTRACTOR, EMBEDDER = "encoder.extractor.extractor", "encoder.embedder.embedder"
POOLING = "netvlad"
CHANNELS, WIDTH = 32, 64  # of the features of an image, and within the group's networks
BRANCHES = (8, 16)  # channels of the two networks, which are multiplied with one another
SMALLEST = 1e-6
UNUSED = (r"netvlad\.(wq|wk|transformer|mean|bias)(\..*)?",)  # in files, but in no computation


@keras.saving.register_keras_serializable("gossamer")
class UnitChannels(keras.layers.Layer):
    """Vectors along the last axis divided by their norms, or by a smallest norm.

    Args:
        smallest: That norm.
    """

    def __init__(self, smallest: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.smallest = smallest

    def call(self, inputs):
        squares = keras.ops.sum(keras.ops.square(inputs), axis=-1, keepdims=True)
        return inputs / keras.ops.sqrt(keras.ops.maximum(squares, self.smallest**2))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "smallest": self.smallest}


@keras.saving.register_keras_serializable("gossamer")
class BilinearPooling(keras.layers.Layer):
    """[a (N, P, A), b (N, P, B)] to the sums over P of a_i b_j, (N, A · B)."""

    def call(self, inputs):
        a, b = inputs
        products = keras.ops.matmul(keras.ops.transpose(a, (0, 2, 1)), b)
        return keras.ops.reshape(products, (-1, a.shape[-1] * b.shape[-1]))

    def compute_output_shape(self, input_shape):
        a, b = input_shape
        return (a[0], a[-1] * b[-1])


def extractor(image):
    """Return the features (N, H // 2, W // 2, 32) of warped images (N, H, W, 3)."""
    x = image
    for part, filters in (("conv0", (16, CHANNELS)), ("conv1", (CHANNELS, CHANNELS))):
        if part == "conv1":
            x = keras.layers.AveragePooling2D(2, name=f"{EXTRACTOR}.pool")(x)
        for number, count in zip((0, 3), filters, strict=True):
            name = f"{EXTRACTOR}.{part}"
            x = convolution(x, count, 5, f"{name}.{number}", use_bias=False)
            x = InstanceNormalization(center=False, scale=False, name=f"{name}.{number + 1}")(x)
            if (part, number) != ("conv1", 3):
                x = activate(x, "relu", f"{name}.{number + 2}")
    return UnitChannels(SMALLEST, name=f"{EXTRACTOR}.norm")(x)


def branch(x, number: int, filters: int):
    """Return one network's features (n, 25, filters) of points' groups (n, 5, 5, 32)."""
    stem = f"{EMBEDDER}.network{number}_embed"
    for i, width in ((1, WIDTH), (2, WIDTH), (3, filters)):
        y = activate(convolution(x, WIDTH, 3, f"{stem}{i}.0"), "relu", f"{stem}{i}.1")
        y = convolution(y, width, 3, f"{stem}{i}.2")
        if i == 3:
            return keras.layers.Reshape((len(SCALES) * len(DEGREES), filters))(y)
        short = convolution(x, width, 1, f"{stem}{i}_short")
        x = activate(keras.layers.Add(name=f"{stem}{i}.sum")([y, short]), "relu", f"{stem}{i}")


def bevplace_v1(
    variant: str = "iccv2023",
    input_shape: Sequence[int | None] = (None, None, 3),
    *,
    points: int = 289,
) -> keras.Model:
    """Return both halves of BEVPlace.

    Args:
        variant: "iccv2023".
        input_shape: (H, W, 3) of a warped image; H and W may be None, as the 25 differ.
        points: n, of an image's grid: 289 of 91x91 pixels.

    Returns:
        A model from [warped images (N, H, W, 3), groups (M · n, 5 scales, 5 rotations, 32)] to
        [features (N, H // 2, W // 2, 32), descriptors (M, 8192) of length 1]. The two ways through
        it have no layer in common: `halves` gives each, `describe` goes both.
    """
    check_arguments(VARIANTS, variant, input_shape, channels=3)
    image = keras.Input(input_shape, name="image")
    groups = keras.Input((len(SCALES), len(DEGREES), CHANNELS), name="groups")
    branches = [branch(groups, i, filters) for i, filters in enumerate(BRANCHES, start=1)]
    local = UnitChannels(name="local")(BilinearPooling(name="products")(branches))
    local = keras.ops.reshape(local, (-1, points, BRANCHES[0] * BRANCHES[1]))
    descriptor = NetVLAD(name=POOLING)(local)
    return keras.Model(
        [image, groups], [extractor(image), descriptor], name=f"bevplace_v1_{variant}"
    )


def halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return the model from warped images to features, and that from groups to descriptors."""
    (image, groups), (features, descriptor) = model.inputs, model.outputs
    return keras.Model(image, features), keras.Model(groups, descriptor)


def describe(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return the global descriptor, float32 (8192,), of a grey image uint8 (n, n).

    Args:
        model: Of `bevplace_v1`, with the `points` of that image's grid.
        image: Square; see `warped_images`.
    """
    first, second = halves(model)
    groups = point_groups(first, image)
    return np.asarray(second(groups, training=False))[0]


def point_groups(first: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return what the second half takes, float32 (n, 5, 5, 32), of an image."""
    columns = [
        sampled(np.asarray(first(warped.image[None], training=False))[0], warped)
        for warped in warped_images(image)
    ]
    stacked = np.stack(columns, axis=1)
    return stacked.reshape(len(stacked), len(SCALES), len(DEGREES), -1)


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return ModelCard(
        network="bevplace_v1",
        variant=variant,
        app="bev",
        title="BEVPlace: Learning LiDAR-based Place Recognition using Bird's Eye View Images",
        paper="L. Luo et al., ICCV 2023, arXiv:2302.14325",
        official_code="github.com/zjuluolun/BEVPlace, in its history up to 2023-09 (MIT)",
        licence="architecture MIT",
        input_size=(91, 91),
        output="features of a warped image; global descriptor of length 1",
        published={
            "parameters": VARIANTS[variant]["parameters"],
            "recall@1 KITTI 00": 99.7,
            "recall@1 KITTI 02": 98.1,
            "recall@1 KITTI 05": 99.3,
            "recall@1 KITTI 06": 100.0,
        },
        checkpoints="none known",
    )


NETWORK = Network(bevplace_v1, VARIANTS, card, ignored=UNUSED, head=POOLING)
