"""Any folder of images with a folder of masks, split or not: the layout of one's own data."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from apps.medical_segmentation.data import layout
from core.data.folders import SPLIT_FOLDERS, plain, split_folders
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader

# Copies that a tool made of a picture: a1_rot90, a1_flip, a1_aug_3, a1_copy.
_DERIVED = re.compile(
    r"([ _-](rot|rotated?|flip|flipped|hflip|vflip|mirror|aug|augmented|copy)[ _-]?\d*)+$", re.I
)
_EXPECTED = (
    "a folder of images beside one of masks (images/ and masks/, or the same inside train/, val/ "
    "and test/)"
)


def parts(path: Path) -> dict[str, tuple[Path, Path]]:
    """Return the images and masks folders of each split, "" for data without splits.

    Both nestings count: `train/images` and `images/train`.
    """
    own = layout.image_and_mask_folders(path)
    if own:
        inner = [split_folders(folder) for folder in own]
        if inner[0] and inner[0].keys() == inner[1].keys():
            return {split: (inner[0][split], inner[1][split]) for split in inner[0]}
        # A single split's folder: `--data mine/test` is the test split, not data to be split.
        return {SPLIT_FOLDERS.get(plain(path.absolute().name), ""): own}
    found = {
        split: layout.image_and_mask_folders(folder)
        for split, folder in split_folders(path).items()
    }
    return {split: pair for split, pair in found.items() if pair}


def _fits(path: Path) -> bool:
    return bool(parts(path))


def read_folder(path: Path) -> Index:
    """Return the index of images and masks paired by base name.

    Derived copies (`a_rot90`, `a_flip`, `a_aug_3`) get one group, so that no split parts them.
    """
    root = layout.located(path, _fits, _EXPECTED)
    samples: list[Sample] = []
    for split, (images, masks) in parts(root).items():
        prefix = f"{split}/" if split else ""
        samples += layout.match(images, masks, split=split, prefix=prefix)
    samples, notes = _grouped(samples)
    if all(sample.split for sample in samples):
        found = {sample.split for sample in samples}
        notes += [
            f"Folder '{folder.name}' has no images with masks and is left out."
            for split, folder in split_folders(root).items()
            if split not in found
        ]
    return make_index("folder", root, samples, notes=notes)


def _grouped(samples: list[Sample]) -> tuple[list[Sample], list[str]]:
    def origin(sample: Sample) -> str:
        name = sample.id.removeprefix(f"{sample.split}/") if sample.split else sample.id
        return _DERIVED.sub("", name)

    sizes = Counter(map(origin, samples))
    derived = any(_DERIVED.search(sample.id) for sample in samples)
    if not derived or max(sizes.values()) == 1:
        return samples, []
    grouped = [
        replace(sample, group=origin(sample)) if sizes[origin(sample)] > 1 else sample
        for sample in samples
    ]
    return grouped, ["Derived copies of an image (rotated, flipped, augmented) form one group."]


READERS = (
    Reader(
        "folder",
        "any images/ beside masks/, also inside train/, val/ and test/; paired by base name",
        lambda path: layout.locate(path, _fits) is not None,
        read_folder,
    ),
)
