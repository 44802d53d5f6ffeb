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
# # From a folder of images to a verified int8 file
#
# MK-UNet-T on the built-in sample: tiles of one fluorescence picture of nuclei (stardist 0.9.2,
# BSD-3-Clause). It is a sample, not a benchmark. Each step here is also one command:
# `gossamer medseg data | train | evaluate | export | verify | predict | compress`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for a network worth looking at.
FAST = os.environ.get("FAST", "0") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Read the data
# A reader turns a folder into an index of samples; nothing is decoded yet.

# %%
from apps.medical_segmentation.task import TASK

index = TASK.read("sample")
print(index.format, index.describe_splits())
print(*index.notes, sep="\n")

# %% [markdown]
# Look at what will be trained on: an image and its mask, drawn by the same code as every picture.

# %%
import matplotlib.pyplot as plt

card = TASK.network("mk_unet").card("t")
samples = index.split("train").samples[:3]
figure, axes = plt.subplots(1, 3, figsize=(9, 3))
for axis, sample in zip(axes, samples, strict=True):
    axis.imshow(TASK.draw_truth(sample, card))
    axis.set_title(sample.id, fontsize=8)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 2. Train
# A config holds every choice; the run folder holds everything that comes of it. Kill the process at
# any moment and call `train(..., resume=True)`: it ends as if nothing had happened.

# %%
from core.config import TrainConfig
from core.training.fit import train

config = TrainConfig(
    app="medseg",
    network="mk_unet",
    variant="t",
    input_size=(32, 32) if FAST else (128, 128),
    epochs=1 if FAST else 60,
    batch=5,
    learning_rate=5e-3,
    clip_value=0.5,
    options={"multi_scale": "off"},
)
run = train(TASK, config, work / "nuclei")
print(run.history()[-1])

# %% [markdown]
# ## 3. Evaluate
# One runner, two engines: the same call scores the Keras network and a TFLite file.

# %%
from core.engines import KerasEngine, LiteRTEngine
from core.evaluate import evaluate
from core.export.deployable import deployable
from core.export.exporting import export

model, card = deployable(TASK, run)
scores = evaluate(TASK, KerasEngine(model, card), index.split("test"))
print(scores.protocol)
print({name: round(value, 4) for name, value in scores.summary.items()})

# %% [markdown]
# ## 4. Export to int8 and verify
# The network is rewritten with fake quantizers, calibrated on real samples and converted; `verify`
# runs the file with XNNPACK and the reference kernels beside Keras.

# %%
from core.export.verify import verify

exported = export(TASK, run, "int8", data="sample", io="uint8")
print(*exported.notes, sep="\n")
checked = verify(TASK, exported.path, run=run, data="sample")
for row in checked.rows:
    print("ok " if row.ok else "-  " if row.ok is None else "BAD", row.check, "|", row.value)

# %% [markdown]
# ## 5. Look at the result
# The file carries its model card, so a path is all that prediction needs.

# %%
from core.evaluate import run as predict

engine = LiteRTEngine(exported.path)
figure, axes = plt.subplots(2, 3, figsize=(9, 6))
for column, (sample, result) in enumerate(predict(TASK, engine, index.split("test").samples[:3])):
    axes[0, column].imshow(TASK.draw_truth(sample, engine.card))
    axes[0, column].set_title(f"target {sample.id}", fontsize=8)
    axes[1, column].imshow(TASK.draw(sample, result, engine.card))
    axes[1, column].set_title("int8 file", fontsize=8)
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 6. Make it smaller: prune, cluster, train with the quantizers
# `gossamer medseg compress RUN --method prune,cluster,quantize` does this in one command. Each
# method is fine-tuned with the same training as before and keeps what the earlier ones reached:
# zeros stay zero, and a kernel of few different values keeps them.

# %%
from core.compress.analysis import compressed_size, most_values
from core.training.compressing import plan_chain, run_chain

choices = {"prune": {"sparsity": 0.5}, "cluster": {"clusters": 16}, "quantize": {}}
if FAST:
    choices = {"quantize": {}}
plans = plan_chain(
    TASK,
    run,
    tuple(choices),
    work / "small",
    choices=choices,
    training={"epochs": 1 if FAST else 30, "learning_rate": 2e-3},
)
stages = run_chain(TASK, plans)
small, _ = deployable(TASK, stages[-1])
print("different values a kernel:", most_values(model), "→", most_values(small))

# %% [markdown]
# Both int8 files, packed as an app store packs them, and where rounding disturbs most.

# %%
from core.compress.noise import layer_noise
from core.export.exporting import calibration_samples

smaller = export(TASK, stages[-1], "int8", io="uint8")
for path in (exported.path, smaller.path):
    print(path.name, path.stat().st_size, "bytes,", compressed_size(path), "zipped")
inputs, _ = calibration_samples(TASK, card, "sample", "auto", 4)
noise = sorted(layer_noise(small, inputs), key=lambda entry: entry.sqnr_db)
for entry in noise[:5]:
    print(f"{entry.layer:45} {entry.sqnr_db:5.1f} dB, by itself {entry.own_db:5.1f} dB")

# %% [markdown]
# The same test pictures by the float network and by the compressed int8 file.

# %%
engines = {"float": KerasEngine(model, card), "compressed int8": LiteRTEngine(smaller.path)}
figure, axes = plt.subplots(2, 3, figsize=(9, 6))
for row, (name, engine) in enumerate(engines.items()):
    found = predict(TASK, engine, index.split("test").samples[:3])
    for column, (sample, result) in enumerate(found):
        axes[row, column].imshow(TASK.draw(sample, result, engine.card))
        axes[row, column].set_title(f"{name}", fontsize=8)
for axis in axes.flat:
    axis.axis("off")
plt.show()
