"""Building a map: scans with poses, one a place, through the network into a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from apps.bev_localization.data.samples import pose_of, sequences, trajectory_of
from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.maps.map_file import About, Place, PlaceMap, read_map, write_map
from apps.bev_localization.maps.views import View, views
from apps.bev_localization.pose.estimation import LocalView
from apps.bev_localization.pose.keypoints import THRESHOLD, fast_keypoints
from apps.bev_localization.retrieval.index import build_index
from core.data.index import Index, Sample
from core.engines import Engine
from core.errors import UserError, no_such
from core.identity import Identity


def mapped_samples(index: Index, names: Sequence[str] | None, spacing: float = 0.0) -> list[Sample]:
    """Return the scans of a data set that become places.

    Args:
        index: The data set.
        names: Of sequences whose poses lead into one frame; None takes the only one there is.
        spacing: Metres that lie between the places of a sequence, at least.

    Raises:
        UserError: When a name is unknown, one is needed, or a pose is not known.
    """
    known = sequences(index.samples)
    if names is None and len(known) > 1:
        raise UserError(
            f"{index.root}: holds the sequences {', '.join(known)}, but a map has one frame; pass "
            "--sequences NAME, or several, separated by commas, where their poses share a frame."
        )
    chosen: list[Sample] = []
    for name in names or known:
        if name not in known:
            raise no_such("sequence", name, known, where="--sequences")
        chosen += _spaced(known[name], spacing)
    return chosen


def build_map(
    path: str | os.PathLike,
    engine: Engine,
    samples: Sequence[Sample],
    recipe: BevRecipe,
    model: Identity,
    *,
    dimensions: int | None = None,
    features: str = "int8",
    keypoints: int | None = None,
    root: str | Path = "",
    synthetic: bool = False,
    batch: int = 4,
    gossamer: str = "unknown",
    advance: Callable[[int], None] | None = None,
) -> PlaceMap:
    """Describe scans, write their map and return it, opened.

    Args:
        path: The file.
        engine: Runs the network.
        samples: With poses; one a place.
        recipe: Of the images.
        model: Which network it is.
        dimensions: Of shortened descriptors; None keeps them whole.
        features: How local features are stored, int8 or float16.
        keypoints: Of a place that are kept at most, the surest; None keeps all.
        root, synthetic, gossamer: As of `About`.
        batch: Images that go through the network at once.
        advance: Called with the number of scans done.

    Raises:
        UserError: When a scan cannot be read or has no pose, or there are too few for so many
            dimensions: a map with a gap would not say where it has one.
    """
    trajectory_of(samples)  # before the work
    if dimensions is not None and dimensions >= len(samples):
        raise UserError(
            f"Descriptors cannot be shortened to {dimensions} numbers, as {len(samples)} places "
            "span less; keep fewer or map more places."
        )
    places = []
    for sample, view, error in views(engine, samples, recipe, batch=batch, advance=advance):
        if view is None:
            raise error or UserError(f"{sample.id}: cannot be read.")
        pose = pose_of(sample)
        assert pose is not None
        local = view.local if keypoints is None else surest(view, keypoints)
        places.append(Place(sample.id, pose, view.image, view.descriptor, local))
    index = build_index(np.stack([place.descriptor for place in places]), dimensions=dimensions)
    about = About(
        model=model,
        recipe=recipe,
        keypoint_threshold=THRESHOLD,
        features=features,
        root=str(root),
        sequences=tuple(dict.fromkeys(sample.group for sample in samples)),
        synthetic=synthetic,
        gossamer=gossamer,
    )
    return read_map(write_map(path, about, places, index))


def surest(view: View, most: int) -> LocalView:
    """Return at most so many keypoints of a view, those of the largest response, in their order."""
    responses = fast_keypoints(view.image, threshold=THRESHOLD).responses
    kept = np.sort(np.argsort(-responses, kind="stable")[:most])
    return LocalView(view.local.pixels[kept], view.local.features[kept])


def _spaced(samples: Sequence[Sample], spacing: float) -> list[Sample]:
    """Return the scans of a sequence that lie at least so far from the last one that is kept."""
    if spacing <= 0:
        return list(samples)
    kept, last = [], None
    for sample, here in zip(samples, trajectory_of(samples).positions, strict=True):
        if last is None or np.linalg.norm(here - last) >= spacing:
            kept.append(sample)
            last = here
    return kept
