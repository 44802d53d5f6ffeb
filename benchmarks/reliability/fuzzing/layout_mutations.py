"""Changes of folders: what is missing, misnamed, misplaced, or not what its name says."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from random import Random

from benchmarks.reliability.fuzzing.cases import Case, Entry, Link, Special

_NAMES = (
    *("x", "a b", ".hidden", "__MACOSX", "Thumbs.db", "thumbs", "desktop.ini", "train", "val", "é"),
    *("test", "Training", "validation", "images", "masks", "hr", "lr", "X2", "x2", "mask", "HR"),
    *("query", "gallery", "bounding_box_test", "a\nb", "\x1b[31mred", "100%", "{0}", "-1", "0"),
    *("a" * 250, "\udcff\udcfe", "٣", "²", "1" * 200, "-", "_", "a.b.c", "CON", "*", "~", "$HOME"),
)
_SUFFIXES = (".png", ".jpg", ".PNG", ".tif", ".npy", ".csv", ".txt", ".json", ".mat", "", ".zip")
_LINKS = ("/dev/zero", "/nowhere", "..", ".", "/etc/passwd", "/dev/stdin", "x", "/proc/self/mem")
_NUMBER = re.compile(r"\d+")


def mutate_layout(case: Case, rng: Random) -> Case:
    """Return the case with one to four changes of its files and folders, contents left alone."""
    entries = dict(case.entries)
    for _ in range(1 + min(3, int(rng.expovariate(1)))):
        if entries:
            rng.choice(_CHANGES)(entries, rng)
    opened = case.opened
    if rng.random() < 0.04:
        opened = _other_path(entries, rng, opened)
    return Case(entries, opened)


def _other_path(entries: dict[str, Entry], rng: Random, opened: str) -> str:
    """Return a path inside the data set, as a user may point at any of its parts."""
    inside = sorted({*entries, *(posixpath.dirname(name) for name in entries), opened})
    return rng.choice(inside) or "."


def _pick(entries: dict[str, Entry], rng: Random) -> str:
    return rng.choice(list(entries))


def _pick_folder(entries: dict[str, Entry], rng: Random) -> str | None:
    folders = {parent for name in entries for parent in _parents(name)}
    return rng.choice(sorted(folders)) if folders else None


def _parents(name: str) -> Sequence[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _move(entries: dict[str, Entry], old: str, new: str) -> None:
    """Rename a file, or all that lies in a folder."""
    for name in list(entries):
        if name == old or name.startswith(f"{old}/"):
            entries[new + name[len(old) :]] = entries.pop(name)


def _without_file(entries, rng: Random) -> None:
    del entries[_pick(entries, rng)]


def _without_folder(entries, rng: Random) -> None:
    folder = _pick_folder(entries, rng)
    for name in [name for name in entries if folder and name.startswith(f"{folder}/")]:
        del entries[name]


def _empty_folder(entries, rng: Random) -> None:
    folder = _pick_folder(entries, rng)
    if folder:
        for name in [name for name in entries if name.startswith(f"{folder}/")]:
            del entries[name]
        entries[folder] = Special.FOLDER


def _renamed_file(entries, rng: Random) -> None:
    old = _pick(entries, rng)
    folder, name = posixpath.split(old)
    stem, suffix = posixpath.splitext(name)
    new = rng.choice(
        (
            rng.choice(_NAMES) + suffix,
            stem + rng.choice(_SUFFIXES),
            name.upper(),
            name.lower(),
            f"{stem}_mask{suffix}",
            f"{stem} copy{suffix}",
            f"{stem}x2{suffix}",
            name[1:] or "x",
            name[:-1] or "x",
        )
    )
    _move(entries, old, posixpath.join(folder, new))


def _renumbered(entries, rng: Random) -> None:
    old = _pick(entries, rng)
    folder, name = posixpath.split(old)
    found = list(_NUMBER.finditer(name))
    if found:
        one = rng.choice(found)
        number = rng.choice(("0", "00", "-1", "9" * 30, "٣", "²", "1", "2", "0005", "", "1.5"))
        _move(
            entries, old, posixpath.join(folder, name[: one.start()] + number + name[one.end() :])
        )


def _renamed_folder(entries, rng: Random) -> None:
    old = _pick_folder(entries, rng)
    if old:
        folder, name = posixpath.split(old)
        new = rng.choice(
            (rng.choice(_NAMES), name.upper(), f"{name}_2", name[:-1] or "x", f" {name}")
        )
        _move(entries, old, posixpath.join(folder, new))


def _folder_twice(entries, rng: Random) -> None:
    old = _pick_folder(entries, rng)
    if old:
        folder, name = posixpath.split(old)
        new = posixpath.join(folder, rng.choice((name.upper(), f"{name}2", rng.choice(_NAMES))))
        for one in [one for one in entries if one.startswith(f"{old}/")]:
            entries[new + one[len(old) :]] = entries[one]


def _elsewhere(entries, rng: Random) -> None:
    old, folder = _pick(entries, rng), _pick_folder(entries, rng) or ""
    _move(entries, old, posixpath.join(folder, posixpath.basename(old)))


def _deeper(entries, rng: Random) -> None:
    name = rng.choice(_NAMES)
    if rng.random() < 0.5:
        for one in list(entries):
            entries[f"{name}/{one}"] = entries.pop(one)
    else:
        folder = _pick_folder(entries, rng)
        if folder:
            _move(entries, folder, f"{folder}/{rng.choice((name, posixpath.basename(folder)))}")


def _flat(entries, rng: Random) -> None:
    folder = _pick_folder(entries, rng)
    if folder:
        _move(entries, folder, posixpath.dirname(folder) or "flat")


def _empty_file(entries, rng: Random) -> None:
    entries[_pick(entries, rng)] = b""


def _file_as_folder(entries, rng: Random) -> None:
    entries[_pick(entries, rng)] = Special.FOLDER


def _folder_as_file(entries, rng: Random) -> None:
    folder = _pick_folder(entries, rng)
    if folder:
        for name in [name for name in entries if name.startswith(f"{folder}/")]:
            del entries[name]
        entries[folder] = rng.choice((b"", b"x"))


def _link(entries, rng: Random) -> None:
    name = _pick(entries, rng)
    if rng.random() < 0.3:
        name = _pick_folder(entries, rng) or name
        for one in [one for one in entries if one.startswith(f"{name}/")]:
            del entries[one]
    others = [posixpath.basename(one) for one in entries]
    entries[name] = Link(rng.choice((*_LINKS, rng.choice(others) if others else "x")))


def _pipe(entries, rng: Random) -> None:
    entries[_pick(entries, rng)] = Special.PIPE


def _same_content(entries, rng: Random) -> None:
    entries[_pick(entries, rng)] = entries[_pick(entries, rng)]


def _copy(entries, rng: Random) -> None:
    old = _pick(entries, rng)
    stem, suffix = posixpath.splitext(old)
    new = rng.choice((stem + rng.choice(_SUFFIXES), f"{stem}_2{suffix}", f"{stem}_rot90{suffix}"))
    entries[new] = entries[old]


def _stranger(entries, rng: Random) -> None:
    folder = _pick_folder(entries, rng) or ""
    name = rng.choice(_NAMES) + rng.choice(_SUFFIXES)
    content = rng.choice((b"", b"text\n", entries[_pick(entries, rng)], Special.FOLDER))
    entries.setdefault(posixpath.join(folder, name), content)


def _emptied(entries, rng: Random) -> None:
    kept = rng.sample(list(entries), rng.randint(0, min(3, len(entries))))
    for name in [name for name in entries if name not in kept]:
        del entries[name]


_CHANGES = (
    *(_without_file,) * 2,
    _without_folder,
    _empty_folder,
    *(_renamed_file,) * 3,
    *(_renumbered,) * 2,
    *(_renamed_folder,) * 2,
    _folder_twice,
    _elsewhere,
    _deeper,
    _flat,
    _empty_file,
    _file_as_folder,
    _folder_as_file,
    _link,
    _pipe,
    _same_content,
    _copy,
    _stranger,
    _emptied,
)
