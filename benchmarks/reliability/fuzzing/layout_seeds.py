"""A small data set in the layout of every reader, as the download unpacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.fuzzing.cases import Case, Entry, read_case
from benchmarks.reliability.fuzzing.picture_seeds import ROOT, mask_picture, picture


def _case(*parts: dict[str, Entry]) -> Case:
    merged: dict[str, Entry] = {}
    for part in parts:
        merged |= part
    return Case(merged)


def sample_part(app: str, kept: Callable[[Path], bool]) -> Case:
    """Return a part of an app's built-in sample data."""
    whole = read_case(ROOT / "apps" / app / "sample_data")
    return whole.with_entries({n: c for n, c in whole.entries.items() if kept(Path(n))})


def _pairs(images: str, masks: str, names, *, suffix="png", ending="", kind="png") -> dict:
    entries: dict[str, Entry] = {}
    for number, name in enumerate(names):
        entries[f"{images}/{name}.{suffix}"] = picture(suffix, f"{images}/{name}")
        entries[f"{masks}/{name}{ending}.{kind}"] = mask_picture(kind, number)
    return entries


# --- medical segmentation ---------------------------------------------------------------------


def _isic(year: str) -> Case:
    from apps.medical_segmentation.data.dermoscopy import FOLDERS

    parts = []
    for at, (images, masks) in enumerate(FOLDERS[year].values()):
        names = [f"ISIC_{10 * at + n:07d}" for n in range(2)]
        parts.append(_pairs(images, masks, names, suffix="jpg", ending="_segmentation"))
    more = {}
    if year == "2017":
        more = {
            "ISIC-2017_Training_Data/ISIC_0000000_superpixels.png": picture("png"),
            "ISIC-2017_Training_Data/ISIC-2017_Training_Data_metadata.csv": b"image_id,age\n",
        }
    return _case(*parts, more)


def _clinicdb() -> Case:
    return _case(_pairs("Original", "Ground Truth", ("1", "2", "10"), suffix="tif", kind="tif"))


def _colondb() -> Case:
    return _case(_pairs("images", "masks", ("1", "2", "380")))


def _kvasir() -> Case:
    entries = _pairs("images", "masks", ("cju0", "cju1", "cju2"), suffix="jpg", kind="jpg")
    return _case(
        {f"Kvasir-SEG/{name}": content for name, content in entries.items()},
        {"Kvasir-SEG/kavsir_bboxes.json": b'{"cju0": {"bbox": []}}\n'},
    )


def _polyp() -> Case:
    splits = ("train", "val", "test")
    return _case(*(_pairs(f"{s}/images", f"{s}/masks", (f"{s}1", f"{s}2")) for s in splits))


def _own_masks() -> list[Case]:
    names = ("a1", "a1_rot90", "b2", "sub/c3", "d4", "e5", "f6", "g7")
    plain = _case(_pairs("mine/imgs", "mine/labels", names, suffix="bmp", ending="_mask"))
    nested = _case(
        *(_pairs(f"images/{s}", f"masks/{s}", ("a", "b")) for s in ("train", "validation", "test"))
    )
    return [plain, nested]


def _dsb2018() -> Case:
    entries: dict[str, Entry] = {"stage1_test/0a/images/0a.png": picture("png")}
    for number, name in enumerate(("00ae65", "00bd58", "0c22ff")):
        entries[f"stage1_train/{name}/images/{name}.png"] = picture("png", name)
        for cell in range(2):
            entries[f"stage1_train/{name}/masks/{cell}f.png"] = mask_picture("png", number)
    return _case(entries)


def _em() -> Case:
    from benchmarks.reliability.fuzzing.picture_seeds import stack

    return _case({"train-volume.tif": stack(), "train-labels.tif": stack(of_masks=True)})


def _bccd() -> Case:
    return _case(
        *(_pairs(f"{s}/original", f"{s}/mask", (f"{s}1", f"{s}2")) for s in ("train", "test"))
    )


def _busi() -> Case:
    entries: dict[str, Entry] = {}
    for number, kind in enumerate(("benign", "malignant", "normal")):
        for one in (1, 2):
            entries[f"{kind}/{kind} ({one}).png"] = picture("png", f"{kind} {one}")
            entries[f"{kind}/{kind} ({one})_mask.png"] = mask_picture("png", number)
    entries["benign/benign (1)_mask_1.png"] = mask_picture("png", 1)
    return _case({f"Dataset_BUSI_with_GT/{name}": content for name, content in entries.items()})


def _montgomery() -> Case:
    entries: dict[str, Entry] = {}
    for number, name in enumerate(("MCUCXR_0001_0", "MCUCXR_0002_1", "MCUCXR_0003_0")):
        entries[f"CXR_png/{name}.png"] = picture("png", name)
        for side in ("leftMask", "rightMask"):
            entries[f"ManualMask/{side}/{name}.png"] = mask_picture("png", number)
    return _case({f"MontgomerySet/{name}": content for name, content in entries.items()})


def _shenzhen() -> Case:
    names = ("CHNCXR_0001_0", "CHNCXR_0002_1", "CHNCXR_0003_0")
    return _case(_pairs("CXR_png", "mask", names, ending="_mask"))


