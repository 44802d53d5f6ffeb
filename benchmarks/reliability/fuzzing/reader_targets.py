"""Every reader of every app: whole data sets with a changed file or a changed layout."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path

import numpy as np

from apps.catalog import APPS
from benchmarks.reliability.fuzzing import field_seeds, layout_seeds, reid_seeds, volume_seeds
from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.target import Outcome, Target, complaints
from core.errors import UserError
from core.model_card import ModelCard

TASKS = ("medseg", "superres", "reid")  # whose networks and pictures other targets take too
_SEEDS = {
    "medseg": {**layout_seeds.MEDSEG, **volume_seeds.VOLUMES},
    "superres": layout_seeds.SUPERRES,
    "reid": reid_seeds.REID,
    "bev": field_seeds.LIDAR,
    "lines": field_seeds.LINES,
    "fetal": field_seeds.PLANES,
    "modrec": field_seeds.SIGNALS,
    "aqua": field_seeds.SPECIES_SETS,
}
_LOADED = 3  # samples of an index that are brought to the network's size
_LAYOUT = 0.6
_SCALES = {"div2k-mild": 4, "div2k-difficult": 4, "div2k-wild": 4}  # as published


def load_task(app: str):
    """Return an app's task."""
    return _module(app).TASK


def _module(app: str):
    return importlib.import_module(f"{APPS[app].package}.task")


def card_of(app: str, scale: int = 2) -> ModelCard:
    """Return a model card for an app's samples; reading needs no network."""
    decode = {"medseg": {"threshold": 0.5}, "superres": {"scale": scale}, "reid": {}}[app]
    labels = ("thing",) if app == "medseg" else ()
    return ModelCard("any", "any", app, input_size=(32, 16), labels=labels, decode=decode)


def targets() -> list[Target]:
    """Return a target for each reader, as the apps list them."""
    found = []
    for app in _SEEDS:
        readers = _module(app).READERS
        for name, reader in readers.items():
            found.append(_target(app, name, reader.summary))
    return found


def _target(app: str, name: str, summary: str) -> Target:
    def seeds() -> list[Case]:
        made = _SEEDS[app][name]()
        return made if isinstance(made, list) else [made]

    def run(path: Path) -> Outcome:
        from core.command_line.look import data_card

        task = load_task(app)
        index = task.read(str(path), name)
        card = card_of(app, _SCALES.get(name, 2)) if app in TASKS else data_card(task, index)
        index.fingerprint()
        index.describe_splits()
        for other in ("auto", f"{name}-dedup"):  # which few readers have
            with contextlib.suppress(UserError):
                task.read(str(path), other)
        # What is wrong with a data set as a whole is said under its name.
        found = [f"{path}: {problem}" for problem in task.check_data(index, card)]
        return found + complaints(
            lambda sample=sample: task.encode(task.load(sample, card), card)
            for sample in index.samples[:_LOADED]
        )

    return Target(
        f"reader-{app}-{name}",
        summary.split(":")[0],
        seeds,
        run,
        prepare=lambda: _prepare(app),
        layout=_LAYOUT,
        writes=name.startswith("cuhk03"),
    )


def _prepare(app: str) -> None:
    import cv2
    import h5py
    import nibabel
    import pyarrow.parquet
    import pydicom.pixels
    import scipy.io
    import tifffile

    import core.command_line.look  # noqa: F401

    del cv2, h5py, nibabel, pyarrow, pydicom, scipy, tifffile
    task = load_task(app)
    if app not in TASKS:
        task.network(task.default_network)
    if app == "bev":
        from apps.bev_localization.data.lzf import unpacked

        unpacked(np.frombuffer(b"\x00A", np.uint8), 1)  # compiled once, before anything watches
