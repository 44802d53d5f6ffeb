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
# # Straight lines: from rendered scenes to an int8 file, beside classical LSD
#
# A small network takes the place of the gradient in LSD: it says of every pixel whether it lies on
# a segment and in which direction, and a grouping on the host makes segments of that. It is trained
# here on synthetic scenes, whose segments are known exactly; they are renderings, and scores on
# them say nothing of photographs. Set `LSDNET` to the authors' `model.onnx` and `MLSD` to a
# checkpoint of M-LSD (tiny or large) to see them on the photograph too, `PHOTO` to one of your own.
# On the command line: `gossamer lines simulate | train | export | detect | compare`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for a network worth looking at.
FAST = os.environ.get("FAST", "0") == "1"
PHOTO = os.environ.get("PHOTO", "")
OTHERS = {name: os.environ.get(name.upper(), "") for name in ("lsdnet", "mlsd")}
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Scenes, and what the network learns of them
# Streets, rooms and boxes in perspective; of a segment that something hides only the visible parts
# count. The heat is 1 within two pixels of a segment. The direction is learned as twice the angle,
# since a line has no beginning: shown by colour, on segments only.

# %%
import matplotlib.pyplot as plt
import numpy as np

from apps.line_segments.scenes.simulation import simulate
from apps.line_segments.task import TASK

counts = {"train": 6, "valid": 2, "test": 3} if FAST else {"train": 1500, "valid": 50, "test": 50}
simulate(work / "scenes", counts=counts, size=(96, 96) if FAST else (320, 320), seed=4)
index = TASK.read(str(work / "scenes"))
print(index.describe_splits(), *index.notes, *TASK.data_notes(index), sep="\n")

network = TASK.network("lsdnet")
card = network.card("doubled_narrow").sized((64,) if FAST else (192,))
figure, axes = plt.subplots(3, 3, figsize=(7.5, 7.5))
for row, sample in zip(axes, index.split("train").samples[:3], strict=True):
    example = TASK.load(sample, card)
    _, maps = TASK.encode(example, card)
    turn = np.arctan2(maps[..., 2], maps[..., 1]) % (2 * np.pi) / (2 * np.pi)
    coloured = np.where(maps[..., :1] > 0, plt.cm.hsv(turn)[..., :3], 1)
    for axis, picture in zip(
        row, (TASK.draw_truth(sample, card), maps[..., 0], coloured), strict=True
    ):
        axis.imshow(picture, cmap="gray")
        axis.axis("off")
for axis, title in zip(axes[0], ("scene and segments", "heat", "direction"), strict=True):
    axis.set_title(title, fontsize=9)
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 2. Train, and score on scenes that were held out
# F^H draws segments as pixels and matches them one to one, at the threshold that is best for each
# detector. LSD has learned nothing and needs no training; the network has seen scenes of this kind.

# %%
from apps.line_segments.data import read_truth
from apps.line_segments.detectors import ClassicalDetector, NetworkDetector
from apps.line_segments.drawing import drawn_segments
from apps.line_segments.evaluation import case_of, line_scores
from apps.line_segments.task import picture
from core.config import TrainConfig
from core.engines import KerasEngine
from core.export.deployable import deployable
from core.training.fit import train

config = TrainConfig.from_dict(
    {
        **TASK.recipe("lsdnet"),
        "app": "lines",
        "network": "lsdnet",
        "variant": "doubled_narrow",
        "data": str(index.root),
        "input_size": list(card.input_size),
        "epochs": 1 if FAST else 12,
        "batch": 3 if FAST else 4,
        "learning_rate": 3e-3,
        "options": TASK.check_options({}),
    }
)
run = train(TASK, config, work / "run", index=index)
for row in run.history():
    print(
        {
            name: round(value, 3)
            for name, value in row.items()
            if name in ("epoch", "loss", "val_fh")
        }
    )

detectors = {
    "LSD": ClassicalDetector("lsd"),
    "LSDNet": NetworkDetector(KerasEngine(*deployable(TASK, run)), "trained here"),
}
test = index.split("test").samples
found = {
    name: [detector(picture(sample)).found for sample in test]
    for name, detector in detectors.items()
}
scores = {
    name: line_scores(
        [(s.id, case_of(one, read_truth(s).segments)) for s, one in zip(test, all_of, strict=True)]
    )
    for name, all_of in found.items()
}
for name, one in scores.items():
    print(f"{name}: F^H {one.summary['fh']:.1%}, sAP10 {one.summary['sap10']:.1%}")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
shown = {"truth": TASK.draw_truth(test[0], card)}
for name, all_of in found.items():
    best = all_of[0].above(scores[name].details.best_threshold)
    shown[name] = drawn_segments(picture(test[0]), best.segments, best.scores)
for axis, (name, drawn) in zip(axes, shown.items(), strict=True):
    axis.imshow(drawn)
    axis.set_title(name, fontsize=9)
    axis.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 3. On a photograph
# The photograph is scikit-learn's `china.jpg`. What was trained on renderings for minutes is no
# match for the authors' weights, which saw 5,000 annotated photographs: give `LSDNET` and `MLSD`.

# %%
import time

from core.checkpoints import load_torch_state, read
from core.data.images import read_image


def published(name, path):
    """Return the detector of a published checkpoint."""
    entry = TASK.network(name)
    state = entry.published(read(path))
    own = entry.card(entry.infer(dict(state)).get("variant", next(iter(entry.variants))))
    model = entry.build(own.variant, own.input_shape, **entry.training_options)
    ignored = (*entry.ignored, *entry.skipped(model))
    load_torch_state(model, entry.convert_state(state), ignored=ignored)
    return NetworkDetector(KerasEngine(entry.deploy(model), own), name)


if PHOTO:
    photo = read_image(PHOTO)
else:
    from sklearn.datasets import load_sample_image

    photo = np.array(load_sample_image("china.jpg"))
detectors["OpenCV's LSD"] = ClassicalDetector("opencv")
for name, path in OTHERS.items():
    if path:
        detectors[f"{name}, published"] = published(name, path)
figure, axes = plt.subplots(1, len(detectors), figsize=(4 * len(detectors), 3))
for axis, (name, detector) in zip(axes, detectors.items(), strict=True):
    detector(photo)  # once before it is timed
    begun = time.perf_counter()
    timed = detector(photo)
    whole = 1000 * (time.perf_counter() - begun)
    above = timed.found.above(detector.shown)
    axis.imshow(drawn_segments(photo, above.segments, above.scores))
    axis.set_title(f"{name}: {len(above)} segments, {whole:.0f} ms", fontsize=8)
    axis.axis("off")
    print(f"{name}: {whole:.0f} ms, of which grouping {timed.grouping_ms:.1f}")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 4. An int8 file
# The grouping is the same; what integers move is the heat against fixed thresholds, so F is
# compared at several.

# %%
from core.engines import LiteRTEngine
from core.evaluate import evaluate
from core.export.exporting import export

exported = export(TASK, run, "int8", data=str(index.root), samples=4 if FAST else 200)
held_out = index.split("test")
own = evaluate(TASK, KerasEngine(*deployable(TASK, run)), held_out)
file = evaluate(TASK, LiteRTEngine(exported.path), held_out)
print(f"{exported.path.name}: {exported.path.stat().st_size / 1e3:.0f} kB")
print(f"F^H: float {own.summary['fh']:.3f}, int8 {file.summary['fh']:.3f}")
for a, b in zip(own.tables["by_threshold"], file.tables["by_threshold"], strict=True):
    print(f"  at score {a['threshold']}: float {a['fh']:.3f}, int8 {b['fh']:.3f}")
