"""BUSI: breast ultrasound with benign and malignant lesions."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from apps.medical_segmentation.data import layout
from core.data.folders import subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader

_MASK = re.compile(r"_mask(_\d+)?$", re.I)


def _fits(path: Path) -> bool:
    return bool(subfolder(path, "benign") and subfolder(path, "malignant"))


def read_busi(path: Path, *, normal: bool = False) -> Index:
    """Return the index of BUSI; the lesions of an image are several masks, to be merged.

    Args:
        path: `Dataset_BUSI_with_GT` or the folder around it.
        normal: Include the 133 images without lesion, whose masks are empty. Published results
            are on benign and malignant images only.
    """
    root = layout.located(path, _fits, "the folders 'benign' and 'malignant' of BUSI")
    samples, notes = [], []
    for name in ("benign", "malignant", "normal"):
        folder = subfolder(root, name)
        if folder is None:
            continue
        if name == "normal" and not normal:
            number = sum(not _MASK.search(file.stem) for file in find_images(folder))
            notes.append(
                f"{number} images of class 'normal' are left out; --format busi_normal includes "
                "them."
            )
            continue
        samples += _read_class(folder, name)
    several = sum(len(sample.targets) > 1 for sample in samples)
    if several:
        notes.append(f"{several} images have several masks, which are merged.")
    notes.append(
        "BUSI holds near-duplicate images without patient numbers, so a random split is optimistic."
    )
    return make_index(
        "busi_normal" if normal else "busi", root, samples, labels=("lesion",), notes=notes
    )


def _read_class(folder: Path, name: str) -> list[Sample]:
    images, masks = {}, defaultdict(list)
    for file in find_images(folder):
        stem = _MASK.sub("", file.stem)
        if stem == file.stem:
            images[stem] = file
        else:
            masks[stem].append(file)
    layout.refuse_unpaired(
        [file for stem, file in images.items() if stem not in masks],
        [file for stem, files in masks.items() if stem not in images for file in files],
    )
    return [
        Sample(
            id=f"{name}/{stem}",
            inputs=(file,),
            targets=tuple(masks[stem]),
            stratum=name,
        )
        for stem, file in images.items()
    ]


READERS = (
    Reader(
        "busi",
        "BUSI: breast ultrasound, 437 benign and 210 malignant",
        lambda path: layout.locate(path, _fits) is not None,
        read_busi,
        "CC BY 4.0 or CC0, by distributor",
    ),
    Reader(
        "busi_normal",
        "BUSI with its 133 normal images (empty masks)",
        lambda path: False,  # a choice, never a guess
        lambda path: read_busi(path, normal=True),
        "CC BY 4.0 or CC0, by distributor",
    ),
)
