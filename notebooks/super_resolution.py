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
# # From IMDN_x4.pth to an int8 file that enlarges a photograph
#
# Download `IMDN_x4.pth` from the authors' repository (github.com/Zheng222/IMDN; it states no
# licence, so it does not come with this suite) and set `CHECKPOINT` to its path. Without it the
# notebook trains ABPN ×2 for a minute on the built-in photographs; the steps are the same.
# On the command line: `gossamer superres import | upscale | train | evaluate | export | verify`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for a network worth looking at.
FAST = os.environ.get("FAST", "0") == "1"
CHECKPOINT = os.environ.get("CHECKPOINT", "")
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Photographs
# Small versions are made by the exact bicubic reduction of the published data sets (MATLAB's
# imresize, rounded after each axis); training, validation and test show different photographs.

# %%
import matplotlib.pyplot as plt

from apps.super_resolution.task import TASK

index = TASK.read("sample")
print(index.describe_splits(), *index.notes, sep="\n")
variant = "x4" if CHECKPOINT else "x2"
name = "imdn" if CHECKPOINT else "abpn"
card = TASK.network(name).card(variant)
figure, axes = plt.subplots(1, 3, figsize=(9, 3))
for axis, sample in zip(axes, index.split("train").samples, strict=False):
    axis.imshow(TASK.draw_truth(sample, card))
    axis.set_title(sample.id, fontsize=8)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 2. A network
# An official checkpoint loads by name, completely or not at all; nothing in the file is executed.

# %%
from core.checkpoints import load_torch_state, read
from core.run_folder import RunFolder
from core.config import TrainConfig
from core.training.fit import train

config = TrainConfig(
    app="superres",
    network=name,
    variant=variant,
    epochs=1 if FAST else 40,
    batch=16,
    learning_rate=1e-3,
    final_learning_rate=1e-5,
    steps_per_epoch=2 if FAST else None,
    validate_every=1 if FAST else 10,
    options={"patch": 32, "patches": 80},
)
if CHECKPOINT:
    network = TASK.network(name)
    model = network.build(variant, (None, None, 3), **network.training_options)
    state = network.convert_state(network.published(read(CHECKPOINT)))
    print(load_torch_state(model, state, ignored=network.ignored))
    run = RunFolder.create(work / "run", config, card, source="import")
    run.save_model(model)
else:
    run = train(TASK, config, work / "run")
    print(run.history()[-1])

# %% [markdown]
# ## 3. Measure
# Luma PSNR and SSIM as MATLAB scripts compute them: the protocol is printed with every number.

# %%
from core.engines import KerasEngine, LiteRTEngine
from core.evaluate import evaluate
from core.export.deployable import deployable
from core.export.exporting import export

model, card = deployable(TASK, run)
network = TASK.network(name).deploy(run.load_model())  # of any size
test = index.split("test")
scores = evaluate(TASK, KerasEngine(network, card), test)
print(scores.protocol)
print({metric: round(value, 3) for metric, value in scores.summary.items()})

# %% [markdown]
# ## 4. Enlarge a photograph
# Large pictures go through in tiles with enough overlap that no seam is left.

# %%
from core.evaluate import run as enlarge

sample = test.samples[0]
((_, result),) = enlarge(TASK, KerasEngine(network, card), [sample])
small = TASK.load(sample, card).inputs
figure, axes = plt.subplots(1, 3, figsize=(12, 4))
shown = (("small", small), ("enlarged", result.image), ("original", TASK.draw_truth(sample, card)))
for axis, (title, picture) in zip(axes, shown, strict=True):
    axis.imshow(picture)
    axis.set_title(f"{title} {picture.shape[1]}x{picture.shape[0]}", fontsize=8)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 5. An int8 file
# Its input and output codes are the pixels themselves, so a phone feeds and shows bytes;
# the clip to the pixel range is the range of the last operator and costs nothing.

# %%
from core.export.verify import verify

exported = export(
    TASK, run, "int8", data="sample", io="uint8", input_size=(32, 32) if FAST else None
)
checked = verify(TASK, exported.path, run=run, data="sample")
for row in checked.rows:
    print("ok " if row.ok else "-  " if row.ok is None else "BAD", row.check, "|", row.value)

# %% [markdown]
# The file has a fixed tile; any picture goes through it piece by piece.

# %%
((_, integer),) = enlarge(TASK, LiteRTEngine(exported.path), [sample])
figure, axes = plt.subplots(1, 2, figsize=(8, 4))
for axis, (title, picture) in zip(
    axes, (("float32", result.image), ("int8 file", integer.image)), strict=True
):
    axis.imshow(picture[:128, :128])
    axis.set_title(title, fontsize=8)
    axis.axis("off")
plt.show()
