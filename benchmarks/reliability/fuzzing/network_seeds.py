"""Small networks as the suite writes them: run folders, .tflite files and their documents."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.reliability.fuzzing.cases import Case, read_case
from benchmarks.reliability.fuzzing.picture_seeds import pixels

SIDE = 16
_APP, _NETWORK, _VARIANT = "superres", "abpn", "x2"


def common_network():
    """Return a network of the operators that most networks have; its output is a picture."""
    import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv1")(image)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(max_value=6.0, name="act1")(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    y = layers.Conv2D(8, 1, name="pointwise")(y)
    x = layers.Add(name="sum")([x, y])
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    gate = layers.Activation("sigmoid", name="gate")(layers.Conv2D(8, 1, name="squeeze")(gate))
    x = layers.Multiply(name="scaled")([x, gate])
    y = layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="resize")(x)
    x = layers.Concatenate(name="join")([x, y])
    x = layers.LeakyReLU(0.1, name="leaky")(x)
    x = layers.MaxPooling2D(2, name="max")(x)
    x = layers.AveragePooling2D(2, name="average")(layers.ZeroPadding2D(1, name="pad")(x))
    x = layers.Flatten(name="flat")(x)
    x = layers.Softmax(name="softmax")(layers.Dense(12, name="dense")(x))
    x = layers.UpSampling2D(SIDE, name="nearest")(layers.Reshape((2, 2, 3), name="grid")(x))
    return keras.Model(image, x, name="common")


def special_network():
    """Return a network of the suite's own layers and of the rarer operators."""
    import keras

    import core.layers
    from core.layers.convolution import GroupedConv2D
    from core.layers.instance_norm import InstanceNormalization
    from core.layers.pixel_shuffle import DepthToSpace
    from core.layers.resize import BilinearUpsampling

    del core
    keras.utils.set_random_seed(8)
    layers, ops = keras.layers, keras.ops
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="hard_swish", name="conv")(image)
    x = GroupedConv2D(8, 3, groups=4, padding="same", name="grouped")(x)
    x = InstanceNormalization(name="norm")(x)
    tokens = layers.Reshape((SIDE * SIDE, 8), name="tokens")(x)
    scores = ops.matmul(ops.transpose(tokens, (0, 2, 1)), tokens)
    x = ops.matmul(tokens, ops.softmax(scores / 16.0))
    x = layers.Reshape((SIDE, SIDE, 8), name="grid")(x)
    x = ops.maximum(ops.tanh(x), ops.abs(x) - 0.5)
    x = DepthToSpace(2, name="shuffle")(x)
    y = BilinearUpsampling(2, name="larger")(x)
    x = ops.concatenate([x, y[:, ::2, ::2], y[:, 1::2, 1::2]], axis=-1)
    return keras.Model(image, layers.Conv2D(3, 1, name="head")(x), name="special")


def _inputs() -> list[np.ndarray]:
    pictures = [np.tile(pixels(n), (1, 1, 1))[:SIDE, :SIDE] for n in range(4)]
    return [picture.astype(np.float32) / 255 for picture in pictures]


def tflite_cases() -> list[Case]:
    """Return .tflite files of both networks in every precision, each with its model card."""
    from core.export.convert import to_tflite
    from core.export.sparse import sparse_tflite
    from core.tflite.metadata import embed

    card = _card().replace(input_size=(SIDE, SIDE))
    document = {
        "model_card": card.to_dict(),
        "precision": "float32",
        "run": "run",
        "model_sha256": "0" * 64,
        "versions": {"keras": "3"},
    }
    found = []
    for model in (common_network(), special_network()):
        for precision in ("float32", "float16", "dynamic", "int8", "int16x8"):
            wanted = _inputs() if precision in ("int8", "int16x8") else None
            content = to_tflite(model, precision, calibration=wanted)
            found.append(embed(content, {**document, "precision": precision}, card.labels))
    found += [_enlarging(), _of_open_size(), embed(sparse_tflite(_thinned()), document)]
    return [Case.file("network.tflite", content) for content in found]


def _card():
    from apps import catalog

    return catalog.card(_NETWORK, _VARIANT)


def _thinned():
    """Return the common network with most kernel values zero."""
    model = common_network()
    for layer in model.layers:
        if layer.name == "pointwise":
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * (np.abs(kernel) > np.quantile(np.abs(kernel), 0.8)), bias])
    return model


def _real_network(shape=(SIDE, SIDE, 3)):
    import keras

    from apps import catalog

    keras.utils.set_random_seed(9)
    entry = catalog.network(_NETWORK)
    return entry, entry.build(_VARIANT, shape, **entry.training_options)


