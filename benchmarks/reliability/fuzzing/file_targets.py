"""Single files that need no network: pictures, videos, embeddings, choices."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from apps.catalog import APPS
from benchmarks.reliability.fuzzing import picture_seeds, reid_seeds, volume_seeds
from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.reader_targets import TASKS, card_of, load_task
from benchmarks.reliability.fuzzing.target import Outcome, Target, complaints
from core.errors import UserError


def targets() -> list[Target]:
    """Return the targets of this module."""
    return [
        *(
            Target(f"picture-{name}", summary, seeds, read_picture_everywhere, _import_pictures)
            for name, summary, seeds in _PICTURES
        ),
        Target(
            "picture-enlarged",
            "pictures of all kinds as superres upscale reads them",
            picture_seeds.single_pictures,
            _read_to_enlarge,
            _import_pictures,
        ),
        *(
            Target(f"volume-{name}", summary, seeds, _read_volumes, _import_volumes, layout=layout)
            for name, summary, seeds, layout in _VOLUMES
        ),
        Target("video", "frames of a video", picture_seeds.video_cases, _read_video, _import_cv2),
        Target(
            "embeddings",
            "index of a search (.npz)",
            reid_seeds.embedding_cases,
            _read_embeddings,
            _import_embeddings,
        ),
        Target(
            "config",
            "choices of a training from a file (--config)",
            _configs,
            _read_config,
            _import_tasks,
            named=False,
        ),
        Target(
            "settings",
            "choices of a training, compression and decoding (--set)",
            _settings,
            _read_settings,
            _import_stages,
            named=False,
        ),
    ]


# --- volumes ------------------------------------------------------------------------------------

_VOLUMES = (
    (
        "nifti",
        "NIfTI: versions, types, orientations, packed or not",
        volume_seeds.nifti_cases,
        0.04,
    ),
    ("dicom", "DICOM: series, run lengths, frames in one file", volume_seeds.dicom_cases, 0.2),
)


def _import_volumes() -> None:
    import nibabel
    import pydicom.pixels

    del nibabel, pydicom
    _import_tasks()


def _read_volumes(path: Path) -> Outcome:
    """Go the way of `medseg predict` up to the network; NIfTI files are their own labels."""
    from apps.medical_segmentation.volumes.finding import is_nifti

    task, card = load_task("medseg"), card_of("medseg")

    found = []
    for sample in task.files([path]):
        if is_nifti(sample.inputs[0]):
            sample = dataclasses.replace(sample, targets=sample.inputs)
        found += complaints((lambda sample=sample: task.encode(task.load(sample, card), card),))
    return found


# --- pictures -----------------------------------------------------------------------------------

_PICTURES: tuple[tuple[str, str, Callable[[], list[Case]]], ...] = (
    ("png", "PNG: 1 to 16 bits, palette, alpha, EXIF, animated", picture_seeds.png_cases),
    ("jpeg", "JPEG: progressive, CMYK, EXIF, several in one", picture_seeds.jpeg_cases),
    ("tiff", "TIFF: strips, tiles, 8 to 32 bits, floats, pages, BigTIFF", picture_seeds.tiff_cases),
    ("bmp", "BMP: palette, 1 bit, alpha", picture_seeds.bmp_cases),
    ("webp", "WebP: lossy, lossless, animated", picture_seeds.webp_cases),
    ("others", "GIF, PPM, JPEG 2000 under a .png name", picture_seeds.other_picture_cases),
)


def _import_pictures() -> None:
    import tifffile
    from PIL import Image

    del tifffile
    Image.init()
    _import_tasks()


def read_picture_everywhere(path: Path) -> Outcome:
    """Open a picture in every way the suite does: as image, mask, size, page, for each app."""
    from core.data.images import count_pages, read_image, read_mask, read_size
    from core.data.index import Sample

    sample = Sample("picture", (path,))

    def seen_by(app: str) -> Callable[[], object]:
        task, card = load_task(app), card_of(app)
        return lambda: task.encode(task.load(sample, card), card)

    return complaints(
        (
            lambda: read_image(path),
            lambda: read_image(path, 1),
            lambda: read_mask(path),
            lambda: read_size(path),
            lambda: count_pages(path) > 1 and read_image(path, page=1),
            *(seen_by(app) for app in TASKS),
        )
    )


def _read_to_enlarge(path: Path) -> Outcome:
    from apps.super_resolution.pictures import comparison, read_picture

    picture = read_picture(path)
    if picture.pixels.size < 2**16:
        comparison(picture.rgb, np.repeat(np.repeat(picture.rgb, 2, 0), 2, 1), 2)
    return []


def _import_cv2() -> None:
    import cv2

    del cv2


def _read_video(path: Path) -> Outcome:
    from core.data.videos import read_frames, read_info

    def all_frames() -> None:
        for _ in read_frames(path):
            pass

    return complaints((lambda: read_info(path), all_frames))


# --- embeddings ---------------------------------------------------------------------------------


def _import_embeddings() -> None:
    import apps.person_reid.index_file
    import apps.person_reid.ranking  # noqa: F401


def _read_embeddings(path: Path) -> Outcome:
    from apps.person_reid.embeddings import read_embeddings
    from apps.person_reid.index_file import find

    gallery = read_embeddings(path)
    queries = gallery.embeddings[:2]
    find(queries, gallery, 3, metric=gallery.about.metric)
    for row in range(len(gallery)):
        gallery.person(row), gallery.camera(row)
    return []


# --- choices ------------------------------------------------------------------------------------


def _import_tasks() -> None:
    for app in APPS:
        load_task(app)


def _configs() -> list[Case]:
    """Return config files: a few lines by hand, every choice, and the one of a run folder."""
    import yaml

    found = []
    for app in APPS:
        task = load_task(app)
        plain = {"epochs": 3, "learning_rate": "1e-3", "input_size": [64, 64], "labels": "a"}
        every = {
            **task.defaults,
            "options": dict(task.options),
            "seed": 1,
            "network": next(iter(task.networks)),
        }
        run = {"format_version": 1, "config": {"app": app, **every, "variant": "x"}, "versions": {}}
        for values in (plain, every, run):
            content = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False).encode()
            found.append(Case.file(f"{app}.yaml", content))
    return found


def _read_config(path: Path) -> Outcome:
    """Go the way of `train --config FILE`, up to where the data is read."""
    from core.command_line import choices
    from core.config import TrainConfig

    app = path.name.split(".")[0]
    task = load_task(app if app in APPS else "medseg")
    values = choices.merge(task, choices.file_values(path, task.name), {})
    TrainConfig.from_dict({"variant": "", **values})
    return []


def _settings() -> list[Case]:
    """Return what is passed to --set, one a line."""
    lines = (
        ["epochs=3", "learning_rate=1e-3", "clip_norm=null", "schedule=cosine"],
        ["options.loss=auto", "labels=[a, b]", "input_size=[64, 32]", "patience=5"],
        ["prune.sparsity=0.5", "quantize.weight_bits=4", "cluster.clusters=16", "seed=2"],
        ["quantize.exceptions={head: float}", "quantize.observer=minmax", "adapt.ranks={}"],
        ["threshold=0.5", "protocol=official", "optimizer=adamw", "ema=0.99"],
    )
    return [Case.file("settings.txt", "\n".join(part).encode()) for part in lines]


def _import_stages() -> None:
    import core.compress.stages  # noqa: F401

    _import_tasks()


def _read_settings(path: Path) -> Outcome:
    """Go the way of `train --set`, `compress --set` and `predict --set`."""
    from core.command_line import choices, options
    from core.command_line.compress import METHODS, split_settings
    from core.compress.stages import stage_of
    from core.config import TrainConfig

    if not path.is_file():
        return ["settings.txt is not there."]
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:  # the words of a command line do not come from a file that cannot be read
        return ["settings.txt cannot be read."]
    lines = [line for line in text.split("\n") if line and "\x00" not in line]
    task, found = load_task("medseg"), []

    def train(values: dict) -> None:
        merged = choices.merge(task, {}, choices.flag_values(task, {}, values))
        TrainConfig.from_dict({"variant": "", **merged})

    def compress(values: dict) -> None:
        by_method, _ = split_settings(task, values, METHODS)
        for method, chosen in by_method.items():
            stage_of({"method": method, "choices": chosen})

    for line in lines:
        try:
            values = options.parse_settings([line])
        except UserError as error:
            found.append(str(error))
            continue
        name = line.partition("=")[0].strip()
        step = compress if name.partition(".")[0] in METHODS else train
        refused = complaints((lambda step=step, values=values: step(values),))
        # Choices of decoding are not those of training.
        found += [] if name in ("threshold", "protocol") else refused
    return found
