"""What the tests of backbones have in common: golden files of networks, published checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import torch_files

from core.checkpoints import load_torch_state, read
from core.training.transfer import transfer


def published(network, golden, variant: str, input_shape=None, **options) -> keras.Model:
    """Return a network with the parameters of a golden file."""
    model = network.build(variant, input_shape or golden.inputs().shape[1:], **options)
    ignored = (*network.ignored, *network.skipped(model))
    state = network.convert_state(golden.state())
    assert load_torch_state(model, state, ignored=ignored).complete
    return model


def check_agreement(
    network,
    golden,
    variant: str,
    end: Callable[[str], str],
    *,
    others: Mapping[str, float] = {},
    **options,
) -> None:
    """Every stage of the network, and of the deployed one, is what the published one gives.

    Args:
        network: The `Network`.
        golden: Its golden file.
        variant: Of the network.
        end: Output's name → the layer that gives it.
        others: Bounds of outputs whose stored values are less exact than 1e-4.
        **options: Of the builder.
    """
    model = published(network, golden, variant, **options)
    deployed = network.deploy(model)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in deployed.layers)
    for one in (model, deployed):
        errors = golden.errors(one, golden.inputs(), end)
        assert not {k: e for k, e in errors.items() if e >= others.get(k, 1e-4)}, errors


def check_checkpoint(network, golden, expected: dict, logits: str, folder) -> None:
    """A file as torchvision writes it tells what it is of, loads whole, and gives the logits."""
    state = golden.state()
    counters = {
        name.replace("running_mean", "num_batches_tracked"): np.int64(7).reshape(())
        for name in state
        if name.endswith("running_mean")
    }
    file = torch_files.write_zip(folder / "published.pth", {**state, **counters})
    state = network.published(read(file))
    assert network.infer(state) == expected
    variant, classes = expected["variant"], expected["classes"]
    inputs = golden.inputs()
    model = network.build(variant, inputs.shape[1:], classes=classes)
    report = load_torch_state(model, network.convert_state(state), ignored=network.ignored)
    assert report.complete and len(report.matched) == len(golden.shapes)
    output = model.get_layer(logits).output
    assert golden.error("logits", keras.Model(model.input, output)(inputs)) < 1e-4


def check_other_classes(network, golden, variant: str, width: int, classifier: str) -> None:
    """Without classes it gives the classifier's inputs; its weights go into one of other classes.

    Args:
        network, golden, variant: As of `check_agreement`.
        width: Channels of the classifier's inputs.
        classifier: Its name.
    """
    bare = published(network, golden, variant, (32, 64, 3), classes=None)
    assert bare.output_shape == (None, width)
    model = network.build(variant, (32, 64, 3), classes=7)
    kept = transfer(bare, model).kept
    assert set(kept) == {name for name in golden.shapes if name.startswith(classifier + ".")}


def check_keras(network, builder, scale: float, folder, **options) -> None:
    """A Keras Applications network and ours of its .h5 file give the same logits.

    Args:
        network: The `Network`.
        builder: Keras's function.
        scale: What Keras's network divides its inputs by.
        folder: Where the file is written.
        **options: Further ones of Keras's function.
    """
    shape = (64, 97, 3)  # an even and an odd side, which are padded differently
    theirs = builder(
        weights=None, input_shape=shape, classes=11, classifier_activation=None, **options
    )
    rng = np.random.default_rng(0)
    for weight in theirs.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(0.1 * rng.standard_normal(weight.shape))
    theirs.save(folder / "keras.h5")
    state = network.published(read(folder / "keras.h5"))
    arguments = network.infer(state)
    assert arguments["classes"] == 11
    ours = network.build(arguments["variant"], shape, classes=11)
    converted = network.convert_state(state)
    assert load_torch_state(ours, converted, ignored=network.ignored).complete
    images = rng.standard_normal((2, *shape)).astype(np.float32)
    expected = np.asarray(theirs(scale * images))
    assert np.abs(np.asarray(ours(images)) - expected).max() < 1e-5 * np.abs(expected).max()


def check_start(model, deviations: Mapping[str, float]) -> None:
    """Kernels start with these standard deviations, to a tenth."""
    for name, deviation in deviations.items():
        kernel = model.get_layer(name).get_weights()[0]
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.1, err_msg=name)