def _enlarging() -> bytes:
    """Return a network that an app runs as it is: what comes out is a picture."""
    from core.export.convert import to_tflite
    from core.tflite.metadata import embed

    entry, model = _real_network()
    card = _card().replace(input_size=(SIDE, SIDE))
    content = to_tflite(entry.deploy(model), "int8", calibration=[255 * x for x in _inputs()])
    return embed(content, {"model_card": card.to_dict(), "precision": "int8"}, card.labels)


def _of_open_size() -> bytes:
    from core.export.convert import to_tflite
    from core.tflite.metadata import embed

    entry, model = _real_network((None, None, 3))
    content = to_tflite(entry.deploy(model), "float32", open_size=True)
    return embed(content, {"model_card": _card().to_dict(), "precision": "float32"})


@contextmanager
def _run(model, config: dict, card=None) -> Iterator:
    """Give a run folder with a model in it."""
    from core.config import TrainConfig
    from core.run_folder import RunFolder

    card = card or _card()
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainConfig(_APP, _NETWORK, _VARIANT, **config)
        run = RunFolder.create(Path(folder) / "run", chosen, card, source="import")
        if model is not None:
            run.save_model(model)
        yield run


def model_cases() -> list[Case]:
    """Return run folders with model.keras: a real network, both small ones, and a quantized one."""
    import core.compress.quantize as quantize
    from core.compress.ranges import calibrate

    small = common_network()
    quantized = quantize.quantize_aware(small)
    calibrate(quantized, _inputs())
    compress = {
        "compress": {"method": "quantize", "choices": {}, "after": []},
        "initial_weights": "x",
    }
    found = []
    for model, config in (
        (_real_network((None, None, 3))[1], {}),
        (small, compress),
        (special_network(), compress),
        (quantized, compress),
    ):
        with _run(model, config) as run:
            found.append(read_case(run.path))
    return found


def document_cases() -> list[Case]:
    """Return run folders with every document and no network: history, scores, state, a chain."""
    from core.training.compressing import CHAIN
    from core.training.state import TrainingState, write_table

    rows = [
        {"epoch": n, "loss": 1 / n, "learning_rate": 1e-3, "val_PSNR-Y": 20.0 + n}
        for n in (1, 2, 3)
    ]
    checks = [
        {"check": "operators", "value": 12, "bound": "all builtin", "ok": True},
        {"check": "output error", "value": 1e-6, "bound": "1e-4", "ok": True},
    ]
    metrics = {
        "keras/folder/val": {
            "data": "pictures",
            "format": "folder",
            "split": "val",
            "samples": 3,
            "metrics": {"PSNR-Y": 31.5},
            "protocol": "",
            "fingerprint": "0" * 16,
            "model_sha256": "0" * 64,
        },
        "verify/network_int8.tflite": {
            "file": "network_int8.tflite",
            "precision": "int8",
            "rows": checks,
            "metrics": {"keras": {"PSNR-Y": 31.5}, "file": {"PSNR-Y": 31.4}},
            "passed": True,
        },
        "benchmark/network_int8.tflite": {"median_ms": 1.5, "threads": 1, "runs": 20},
    }
    stage = {"method": "prune", "choices": {"sparsity": 0.5}, "after": []}
    with _run(None, {"compress": stage, "initial_weights": "earlier", "data": ""}) as run:
        write_table(run.file("history.csv"), rows)
        run.file("metrics.json").write_text(json.dumps(metrics))
        state = TrainingState(
            2, 31.5, 2, 2, rows[:2], [{"seconds": 1.0, "samples_per_second": 9.0}]
        )
        state.arrays = {"model": [np.zeros((2, 3), np.float32)], "optimizer": [np.array(3)]}
        state.save(run.path)
        stages = [{"method": "prune", "folder": ".", "config": run.config.to_dict()}]
        run.file(CHAIN).parent.mkdir()
        run.file(CHAIN).write_text(json.dumps({"chain": "1", "stages": stages}))
        return [read_case(run.path)]


def published_cases() -> list[Case]:
    """Return checkpoints with the names and shapes of published networks, a few values each."""
    import safetensors.numpy

    from apps import catalog
    from core.checkpoints import torch_state

    found = []
    for name in ("abpn", "xlsr", "mk_unet"):
        entry = catalog.network(name)
        variant = "t" if name == "mk_unet" else next(iter(entry.variants))
        model = entry.build(variant, (32, 32, 3), **entry.training_options)
        content = safetensors.numpy.save(torch_state(model))
        found.append(Case.file(f"{name}.safetensors", content))
    return found
