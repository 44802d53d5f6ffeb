"""Cross-layer equalization and bias correction: exact where they promise it, better where not."""

import keras
import numpy as np
import pytest
import quantization_zoo as zoo
from keras import layers

from core.compress.equalize import correct_biases, equalize
from core.compress.integer import integer_form
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.engines import output_error, signal_to_noise
from core.layers.instance_norm import InstanceNormalization

PER_TENSOR = Scheme(per_channel=False, observer="minmax")


def uneven(x):
    """Channels whose ranges differ by orders of magnitude, as in MobileNets after folding."""
    x = layers.Conv2D(8, 1, use_bias=False, name="expand")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    return layers.Conv2D(3, 1, name="project")(x)


def build_uneven() -> keras.Model:
    model = zoo.build(uneven)
    scales = np.geomspace(0.01, 3.0, 8).astype(np.float32)
    model.get_layer("norm").gamma.assign(scales)
    kernel, bias = model.get_layer("project").get_weights()
    model.get_layer("project").set_weights([kernel / scales[:, None], bias])
    return model


def int8_noise(model, scheme=PER_TENSOR, *, correct=False) -> float:
    """Return the signal-to-noise ratio in dB that is left after quantizing a model."""
    quantized = quantize_aware(model, scheme)
    calibrate(quantized, zoo.inputs())
    folded, _ = integer_form(quantized)
    if correct:
        correct_biases(folded, zoo.inputs())
    reference = zoo.outputs_of(model, zoo.inputs())
    return signal_to_noise(reference, zoo.outputs_of(folded, zoo.inputs()))


def both_outputs(first, second) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return zoo.outputs_of(first, zoo.inputs()), zoo.outputs_of(second, zoo.inputs())


def test_equalization_changes_no_output_and_evens_the_ranges():
    model = build_uneven()
    equal, pairs = equalize(model)
    assert (
        output_error(zoo.outputs_of(model, zoo.inputs()), zoo.outputs_of(equal, zoo.inputs()))
        < 1e-5
    )
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("expand", "depthwise"), ("depthwise", "project"),
    ]  # fmt: skip
    assert pairs[0].before > 100 > 30 > pairs[0].after


def test_equalization_helps_where_one_scale_serves_all_channels():
    model = build_uneven()
    equal, _ = equalize(model)
    assert int8_noise(equal) > int8_noise(model) + 6.0


@pytest.mark.parametrize(
    "between", [layers.ReLU(6.0), layers.Activation("sigmoid"), layers.LeakyReLU(0.1)]
)
def test_nothing_is_rescaled_across_other_functions(between):
    def network(x):
        return layers.Conv2D(3, 1)(
            type(between).from_config(between.get_config())(layers.Conv2D(4, 1)(x))
        )

    assert equalize(zoo.build(network))[1] == []


def test_nothing_is_rescaled_that_others_read():
    assert equalize(zoo.build(zoo.concatenated_twice))[1] == []


def test_a_kernel_before_an_instance_norm_is_evened():
    def network(x):
        x = layers.Conv2D(6, 3, padding="same", name="conv")(x)
        return layers.Conv2D(2, 1)(layers.GroupNormalization(groups=-1, name="instance")(x))

    model = zoo.build(network)
    kernel, bias = model.get_layer("conv").get_weights()
    model.get_layer("conv").set_weights([kernel * np.geomspace(1, 30, 6), bias])
    equal, pairs = equalize(model)
    assert [(pair.first, pair.second) for pair in pairs] == [("conv", "instance")]
    assert pairs[0].after == pytest.approx(1.0, abs=1e-4)
    assert (
        output_error(zoo.outputs_of(model, zoo.inputs()), zoo.outputs_of(equal, zoo.inputs()))
        < 0.01
    )


def test_bias_correction_takes_the_mean_error_out():
    """Four-bit kernels on inputs with a mean shift every channel; afterwards they do not."""

    def network(x):
        return layers.Conv2D(6, 1, name="conv")(layers.ReLU()(x))

    model = zoo.build(network)
    scheme = Scheme(weight_bits=4, observer="minmax")
    quantized = quantize_aware(model, scheme)
    calibrate(quantized, zoo.inputs())
    folded, _ = integer_form(quantized)

    def shift():
        exact, rounded = both_outputs(model, folded)
        return np.abs((rounded[0] - exact[0]).mean(axis=(0, 1, 2)))

    before = shift()
    assert correct_biases(folded, zoo.inputs()) == ["conv"]
    assert shift().max() < before.max() / 5
    assert int8_noise(model, scheme, correct=True) > int8_noise(model, scheme)


@pytest.mark.parametrize(
    "network", [zoo.depthwise, zoo.grouped, zoo.transposed, zoo.dense_head, zoo.one_dimensional]
)
def test_bias_correction_fits_every_kind_of_kernel(network):
    model = zoo.build(network)
    scheme = Scheme(weight_bits=4, observer="minmax")
    assert int8_noise(model, scheme, correct=True) > int8_noise(model, scheme) - 1.0


def test_networks_of_sums_products_and_leaky_units_stay_quantizable():
    def block(x):
        y = layers.LeakyReLU(0.1)(layers.Conv2D(6, 3, padding="same")(x))
        y = layers.Conv2D(6, 1)(y)
        y = layers.Multiply()([y, layers.Conv2D(6, 1, activation="sigmoid")(x)])
        return layers.Subtract()([layers.Add()([y, layers.Conv2D(6, 1)(x)]), y])

    model = zoo.build(block)
    equal, _ = equalize(model)
    assert output_error(*both_outputs(model, equal)) < 1e-5
    assert int8_noise(equal, Scheme(observer="minmax")) > 20


def build_normed(epsilon: float = 1e-5) -> keras.Model:
    """A convolution of very uneven channels before an instance normalisation."""

    def block(x):
        x = layers.Conv2D(8, 3, padding="same", name="uneven")(x)
        x = InstanceNormalization(epsilon, name="norm")(x)
        return layers.Conv2D(4, 1, name="last")(layers.ReLU()(x))

    model = zoo.build(block)
    kernel, bias = model.get_layer("uneven").get_weights()
    spread = np.geomspace(0.02, 5.0, 8).astype(np.float32)
    model.get_layer("uneven").set_weights([kernel * spread, bias * spread])
    return model


@pytest.mark.parametrize("samples", ["with", "without"])
def test_instance_norms_get_even_channels_and_exact_epsilons(samples):
    # An epsilon of the size of the variances shows whether it was scaled along.
    model = build_normed(epsilon=0.05)
    equal, pairs = equalize(model, zoo.inputs() if samples == "with" else ())
    assert output_error(*both_outputs(model, equal)) < 1e-5
    (pair,) = pairs
    assert (pair.first, pair.second) == ("uneven", "norm")
    assert pair.after < 3 < 30 < pair.before


def test_rounding_an_instance_norm_needs_even_channels():
    model = build_normed()
    equal, _ = equalize(model, zoo.inputs())
    scheme = Scheme(observer="minmax")
    assert int8_noise(equal, scheme) > int8_noise(model, scheme) + 6


def test_equalized_instance_norms_survive_saving(tmp_path):
    equal, _ = equalize(build_normed(), zoo.inputs())
    equal.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert output_error(*both_outputs(equal, again)) == 0.0
