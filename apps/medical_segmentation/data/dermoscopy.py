"""ISIC challenges 2016, 2017 and 2018: skin lesions in dermoscopy."""

from __future__ import annotations

from pathlib import Path

from apps.medical_segmentation.data import layout
from core.data.folders import plain, subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

# Year: split -> (folder of images, folder of masks), as the archives unpack.
FOLDERS = {
    "2016": {
        split: (f"ISBI2016_ISIC_Part1_{name}_Data", f"ISBI2016_ISIC_Part1_{name}_GroundTruth")
        for split, name in (("train", "Training"), ("test", "Test"))
    },
    "2017": {
        split: (f"ISIC-2017_{name}_Data", f"ISIC-2017_{name}_Part1_GroundTruth")
        for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test_v2"))
    },
    "2018": {
        split: (f"ISIC2018_Task1-2_{name}_Input", f"ISIC2018_Task1_{name}_GroundTruth")
        for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test"))
    },
}


def _pairs(path: Path, year: str) -> dict[str, tuple[Path | None, Path | None]]:
    return {
        split: (_unwrapped(path, images), _unwrapped(path, masks))
        for split, (images, masks) in FOLDERS[year].items()
    }


def _unwrapped(path: Path, name: str) -> Path | None:
    """Return a folder; some unpackers put it into another of its own name."""
    folder = subfolder(path, name)
    return folder and (subfolder(folder, name) or folder)


def _root(path: Path, year: str) -> Path | None:
    def fits(folder: Path) -> bool:
        return any(all(pair) for pair in _pairs(folder, year).values())

    names = {plain(name) for pair in FOLDERS[year].values() for name in pair}
    if plain(path.name) in names and not fits(path) and fits(path.absolute().parent):
        return path.absolute().parent
    return layout.locate(path, fits)


def read_isic(path: Path, year: str) -> Index:
    """Return the index of an ISIC challenge (`year` "2016", "2017" or "2018").

    A part that lacks its images or its masks (the test truth is a separate download) is left out
    with a note; the super-pixel pictures of 2017 are skipped.
    """
    root = _root(path, year)
    if root is None:
        images, masks = FOLDERS[year]["train"]
        raise UserError(
            f"{path}: expected the folders '{images}' and '{masks}' (or another part's pair); "
            "check the path or the --format."
        )
    samples, notes = [], []
    for split, (pictures, truth) in _pairs(root, year).items():
        if pictures and truth:
            samples += _read_part(pictures, truth, split)
        elif pictures or truth:
            lacking = FOLDERS[year][split][0 if truth else 1]
            notes.append(f"The {split} part is left out: folder '{lacking}' is missing.")
    if year == "2018" and {sample.split for sample in samples} == {"train"}:
        notes.append("Published results on ISIC 2018 mostly use random 80:10:10 splits of these.")
    return make_index(f"isic{year}", root, samples, labels=("lesion",), notes=notes)


def _read_part(images: Path, masks: Path, split: str) -> list[Sample]:
    pictures = [
        path for path in find_images(images) if not path.stem.lower().endswith("_superpixels")
    ]
    by_name = layout.by_stem(images, pictures)
    truth = {
        layout.MASK_SUFFIX.sub("", name): path
        for name, path in layout.by_stem(masks, find_images(masks)).items()
    }
    layout.refuse_unpaired(
        [path for name, path in by_name.items() if name not in truth],
        [path for name, path in truth.items() if name not in by_name],
    )
    return [
        Sample(id=f"{split}/{name}", inputs=(path,), targets=(truth[name],), split=split)
        for name, path in by_name.items()
    ]


def _reader(year: str, summary: str, licence: str) -> Reader:
    return Reader(
        f"isic{year}",
        summary,
        lambda path: _root(path, year) is not None,
        lambda path: read_isic(path, year),
        licence,
    )


READERS = (
    _reader("2016", "ISIC 2016 part 1: skin lesions, 900 train and 379 test", "CC0"),
    _reader("2017", "ISIC 2017 part 1: skin lesions, 2000, 150 and 600", "CC0"),
    _reader("2018", "ISIC 2018 task 1: skin lesions, 2594, 100 and 1000", "CC BY-NC 4.0"),
)
