# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ten pictures, one mask: pre-train without labels, then fine-tune
#
# Drawing masks is what costs. Here an encoder first learns from pictures alone (Barlow Twins,
# arXiv:2103.03230), then MK-UNet-T learns from the one picture that has a mask: once from that
# encoder and once from random weights. The data is the built-in sample, tiles of one fluorescence
# picture of nuclei (stardist 0.9.2, BSD-3-Clause): it shows the way, it does not measure the
# method. The commands are `gossamer medseg pretrain | train --initial-weights | evaluate`.

# %%
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for networks worth looking at.
FAST = os.environ.get("FAST", "0") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Much to look at, little that is labelled
# Ten training tiles; the mask of one is used, those of the other nine are not. Two validation tiles
# choose the best epoch, four test tiles are kept for the end.

# %%
import matplotlib.pyplot as plt
import numpy as np

from apps.medical_segmentation.task import TASK

index = TASK.read("sample")
card = TASK.network("mk_unet").card("t")
training = index.split("train").samples
labelled = training[np.random.default_rng(0).permutation(len(training))[0]]
print(index.describe_splits(), "| with a mask:", labelled.id)

figure, axes = plt.subplots(2, 5, figsize=(10, 4.4))
for axis, sample in zip(axes.flat, training, strict=True):
    shown = TASK.draw_truth(sample, card) if sample is labelled else TASK.draw_input(sample, card)
    axis.imshow(shown)
    axis.set_title(f"{sample.inputs[0].stem}{', mask' if sample is labelled else ''}", fontsize=8)
    axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 2. Pre-train the encoder
# Each picture is changed twice at random: mirrored, cut and enlarged, turned. The encoder learns to
# describe both views alike, by features that do not repeat each other. `on_diagonal` is how well
# the two descriptions agree (1 is best), `spread` would fall to 0 if all pictures were described
# alike. Ten pictures make no large batch, so an epoch takes each 15 times (`repeats`), every time
# as another part and turn of it. No mask is read, and nothing of the validation and test tiles.

# %%
from core.config import TrainConfig
from core.training.fit import train
from core.training.pretraining import Pretraining
from core.training.views import view

pretraining = Pretraining(TASK)
shared = {
    "app": "medseg",
    "network": "mk_unet",
    "variant": "t",
    "input_size": (32, 32) if FAST else (128, 128),
}
views = {"crop": 0.6, "rotate": 45.0}
config = TrainConfig(
    **shared,
    epochs=1 if FAST else 30,
    batch=10 if FAST else 30,
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    options={**views, "repeats": 1 if FAST else 15},
)
encoder = train(pretraining, config, work / "encoder", index=pretraining.read("sample"))
history = encoder.history()
print({name: round(value, 3) for name, value in history[-1].items()})

# %% [markdown]
# Two views of two pictures, and how the encoder came to agree on such pairs.

# %%
rng = np.random.default_rng(0)
figure, axes = plt.subplots(1, 5, figsize=(12, 2.6), width_ratios=(1, 1, 1, 1, 1.6))
for column, sample in enumerate(training[:2]):
    for axis, title in zip(axes[2 * column : 2 * column + 2], ("one view", "another"), strict=True):
        axis.imshow(view(TASK.draw_input(sample, card), rng, **views))
        axis.set_title(f"{sample.inputs[0].stem}, {title}", fontsize=8)
        axis.axis("off")
epochs = [row["epoch"] for row in history]
for name in ("on_diagonal", "off_diagonal"):
    axes[4].plot(epochs, [row[name] for row in history], label=name)
axes[4].set(xlabel="epoch", ylim=(0, 1))
axes[4].legend(fontsize=8, loc="center right")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 3. Fine-tune with one mask, beside training from scratch
# `initial_weights` takes the encoder over, all of it or none; which arrays moved is written into
# the run's `config.yaml`. The labelled tile is listed several times, so that an epoch has several
# differently augmented batches of it. Everything but the start is the same.

# %%
times = 8 if FAST else 40
again = [replace(labelled, id=f"{labelled.id}.{time}") for time in range(times)]
held_out = [sample for sample in index.samples if sample.split != "train"]
few = replace(index, samples=(*again, *held_out))
choices = TrainConfig(
    **shared,
    labels=("nucleus",),
    epochs=1 if FAST else 20,
    batch=4,
    learning_rate=5e-3,
    final_learning_rate=1e-6,
    clip_value=0.5,
    validate_every=1 if FAST else 2,
    options={"multi_scale": "off"},
)
starts = {"from scratch": None, "pre-trained": str(encoder.path)}
runs = {
    name: train(TASK, replace(choices, initial_weights=start), work / name, index=few)
    for name, start in starts.items()
}
print(len(runs["pre-trained"].record["from_encoder"]["moved"]), "arrays came from the encoder")
for name, run in runs.items():
    found = [f"{row['val_dice']:.3f}" for row in run.history() if "val_dice" in row]
    print(f"{name:13} Dice on the validation tiles:", *found)

# %% [markdown]
# ## 4. The test tiles
# Four tiles of one picture: differences of a hundredth mean nothing here.

# %%
from core.engines import KerasEngine
from core.evaluate import evaluate
from core.export.deployable import deployable

engines = {name: KerasEngine(*deployable(TASK, run)) for name, run in runs.items()}
test = index.split("test")
for name, engine in engines.items():
    scores = evaluate(TASK, engine, test)
    dice = [f"{row['dice']:.3f}" for row in scores.per_sample]
    print(f"{name:13} mean Dice {scores.summary['dice']:.4f}, by tile", *dice)
print(scores.protocol)

# %% [markdown]
# ## 5. Look at the masks
# Orange is what was found; the first row is the truth.

# %%
from core.evaluate import run as predict

rows = {"truth": [TASK.draw_truth(sample, card) for sample in test.samples]}
for name, engine in engines.items():
    found = predict(TASK, engine, test.samples)
    rows[name] = [TASK.draw(sample, result, engine.card) for sample, result in found]
figure, axes = plt.subplots(3, 4, figsize=(9, 7))
for line, (name, pictures) in zip(axes, rows.items(), strict=True):
    for axis, picture, sample in zip(line, pictures, test.samples, strict=True):
        axis.imshow(picture)
        axis.set_title(f"{sample.inputs[0].stem}, {name}", fontsize=8)
        axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# One mask and one seed are an anecdote. `benchmarks/pretraining.py` repeats this with other tiles
# and seeds; benchmarks/README.md has what it found, and what was tried.
