"""Networks that are opened to training step by step."""

import keras
import numpy as np
import pytest

from core.finetuning.opening import OpenedStepwise, Opening, head_layers, stagewise, without_norms

HEAD_FIRST = [Opening(0, frozenset({"classifier"})), Opening(2)]


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(3, name="base")(image))
    return keras.Model(image, keras.layers.Dense(2, name="classifier")(x))


def fitted(model: keras.Model, epochs: int, *, adapting: bool = False) -> None:
    model.compile(keras.optimizers.Adam(0.05), keras.losses.SparseCategoricalCrossentropy(True))
    model.optimizer.build(model.trainable_variables)
    inputs = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32) + 3
    model.fit(
        inputs,
        np.arange(8) % 2,
        epochs=epochs,
        verbose=0,
        callbacks=[OpenedStepwise(model, HEAD_FIRST, adapting=adapting)],
    )


def test_the_classifier_trains_first_and_alone():
    model = network()
    before = [value.copy() for value in model.get_weights()]
    fitted(model, 2)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    names = [variable.path for variable in model.variables]
    # Running statistics stay too.
    assert {name for name, moved in zip(names, changed, strict=True) if moved} == {
        "classifier/kernel",
        "classifier/bias",
    }


def test_then_everything_trains():
    model = network()
    before = [value.copy() for value in model.get_weights()]
    fitted(model, 3)
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert all(layer.trainable for layer in model.layers)


def moved_weights(model: keras.Model, before: list) -> set[str]:
    pairs = zip(model.variables, before, strict=True)
    return {v.path for v, old in pairs if not np.array_equal(np.asarray(v), old)}


def test_normalisations_before_the_head_may_go_on_adapting():
    model = network()
    before = [value.copy() for value in model.get_weights()]
    fitted(model, 2, adapting=True)
    assert moved_weights(model, before) == {
        "classifier/kernel",
        "classifier/bias",
        "norm/moving_mean",
        "norm/moving_variance",
    }
    assert model.get_layer("norm").gamma.trainable  # a network that is saved is open again


def test_the_first_opening_is_of_epoch_0():
    with pytest.raises(ValueError, match="begin with epoch 0"):
        OpenedStepwise(network(), [Opening(1)])


def test_the_head_is_the_last_layer_with_weights_or_what_a_pattern_says():
    model = network()
    assert head_layers(model) == {"classifier"}
    assert head_layers(model, "norm|classifier") == {"norm", "classifier"}
    with pytest.raises(ValueError, match="must match layers"):
        head_layers(model, "fc")


def test_stages_open_from_the_head_to_the_first_layers():
    x = image = keras.Input((8, 8, 3))
    for name in "abc":
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=name)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(2, name="fc")(x))
    weighty = {"a", "b", "c", "fc"}
    found = stagewise(model, {"fc"}, {2: "a", 4: "b", 8: "c"})
    assert [layers & weighty for layers in found] == [
        {"fc"},
        {"fc", "c"},
        {"fc", "c", "b"},
        weighty,
    ]


def test_norms_before_the_head_may_stay_as_they_came():
    model = network()
    openings = without_norms(model, HEAD_FIRST, {"classifier"})
    assert openings[0] == HEAD_FIRST[0]
    assert openings[1].epoch == 2 and openings[1].layers >= {"base", "classifier"}
    assert "norm" not in openings[1].layers
    assert "norm" in without_norms(model, HEAD_FIRST, {"norm", "classifier"})[1].layers
