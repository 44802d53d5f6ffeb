"""Trees of class folders: the folder that a picture lies in says what it shows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from core.data.folders import (
    SPLIT_FOLDERS,
    find_files,
    first_names,
    folders,
    holds_file,
    plain,
    split_folders,
)
from core.data.images import SUFFIXES
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError, near_miss

_EXPECTED = (
    "a folder of pictures for each class (fish/, crab/, … or the same inside train/, val/ and "
    "test/)"
)
_SHOWN = 8  # names listed in a sentence
_MANY = 10**9  # more than a folder has files
_CLOSE = 0.8  # likeness from which a class name is taken for a slip of the pen


def tree_of(path: Path) -> tuple[Path, dict[str, Path]] | None:
    """Return the root of a tree of classes and its splits' folders, "" for one without splits.

    The root is `path`, or the only folder in it. A folder that is itself one split of a tree keeps
    the tree's root, so that its classes get the same numbers as in training.
    """
    path = Path(path).absolute()
    splits = _splits(path)
    if splits:
        return path, splits
    own, inside = SPLIT_FOLDERS.get(plain(path.name), ""), _class_folders(path)
    if own and inside and len(_splits(path.parent)) > 1:
        return path.parent, {own: path}
    if len(inside) == 1:
        inner = inside[0]
        deeper = _splits(inner) or ({"": inner} if _class_folders(inner) else {})
        if deeper:
            return inner, deeper
    return (path, {own: path}) if inside else None


def class_names(path: Path) -> tuple[str, ...]:
    """Return the names of the class folders with pictures at `path`, in ASCII order.

    A capital letter comes before every small one. No picture is opened; none for another layout.
    """
    found = tree_of(path)
    if found is None:
        return ()
    parts = [*_splits(found[0]).values(), *found[1].values()]
    return tuple(sorted({one.name for part in parts for one in _class_folders(part)}))


def read_class_folders(
    path: Path,
    *,
    format: str = "folders",
    labels: Sequence[str] | None = None,
    known: Iterable[str] = (),
) -> Index:
    """Return the index of a tree of classes.

    `<root>/<class>/…` has no splits; `<root>/{train,val,test}/<class>/…` has its own, whatever the
    usual spelling of their folders. Pictures may lie any number of folders below their class's.

    Args:
        path: The root, the folder around it, or one split of it.
        format: Name of the reader.
        labels: The classes in their order; None takes the folders' names in ASCII order.
        known: Names of a published data set; what is nearly one of them is noted.

    Raises:
        UserError: When `path` is laid out otherwise, a folder is none of `labels`, or a class that
            is to be recognised has no training picture.
    """
    found = tree_of(path)
    if found is None:
        raise UserError(f"{path}: expected {_EXPECTED}; check the path or the --format.")
    root, parts = found
    names = class_names(path)
    if labels is not None:
        _refuse_unknown(root, names, labels)
    order = tuple(labels or names)
    samples: list[Sample] = []
    notes, others = _left_out(root, parts), []
    for split, folder in parts.items():
        for inside in folders(folder):
            pictures, rest = _pictures(inside)
            others += rest
            if not pictures:
                what = inside.relative_to(root).as_posix()
                notes.append(f"Class folder '{what}' holds no pictures.")
            samples += [
                Sample(
                    file.relative_to(root).as_posix(),
                    (file,),
                    label=order.index(inside.name),
                    split=split,
                )
                for file in pictures
            ]
        others += [folder / name for name in sorted(first_names(folder, SUFFIXES, _MANY))]
    refuse_untrained(root, samples, order)
    if others:
        first = others[0].relative_to(root).as_posix()
        notes.append(
            f"Skipped {len(others)} file(s) that are no pictures in a class folder, for example "
            f"'{first}'."
        )
    notes += near_names(names, known)
    return make_index(format, root, samples, labels=order, notes=notes)


def near_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each class name that is nearly, but not quite, a known one."""
    known = tuple(known)
    by_case = {one.casefold(): one for one in known}
    notes = []
    for name in names:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, 1, _CLOSE)
        meant = by_case.get(name.casefold()) or next(iter(close), None)
        if meant:
            notes.append(
                f"Class folder '{name}' is nearly called '{meant}', but is a class of its own as "
                "it is; rename it if that one is meant."
            )
    return notes


def _refuse_unknown(root: Path, names: Sequence[str], labels: Sequence[str]) -> None:
    wrong = next((name for name in names if name not in labels), None)
    if wrong is not None:
        raise UserError(
            f"{root}: class folder '{wrong}' is none of the data set's {len(labels)} classes."
            f"{near_miss(wrong, labels)} Rename it, or read the tree with --format folders."
        )


def refuse_untrained(root: Path, samples: Sequence[Sample], order: Sequence[str]) -> None:
    """Raise a `UserError` for a class that is to be recognised without a training picture.

    Args:
        root: What was read.
        samples: With their splits; without any in "train" they are for evaluation only.
        order: Class names by label.
    """
    found: dict[str, set[int]] = {}
    for sample in samples:
        if sample.split and sample.label is not None:
            found.setdefault(sample.split, set()).add(sample.label)
    trained = found.get("train")
    if trained is None:
        return
    for split, labels in found.items():
        extra = sorted(labels - trained)
        if extra:
            listed = (f"{name} has {_listed(order, found[name])}" for name in ("train", split))
            raise UserError(
                f"{root}: '{order[extra[0]]}' is a class of {split}, but train has no picture of "
                f"it ({'; '.join(listed)}); give both the same class folders."
            )


def _listed(order: Sequence[str], labels: set[int]) -> str:
    names = [order[label] for label in sorted(labels)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _left_out(root: Path, parts: dict[str, Path]) -> list[str]:
    """Return what lies beside the splits of a tree and is not read."""
    if root in parts.values() or len(parts) < len(_splits(root)):
        return []
    beside = [one.name for one in folders(root) if one not in parts.values()]
    return [f"Folder '{name}' is no split with class folders and is left out." for name in beside]


def _splits(path: Path) -> dict[str, Path]:
    """Return the folders of splits that hold class folders; a class may be called "test"."""
    return {split: one for split, one in split_folders(path).items() if _class_folders(one)}


def _class_folders(path: Path) -> list[Path]:
    return [one for one in folders(path) if holds_file(one, SUFFIXES)]


def _pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures below a folder in natural order, and the other visible files."""
    try:
        files = find_files(folder, "picture", ("",), recursive=True)
    except UserError:  # an empty one
        return [], []
    pictures = [file for file in files if _is_picture(file)]
    return pictures, [file for file in files if not _is_picture(file)]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def reader(*, known: Iterable[str] = (), licence: str = "") -> Reader:
    """Return the reader of one's own class folders, which notes slips in `known` class names."""
    return Reader(
        "folders",
        "a folder of pictures for each class, also inside train/, val/ and test/",
        lambda path: tree_of(path) is not None,
        partial(read_class_folders, known=tuple(known)),
        licence,
    )


READER = reader()
