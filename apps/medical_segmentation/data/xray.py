"""Lungs in chest X-rays: Montgomery, Shenzhen, and their joint download."""

from __future__ import annotations

from pathlib import Path

from apps.medical_segmentation.data import layout
from core.data.folders import subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader

_NLM = "public, cite the U.S. National Library of Medicine"


def _manual_masks(path: Path) -> tuple[Path, Path] | None:
    masks = subfolder(path, "ManualMask")
    if masks is None:
        return None
    left, right = subfolder(masks, "leftMask"), subfolder(masks, "rightMask")
    return (left, right) if left and right else None


def _is_montgomery(path: Path) -> bool:
    return subfolder(path, "CXR_png") is not None and _manual_masks(path) is not None


def read_montgomery(path: Path) -> Index:
    """Return the index of Montgomery; a lung mask is the left and the right file merged."""
    root = layout.located(path, _is_montgomery, "the folders 'CXR_png' and 'ManualMask'")
    folder = layout.present(subfolder(root, "CXR_png"), root)
    images = layout.by_stem(folder, find_images(folder))
    sides = layout.present(_manual_masks(root), root)
    left, right = (layout.by_stem(side, find_images(side)) for side in sides)
    layout.refuse_unpaired(
        [file for name, file in images.items() if name not in left or name not in right],
        [file for side in (left, right) for name, file in side.items() if name not in images],
    )
    samples = [_sample(name, file, left[name], right[name]) for name, file in images.items()]
    notes = ["The masks of the left and the right lung are merged."]
    return make_index("montgomery", root, samples, labels=("lung",), notes=notes)


def _is_shenzhen(path: Path) -> bool:
    return _has_masks(path) and "MCUCXR" not in _first_names(path)


def _is_joint(path: Path) -> bool:
    return _has_masks(path) and _first_names(path) == {"CHNCXR", "MCUCXR"}


def _has_masks(path: Path) -> bool:
    return bool(_xrays(path) and subfolder(path, "mask", "masks"))


def _xrays(path: Path) -> Path | None:
    """Return the folder of X-rays; of Shenzhen, the masks' download may lie beside the images'."""
    inside = subfolder(path, "ChinaSet_AllFiles")
    return subfolder(path, "CXR_png") or (subfolder(inside, "CXR_png") if inside else None)


def _first_names(path: Path) -> set[str]:
    """Return the words the X-rays' file names begin with: the hospital."""
    folder = layout.present(_xrays(path), path)
    return {file.name.split("_")[0].upper() for file in folder.iterdir() if file.suffix == ".png"}


def read_shenzhen(path: Path) -> Index:
    """Return the index of Shenzhen with the separately published masks in `mask/`."""
    return _read_single_masks(path, _is_shenzhen, "shenzhen")


def read_joint(path: Path) -> Index:
    """Return the index of the joint Montgomery and Shenzhen download (704 pairs)."""
    return _read_single_masks(path, _is_joint, "lungs")


def _read_single_masks(path: Path, fits, format: str) -> Index:
    root = layout.located(path, fits, "the folders 'CXR_png' and 'mask' or 'masks'")
    folder = layout.present(_xrays(root), root)
    truth = layout.present(subfolder(root, "mask", "masks"), root)
    images = layout.by_stem(folder, find_images(folder))
    masks = {
        layout.MASK_SUFFIX.sub("", name): file
        for name, file in layout.by_stem(truth, find_images(truth)).items()
    }
    layout.refuse_unpaired([], [file for name, file in masks.items() if name not in images])
    samples = [_sample(name, images[name], file) for name, file in masks.items()]
    notes = []
    if len(images) > len(masks):
        notes.append(f"{len(images) - len(masks)} X-rays have no published mask; left out.")
    if subfolder(root, "test"):
        notes.append("The folder 'test' has no masks and is left out.")
    return make_index(format, root, samples, labels=("lung",), notes=notes)


def _sample(name: str, image: Path, *masks: Path) -> Sample:
    finding = "tuberculosis" if name.endswith("_1") else "normal"
    hospital = name.split("_")[0]
    return Sample(id=name, inputs=(image,), targets=masks, stratum=f"{hospital} {finding}")


READERS = (
    Reader(
        "montgomery",
        "Montgomery: chest X-rays, 138",
        lambda path: layout.locate(path, _is_montgomery) is not None,
        read_montgomery,
        _NLM,
    ),
    Reader(
        "shenzhen",
        "Shenzhen: chest X-rays, 566 with masks",
        lambda path: layout.locate(path, _is_shenzhen) is not None,
        read_shenzhen,
        _NLM,
    ),
    Reader(
        "lungs",
        "Montgomery and Shenzhen, joint download: 704 with masks",
        lambda path: layout.locate(path, _is_joint) is not None,
        read_joint,
        _NLM,
    ),
)
