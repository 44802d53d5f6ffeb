"""Does pre-training without labels help where a tenth of the images has masks?

    .venv/bin/python -m benchmarks.pretraining [--network NAME] [--seeds N] [--work FOLDER]

For every seed an encoder is pre-trained by Barlow Twins on the ten training tiles of the nuclei
sample, their masks unseen. Then the network is trained twice with the mask of one of them, another
for every seed: from random weights and from the encoder, in all else alike. The two validation
tiles choose the best epoch of both; the four test tiles are looked at once, at the end. It is a
sample, not a benchmark of the method: all tiles are of one picture.

The rows go to --out. On the command line the same is

    gossamer medseg pretrain --data DATA --network NAME --input-size SIDE --out ENCODER
    gossamer medseg train --data FEW --network NAME --input-size SIDE --initial-weights ENCODER ...

with FEW a folder that holds one training tile, and the validation and test tiles, of DATA.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder

RESULT = ROOT / "benchmarks" / "results" / "pretraining_medseg.csv"
SHARE = 0.1  # of the training images has a mask
REPEATS, BATCH = 40, 4  # an epoch takes a labelled tile so often, differently augmented
STARTS = ("random", "pre-trained")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained here; what is not said is the suite's default.

    Attributes:
        network: Its name, variant and size, by `TrainConfig` field.
        pretraining, training: Choices of the two trainings.
        budgets: Epochs of the training with masks, each measured for itself.
    """

    network: dict[str, Any]
    pretraining: dict[str, Any]
    training: dict[str, Any]
    budgets: tuple[int, ...]


# Few pictures make full batches by being taken again, each time as other parts and turns of them.
_ENCODING = {
    "optimizer": "adam",
    "warmup_epochs": 0,
    "batch": 30,
    "options": {"repeats": 15, "crop": 0.6, "rotate": 45.0},
}
_TRAINING = {"batch": BATCH, "validate_every": 2, "options": {"multi_scale": "off"}}
RECIPES = {
    "mk_unet": Recipe(
        {"variant": "t", "input_size": (128, 128)},
        {**_ENCODING, "epochs": 30, "learning_rate": 1e-3},
        {**_TRAINING, "learning_rate": 5e-3},
        (10, 20),
    ),
    "barlow_swin": Recipe(
        {"variant": "base", "input_size": (64, 64)},
        {**_ENCODING, "epochs": 12, "learning_rate": 3e-4},
        _TRAINING,
        (10,),
    ),
}


def with_few_masks(index: Index, seed: int) -> Index:
    """Return the data with a share of its training samples, others for every seed.

    They occur several times each, which only makes an epoch longer; other splits stay.
    """
    import numpy as np

    training = index.split("train").samples
    count = max(1, round(SHARE * len(training)))
    order = np.random.default_rng(0).permutation(len(training))
    chosen = np.roll(order, -seed * count)[:count]
    again = [
        replace(training[number], id=f"{training[number].id}.{time}")
        for number in sorted(chosen)
        for time in range(REPEATS)
    ]
    held_out = [sample for sample in index.samples if sample.split != "train"]
    return replace(index, samples=(*again, *held_out))


def trained(task, name: str, choices: dict[str, Any], out: Path, index: Index) -> RunFolder:
    """Return a run of a network; one that an earlier call finished or began is gone on with."""
    from core.command_line import choices as settings
    from core.config import TrainConfig
    from core.training.fit import train

    values = settings.merge(task, {}, {"network": name, "data": "sample", **choices})
    labels = () if task.command == "pretrain" else ("nucleus",)
    config = TrainConfig.from_dict({**values, "labels": labels})
    return train(task, config, out, index=index, resume=True)


def measure(name: str, seed: int, work: Path) -> list[dict[str, Any]]:
    """Return a row for each budget and start of a network, with its Dice."""
    from apps.medical_segmentation.task import TASK
    from core.engines import KerasEngine
    from core.evaluate import evaluate
    from core.export.deployable import deployable
    from core.training.pretraining import Pretraining

    recipe, whole = RECIPES[name], TASK.read("sample")
    few = with_few_masks(whole, seed)
    samples = few.split("train").samples
    masks = sorted({sample.inputs[0].stem for sample in samples})
    task, shared = Pretraining(TASK), {**recipe.network, "seed": seed}
    choices = {**shared, **recipe.pretraining}
    encoder = trained(task, name, choices, work / "encoder", task.read("sample"))
    rows = []
    for epochs, start in itertools.product(recipe.budgets, STARTS):
        choices = {**shared, **recipe.training, "epochs": epochs}
        if start == "pre-trained":
            choices["initial_weights"] = str(encoder.path)
        run = trained(TASK, name, choices, work / f"{start}_{epochs}", few)
        network, card = deployable(TASK, run)
        scores = evaluate(TASK, KerasEngine(network, card), whole.split("test"), quick=True)
        validated = [row["val_dice"] for row in run.history() if "val_dice" in row]
        rows.append(
            {"network": name, "variant": card.variant, "steps": epochs * len(samples) // BATCH,
             "seed": seed, "masks_of": masks, "start": start, "val_dice": max(validated),
             "test_dice": scores.summary["dice"]}
        )  # fmt: skip
        print(f"  {' '.join(str(value) for value in rows[-1].values())}", file=sys.stderr)
    return rows


def summary(rows: list[dict[str, Any]]) -> list[tuple]:
    """Return by network and steps the mean test Dice of both starts, the gain, and how often."""
    found = []
    for key in dict.fromkeys((row["network"], row["steps"]) for row in rows):
        own = [row for row in rows if (row["network"], row["steps"]) == key]
        before, after = (
            [row["test_dice"] for row in own if row["start"] == start] for start in STARTS
        )
        gains = [new - old for old, new in zip(before, after, strict=True)]
        wins = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
        found.append((*key, mean(before), mean(after), mean(gains), wins))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=tuple(RECIPES), help="which; all where none is named")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE.csv")
    parser.add_argument("--work", type=Path, help="where runs are kept and found again")
    options = parser.parse_args()

    from core.command_line.tables import csv_text, show_table
    from core.files import write_atomic

    names = [options.network] if options.network else list(RECIPES)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as thrown_away:
        work = options.work or Path(thrown_away)
        for name in names:
            for seed in range(options.seeds):
                rows += measure(name, seed, work / f"{name}_{seed}")
    write_atomic(options.out, csv_text(rows))
    cells = [tuple(row.values()) for row in rows]
    show_table(tuple(rows[0]), cells)
    headings = ("network", "steps", "from random", "pre-trained", "gain", "seeds that gain")
    show_table(headings, summary(rows))


if __name__ == "__main__":
    main()
