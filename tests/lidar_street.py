"""A street of made-up walls and poles for tests of maps: scans along it, as KITTI-like files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from apps.bev_localization.data.scans import transformed
from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.maps.views import image_of
from apps.bev_localization.models.rein import MAP, POOLING, rein
from apps.bev_localization.models.rein import card as rein_card
from apps.bev_localization.retrieval.clusters import netvlad_clusters
from core.data.index import Sample
from core.engines import KerasEngine
from core.files import write_atomic

RECIPE = BevRecipe("coarse", half_range=25.0, resolution=0.5, voxel=0.5)
REACH = 26.0
SPACING = 6.0


def street(seed: int = 0) -> np.ndarray:
    """Return points of walls and poles along 160 m of x, float64 (N, 3)."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(420):
        start = np.array([rng.uniform(-30, 130), rng.choice([-1, 1]) * rng.uniform(3, 24)])
        along = rng.uniform(0, np.pi)
        steps = np.arange(0, rng.uniform(0.3, 4), 0.25)[:, None]
        line = start + steps * [np.cos(along), np.sin(along)]
        for height in np.arange(0.2, rng.uniform(0.5, 5), 0.4):
            parts.append(np.column_stack([line, np.full(len(line), height)]))
    return np.concatenate(parts)


def pose(x: float, y: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    """Return a pose 1.7 m above the street, float64 (4, 4)."""
    found = np.eye(4)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    found[:2, :2] = [[cos, -sin], [sin, cos]]
    found[:3, 3] = x, y, 1.7
    return found


def scan(points: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return what of the street a sensor sees, float32 (M, 4)."""
    seen = transformed(points, np.linalg.inv(where))
    seen = seen[np.hypot(seen[:, 0], seen[:, 1]) < REACH]
    return np.column_stack([seen, np.zeros(len(seen))]).astype(np.float32)


def write_street(folder: Path, poses: list[np.ndarray], seed: int = 0) -> Path:
    """Write scans along a street, and their poses, and return the folder."""
    points = street(seed)
    for number, where in enumerate(poses):
        write_atomic(folder / f"{number:06d}.bin", scan(points, where).tobytes())
    rows = "".join(" ".join(f"{v:.9g}" for v in one[:3].ravel()) + "\n" for one in poses)
    write_atomic(folder / "poses.txt", rows)
    return folder


def started_engine(samples: list[Sample]) -> KerasEngine:
    """Return a small REIN whose NetVLAD is started from scans, so that it tells places apart."""
    keras.utils.set_random_seed(0)
    model = rein("r4_gray", (RECIPE.side, RECIPE.side, 1))
    card = rein_card("r4_gray").sized((RECIPE.side,))
    images = np.stack([image_of(sample, RECIPE) for sample in samples])[..., None]
    maps = keras.Model(model.input, model.get_layer(MAP).output)(card.normalise(images))
    features = np.array(maps).reshape(-1, maps.shape[-1])
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    model.get_layer(POOLING).start(netvlad_clusters(features[::3]))
    return KerasEngine(model, card)
