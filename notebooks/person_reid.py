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
# # Find a person again: from crops to an int8 file and a search
#
# OSNet ×0.25 learns to tell apart the persons of the built-in sample and then looks for persons it
# has never seen. The sample is drawn, not photographed: its scores say nothing of scores on people.
# Set `DATA` to a folder of Market-1501, or of your own crops named alike (`0002_c1_000451.jpg`:
# person, camera), and `CHECKPOINT` to a file of the official zoo to start from it.
# On the command line: `gossamer reid train | evaluate | export | verify | index | search`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for a network worth looking at.
FAST = os.environ.get("FAST", "0") == "1"
DATA = os.environ.get("DATA", "sample")
CHECKPOINT = os.environ.get("CHECKPOINT", "")
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Crops, persons, cameras
# Training persons and tested persons are different people. Of the tested ones, a query image is
# looked for in the gallery; images of the same person by the same camera do not count.

# %%
import matplotlib.pyplot as plt

from apps.person_reid.task import TASK
from core.data.images import read_image

index = TASK.read(DATA)
print(index.describe_splits(), *index.notes, sep="\n")
figure, axes = plt.subplots(1, 8, figsize=(9, 2.5))
for axis, sample in zip(axes, index.split("train").samples, strict=False):
    axis.imshow(read_image(sample.inputs[0]))
    axis.set_title(f"person {sample.extra['person']}\ncamera {sample.extra['camera']}", fontsize=7)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 2. Train
# Cross entropy with label smoothing over the training persons, AMSGrad, a cosine schedule: the
# published recipe, shortened. From a checkpoint, its classifier is left out and the new one is
# trained alone at first (`fixed_epochs`, two-stepped transfer learning).

# %%
from core.checkpoints import load_torch_state, read
from core.run_folder import RunFolder
from core.config import TrainConfig
from core.training.fit import train

choices = {
    "app": "reid",
    "network": "osnet",
    "variant": "x0_25",
    "input_size": (64, 32) if FAST else (128, 64),
    "data": DATA,
}
initial = None
if CHECKPOINT:
    network = TASK.network("osnet")
    state = network.published(read(CHECKPOINT))
    choices |= {"variant": network.infer(state)["variant"], "input_size": (256, 128)}
    card = network.card(choices["variant"])
    model = network.build(choices["variant"], (*card.input_size, 3))
    ignored = (*network.ignored, *network.skipped(model))
    print(load_torch_state(model, network.convert_state(state), ignored=ignored))
    print(*network.notes(state, CHECKPOINT), sep="\n")
    imported = RunFolder.create(work / "published", TrainConfig(**choices), card, source="import")
    imported.save_model(model)
    initial = str(imported.path)
config = TrainConfig(
    **choices,
    classes=TASK.classes_of(index),
    epochs=1 if FAST else 40,
    batch=8 if FAST else 32,
    steps_per_epoch=2 if FAST else None,
    validate_every=10,
    optimizer="amsgrad",
    learning_rate=0.0015,
    weight_decay=5e-4,
    initial_weights=initial,
    options={"crop": "on", "fixed_epochs": 0 if initial is None or FAST else 5},
)
run = train(TASK, config, work / "run", index=index)
print(run.history()[-1])

# %% [markdown]
# ## 3. Evaluate and re-rank
# mAP, CMC and mINP by the Market-1501 protocol. Re-ranking by k-reciprocal neighbours (Zhong et
# al., CVPR 2017) needs no training: images that find each other are likely the same person.

# %%
from core.engines import KerasEngine, LiteRTEngine
from core.evaluate import evaluate
from core.export.deployable import deployable
from core.export.exporting import export

model, card = deployable(TASK, run)
test = index.split(index.held_out())
for rerank in ("off", "library"):
    decode = {**card.decode, "rerank": rerank}
    scores = evaluate(TASK, KerasEngine(model, card.replace(decode=decode)), test)
    print(scores.protocol)
    print({metric: round(value, 3) for metric, value in scores.summary.items()})

# %% [markdown]
# ## 4. An int8 file
# Channels are made even before rounding, and the file is verified by how it ranks, too.

# %%
from core.export.verify import verify

exported = export(TASK, run, "int8", data=DATA)
checked = verify(TASK, exported.path, run=run, data=DATA)
for row in checked.rows:
    print("ok " if row.ok else "-  " if row.ok is None else "BAD", row.check, "|", row.value)

# %% [markdown]
# ## 5. Search
# The file embeds queries and gallery; the nearest embeddings are the hits.

# %%
from apps.person_reid.evaluation import gathered
from apps.person_reid.pictures import Hit, search_sheet
from apps.person_reid.ranking import top_k
from core.evaluate import run as embed

found = gathered(embed(TASK, LiteRTEngine(exported.path), test.samples))
query, gallery = found.of("query"), found.of("gallery")
places, distances = top_k(query.embeddings[:2], gallery.embeddings, 10, card.decode["metric"])
for sample, row, values in zip(query.samples, places, distances, strict=False):
    hits = []
    for place, distance in zip(row, values, strict=True):
        hit = gallery.samples[place]
        who = {"person": hit.extra["person"], "camera": hit.extra["camera"]}
        hits.append(Hit(read_image(hit.inputs[0]), float(distance), hit.inputs[0].name, **who))
    sheet = search_sheet(
        read_image(sample.inputs[0]),
        hits,
        name=sample.inputs[0].name,
        person=sample.extra["person"],
        camera=sample.extra["camera"],
        synthetic=DATA == "sample",
    )
    plt.figure(figsize=(12, 3))
    plt.imshow(sheet)
    plt.axis("off")
    plt.show()
