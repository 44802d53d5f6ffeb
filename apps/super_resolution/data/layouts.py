"""The data sets of super-resolution as they are downloaded: where the large and small ones lie.

A layout names folders of large pictures and, by scale, folders of small ones; pairing by name is
the same for all. No picture is opened here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.data.folders import SPLIT_FOLDERS, folders, plain, subfolder
from core.data.images import SUFFIXES, find_images, is_visible
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

RESEARCH = "research use only"
COUNTS = {"set5": 5, "set14": 14, "b100": 100, "bsd100": 100, "urban100": 100, "manga109": 109}
SCALES = (2, 3, 4, 8)
DIV2K_TRAINING = 800  # pictures beyond are for validation, also where an archive merges both
_SHOWN = 5


@dataclass(frozen=True)
class Part:
    """Large pictures that belong together.

    Attributes:
        high: Their folder.
        lows: Scale → folder of small ones; scale 0 is whatever their size says.
        split: "train", "val", "test" or "".
        prefix: Put before the names of the samples.
    """

    high: Path
    lows: dict[int, Path] = field(default_factory=dict)
    split: str = ""
    prefix: str = ""


def div2k(root: Path) -> list[Part]:
    """DIV2K_train_HR and DIV2K_valid_HR beside DIV2K_…_LR_bicubic/X2, also NTIRE's and LSDIR's."""
    parts = []
    inner = [inside for inside in folders(root) if plain(inside.name) == "div2k"]
    for high in folders(inner[0] if len(inner) == 1 else root):
        root = high.parent
        found = re.fullmatch(r"(.*(train|valid|val|test).*)_HR", high.name, re.I)
        if found:
            split = SPLIT_FOLDERS[found[2].lower()]
            lows = _scaled(root, f"{found[1]}_LR_bicubic") or _named(root, f"{found[1]}_LR")
            parts.append(Part(high, lows, split))
    return parts


def flickr2k(root: Path) -> list[Part]:
    """Flickr2K_HR beside Flickr2K_LR_bicubic/X2."""
    high = subfolder(root, "Flickr2K_HR")
    return [Part(high, _scaled(root, "Flickr2K_LR_bicubic"))] if high else []


def realsr(root: Path) -> list[Part]:
    """TrainGT beside TrainLR, ValidationGT beside ValidationLR: pictures of one size."""
    parts = []
    for name, split in (("Train", "train"), ("Validation", "val"), ("Test", "test")):
        high, low = subfolder(root, f"{name}GT"), subfolder(root, f"{name}LR")
        if high and low:
            parts.append(Part(high, {1: low}, split, f"{split}/"))
    return parts


def benchmark(root: Path) -> list[Part]:
    """HR beside LR_bicubic/X2 (EDSR's archive), in one set's folder or in several."""
    return [
        Part(high, _scaled(folder, "LR_bicubic"), "test", prefix)
        for folder, prefix in _sets(root)
        if (high := subfolder(folder, "HR")) and subfolder(folder, "LR_bicubic")
    ]


def basicsr(root: Path) -> list[Part]:
    """GTmod12 beside LRbicx2, LRbicx3, LRbicx4, in one set's folder or in several."""
    parts = []
    for folder, prefix in _sets(root):
        high = subfolder(folder, "GTmod12")
        lows = {scale: subfolder(folder, f"LRbicx{scale}") for scale in SCALES}
        if high:
            lows = {scale: low for scale, low in lows.items() if low}
            parts.append(Part(high, lows, "test", prefix))
    return parts


def imdn(root: Path) -> list[Part]:
    """Set5 beside Set5_LR/x2, as the IMDN repository has it."""
    return [
        Part(high, _scaled(root, f"{high.name}_LR"), "test", f"{high.name}/")
        for high in folders(root)
        if (root / f"{high.name}_LR").is_dir()
    ]


def pairs(root: Path) -> list[Part]:
    """hr/ beside lr/ (or lr/x2, lr/x3, …), also inside train/, val/ and test/."""
    parts = []
    for folder, split in _splits(root):
        high, low = subfolder(folder, "hr"), subfolder(folder, "lr")
        if high and low:
            lows = _scaled(folder, low.name) or {0: low}
            parts.append(Part(high, lows, split, f"{split}/" if split else ""))
    return parts


def folder(root: Path) -> list[Part]:
    """Any folder of pictures, also train/, val/ and test/: the small ones are made."""
    parts = [
        Part(part, {}, split, f"{split}/" if split else "")
        for part, split in _splits(root)
        if _has_pictures(part)
    ]
    return [part for part in parts if part.split] or parts


def _scaled(root: Path, name: str) -> dict[int, Path]:
    """Return the folders X2, X3, … (or x2, …) in a folder, by scale."""
    inside = subfolder(root, name)
    found = {scale: subfolder(inside, f"X{scale}") for scale in SCALES} if inside else {}
    return {scale: low for scale, low in found.items() if low}


def _named(root: Path, name: str) -> dict[int, Path]:
    """Return a folder of small pictures whose names end in their scale, by scale."""
    inside = subfolder(root, name)
    known = inside and _has_pictures(inside)
    scales = {_split_name(path.stem)[1] for path in find_images(inside)} if known else set()
    return dict.fromkeys(sorted(scale for scale in scales if scale), inside)


def _has_pictures(path: Path) -> bool:
    return any(one.suffix.lower() in SUFFIXES and is_visible(one.name) for one in path.iterdir())


def _sets(root: Path) -> Iterator[tuple[Path, str]]:
    yield root, ""
    for inside in folders(root):
        yield inside, f"{inside.name}/"


def _splits(root: Path) -> Iterator[tuple[Path, str]]:
    yield root, ""
    for inside in folders(root):
        split = SPLIT_FOLDERS.get(plain(inside.name))
        if split:
            yield inside, split


def _split_name(stem: str) -> tuple[str, int]:
    """Return the name and the scale of "0001x2"; scale 0 for a name without one."""
    found = re.fullmatch(r"(.+)x(\d)", stem, re.I)
    return (found[1], int(found[2])) if found else (stem, 0)


def _samples(part: Part) -> list[Sample]:
    """Return the samples of a part, small pictures found by `<name>x<scale>` or `<name>`."""
    high = find_images(part.high)
    twice = [stem for stem, n in Counter(path.stem for path in high).items() if n > 1]
    if twice:
        raise UserError(f"{part.high}: holds '{min(twice)}' in two formats; keep one of them.")
    low: dict[str, dict[int, Path]] = {path.stem: {} for path in high}
    for scale, inside in part.lows.items():
        known = {path.stem.lower(): path for path in find_images(inside)}
        if not scale and known and all(_split_name(stem)[1] for stem in known):
            known = {_split_name(stem)[0]: path for stem, path in known.items()}
        unmatched = []
        for stem, found in low.items():
            names = (f"{stem}x{scale}", stem)
            file = next((known[n.lower()] for n in names if n.lower() in known), None)
            if file is None:
                unmatched.append(stem)
            else:
                found[scale] = file
        extra = known.keys() - {n.lower() for stem in low for n in (f"{stem}x{scale}", stem)}
        extra = {stem for stem in extra if _split_name(stem)[1] in (0, scale)}
        if extra and not unmatched:
            shown = ", ".join(sorted(extra)[:_SHOWN])
            raise UserError(
                f"{inside}: has {len(extra)} small pictures without a large one in "
                f"{part.high.name} ({shown}); add those, or take them out."
            )
        if unmatched:
            shown = ", ".join(unmatched[:_SHOWN]) + (", …" if len(unmatched) > _SHOWN else "")
            raise UserError(
                f"{inside}: has no small picture for {len(unmatched)} of {len(high)} in "
                f"{part.high.name} ({shown}); add them, or take the folder away to have all made."
            )
    return [
        Sample(
            f"{part.prefix}{path.stem}", (path,), (path,), split=part.split,
            extra={"low": low[path.stem]},
        )
        for path in high
    ]  # fmt: skip


def read(name: str, parts: Callable[[Path], list[Part]], root: Path) -> Index:
    """Return the index of a data set of a layout.

    Raises:
        UserError: When nothing of the layout is there, or large pictures lack their small ones.
    """
    found = parts(root)
    if not found:
        raise UserError(f"{root}: does not look like '{name}' ({parts.__doc__}); check the path.")
    samples, notes = [], []
    for part in found:
        samples += _samples(part)
        title = part.prefix.strip("/") or root.name
        wanted, count = COUNTS.get(title.lower()), len(find_images(part.high))
        if part.split == "test" and wanted not in (None, count):
            notes.append(f"{title} has {count} pictures here; the published set has {wanted}.")
    if name == "div2k":
        samples = [_div2k_split(sample) for sample in samples]
    scales = sorted({scale for part in found for scale in part.lows})
    said = ", ".join(f"x{scale}" if scale else "of any scale" for scale in scales)
    notes.append(
        f"Small pictures {said} are read; others are made by MATLAB's bicubic reduction."
        if scales
        else "Small pictures are made by MATLAB's bicubic reduction, rounded to 8 bits."
    )
    return make_index(name, root, samples, notes=notes)


def _div2k_split(sample: Sample) -> Sample:
    """Return the sample in the validation split where its number says so."""
    name = sample.inputs[0].stem
    late = re.fullmatch(r"0\d{3}", name) and int(name) > DIV2K_TRAINING
    return replace(sample, split="val") if late and sample.split == "train" else sample


def _reader(parts: Callable[[Path], list[Part]], summary: str, licence: str = "") -> Reader:
    name = parts.__name__
    return Reader(
        name,
        summary,
        lambda path: path.is_dir() and bool(parts(path)),
        lambda path: read(name, parts, path),
        licence,
    )


# The particular before the general: "auto" takes the first that recognises a path.
READERS = (
    _reader(div2k, "DIV2K, LSDIR, NTIRE: …_train_HR, …_valid_HR, …_LR_bicubic/X2", RESEARCH),
    _reader(flickr2k, "Flickr2K: Flickr2K_HR, Flickr2K_LR_bicubic/X2", RESEARCH),
    _reader(realsr, "RealSR: TrainGT, TrainLR, ValidationGT, ValidationLR", RESEARCH),
    _reader(benchmark, "Set5, Set14, B100, Urban100, Manga109: HR, LR_bicubic/X2", RESEARCH),
    _reader(basicsr, "the same as BasicSR has them: GTmod12, LRbicx4", RESEARCH),
    _reader(imdn, "the same as the IMDN repository has them: Set5, Set5_LR/x2", RESEARCH),
    _reader(pairs, "your own pairs: hr/ beside lr/, paired by name"),
    _reader(folder, "any folder of photographs, also inside train/, val/ and test/"),
)
