"""A domain of one kind of picture (a bright square on noise) and a network of two convolutions.

Run as a program it trains, for the tests that kill a process:
    python toy_task.py DATA OUT [key=value ...] [--resume]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from core.config import TrainConfig
from core.data.index import Index, Sample, make_index
from core.errors import UserError
from core.model_card import ModelCard
from core.network import Network
from core.task import Example, Objective, Scores, Task

SIDE = 16
TRAIN, VAL = 13, 4


def write_data(folder: Path) -> Index:
    """Write the pictures as PNG files, the truth as NAME_mask.png; return their index."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for n in range(TRAIN + VAL):
        image = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        top, left = rng.integers(0, SIDE // 2, 2)
        mask[top : top + 7, left : left + 7] = 255
        image[mask > 0] += 120
        Image.fromarray(image).save(folder / f"{n}.png")
        Image.fromarray(mask).save(folder / f"{n}_mask.png")
    return read_data(folder)


def read_data(folder: Path) -> Index:
    """Return the index of `write_data`."""
    samples = [
        Sample(
            id=str(n),
            inputs=(folder / f"{n}.png",),
            targets=(folder / f"{n}_mask.png",),
            split="train" if n < TRAIN else "val",
        )
        for n in range(TRAIN + VAL)
    ]
    return make_index("toy", folder, samples, labels=("square",))


def build(variant, input_shape, *, classes=1, heads=1, copy_on_deploy=False):
    """Return the network; with two heads the second is the deep supervision's."""
    import keras

    layers = keras.layers
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv1")(image)
    x = layers.BatchNormalization(momentum=0.8, name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    outputs = [layers.Conv2D(classes, 3, padding="same", name="head1")(x)]
    if heads == 2:
        outputs.append(layers.Conv2D(classes, 1, name="head2")(x))
    return keras.Model(image, outputs if heads == 2 else outputs[0], name="toy")


def deploy_main_head(model):
    """Return the graph with the first output only, on the same variables."""
    import keras

    return keras.Model(model.inputs, model.outputs[0], name=model.name)


def deploy_copy(model):
    """Return a graph of its own with equal weights, as a fusing deployment does."""
    import keras

    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return deploy_main_head(clone)


class ToyTask(Task):
    """The binding; `augment_count` tells how often a sample was augmented."""

    name = "toy"
    networks = ("toy",)
    readers: dict = {}
    headline = "accuracy"
    options = {"heads": 1, "explode_after": 0}
    deploy = staticmethod(deploy_main_head)

    def network(self, name):
        return Network(
            build=build,
            variants={"base": {}},
            card=lambda variant: ModelCard(
                network="toy", variant=variant, app="toy", input_size=(SIDE, SIDE), size_multiple=2
            ),
            deploy=self.deploy,
        )

    def training_arguments(self, config):
        return {"heads": config.options["heads"]}

    def load(self, sample, card):
        try:
            image = np.asarray(Image.open(sample.inputs[0]).convert("RGB"))
        except OSError as error:
            raise UserError(f"{sample.inputs[0]}: is no picture; replace it.") from error
        if card.channels == 1:
            image = image[..., :1]
        target = np.asarray(Image.open(sample.targets[0]))[..., None] if sample.targets else None
        return Example(image, target)

    def augment(self, example, rng, config):
        flipped = (slice(None), slice(None, None, -1)) if rng.random() < 0.5 else slice(None)
        noise = rng.integers(0, 20, example.inputs.shape, dtype=np.uint8)
        return Example(example.inputs[flipped] + noise, example.target[flipped])

    def encode(self, example, card):
        target = None if example.target is None else (example.target > 127).astype(np.float32)
        return card.normalise(example.inputs), target

    def objective(self, config):
        import keras

        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        if config.options["explode_after"]:
            loss = exploding_loss(loss, config.options["explode_after"])
        heads = config.options["heads"]
        return Objective(
            loss=loss if heads == 1 else [loss] * 2,
            loss_weights=None if heads == 1 else [1.0, 0.5],
            metrics=[keras.metrics.BinaryAccuracy(name="pixel_accuracy", threshold=0.0)],
        )

    def decode(self, outputs, sample, card):
        return outputs[0] > 0

    def score(self, results, card, *, quick=False):
        rows = [
            {
                "id": sample.id,
                "accuracy": float(np.mean(result == (self.load(sample, card).target > 127))),
            }
            for sample, result in results
        ]
        return Scores({"accuracy": float(np.mean([row["accuracy"] for row in rows]))}, rows)

    def draw(self, sample, result, card):
        return np.repeat(result * np.uint8(255), 3, axis=-1)


def exploding_loss(loss, steps: int):
    """Return `loss`, but NaN from the call after so many steps on."""
    import tensorflow as tf

    seen = tf.Variable(0, dtype=tf.int64)

    def exploding(y_true, y_pred):
        value = loss(y_true, y_pred)
        return value * tf.where(seen.assign_add(1) > steps, float("nan"), 1.0)

    return exploding


def config(**choices) -> TrainConfig:
    """Return a config of a short training."""
    defaults = {
        "app": "toy",
        "network": "toy",
        "variant": "base",
        "epochs": 3,
        "batch": 4,
        "learning_rate": 0.02,
        "workers": 2,
    }
    return TrainConfig.from_dict({**defaults, **choices})


def main(arguments: list[str]) -> None:
    """Train from the command line."""
    import yaml

    from core.training.fit import train

    data, out, *rest = arguments
    choices = {k: yaml.safe_load(v) for k, v in (a.split("=", 1) for a in rest if "=" in a)}
    train(
        ToyTask(),
        config(**choices),
        Path(out),
        index=read_data(Path(data)),
        resume="--resume" in rest,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
