"""Maps from gradients against the golden file, and on networks of every form."""

import keras
import numpy as np
import pytest
from keras import layers

from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.errors import UserError
from core.explain.cam import CamExplainer


def dense_cam(model, activation, classes) -> np.ndarray:
    """Return ReLU of the class activation map by the dense weights, over the number of places."""
    kernel = model.get_layer("fc").get_weights()[0]
    places = activation.shape[1] * activation.shape[2]
    return np.maximum(np.einsum("nhwk,kn->nhw", activation, kernel[:, classes]), 0) / places


@pytest.mark.parametrize("score, name", [("logit", "logit"), ("probability", "softmax")])
def test_agrees_with_the_golden_file(golden, network, score, name):
    explainer = CamExplainer(network, score=score)
    classes = golden.outputs["class_index"][0].astype(int)
    found = explainer(golden.inputs(), classes)
    activation, gradient, logits, chosen = explainer.gradients(golden.inputs(), classes)
    assert explainer.layer == "conv3" and list(chosen) == list(classes)
    errors = {
        "logits": golden.error("logits", logits),
        "activation": golden.error("activation", activation),
        "weights": golden.error(f"gradcam_{name}_weights", gradient.mean(axis=(1, 2))),
        "raw": golden.error(f"gradcam_{name}_raw", found.raw),
        "map": golden.error(f"gradcam_{name}_map", found.maps),
    }
    if score == "logit":
        for method, output in (("hires-cam", "hirescam"), ("grad-cam++", "gradcampp")):
            raw = explainer(golden.inputs(), classes, method=method).raw
            errors[method] = golden.error(f"{output}_logit_raw", raw)
    assert max(errors.values()) < 1e-4, errors


def test_after_a_global_average_and_one_dense_layer_it_is_the_class_activation_map(golden, network):
    explainer = CamExplainer(network)
    activation, *_ = explainer.gradients(golden.inputs())
    classes = [1, 4, 2]
    expected = dense_cam(network, activation, classes)
    for method in ("grad-cam", "hires-cam"):
        raw = explainer(golden.inputs(), classes, method=method).raw
        np.testing.assert_allclose(raw, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("ending", ["activation", "layer", "softmax layer", "operation"])
def test_a_softmax_at_the_end_does_not_change_the_map(golden, network, ending_network, ending):
    expected = CamExplainer(network)(golden.inputs())
    if ending == "activation":
        model = ending_network("softmax")
    else:
        end = {
            "layer": layers.Activation("softmax"),
            "softmax layer": layers.Softmax(),
            "operation": keras.ops.softmax,
        }[ending]
        model = keras.Model(network.input, end(network.output))
    before = model(golden.inputs())
    assert list(expected.classes) == list(expected.logits.argmax(axis=1))
    found = CamExplainer(model)(golden.inputs())
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
    np.testing.assert_allclose(found.raw, expected.raw, atol=1e-6)
    np.testing.assert_array_equal(model(golden.inputs()), before)


def test_one_output_is_explained_by_what_is_before_its_sigmoid():
    keras.utils.set_random_seed(4)
    image = keras.Input((8, 9, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="c")(image))
    plain, inputs = layers.Dense(1, name="fc"), np.random.default_rng(0).random((2, 8, 9, 1))
    logit = keras.Model(image, plain(x))
    squashed = keras.Model(image, layers.Activation("sigmoid")(logit.output))
    expected = CamExplainer(logit)(inputs)
    found = CamExplainer(squashed)(inputs)
    np.testing.assert_allclose(found.raw, expected.raw, atol=1e-7)
    assert list(found.classes) == [0, 0]
    by_probability = [
        CamExplainer(model, score="probability")(inputs) for model in (logit, squashed)
    ]
    np.testing.assert_allclose(by_probability[0].raw, by_probability[1].raw, atol=1e-7)


def test_a_backbone_inside_another_model_is_explained_by_its_layers(golden, network):
    backbone = keras.Model(network.input, network.get_layer("conv3").output, name="backbone")
    backbone.trainable = False  # as for a head that is trained first
    image = keras.Input((33, 47, 3))
    pooled = layers.GlobalAveragePooling2D()(backbone(image, training=False))
    functional = keras.Model(image, network.get_layer("fc")(pooled), name="outer")
    sequential = keras.Sequential(
        [backbone, layers.GlobalAveragePooling2D(), network.get_layer("fc")]
    )
    expected = CamExplainer(network)(golden.inputs())
    for model in (functional, sequential):
        explainer = CamExplainer(model)
        assert explainer.layer == "conv3"
        np.testing.assert_allclose(explainer(golden.inputs()).raw, expected.raw, atol=1e-6)
    deeper, expected = (CamExplainer(net, "conv1") for net in (functional, network))
    found = deeper(golden.inputs(), 2).raw
    assert found.shape == (3, 33, 47)
    np.testing.assert_allclose(found, expected(golden.inputs(), [2, 2, 2]).raw, atol=1e-6)


def test_a_network_with_quantizers_is_explained_through_them(golden, network, ending_network):
    expected = CamExplainer(network)(golden.inputs())
    model = quantize_aware(ending_network("softmax"))
    calibrate(model, golden.inputs())
    explainer = CamExplainer(model, "conv3.range")
    assert explainer.layer == CamExplainer(model).layer
    found = explainer(golden.inputs())
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.05 * expected.logits.max())
    assert np.abs(found.raw - expected.raw).max() < 0.1 * expected.raw.max()


