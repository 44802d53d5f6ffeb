"""A classification app in miniature: three colours of noise, and a network of two convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from core.classification.task import ClassificationTask
from core.config import TrainConfig
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.model_card import ModelCard
from core.network import Network
from core.task import Example

SIDE, CLASSES = 16, ("red", "green", "blue")
EACH = {"train": (7, 5, 4), "val": (2, 2, 2), "test": (2, 2, 2)}  # samples of each class


def write_data(folder: Path) -> Index:
    """Write noisy pictures of each class as PNG files and return their index."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for split, counts in EACH.items():
        for label, count in enumerate(counts):
            for n in range(count):
                image = rng.integers(0, 200, (SIDE + 4, SIDE, 3), dtype=np.uint8)
                image[..., label] += 55
                Image.fromarray(image).save(folder / f"{split}_{CLASSES[label]}_{n}.png")
    return read(folder)


def read(folder: Path) -> Index:
    """Return the index of pictures whose names say what they are."""
    samples = []
    for file in sorted(folder.glob("*_*_*.png")):
        split, name, _ = file.stem.split("_")
        samples.append(Sample(file.stem, (file,), label=CLASSES.index(name), split=split))
    return make_index("colours", folder, samples, labels=CLASSES)


def build(variant, input_shape, *, classes=3):
    """Return the network, its head a layer alone."""
    import keras

    layers = keras.layers
    x = image = keras.Input(input_shape, name="image")
    for number, filters in enumerate((6, 8), start=1):
        x = layers.Conv2D(filters, 3, strides=2, use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    return keras.Model(image, layers.Dense(classes, name="classifier")(x), name="colour_net")


NETWORK = Network(
    build,
    {"base": {}},
    lambda variant: ModelCard("colour_net", variant, "backbone", labels=("of another set",)),
    features={2: "relu1", 4: "relu2"},
)


class Colours(ClassificationTask):
    """The binding; `augmented` counts how many samples were augmented."""

    name = "colours"
    networks = {"colour_net": "color_task:NETWORK"}
    readers = {"colours": Reader("colours", "colours", Path.is_dir, read, "CC0")}
    augmented = 0

    def augment(self, example, rng, config):
        self.augmented += 1
        return Example(example.inputs[:, :: rng.choice([-1, 1])], example.target)


TASK = Colours()


def config(**changes) -> TrainConfig:
    """Return the choices of a short training."""
    values = {"app": "colours", "network": "colour_net", "variant": "base", "data": "colours"}
    values |= {"input_size": (SIDE, SIDE), "classes": 3, "epochs": 4, "batch": 6, "workers": 2}
    options = {"head_epochs": 2, **changes.pop("options", {})}
    return TrainConfig.from_dict({**values, **changes, "options": options})
