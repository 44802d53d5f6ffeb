"""Finding the folders of a published layout, and pairing images with masks by name.

Images and masks are never paired by their order: one missing file would shift all that follow.
No file is opened here, so that an index of thousands of samples is made at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from core.data.folders import folders, plain, subfolder
from core.data.images import find_images
from core.data.index import Sample
from core.errors import UserError

IMAGES = ("images", "image", "imgs", "img", "original", "originals")
MASKS = (
    *("masks", "mask", "groundtruth", "gt", "labels", "label"),
    *("annotations", "annotation", "segmentations", "segmentation"),
)
MASK_SUFFIX = re.compile(r"[ _-](mask|masks|segmentation|seg|gt|groundtruth|labels?)$", re.I)
IMAGE_SUFFIX = re.compile(r"[ _-](image|img)$", re.I)

_PARTS = frozenset((*IMAGES, *MASKS, "cxrpng", "manualmask"))
_SHOWN = 3  # names listed in an error

Part = TypeVar("Part")


def image_and_mask_folders(path: Path) -> tuple[Path, Path] | None:
    """Return the images folder and the masks folder in `path`, under any of their usual names."""
    images, masks = subfolder(path, *IMAGES), subfolder(path, *MASKS)
    return (images, masks) if images and masks else None


def locate(path: Path, fits: Callable[[Path], bool]) -> Path | None:
    """Return the folder that fits a layout: `path`, its one child that fits, or its parent.

    The parent is taken only for a path that is a part of the layout, such as `…/images`, which
    the parent would not fit without.
    """
    if not path.is_dir():
        return None
    if fits(path):
        return path
    children = [folder for folder in folders(path) if fits(folder)]
    if children:
        return children[0] if len(children) == 1 else None
    parent = path.absolute().parent
    return parent if plain(path.absolute().name) in _PARTS and fits(parent) else None


def located(path: Path, fits: Callable[[Path], bool], expected: str) -> Path:
    """Return `locate`'s answer or refuse the path, saying what was `expected`."""
    root = locate(path, fits)
    if root is not None:
        return root
    children = [folder.name for folder in folders(path) if fits(folder)]
    if len(children) > 1:
        shown = ", ".join(f"'{name}'" for name in children[:_SHOWN])
        raise UserError(f"{path}: holds several data sets ({shown}); pass one of them.")
    raise UserError(f"{path}: expected {expected}; check the path or the --format.")


def present(part: Part | None, root: Path) -> Part:
    """Return a part of a layout that was recognised, or refuse what has lost it since."""
    if part is None:
        raise UserError(f"{root}: was changed while it was read; read it again.")
    return part


def match(images: Path, masks: Path, *, split: str = "", prefix: str = "") -> list[Sample]:
    """Pair the images of a folder with the masks of another by base name.

    Subfolders belong to the name. A mask belongs to the image of its very name, or else of its
    name without a suffix such as `_mask`, `_segmentation`, `_gt` or `_label`.

    Args:
        images: Folder of the images.
        masks: Folder of the masks.
        split: Put into every sample.
        prefix: Put before every id (`train/`).

    Raises:
        UserError: When a name occurs twice, an image has no mask or a mask no image.
    """
    by_name = by_stem(images, find_images(images, recursive=True))
    found = masks_by_name(by_name, masks, by_stem(masks, find_images(masks, recursive=True)))
    return [
        Sample(id=f"{prefix}{name}", inputs=(path,), targets=(found[name],), split=split)
        for name, path in by_name.items()
    ]


def masks_by_name(
    images: Mapping[str, Path], folder: Path, masks: Mapping[str, Path]
) -> dict[str, Path]:
    """Return the mask of every image, both by their names, by the rule of `match`.

    Args:
        images: By name; the paths are for errors.
        folder: Of the masks, for errors.
        masks: By name.

    Raises:
        UserError: When an image has no mask or two, or a mask no image.
    """
    bare = {IMAGE_SUFFIX.sub("", name): name for name in images}
    found: dict[str, Path] = {}
    strays = []
    for name, mask in masks.items():
        short = MASK_SUFFIX.sub("", name)
        image = next((n for n in (name, short, bare.get(short)) if n in images), None)
        if image is None:
            strays.append(mask)
        elif image in found:
            raise UserError(
                f"{folder}: '{found[image].name}' and '{mask.name}' are both masks of "
                f"'{images[image].name}'; remove or rename one."
            )
        else:
            found[image] = mask
    refuse_unpaired([path for name, path in images.items() if name not in found], strays)
    return found


def by_stem(
    folder: Path,
    files: Iterable[Path],
    stem: Callable[[str], str] = lambda name: os.path.splitext(name)[0],
) -> dict[str, Path]:
    """Return files by their path in `folder` without suffix; refuse one that occurs twice."""
    found: dict[str, Path] = {}
    start = len(str(folder)) + 1
    for path in files:
        name = stem(str(path)[start:]).replace(os.sep, "/")
        if name in found:
            raise UserError(
                f"{folder}: '{found[name].name}' and '{path.name}' have the same base name; "
                "remove or rename one."
            )
        found[name] = path
    return found


def refuse_unpaired(images: Sequence[Path], masks: Sequence[Path]) -> None:
    """Raise a `UserError` that counts and names images without mask and masks without image."""
    parts = [
        f"{len(paths)} {what} ({', '.join(repr(path.name) for path in paths[:_SHOWN])}"
        f"{', …' if len(paths) > _SHOWN else ''})"
        for paths, what in ((images, "image(s) without mask"), (masks, "mask(s) without image"))
        if paths
    ]
    if parts:
        folder = (images or masks)[0].parent
        raise UserError(
            f"{folder}: {' and '.join(parts)}; add, remove or rename files so that every image "
            "has a mask of its base name."
        )
