"""Teachers that are other networks: whether they fit, and which layers are compared."""

import keras
import pytest
from keras import layers

from core.compress.teachers import check_teacher, paired_features
from core.errors import UserError


def network(*widths: int, scale: int = 1, side: int | None = None, name: str = "net"):
    """Return an image-to-image network: convolutions of these widths, twice at half the size."""
    image = x = keras.Input((side, side, 3), name="image")
    for number, width in enumerate(widths):
        x = layers.Conv2D(width, 3, padding="same", name=f"c{number}")(x)
        x = layers.ReLU(name=f"r{number}")(x)
    low = layers.AveragePooling2D(2, name="pool")(x)
    low = layers.Conv2D(4, 3, padding="same", name="low0")(low)
    low = layers.Conv2D(4, 3, padding="same", name="low1")(low)
    low = layers.UpSampling2D(name="up")(low)
    x = layers.Conv2D(3, 1, name="last")(layers.Concatenate(name="cat")([x[..., :2], low]))
    x = layers.UpSampling2D(scale, name="scaled")(x) if scale > 1 else x
    return keras.Model(image, x, name=name)


SMALL, LARGE = network(4, 4), network(8, 8, 8, 8, name="large")


def test_evenly_spaced_layers_meet_evenly_spaced_convolutions_of_the_same_size():
    assert paired_features(SMALL, LARGE, ["c0", "c1", "last"]) == [
        ("c0", "c0"), ("c1", "c2"), ("last", "last"),
    ]  # fmt: skip
    assert paired_features(LARGE, SMALL, ["c0", "c2", "low1", "last"]) == [
        ("c0", "c0"), ("c2", "c1"), ("low1", "low1"), ("last", "last"),
    ]  # fmt: skip


def test_layers_without_weights_are_placed_as_well():
    ((ours, theirs),) = paired_features(SMALL, LARGE, ["r1"])
    assert (ours, theirs) == ("r1", "c3")


def test_named_layers_are_taken_as_they_are():
    assert paired_features(SMALL, LARGE, ["c0"], ["r3"]) == [("c0", "r3")]


def test_pairs_that_cannot_be_made_are_explained():
    image = keras.Input((None, None, 3))
    plain = keras.Model(image, layers.Conv2D(3, 1, name="only")(image), name="plain")
    for ours, theirs, said in (
        (["c0", "c1"], ["c0"], r"teacher_features names 1 layers for 2 features \(c0, c1\)"),
        (
            ["low0"],
            [],
            "plain: as a teacher has no convolution whose maps are of the size of 'low0'",
        ),
    ):
        with pytest.raises(UserError, match=said):
            paired_features(SMALL, plain, ours, theirs)


@pytest.mark.parametrize(
    "teacher, said",
    [
        (network(4, scale=2), "makes 192×192×3 of an input of 96×96×3, but net 96×96×3"),
        (network(4, side=32), "takes inputs of 32×32×3, but net is trained on any×any×3"),
    ],
)
def test_a_teacher_of_other_sizes_is_refused(teacher, said):
    with pytest.raises(UserError, match=said):
        check_teacher(SMALL, teacher)
    check_teacher(network(4, side=32), LARGE)  # a teacher may take more than its student is given
    check_teacher(network(4, side=32), network(8, side=32))
