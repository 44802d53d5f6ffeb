"""What all networks share: checked arguments, feature maps, a classifier left out."""

import keras
import pytest

from core.backbones.ghostnetv2 import NETWORK
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

VARIANTS = {"s": {}, "m": {}}


@pytest.mark.parametrize(
    "arguments, options",
    [
        (("s", (64, 96, 3)), {"multiple": 32, "smallest": 33, "channels": 3, "classes": 1}),
        (("m", (None, 64, 1)), {"multiple": 32}),
        (("s", (33, 47, 3)), {"smallest": 33}),
        (("s", (128, 2)), {"sides": ("L",), "multiple": 4}),
    ],
)
def test_arguments_that_fit_pass(arguments, options):
    check_arguments(VARIANTS, *arguments, **options)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("l", (8, 8, 3)), {}, r"`variant` must be one of \['s', 'm'\]. Received: 'l'"),
        (
            ("s", (8, 9, 3)),
            {"multiple": 4},
            r"\(H, W, C\) with H and W multiples of 4 \(or None\). Received: .*\(8, 9, 3\)",
        ),
        (("s", (8, 8, 1)), {"channels": 3}, r"\(H, W, 3\) .*\(8, 8, 1\)"),
        (("s", (None, 32, 3)), {"smallest": 33}, r"at least 33 \(or None\).*\(None, 32, 3\)"),
        (("s", (8, 3)), {}, r"\(H, W, C\)"),
        (("s", (130, 2)), {"sides": ("L",), "multiple": 4}, r"\(L, C\) with L multiples of 4"),
        (("s", (8, 8, 3)), {"classes": 0}, "classes=0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        check_arguments(VARIANTS, *arguments, **options)


def tiny(classifier: bool) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(image)
    x = keras.layers.Dense(2, name="classifier")(x) if classifier else x
    return keras.Model(image, x)


def test_a_published_classifier_has_no_place_in_a_network_without_one():
    (pattern,) = without_classifier(tiny(classifier=False))
    assert pattern == r"classifier\.(weight|bias)"
    assert without_classifier(tiny(classifier=True)) == ()


def test_feature_maps_are_chosen_by_stride_finest_first():
    image = keras.Input((8, 8, 3))
    fine = keras.layers.AveragePooling2D(2, name="fine")(image)
    coarse = keras.layers.AveragePooling2D(2, name="coarse")(fine)
    model = keras.Model(image, keras.layers.Flatten()(coarse))
    network = Network(lambda: model, {}, ModelCard, features={4: "coarse", 2: "fine"})
    assert [m.shape[1] for m in network.pyramid(model).outputs] == [4, 2]
    assert [m.shape[1] for m in network.pyramid(model, (4,)).outputs] == [2]
    with pytest.raises(ValueError, match=r"some of \[2, 4\]. Received: strides=\[4, 8\]"):
        network.pyramid(model, (8, 4))


def test_a_network_whose_variants_name_their_layers_otherwise_tells_them_of_a_model():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.AveragePooling2D(2, name="pooled")(image))
    network = Network(
        lambda: model, {}, ModelCard, features=lambda model: {2: model.layers[-1].name}
    )
    assert network.features_of(model) == {2: "pooled"}
    assert network.pyramid(model).outputs[0].shape[1] == 4
    assert network.encoder(model).output_shape == (None, 4, 4, 3)


def test_counters_of_a_profiler_are_ignored_without_a_word_of_the_network():
    state = {"module.a.weight": 1, "module.a.total_ops": 2, "total_params": 3}
    assert NETWORK.published(state)["a.weight"] == 1
