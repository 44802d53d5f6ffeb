"""Adapting a network: what is frozen, what is trained, and that merging changes nothing."""

import keras
import numpy as np
import pytest
from keras import layers

from core.compress.low_rank_adaptation import Rounds, adapt, is_adapted, merged, next_round
from core.compress.quantize import quantize_aware
from core.engines import output_error
from core.errors import UserError
from core.export.convert import to_tflite
from core.layers.conv3xc import Conv3XC
from core.layers.conv_lora import ConvLoRA
from core.layers.convolution import GroupedConv2D

RANKS = {"body.*": 2, "end": (3, 1.0)}


def network():
    """Convolutions plain, grouped and used twice, a normalisation, and a sum."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="begin")(image)
    shared = layers.Conv2D(4, 3, padding="same", name="body.0")
    y = GroupedConv2D(4, 3, padding="same", groups=2, name="body.1")(shared(shared(x)))
    y = layers.BatchNormalization(name="norm")(y)
    x = layers.Add(name="sum")([x, y])
    return keras.Model(image, layers.Conv2D(2, 1, use_bias=False, name="end")(x), name="small")


def trained(model):
    """Give every update values, as a training would."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, ConvLoRA):
            layer.lora_b.assign(0.3 * rng.standard_normal(layer.lora_b.shape))
    return model


def images(count=2):
    return np.random.default_rng(1).standard_normal((count, 8, 6, 3)).astype(np.float32)


def test_an_adapted_network_starts_as_it_was():
    model = network()
    adapted = adapt(model, RANKS)
    np.testing.assert_allclose(adapted(images()), model(images()), atol=1e-6)
    assert is_adapted(adapted) and not is_adapted(model)
    assert [layer.name for layer in adapted.layers] == [layer.name for layer in model.layers]
    found = {x.name: (x.low_rank, x.alpha) for x in adapted.layers if isinstance(x, ConvLoRA)}
    assert found == {"body.0": (2, 4.0), "body.1": (2, 4.0), "end": (3, 1.0)}


def test_the_first_entry_that_fits_counts():
    adapted = adapt(network(), {"body.1": 5, "*": (1, 3.0)})
    found = {x.name: (x.low_rank, x.alpha) for x in adapted.layers if isinstance(x, ConvLoRA)}
    assert found["body.1"] == (5, 10.0) and found["begin"] == found["end"] == (1, 3.0)


def test_training_moves_the_updates_only():
    adapted = adapt(network(), RANKS)
    frozen = [v for v in adapted.variables if v.name not in ("lora_A", "lora_B")]
    before = [np.asarray(v) for v in frozen]
    assert {v.name for v in adapted.trainable_variables} == {"lora_A", "lora_B"}
    adapted.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=False)
    target = np.ones((2, 8, 6, 2), np.float32)
    losses = adapted.fit(images(), target, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for value, variable in zip(before, frozen, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_merged_network_is_plain_and_equal():
    model = network()
    adapted = trained(adapt(model, RANKS))
    result = merged(adapted)
    np.testing.assert_array_equal(result(images()), adapted(images()))
    assert not np.allclose(result(images()), model(images()), atol=1e-2)
    for ours, theirs in zip(result.layers, model.layers, strict=True):
        assert type(ours) is type(theirs) and ours.get_config() == theirs.get_config()
    assert result.count_params() == model.count_params()
    assert len(result.trainable_variables) == len(model.trainable_variables)
    assert merged(result) is result


def test_rounds_keep_the_outputs_and_add_up():
    adapted = trained(adapt(network(), RANKS))
    before = np.asarray(adapted(images()))
    next_round(adapted)
    np.testing.assert_allclose(adapted(images()), before, atol=1e-5)
    np.testing.assert_array_equal(adapted.get_layer("end").delta(), np.zeros((1, 1, 4, 2)))
    trained(adapted)
    np.testing.assert_array_equal(merged(adapted)(images()), adapted(images()))


def test_a_training_starts_a_round_after_so_many_epochs():
    adapted = trained(adapt(network(), RANKS))
    calls, layer = [], adapted.get_layer("end")
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: calls.append(not np.any(np.asarray(layer.lora_b)))
    )
    adapted.compile("sgd", "mse", jit_compile=False)
    target = np.ones((2, 8, 6, 2), np.float32)
    adapted.fit(images(), target, epochs=5, verbose=0, callbacks=[Rounds(2), watch])
    assert calls == [False, False, True, False, True]


def test_an_adapted_file_loads_and_goes_on(tmp_path):
    adapted = trained(adapt(network(), RANKS))
    adapted.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_array_equal(loaded(images()), adapted(images()))
    assert {v.name for v in loaded.trainable_variables} == {"lora_A", "lora_B"}


def test_export_and_quantization_see_the_merged_kernels():
    adapted = trained(adapt(network(), RANKS))
    assert to_tflite(adapted) == to_tflite(merged(adapted))
    ours, theirs = quantize_aware(adapted), quantize_aware(merged(adapted))
    np.testing.assert_array_equal(ours.get_layer("end").kernel, theirs.get_layer("end").kernel)
    assert output_error([np.asarray(ours(images()))], [np.asarray(theirs(images()))]) < 1e-6


def branched():
    image = keras.Input((8, 6, 3))
    return keras.Model(image, Conv3XC(4, name="conv")(image), name="branched")


@pytest.mark.parametrize(
    "make, ranks, words",
    [
        (network, {"bdy.0": 2}, "no convolution is called 'bdy.0'. Did you mean 'body.0'"),
        (network, {"norm": 2}, "norm .BatchNormalization.: is no plain convolution"),
        (branched, {"conv": 2}, "conv .Conv3XC.: is no plain convolution.*deploy"),
        (lambda: adapt(network(), RANKS), RANKS, "is adapted already"),
        (lambda: quantize_aware(network()), RANKS, "is quantized"),
    ],
)
def test_mistakes_are_explained(make, ranks, words):
    with pytest.raises(UserError, match=words):
        adapt(make(), ranks)


def test_wrong_arguments_are_named():
    with pytest.raises(UserError, match="has no low-rank updates"):
        next_round(network())
    with pytest.raises(ValueError, match="at least one layer"):
        adapt(network(), {})
    with pytest.raises(ValueError, match="positive numbers"):
        adapt(network(), {"end": 0})
    with pytest.raises(ValueError, match="positive integer"):
        Rounds(0)
