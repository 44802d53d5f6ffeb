"""Which small picture belongs to which large one, by their names. No picture is opened here."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from core.data.images import find_images
from core.data.index import Sample
from core.errors import UserError

_SHOWN = 5


@dataclass(frozen=True)
class Part:
    """Large pictures that belong together.

    Attributes:
        high: Their folder.
        lows: Scale → folder of small ones; scale 0 is whatever their size says.
        split: "train", "val", "test" or "".
        prefix: Put before the names of the samples.
        marks: What may follow the scale in the names of small pictures, as "m" in 0001x4m; several
            that end in a digit are several versions of a small picture, a sample each.
        made: Whether a small picture may be made where there is none.
    """

    high: Path
    lows: dict[int, Path] = field(default_factory=dict)
    split: str = ""
    prefix: str = ""
    marks: tuple[str, ...] = ("",)
    made: bool = True


def split_name(stem: str, marks: tuple[str, ...] = ("",)) -> tuple[str, int]:
    """Return the name and the scale of "0001x2"; scale 0 for a name without one."""
    found = re.fullmatch(rf"(.+)x(\d)(?:{'|'.join(marks)})", stem, re.I)
    return (found[1], int(found[2])) if found else (stem, 0)


def samples_of(part: Part) -> list[Sample]:
    """Return the samples of a part, small pictures found by `<name>x<scale><mark>` or `<name>`.

    Raises:
        UserError: When large pictures lack their small ones or the other way round, or a large one
            is there in two formats.
    """
    high = find_images(part.high)
    twice = [stem for stem, n in Counter(path.stem for path in high).items() if n > 1]
    if twice:
        raise UserError(f"{part.high}: holds '{min(twice)}' in two formats; keep one of them.")
    # Large picture → version → scale → small picture.
    low: dict[str, dict[str, dict[int, Path]]] = {path.stem: {} for path in high}
    for scale, inside in part.lows.items():
        known = {path.stem.lower(): path for path in find_images(inside)}
        if not scale and known and all(split_name(stem)[1] for stem in known):
            known = {split_name(stem)[0]: path for stem, path in known.items()}
        left, unmatched = set(known), []
        for stem, versions in low.items():
            names = {mark: f"{stem}x{scale}{mark}".lower() for mark in part.marks}
            found = {mark: name for mark, name in names.items() if name in known}
            if not found and stem.lower() in known:
                found = {"": stem.lower()}
            if not found:
                unmatched.append(stem)
            for mark, name in found.items():
                version = mark if mark[-1:].isdigit() else ""
                versions.setdefault(version, {})[scale] = known[name]
            left -= {*names.values(), stem.lower()}
        left = {stem for stem in left if split_name(stem, part.marks)[1] in (0, scale)}
        _complain(part, inside, unmatched, len(high), left)
    return [
        Sample(
            f"{part.prefix}{path.stem}{version}",
            (path,),
            (path,),
            split=part.split,
            group=f"{part.prefix}{path.stem}" if len(low[path.stem]) > 1 else "",
            extra={"low": files, "made": part.made},
        )
        for path in high
        for version, files in (low[path.stem] or {"": {}}).items()
    ]


def _complain(part: Part, inside: Path, unmatched: list[str], count: int, left: set[str]) -> None:
    """Raise a `UserError` for large pictures without a small one, or small ones left over."""
    if unmatched:
        shown = ", ".join(unmatched[:_SHOWN]) + (", …" if len(unmatched) > _SHOWN else "")
        advice = ", or take the folder away to have all made" if part.made else ""
        raise UserError(
            f"{inside}: has no small picture for {len(unmatched)} of {count} in {part.high.name} "
            f"({shown}); add them{advice}."
        )
    if left:
        shown = ", ".join(sorted(left)[:_SHOWN])
        raise UserError(
            f"{inside}: has {len(left)} small pictures without a large one in {part.high.name} "
            f"({shown}); add those, or take them out."
        )
