"""The data sets of super-resolution as they are downloaded: where the large and small ones lie.

A layout names folders of large pictures and, by scale, folders of small ones; pairing by name is
the same for all (`apps.super_resolution.data.pairing`). No picture is opened here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from apps.super_resolution.data.pairing import Part, samples_of, split_name
from core.data.folders import SPLIT_FOLDERS, folders, is_visible, plain, subfolder
from core.data.images import SUFFIXES, find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

RESEARCH = "research use only"
COUNTS = {"set5": 5, "set14": 14, "b100": 100, "bsd100": 100, "urban100": 100, "manga109": 109}
SCALES = (2, 3, 4, 8)
DIV2K_TRAINING = 800  # pictures beyond are for validation, also where an archive merges both
# DIV2K's degradations and what follows the scale in their names, as in 0001x4m. "wild" has four
# small pictures of a training picture and one of others.
TRACKS = {
    "unknown": ("",),
    "mild": ("m",),
    "difficult": ("d",),
    "wild": ("w", "w1", "w2", "w3", "w4"),
}
HELD_OUT, HELD_OUT_SHARE = 100, 0.04  # pictures at the end of Flickr2K, of fewer than 2500 a share


def df2k(root: Path) -> list[Part]:
    """DIV2K and Flickr2K beside one another, also in sub-folders DIV2K/ and Flickr2K/."""
    first, second = div2k(root), flickr2k(root)
    if not (first and second):
        return []
    named = [(part, "DIV2K/") for part in first] + [(part, "Flickr2K/") for part in second]
    return [replace(part, prefix=prefix) for part, prefix in named]


def div2k(root: Path, track: str = "") -> list[Part]:
    """DIV2K_train_HR and DIV2K_valid_HR beside DIV2K_…_LR_bicubic/X2, also NTIRE's and LSDIR's."""
    parts = []
    root = subfolder(root, "DIV2K") or root
    for high in folders(root):
        found = re.fullmatch(r"(.*(train|valid|val|test).*)_HR", high.name, re.I)
        if not found:
            continue
        split, low = SPLIT_FOLDERS[found[2].lower()], f"{found[1]}_LR"
        if not track:
            lows = _scaled(root, f"{low}_bicubic") or _named(root, low)
            parts.append(Part(high, lows | _named(root, f"{low}_x8"), split))
            continue
        marks, low = TRACKS[track], f"{low}_{track}"
        lows = _scaled(root, low) or _named(root, low, marks)
        if lows:
            parts.append(Part(high, lows, split, marks=marks, made=False))
    return parts


def flickr2k(root: Path) -> list[Part]:
    """Flickr2K_HR beside Flickr2K_LR_bicubic/X2."""
    root = subfolder(root, "Flickr2K") or root
    high = subfolder(root, "Flickr2K_HR")
    return [Part(high, _scaled(root, "Flickr2K_LR_bicubic"), "train")] if high else []


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
        found = {scale: subfolder(folder, f"LRbicx{scale}") for scale in SCALES}
        if high:
            lows = {scale: low for scale, low in found.items() if low}
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


def _named(root: Path, name: str, marks: tuple[str, ...] = ("",)) -> dict[int, Path]:
    """Return a folder of small pictures whose names end in their scale, by scale."""
    inside = subfolder(root, name)
    if inside is None or not _has_pictures(inside):
        return {}
    scales = {split_name(path.stem, marks)[1] for path in find_images(inside)}
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


def read(name: str, parts: Callable[[Path], list[Part]], root: Path) -> Index:
    """Return the index of a data set of a layout.

    Raises:
        UserError: When nothing of the layout is there, or large pictures lack their small ones.
    """
    found = parts(root) if root.is_dir() else []
    if not found:
        raise UserError(f"{root}: does not look like '{name}' ({parts.__doc__}); check the path.")
    samples, notes = [], []
    for part in found:
        samples += samples_of(part)
        title = part.prefix.strip("/") or root.name
        wanted, count = COUNTS.get(title.lower()), len(find_images(part.high))
        if part.split == "test" and wanted not in (None, count):
            notes.append(f"{title} has {count} pictures here; the published set has {wanted}.")
    if name.startswith(("div2k", "df2k")):
        samples = [_div2k_split(sample) for sample in samples]
    if name == "flickr2k":
        samples = _flickr2k_split(samples)
    scales = sorted({scale for part in found for scale in part.lows})
    said = ", ".join(f"x{scale}" if scale else "of any scale" for scale in scales)
    made = "others are made by MATLAB's bicubic reduction."
    if not found[0].made:
        made = "others cannot be made, as these are degraded."
    notes.append(
        f"Small pictures {said} are read; {made}"
        if scales
        else "Small pictures are made by MATLAB's bicubic reduction, rounded to 8 bits."
    )
    return make_index(name, root, samples, notes=notes + _remarks(name, root, found, samples))


def _div2k_split(sample: Sample) -> Sample:
    """Return the sample in the validation split where its number says so."""
    name = sample.inputs[0].stem
    late = re.fullmatch(r"0\d{3}", name) and int(name) > DIV2K_TRAINING
    return replace(sample, split="val") if late and sample.split == "train" else sample


def _flickr2k_split(samples: list[Sample]) -> list[Sample]:
    """Return the samples with the last ones held out for validation."""
    count = min(HELD_OUT, math.ceil(HELD_OUT_SHARE * len(samples)), len(samples) - 1)
    first = len(samples) - count
    return samples[:first] + [replace(sample, split="val") for sample in samples[first:]]


def _remarks(name: str, root: Path, found: list[Part], samples: list[Sample]) -> list[str]:
    """Return what a user has to know of how DIV2K and Flickr2K were read."""
    if name == "df2k":
        return ["Training is on DIV2K and Flickr2K, validation on DIV2K alone, as usual."]
    if name == "flickr2k":
        count = sum(sample.split == "val" for sample in samples)
        return [
            f"The last {count} of {len(samples)} pictures are held out for validation; published "
            "work trains on all and validates on DIV2K (--format df2k, with DIV2K beside it)."
        ]
    if name == "div2k" and (tracks := _tracks(root)):
        names = ", ".join(f"div2k-{track}" for track in tracks)
        return [f"Degraded small pictures lie here too; --format reads them: {names}."]
    if not name.startswith("div2k-"):
        return []
    highs, track = {part.high for part in found}, name.removeprefix("div2k-")
    notes = [
        f"{part.high.name} is left out: it has no small pictures of the track '{track}'."
        for part in div2k(root)
        if part.high not in highs
    ]
    if _only_track(root) == track:
        notes.append(
            f"The track '{track}' is read as no bicubic small pictures lie here; --format div2k "
            "has those made."
        )
    return notes


def _tracks(root: Path) -> list[str]:
    return [track for track in TRACKS if div2k(root, track)]


def _only_track(root: Path) -> str:
    """Return the track whose small pictures are the only ones; "" where there are others."""
    tracks = _tracks(root)
    bicubic = any(part.lows for part in div2k(root))
    return tracks[0] if len(tracks) == 1 and not bicubic else ""


def _reader(parts: Callable[[Path], list[Part]], summary: str, licence: str = "") -> Reader:
    name = parts.__name__
    return Reader(
        name,
        summary,
        lambda path: path.is_dir() and bool(parts(path)),
        lambda path: read(name, parts, path),
        licence,
    )


def _track_reader(track: str) -> Reader:
    def parts(root: Path) -> list[Part]:
        return div2k(root, track)

    parts.__doc__ = f"DIV2K_train_HR beside DIV2K_train_LR_{track}"
    name = f"div2k-{track}"
    return Reader(
        name,
        f"DIV2K's track '{track}': DIV2K_train_HR, DIV2K_train_LR_{track}",
        lambda path: _only_track(path) == track,
        lambda path: read(name, parts, path),
        RESEARCH,
    )


# The particular before the general: "auto" takes the first that recognises a path.
READERS = (
    _reader(df2k, "DIV2K and Flickr2K together, as DIV2K and Flickr2K below", RESEARCH),
    *(_track_reader(track) for track in TRACKS),
    _reader(div2k, "DIV2K, LSDIR, NTIRE: …_train_HR, …_valid_HR, …_LR_bicubic/X2", RESEARCH),
    _reader(flickr2k, "Flickr2K: Flickr2K_HR, Flickr2K_LR_bicubic/X2", RESEARCH),
    _reader(realsr, "RealSR: TrainGT, TrainLR, ValidationGT, ValidationLR", RESEARCH),
    _reader(benchmark, "Set5, Set14, B100, Urban100, Manga109: HR, LR_bicubic/X2", RESEARCH),
    _reader(basicsr, "the same as BasicSR has them: GTmod12, LRbicx4", RESEARCH),
    _reader(imdn, "the same as the IMDN repository has them: Set5, Set5_LR/x2", RESEARCH),
    _reader(pairs, "your own pairs: hr/ beside lr/, paired by name"),
    _reader(folder, "any folder of photographs, also inside train/, val/ and test/"),
)
