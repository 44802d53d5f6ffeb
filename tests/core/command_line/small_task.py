"""A domain small enough to walk the commands: is a 16x16 picture's left half bright?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from core.data.images import read_image
from core.data.index import Sample, make_index
from core.data.readers import Reader
from core.files import write_atomic
from core.model_card import ModelCard
from core.network import Network
from core.task import Example, Objective, Scores, Task

SIDE = 16
SPLITS = {"train": 6, "val": 2, "test": 3}


def write_data(folder: Path) -> Path:
    """Write `<split>_<n>.png` and `<split>_<n>_mask.png` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for split, count in SPLITS.items():
        for n in range(count):
            image = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[:, : 4 + n] = 255
            image[mask > 0] += 150
            Image.fromarray(image).save(folder / f"{split}_{n}.png")
            Image.fromarray(mask).save(folder / f"{split}_{n}_mask.png")
    return folder


def read(folder: Path):
    """Return the index of `write_data`."""
    samples = [
        Sample(
            id=path.stem,
            inputs=(path,),
            targets=(path.with_name(f"{path.stem}_mask.png"),),
            split=path.stem.split("_")[0],
        )
        for path in folder.glob("*.png")
        if not path.stem.endswith("_mask")
    ]
    return make_index("halves", folder, samples, labels=("bright",), notes=("A toy.",))


def build(variant, input_shape, *, classes=1):
    """Return one convolution."""
    import keras

    image = keras.Input(input_shape, name="image")
    logits = keras.layers.Conv2D(classes, 3, padding="same", name="head")(image)
    return keras.Model(image, logits, name="small")


def card(variant):
    """Return the card."""
    return ModelCard(
        "small",
        variant,
        "toy",
        input_size=(SIDE, SIDE),
        size_multiple=2,
        labels=("bright",),
        decode={"threshold": 0.0, "rule": "plain"},
        published={"parameters": 28},
        checkpoints="none published",
    )


class SmallTask(Task):
    """The binding."""

    name = "toy"
    networks = {"small": Network(build, {"base": {}, "wide": {}}, card)}
    readers = {"halves": Reader("halves", "halves", Path.is_dir, read, "CC0")}
    headline = "accuracy"
    defaults = {"epochs": 2, "batch": 3, "learning_rate": 0.05, "clip_value": 0.5}
    options = {"loss": "plain", "scales": "off"}
    option_values = {
        "loss": ("plain", "weighted"),
        "scales": ("off", "fixed"),
        "rule": ("plain", "strict"),
    }
    demo = {"epochs": 1}
    problems: tuple[str, ...] = ()

    def infer_arguments(self, network, state):
        return {"classes": state["head.weight"].shape[0]} if "head.weight" in state else {}

    def check_data(self, index, card):
        return list(self.problems)

    def load(self, sample, card):
        mask = read_image(sample.targets[0], 1) if sample.targets else None
        return Example(read_image(sample.inputs[0]), mask)

    def encode(self, example, card):
        target = None if example.target is None else (example.target > 127).astype(np.float32)
        return card.normalise(example.inputs), target

    def objective(self, config):
        import keras

        return Objective(keras.losses.BinaryCrossentropy(from_logits=True))

    def decode(self, outputs, sample, card):
        return outputs[0] > card.decode["threshold"]

    def score(self, results, card, *, quick=False):
        rows = [
            {"id": s.id, "accuracy": float(np.mean(r == (self.load(s, card).target > 127)))}
            for s, r in results
        ]
        summary = {"accuracy": float(np.mean([row["accuracy"] for row in rows]))}
        return Scores({**summary, "undefined": float("nan")}, rows, f"rule {card.decode['rule']}")

    def draw(self, sample, result, card):
        return np.repeat(result * np.uint8(255), 3, axis=-1)

    def draw_truth(self, sample, card):
        return read_image(sample.targets[0])

    def write(self, sample, result, folder, card):
        path = folder / f"{Path(sample.id).stem}.txt"
        return [write_atomic(path, f"{int(result.sum())}\n")]


TASK = SmallTask()
