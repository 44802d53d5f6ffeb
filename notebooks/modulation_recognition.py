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
# # Modulation recognition: a teacher, its student, and the student in integers
#
# A network hears 128 samples of a radio signal and says how it is modulated. A transformer in the
# style of ClST (arXiv:2312.17446) is accurate and large; KD-CNN has a twenty-fifth of its weights.
# Here the frames are generated, the large network is trained, the small one learns alone and under
# the large one, and is quantized. The commands are `gossamer modrec generate | train --teacher |
# export | compare`. The frames are a simulation of the RadioML 2016 data, not recordings.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; FAST=0 makes networks worth looking at (about half an hour).
FAST = os.environ.get("FAST", "0") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Generate the frames
# Eleven kinds of modulation through a fading channel with noise. The label of RadioML 2016 is about
# half the signal-to-noise ratio in decibels. AM-SSB of the released data holds no signal at all, so
# `corrected` makes it one.

# %%
from apps.modulation_recognition.signals.parameters import Recipe
from apps.modulation_recognition.signals.shards import write_generated
from apps.modulation_recognition.task import TASK

snrs = (-8, 2, 12) if FAST else tuple(range(-10, 20, 4))
recipe = Recipe(amssb="corrected", seed=1)
record = write_generated(work / "frames", recipe, 10 if FAST else 150, snrs=snrs)
index = TASK.read(str(work / "frames"))
print(len(index), "frames,", index.describe_splits(), "|", *TASK.data_notes(index))

# %% [markdown]
# A frame of each kind at the highest label: in-phase (blue) and quadrature (orange).

# %%
import matplotlib.pyplot as plt

from apps.modulation_recognition.data import SNR, frame

clear = {s.label: s for s in index.samples if s.extra[SNR] == snrs[-1]}
figure, axes = plt.subplots(3, 4, figsize=(11, 5), sharex=True, sharey=True)
for axis in axes.flat:
    axis.axis("off")
for axis, label in zip(axes.flat, sorted(clear), strict=False):
    axis.plot(128 * frame(clear[label]).T, linewidth=0.9)
    axis.set_title(index.labels[label], fontsize=9)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 2. Train the teacher

# %%
from core.command_line.choices import merge
from core.config import TrainConfig
from core.training.fit import train


def choices(network, variant="base", **chosen):
    """Return the choices of a training on the frames: the recipe of the app, and what is chosen."""
    shared = {"network": network, "data": str(work / "frames"), "patience": None}
    values = merge(TASK, {}, {**shared, "batch": 198 if FAST else 64, **chosen})
    return TrainConfig.from_dict({**values, "variant": variant, "classes": len(index.labels)})


def reached(run):
    """Print what a run reaches on the validation frames."""
    best = max(row["val_average_accuracy"] for row in run.history())
    print(f"{run.path.name}: {best:.1%} of the validation frames, mean over the labels")


large = choices("clst", "small", epochs=1 if FAST else 25)
teacher = train(TASK, large, work / "teacher", index=index)
reached(teacher)

# %% [markdown]
# What a teacher knows beyond the label: how alike it finds the other kinds. Softened by the
# temperature 4, its probabilities for a clear frame and for one below the noise. The second says
# hardly more than that all kinds are possible: what it is worth to the student depends on the SNR.

# %%
from scipy.special import softmax

from core.engines import KerasEngine
from core.evaluate import run as predict
from core.export.deployable import deployable

engine = KerasEngine(*deployable(TASK, teacher))
noisy = {s.label: s for s in index.samples if s.extra[SNR] == snrs[0]}
asked = [clear[index.labels.index("QAM16")], noisy[index.labels.index("QAM16")]]
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for axis, (sample, result) in zip(axes, predict(TASK, engine, asked), strict=True):
    axis.bar(index.labels, softmax(result["logits"] / 4))
    axis.set_title(f"QAM16 at label {sample.extra[SNR]}", fontsize=9)
    axis.tick_params("x", rotation=60, labelsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 3. The student, alone and under the teacher
# The taught student minimises 0.7 · 16 · KL(teacher ‖ student) + 0.3 · cross entropy, both softened
# by T = 4 in the first part. `teacher_weights` says how far the teacher is followed at each label:
# here the more, the higher the SNR, half at label -4. Start, order and augmentation are the same as
# alone.

# %%
small = {"epochs": 1 if FAST else 40, "learning_rate": 2e-3}
alone = train(TASK, choices("kd_cnn", **small), work / "student alone", index=index)
followed = {"teacher_weights": "rise", "teacher_snr": -4}
under = choices("kd_cnn", **small, teacher=str(teacher.path), options=followed)
taught = train(TASK, under, work / "student distilled", index=index)
for run in (alone, taught):
    reached(run)
print("taught by", taught.record["taught_by"]["network"], "with", dict(taught.config.distill))

# %% [markdown]
# ## 4. Quantize it
# All of KD-CNN has integer kernels; the ranges are calibrated on frames of all labels.

# %%
from core.export.exporting import export

file = export(TASK, taught, "int8").path
print(file.name, f"{file.stat().st_size / 1000:.0f} kB")

# %% [markdown]
# ## 5. Accuracy against SNR
# All four on the test frames; the dashed line is chance.

# %%
from apps.modulation_recognition.pictures import accuracy_picture
from core.engines import LiteRTEngine
from core.evaluate import evaluate

engines = {"teacher": engine}
engines |= {run.path.name: KerasEngine(*deployable(TASK, run)) for run in (alone, taught)}
engines["distilled, int8"] = LiteRTEngine(file)
scores = {name: evaluate(TASK, one, index.split("test")) for name, one in engines.items()}
picture = accuracy_picture({name: found.details for name, found in scores.items()})
plt.figure(figsize=(12, 6))
plt.imshow(picture)
plt.axis("off")
plt.show()
for name, found in scores.items():
    print(f"{name:18}", *(f"{accuracy:.2f}" for accuracy in found.details.accuracy))
print(scores["teacher"].protocol)

# %% [markdown]
# One seed on a few frames is an anecdote: `benchmarks/modulation_distillation.py` repeats this over
# seeds and both students. On recordings of your own: `gossamer modrec predict`.
