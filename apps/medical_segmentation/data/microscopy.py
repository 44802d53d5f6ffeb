"""Cells: DSB-2018 nuclei, the ISBI 2012 EM stack, and BCCD blood cells."""

from __future__ import annotations

from pathlib import Path

from apps.medical_segmentation.data import layout
from core.data.folders import folders as folders_in
from core.data.folders import subfolder
from core.data.images import count_pages, find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

_EM_FILES = ("train-volume.tif", "train-labels.tif")


def _is_stage1(path: Path) -> bool:
    """Return whether the folders are samples: `<id>/images/<id>.png` and `<id>/masks/`."""
    samples = [folder for folder in folders_in(path)[:3] if (folder / "masks").is_dir()]
    return any(any((folder / "images").glob(f"{folder.name}.*")) for folder in samples)


def _stage1(path: Path) -> Path | None:
    inner = subfolder(path, "stage1_train")
    return path if _is_stage1(path) else inner if inner and _is_stage1(inner) else None


def read_dsb2018(path: Path) -> Index:
    """Return the index of DSB-2018: every nucleus is a mask file of its own, to be merged."""
    around = layout.located(
        path, lambda folder: _stage1(folder) is not None, "'stage1_train/<id>/{images,masks}'"
    )
    root = layout.present(_stage1(around), around)
    samples, skipped, bare = [], 0, []
    for folder in folders_in(root):
        if not (folder / "images").is_dir():
            skipped += 1
            continue
        images = find_images(folder / "images")
        if len(images) > 1:
            raise UserError(f"{folder / 'images'}: holds {len(images)} images; keep one.")
        masks = folder / "masks"
        if not masks.is_dir() or not any(masks.iterdir()):
            bare.append(images[0])
            continue
        targets = tuple(find_images(masks))
        samples.append(Sample(id=folder.name, inputs=(images[0],), targets=targets))
    layout.refuse_unpaired(bare, [])
    notes = ["The masks of an image, one per nucleus, are merged."]
    if skipped:
        notes.append(f"{skipped} folder(s) without 'images' are skipped.")
    test = subfolder(around, "stage1_test") or subfolder(root.parent, "stage1_test")
    if test:
        notes.append("stage1_test has no masks and is left out.")
    return make_index("dsb2018", root, samples, labels=("nucleus",), notes=notes)


def _is_em(path: Path) -> bool:
    return all((path / name).is_file() for name in _EM_FILES)


def _em_root(path: Path) -> Path | None:
    if path.name in _EM_FILES and _is_em(path.absolute().parent):
        return path.absolute().parent
    return layout.locate(path, _is_em)


def read_em(path: Path) -> Index:
    """Return the index of the ISBI 2012 EM stack, a sample per page (`extra["page"]`).

    Polarity: foreground is the cell interior, stored as 255, as in the files. Published Dice
    scores near 95 % are of this polarity; membranes, a fifth of the area, score lower.
    """
    root = _em_root(path)
    if root is None:
        raise UserError(
            f"{path}: expected {' and '.join(_EM_FILES)}; check the path or the --format."
        )
    volume, labels = (root / name for name in _EM_FILES)
    pages, truths = count_pages(volume), count_pages(labels)
    if pages != truths:
        raise UserError(
            f"{root}: {volume.name} has {pages} pages but {labels.name} {truths}; download again."
        )
    samples = [
        Sample(id=f"slice_{page}", inputs=(volume,), targets=(labels,), extra={"page": page})
        for page in range(pages)
    ]
    notes = [
        "Foreground is the cell interior (255 in the files), background the membrane.",
        "The slices are neighbours in one volume, so a random split is optimistic.",
    ]
    return make_index("em", root, samples, labels=("cell",), notes=notes)


def _is_bccd(path: Path) -> bool:
    train = subfolder(path, "train")
    return bool(train and subfolder(train, "original") and subfolder(train, "mask"))


def read_bccd(path: Path) -> Index:
    """Return the index of "BCCD Dataset with mask" with its own train and test."""
    root = layout.located(path, _is_bccd, "the folders {train,test}/{original,mask}")
    samples = []
    for split in ("train", "test"):
        folder = subfolder(root, split)
        if folder:
            images, masks = subfolder(folder, "original"), subfolder(folder, "mask")
            if images is None or masks is None:
                raise UserError(f"{folder}: expected the folders 'original' and 'mask'.")
            samples += layout.match(images, masks, split=split, prefix=f"{split}/")
    return make_index("bccd", root, samples, labels=("blood cell",))


READERS = (
    Reader(
        "dsb2018",
        "DSB-2018 stage 1: nuclei, 670 images",
        lambda path: layout.locate(path, lambda folder: _stage1(folder) is not None) is not None,
        read_dsb2018,
        "CC0",
    ),
    Reader(
        "em",
        "ISBI 2012 EM stack: cells, 30 slices",
        lambda path: _em_root(path) is not None,
        read_em,
        "research use",
    ),
    Reader(
        "bccd",
        "BCCD with masks: blood cells, 1169 train and 159 test",
        lambda path: layout.locate(path, _is_bccd) is not None,
        read_bccd,
        "not stated",
    ),
)