def test_samples_do_not_interact_and_later_weights_count():
    keras.utils.set_random_seed(2)
    image = keras.Input((None, None, 2))
    x = layers.Conv2D(4, 3)(image)
    x = layers.ReLU(name="last")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.5)(x)
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    explainer = CamExplainer(model, "last")
    inputs = np.random.default_rng(0).standard_normal((4, 10, 12, 2))
    together = explainer(inputs, [0, 1, 2, 0])
    alone = explainer(inputs[1:2], [1])
    np.testing.assert_allclose(together.maps[1:2], alone.maps, atol=1e-5)
    assert explainer(inputs[:, :6, :7], [0, 1, 2, 0]).maps.shape == (4, 6, 7)
    model.set_weights([-weight for weight in model.get_weights()])
    model.layers[2].set_weights([np.abs(weight) for weight in model.layers[2].get_weights()])
    assert np.abs(explainer(inputs, [0, 1, 2, 0]).raw - together.raw).max() > 1e-3


def test_a_gate_of_one_place_is_not_what_is_explained():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="features")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply(name="gated")([x, layers.Conv2D(4, 1, activation="sigmoid")(gate)])
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Flatten()(layers.Conv2D(5, 1, name="head")(x))
    assert CamExplainer(keras.Model(image, x)).layer == "gated"


def test_what_cannot_be_chosen_is_said_in_one_sentence(golden, network):
    with pytest.raises(UserError, match=r"No such layer: 'conv33'. Did you mean 'conv3'\?"):
        CamExplainer(network, "conv33")
    said = r"'fc' has no height and width, its output is \(N, 6\); take one such as 'conv3'"
    with pytest.raises(UserError, match=said):
        CamExplainer(network, "fc")
    with pytest.raises(UserError, match="There is no class 6; the network has classes 0 to 5"):
        CamExplainer(network)(golden.inputs(), [0, 1, 6])
    with pytest.raises(UserError, match=r"The method is 'gradcam'. Did you mean 'grad-cam'\?"):
        CamExplainer(network)(golden.inputs(), method="gradcam")
    with pytest.raises(UserError, match=r"returns \(N, 9, 12, 16\), not one score a class"):
        CamExplainer(keras.Model(network.input, network.get_layer("conv3").output))
    two = keras.Model(network.input, [network.output, network.output])
    with pytest.raises(UserError, match=r"returns \(N, 6\) and \(N, 6\), not one score a class"):
        CamExplainer(two)
    image = keras.Input((8, 8, 3))
    aside = layers.Conv2D(2, 1, name="aside")(image)
    inner = keras.Model(image, [layers.Conv2D(2, 3, name="used")(image), aside])
    outer = keras.Model(image, layers.GlobalAveragePooling2D()(inner(image)[0]))
    with pytest.raises(UserError, match="'aside' is not on the way to the classes; take one such"):
        CamExplainer(outer, "aside")
    flat = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    with pytest.raises(UserError, match="does not take one picture"):
        CamExplainer(flat)


def test_a_network_that_returns_nan_is_named(golden, network):
    network.get_layer("fc").bias.assign(np.full(6, np.nan))
    with pytest.raises(UserError, match="net: returns NaN or infinity"):
        CamExplainer(network)(golden.inputs())