def _lungs() -> Case:
    names = ("CHNCXR_0001_0", "MCUCXR_0002_1", "CHNCXR_0003_0")
    return _case(
        _pairs("CXR_png", "masks", names, ending="_mask"), {"test/CHNCXR_9_0.png": picture("png")}
    )


MEDSEG: dict[str, Callable[[], Case | list[Case]]] = {
    "sample": lambda: sample_part(
        "medical_segmentation", lambda p: "_r0_" in p.name or p.suffix == ".md"
    ),
    "dsb2018": _dsb2018,
    "em": _em,
    "bccd": _bccd,
    "isic2016": lambda: _isic("2016"),
    "isic2017": lambda: _isic("2017"),
    "isic2018": lambda: _isic("2018"),
    "busi": _busi,
    "busi_normal": _busi,
    "montgomery": _montgomery,
    "shenzhen": _shenzhen,
    "lungs": _lungs,
    "clinicdb": _clinicdb,
    "colondb": _colondb,
    "kvasir": _kvasir,
    "polyp": _polyp,
    "folder": _own_masks,
}


# --- super-resolution -------------------------------------------------------------------------


def _high(folder: str, names) -> dict[str, Entry]:
    return {f"{folder}/{name}.png": picture("png", name) for name in names}


def _low(folder: str, names, ending: str = "", scale: int = 2) -> dict[str, Entry]:
    return {f"{folder}/{name}{ending}.png": picture("png", name, shrink=scale) for name in names}


_TRAIN, _VALID = ("0001", "0002", "0003"), ("0801", "0802")


def _div2k(track: str = "", marks=("",)) -> Case:
    parts = []
    for part, names in (("train", _TRAIN), ("valid", _VALID)):
        parts.append(_high(f"DIV2K_{part}_HR", names))
        if not track:
            parts.append(_low(f"DIV2K_{part}_LR_bicubic/X2", names, "x2"))
            parts.append(_low(f"DIV2K_{part}_LR_bicubic/X4", names, "x4", 4))
        for mark in marks if track else ():
            inside = f"DIV2K_{part}_LR_{track}" + ("/X2" if track == "unknown" else "")
            scale = 2 if track == "unknown" else 4
            parts.append(_low(inside, names, f"x{scale}{mark}", scale))
    return _case(*parts)


def _flickr2k() -> Case:
    names = tuple(f"{n:06d}" for n in range(1, 5))
    return _case(_high("Flickr2K_HR", names), _low("Flickr2K_LR_bicubic/X2", names, "x2"))


def _df2k() -> Case:
    return _case(_div2k().entries, _flickr2k().entries)


def _realsr() -> Case:
    parts = []
    for part, names in (("Train", ("a1", "b2", "c3")), ("Validation", ("d4", "e5"))):
        parts.append(_high(f"{part}GT", names))
        parts.append(_low(f"{part}LR", names, scale=1))
    return _case(*parts)


def _benchmark() -> Case:
    names = ("baby", "bird", "woman")
    return _case(_high("Set5/HR", names), _low("Set5/LR_bicubic/X2", names, "x2"))


def _basicsr() -> Case:
    names = ("baby", "bird")
    return _case(_high("Set5/GTmod12", names), _low("Set5/LRbicx4", names, scale=4))


def _imdn() -> Case:
    names = ("baby", "bird")
    return _case(_high("Set5", names), _low("Set5_LR/x2", names, "x2"))


def _own_pairs() -> Case:
    names = ("a", "b", "c")
    return _case(
        *(_high("train/hr", names), _low("train/lr/x2", names)),
        *(_high("val/hr", ("d",)), _low("val/lr/x2", ("d",))),
    )


def _own_pictures() -> Case:
    return _case(_high("train", ("a", "b", "c")), _high("val", ("d",)), _high("test", ("e",)))


def _prepared() -> Case:
    """Return what `prepare` writes of a few pictures."""
    import tempfile

    from apps.super_resolution.data import READERS
    from apps.super_resolution.data.preparing import prepare
    from benchmarks.reliability.fuzzing.cases import write_case

    with tempfile.TemporaryDirectory() as folder:
        source = write_case(_own_pictures(), Path(folder) / "source")
        index = READERS["folder"].read(source)
        prepare(index, 2, Path(folder) / "out", size=16, step=8)
        case = read_case(Path(folder) / "out")
    record = json.loads(case.entries["prepared.json"])
    record["source"]["root"] = "source"  # the same bytes in any folder
    return case.with_entries({**case.entries, "prepared.json": json.dumps(record).encode()})


_MARKS = {
    "unknown": ("",),
    "mild": ("m",),
    "difficult": ("d",),
    "wild": ("w1", "w2", "w3", "w4"),
}

SUPERRES: dict[str, Callable[[], Case | list[Case]]] = {
    "sample": _own_pictures,
    "prepared": _prepared,
    "df2k": _df2k,
    **{
        f"div2k-{track}": (lambda track=track, marks=marks: _div2k(track, marks))
        for track, marks in _MARKS.items()
    },
    "div2k": _div2k,
    "flickr2k": _flickr2k,
    "realsr": _realsr,
    "benchmark": _benchmark,
    "basicsr": _basicsr,
    "imdn": _imdn,
    "pairs": _own_pairs,
    "folder": _own_pictures,
}
