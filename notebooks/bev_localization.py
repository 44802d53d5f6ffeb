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
# # Where am I on this map? LiDAR scans as pictures from above
#
# A scan becomes a small grey picture of what stands around the sensor. A network makes of it a
# vector, by which the place is found, and a map of local features, by which keypoints of both
# pictures are matched: their rigid motion is the pose. Here all of it on a simulated town: what is
# measured says nothing of real streets. The network has random weights, only its clusters are those
# of the town's scans; it finds most places even so. On the command line:
# `gossamer bev simulate | train | build-map | localize`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests run this notebook quickly; set FAST=0 for pictures of the published size.
FAST = os.environ.get("FAST", "0") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. A town, driven through twice
# The first drive is the map. Then the sensor comes back in the opposite direction, up to 2 m to the
# side: the same walls, seen the other way round.

# %%
import matplotlib.pyplot as plt
import numpy as np

from apps.bev_localization.data import READERS
from apps.bev_localization.data.samples import pose_of, sequences
from apps.bev_localization.images.recipes import RECIPES, BevRecipe
from apps.bev_localization.maps.views import image_of
from apps.bev_localization.simulator.dataset import simulate
from core.data.readers import read_with

record = simulate(
    work / "town",
    scans=14 if FAST else 72,
    queries=5 if FAST else 40,
    scenarios=("opposite",),
    columns=360 if FAST else 720,
    seed=3,
)
index = read_with(READERS, work / "town")
mapped, asked = sequences(index.samples).values()
print(record["what"], *index.notes, sep="\n")

coarse = BevRecipe("coarse", half_range=30.0, resolution=0.5, voxel=0.5)
recipe = coarse if FAST else RECIPES["place40"]
print(recipe, recipe.hash)

query = asked[len(asked) // 2]
near = min(mapped, key=lambda one: np.linalg.norm((pose_of(one) - pose_of(query))[:3, 3]))
figure, axes = plt.subplots(1, 2, figsize=(9, 4.6))
for axis, sample, title in zip(axes, (near, query), ("on the map", "seen again"), strict=True):
    axis.imshow(image_of(sample, recipe), cmap="gray_r")
    axis.set_title(f"{title}: {sample.id}", fontsize=9)
    axis.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 2. The map
# One pass of the network for each scan. The file keeps, beside the descriptors, what a pose needs,
# and which network and which recipe of pictures made it: no other is let near it.

# %%
import keras

from apps.bev_localization.maps.building import build_map
from apps.bev_localization.models.rein import MAP, NETWORK, POOLING, card, rein
from apps.bev_localization.retrieval.clusters import netvlad_clusters
from core.engines import KerasEngine
from core.identity import Identity

keras.utils.set_random_seed(0)
variant = "r4_gray" if FAST else "r8_gray"
model = rein(variant, (recipe.side, recipe.side, 1))
own = card(variant).sized((recipe.side,))
images = np.stack([image_of(sample, recipe) for sample in mapped])[..., None]
features = keras.Model(model.input, model.get_layer(MAP).output)
locals_ = features.predict(own.normalise(images), batch_size=2, verbose=0).reshape(-1, 128)
locals_ /= np.maximum(np.linalg.norm(locals_, axis=1, keepdims=True), 1e-12)
model.get_layer(POOLING).start(netvlad_clusters(locals_[:: 4 if FAST else 16]))

engine = KerasEngine(NETWORK.deploy(model), own)
network = Identity("rein", variant, "random weights", "notebook", "float32", own.input_size)
town = build_map(work / "town.npz", engine, mapped, recipe, network, synthetic=True)
for name, count in town.bytes_a_place.items():
    print(f"{name:17} {count:8.0f} a place")

# %% [markdown]
# ## 3. A scan, found again
# Left the scan of the place and the one that asks, moved by the estimated pose: where both show the
# same, they are dark. Rings on the ground move with the sensor and tell nothing; walls do.

# %%
from apps.bev_localization.maps.localizing import localize
from apps.bev_localization.maps.pictures import localized_picture
from apps.bev_localization.maps.views import views

found = [(sample, view, localize(town, view)) for sample, view, _ in views(engine, asked, recipe)]
sample, view, fix = max(found, key=lambda one: one[2].confidence)
plt.figure(figsize=(11, 6.4))
plt.imshow(localized_picture(town, view.image, fix, name=sample.id))
plt.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## 4. How far off
# A scan is told to be on the map where enough of its keypoints agree. What is told with less is the
# best guess, drawn hollow.

# %%
from apps.bev_localization.pose.errors import pose_error, pose_scores

plane = np.ix_([0, 1, 3], [0, 1, 3])
errors = [pose_error(fix.pose[plane], pose_of(sample)[plane]) for sample, _, fix in found]
scores = pose_scores(errors)
told = np.array([fix.on_map for *_, fix in found])
print(f"{scores.rate:.0%} of {scores.queries} scans within 2 m and 5 degrees, {told.sum()} told")
print(f"median error {scores.median_metres:.2f} m, {scores.median_degrees:.2f} degrees")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6))
left.plot(*town.trajectory[:, :2].T, ".", color="0.7", label="places")
truth = np.array([pose_of(sample)[:2, 3] for sample, *_ in found])
guess = np.array([fix.pose[:2, 3] for *_, fix in found])
for true, told_as in zip(truth, guess, strict=True):
    left.plot(*np.stack([true, told_as]).T, color="tab:red", linewidth=0.8)
left.scatter(*truth.T, s=14, color="tab:green", label="where the scans were taken")
left.scatter(
    *guess.T, s=26, facecolors=["tab:orange" if one else "none" for one in told],
    edgecolors="tab:orange", label="where they were found",
)  # fmt: skip
left.set_aspect("equal")
left.set_xlabel("x, metres")
left.set_ylabel("y, metres")
left.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
metres, degrees = np.array(errors).T
for chosen, colour, label in ((told, "tab:orange", "told"), (~told, "none", "best guess")):
    right.scatter(
        metres[chosen], degrees[chosen], facecolors=colour, edgecolors="tab:orange", label=label
    )
right.axvline(2, color="0.7", linestyle="--")
right.axhline(5, color="0.7", linestyle="--")
for axis, scale in ((right.xaxis, right.set_xscale), (right.yaxis, right.set_yscale)):
    scale("symlog", linthresh=1)
    axis.set_ticks([0, 0.5, 1, 2, 5, 10, 100], labels=["0", "0.5", "1", "2", "5", "10", "100"])
right.set_xlim(-0.05, max(3, metres.max() * 1.2))
right.set_ylim(-0.05, max(8, degrees.max() * 1.2))
right.set_xlabel("metres off")
right.set_ylabel("degrees off")
right.legend(fontsize=8)
plt.tight_layout()
plt.show()
