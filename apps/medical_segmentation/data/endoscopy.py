"""Polyps in colonoscopy: CVC-ClinicDB, CVC-ColonDB, Kvasir-SEG, and the MK-UNet script's layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from apps.medical_segmentation.data import layout
from core.data.folders import plain, subfolder
from core.data.index import SPLITS, Index, Sample, make_index
from core.data.readers import Reader

CLINICDB_FRAMES = frozenset(range(1, 613))
COLONDB_FRAMES = frozenset(range(1, 380))  # the download has a frame 380, in none of the lists


def _numbers(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split()))


# The splits published with MK-UNet (and its predecessors) as file numbers; the rest is training.
CLINICDB_TEST = _numbers(
    "5 8 27 29 40 59 64 89 117 125 128 129 139 156 159 167 169 171 182 193 199 212 220 222 223 225 "
    "232 248 263 287 317 321 327 328 340 352 359 360 363 378 390 394 416 425 440 441 451 468 487 "
    "488 494 505 513 528 539 572 575 590 591 593 594 608"
)
CLINICDB_VAL = _numbers(
    "3 4 10 33 34 36 60 80 81 109 163 173 181 191 197 198 200 203 214 218 228 229 241 244 254 262 "
    "266 279 295 307 312 314 318 343 348 350 353 355 364 392 418 433 437 443 471 473 486 491 497 "
    "506 507 514 516 531 548 552 555 565 568 569 576"
)
COLONDB_TEST = _numbers(
    "4 14 18 44 48 56 68 73 83 92 106 112 118 125 166 175 180 182 188 190 208 210 221 222 235 249 "
    "253 254 274 277 296 319 331 337 355 361 363 371"
)
COLONDB_VAL = _numbers(
    "65 67 69 85 90 123 124 132 141 144 145 154 162 165 174 181 183 200 204 206 215 244 262 266 "
    "282 299 302 318 334 342 344 350 351 354 366 369 373 376"
)


def _folders(path: Path) -> tuple[Path, Path] | None:
    """Return the images and masks folders; a repacked ClinicDB also has them inside `PNG`."""
    inner = subfolder(path, "PNG")
    return layout.image_and_mask_folders(path) or (
        layout.image_and_mask_folders(inner) if inner else None
    )


def _fits(path: Path) -> bool:
    return _folders(path) is not None


def _frames(path: Path) -> frozenset[int] | None:
    """Return the frame numbers of a data set named by number, without opening a file."""
    root = layout.locate(path, _fits)
    if root is None:
        return None
    images, _ = layout.present(_folders(root), root)
    names = [file.stem for file in images.iterdir() if not file.name.startswith(".")]
    return _as_frames(name for name in names if name.lower() not in ("thumbs", "desktop"))


def _as_frames(names: Iterable[str]) -> frozenset[int] | None:
    names = list(names)
    return frozenset(map(int, names)) if all(name.isdecimal() for name in names) else None


def _is_clinicdb(path: Path) -> bool:
    root, frames = layout.locate(path, _fits), _frames(path)
    if root is None or frames is None:
        return False
    names = tuple(plain(folder.name) for folder in layout.present(_folders(root), root))
    return names == ("original", "groundtruth") or frames == CLINICDB_FRAMES


def _is_colondb(path: Path) -> bool:
    return _frames(path) in (COLONDB_FRAMES, COLONDB_FRAMES | {380})


def read_clinicdb(path: Path) -> Index:
    """Return the index of CVC-ClinicDB, by the published split where all 612 frames are there."""
    root, samples = _read_pairs(path, "CVC-ClinicDB")
    if _as_frames(sample.id for sample in samples) == CLINICDB_FRAMES:
        samples = _by_list(samples, CLINICDB_VAL, CLINICDB_TEST)
        notes = ["Split 489/61/62 by the list published with MK-UNet (by frame, not by sequence)."]
    else:
        notes = ["The published split needs the frames 1 to 612 by number: it is not used."]
    return make_index("clinicdb", root, samples, labels=("polyp",), notes=notes)


def read_colondb(path: Path) -> Index:
    """Return the index of CVC-ColonDB, by the published split; frame 380 has none."""
    root, samples = _read_pairs(path, "CVC-ColonDB")
    frames = _as_frames(sample.id for sample in samples)
    if frames in (COLONDB_FRAMES, COLONDB_FRAMES | {380}):
        samples = _by_list(samples, COLONDB_VAL, COLONDB_TEST)
        samples = [replace(s, split="") if int(s.id) == 380 else s for s in samples]
        notes = ["Split 303/38/38 by the list published with MK-UNet (by frame, not by sequence)."]
        if 380 in frames:
            notes.append("Frame 380 is in none of the published lists and is not used.")
    else:
        notes = ["The published split needs the frames 1 to 379 by number: it is not used."]
    return make_index("colondb", root, samples, labels=("polyp",), notes=notes)


def _read_pairs(path: Path, title: str) -> tuple[Path, list[Sample]]:
    root = layout.located(path, _fits, f"a folder of images and one of masks ({title})")
    return root, layout.match(*layout.present(_folders(root), root))


def _by_list(samples: list[Sample], val: frozenset[int], test: frozenset[int]) -> list[Sample]:
    def split(number: int) -> str:
        return "val" if number in val else "test" if number in test else "train"

    return [replace(sample, split=split(int(sample.id))) for sample in samples]


def _is_kvasir(path: Path) -> bool:
    root = layout.locate(path, _fits)
    # The misspelt name is the download's own.
    return root is not None and (
        "kvasir" in root.absolute().name.lower() or any(root.glob("ka*sir_bboxes.json"))
    )


def read_kvasir(path: Path) -> Index:
    """Return the index of Kvasir-SEG; its masks are JPEG files, binarised when they are loaded."""
    root, samples = _read_pairs(path, "Kvasir-SEG")
    return make_index("kvasir", root, samples, labels=("polyp",))


def _is_polyp(path: Path) -> bool:
    parts = [subfolder(path, split) for split in SPLITS]
    return all(part and subfolder(part, "images") and subfolder(part, "masks") for part in parts)


def read_polyp(path: Path, format: str = "polyp", label: str = "polyp") -> Index:
    """Return the index of `{train,val,test}/{images,masks}`, the layout of the MK-UNet scripts."""
    root = layout.located(path, _is_polyp, "the folders {train,val,test}/{images,masks}")
    samples = []
    for split in SPLITS:
        part = layout.present(subfolder(root, split), root)
        images, masks = (
            layout.present(subfolder(part, name), part) for name in ("images", "masks")
        )
        samples += layout.match(images, masks, split=split, prefix=f"{split}/")
    return make_index(format, root, samples, labels=(label,))


READERS = (
    Reader(
        "clinicdb",
        "CVC-ClinicDB: polyps, 612 frames",
        _is_clinicdb,
        read_clinicdb,
        "research use, cite Bernal et al. 2015",
    ),
    Reader(
        "colondb",
        "CVC-ColonDB: polyps, 380 frames",
        _is_colondb,
        read_colondb,
        "research use",
    ),
    Reader(
        "kvasir",
        "Kvasir-SEG: polyps, 1000 images",
        _is_kvasir,
        read_kvasir,
        "research and education, with attribution",
    ),
    Reader(
        "polyp",
        "{train,val,test}/{images,masks} with all three splits",
        lambda path: layout.locate(path, _is_polyp) is not None,
        read_polyp,
    ),
)
