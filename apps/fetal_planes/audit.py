"""What is wrong with a data set of planes: files that cannot be read, copies, patients that leak.

Every file is read once, by several threads, and no picture is kept. Users of FETAL_PLANES_DB found
192 byte-identical files, nearly all of them consecutive frames of one patient, and several hundred
that are nearly the same.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from core.data.check import digest
from core.data.images import read_image
from core.data.index import Index, Sample
from core.data.lookalikes import NOWHERE, Lookalikes, look, lookalikes
from core.errors import UserError, readable
from core.files import refuse_special

UNREADABLE, COPIES, SAME_PIXELS, PATIENT = "unreadable", "copies", "same_pixels", "patient"
NEAR_DUPLICATES, FRAMES = "near_duplicates", "similar_frames"
KINDS = {
    UNREADABLE: "a file that is no picture",
    COPIES: "byte-identical files",
    SAME_PIXELS: "files with other bytes, but the same pixels",
    NEAR_DUPLICATES: "pictures that look the same, in several splits, patients or classes",
    FRAMES: "pictures that look the same, in one split, patient and class",
    PATIENT: "a patient whose pictures lie in several splits",
}
HARMLESS = frozenset((FRAMES,))  # frames of one sweep look the same by nature
_AHEAD = 256  # files that are read before their results are asked for


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: One of `KINDS`.
        files: Ids of the samples; of a patient, one in each split; of near-duplicates first the
            two that look most the same of those that lie apart.
        patients, classes, found_in: Theirs, each once; `found_in` are splits.
        what: More about it, in words.
    """

    kind: str
    files: tuple[str, ...]
    patients: tuple[str, ...]
    classes: tuple[str, ...]
    found_in: tuple[str, ...]
    what: str = ""

    def record(self) -> dict:
        """Return the finding as JSON-ready values."""
        lists = {name: list(getattr(self, name)) for name in ("files", "patients")}
        lists |= {name: list(getattr(self, name)) for name in ("classes", "found_in")}
        return {"kind": self.kind, **lists, "what": self.what}

    def row(self) -> dict[str, str]:
        """Return the finding as a line of a table, several names joined by "; "."""
        return {
            name: "; ".join(value) if isinstance(value, list) else value
            for name, value in self.record().items()
        }


def audit(index: Index, advance: Callable[[int], None] = lambda count: None) -> list[Finding]:
    """Return what is wrong with the samples of an index, by kind, in their order.

    Args:
        index: The samples, with the splits they are used with.
        advance: Called with the number of files done.
    """
    by_bytes: dict[str, list[Sample]] = defaultdict(list)
    by_pixels: dict[str, list[Sample]] = defaultdict(list)
    bytes_of, findings = {}, []
    read: list[Sample] = []
    looks: list[bytes] = []
    contents: list[str] = []
    for sample, (content, pixels, looking, wrong) in _examined(index.samples):
        if wrong:
            findings.append(_finding(UNREADABLE, [sample], index, wrong))
        else:
            by_bytes[content].append(sample)
            by_pixels[pixels].append(sample)
            bytes_of[sample.id] = content
            read.append(sample)
            looks.append(looking)
            contents.append(pixels)
        advance(1)
    findings += [_finding(COPIES, group, index) for group in by_bytes.values() if len(group) > 1]
    for group in by_pixels.values():
        differing = list({bytes_of[sample.id]: sample for sample in reversed(group)}.values())
        if len(differing) > 1:
            findings.append(_finding(SAME_PIXELS, differing[::-1], index))
    alike = lookalikes(read, looks, contents)
    findings += [_looking_the_same(one, index) for one in alike]
    return [*findings, *_leaking(index)]


def problems(index: Index, findings: Sequence[Finding]) -> list[str]:
    """Return findings as sentences: what spoils scores by itself, the rest counted."""
    found = {kind: [one for one in findings if one.kind == kind] for kind in KINDS}
    told = [one.what for one in found[UNREADABLE]]
    plain = []
    for one in [*found[COPIES], *found[SAME_PIXELS]]:
        same = "are byte-identical" if one.kind == COPIES else "have the same pixels"
        pair = f"'{one.files[0]}' and '{one.files[1]}'"
        if len(one.classes) > 1:
            told.append(f"{pair} {same}, but show {' and '.join(one.classes)}; leave one out.")
        elif len(one.found_in) > 1:
            told.append(
                f"{pair} {same}, in {' and '.join(one.found_in)}; keep one, or read with --format "
                f"{index.format}-dedup."
            )
        else:
            plain.append(one)
    if plain:
        pair = " and ".join(f"'{name}'" for name in plain[0].files[:2])
        told.append(
            f"{len(plain)} group(s) of the same picture lie in one class and split, for example "
            f"{pair}; they count several times."
        )
    told += _told_to_look_the_same(found[NEAR_DUPLICATES])
    if found[PATIENT]:
        first = found[PATIENT][0]
        told.append(
            f"{len(found[PATIENT])} patient(s), for example '{first.patients[0]}', have pictures "
            f"in {' and '.join(first.found_in)}; scores are optimistic."
        )
    return list(map(readable, told))


def _examined(samples: Sequence[Sample]) -> Iterable[tuple[Sample, tuple[str, str, bytes, str]]]:
    """Yield samples with digests of their bytes and pixels and their look, or what is wrong."""
    with ThreadPoolExecutor() as pool:  # reading and decoding release the interpreter's lock
        for start in range(0, len(samples), _AHEAD):
            part = samples[start : start + _AHEAD]
            yield from zip(part, pool.map(_examine, part), strict=True)


def _examine(sample: Sample) -> tuple[str, str, bytes, str]:
    path = sample.inputs[0]
    try:
        refuse_special(path)
        content = path.read_bytes()
        picture = read_image(path, content=content)
    except (UserError, OSError) as error:
        told = (
            str(error) if isinstance(error, UserError) else f"{path}: cannot be read; replace it."
        )
        return "", "", b"", told
    return hashlib.sha256(content).hexdigest(), digest(picture), look(picture), ""


def _looking_the_same(found: Lookalikes, index: Index) -> Finding:
    kind = FRAMES if found.apart == NOWHERE else NEAR_DUPLICATES
    return _finding(kind, found.samples, index, found.problem(index.labels) or f"{found.told()}.")


def _finding(kind: str, samples: Sequence[Sample], index: Index, what: str = "") -> Finding:
    classes = (index.labels[s.label] for s in samples if s.label is not None and index.labels)
    return Finding(
        kind,
        tuple(sample.id for sample in samples),
        tuple(dict.fromkeys(sample.group for sample in samples if sample.group)),
        tuple(dict.fromkeys(classes)),
        tuple(dict.fromkeys(sample.split for sample in samples if sample.split)),
        what,
    )


def _told_to_look_the_same(found: Sequence[Finding]) -> list[str]:
    """Return the worst of those that lie apart, and how many there are."""
    told = [one.what for one in found[:1]]
    if len(found) > 1:
        splits = sum(len(one.found_in) > 1 for one in found)
        patients = sum(len(one.patients) > 1 for one in found)
        told.append(
            f"In all, {len(found)} groups of pictures that look the same lie apart, {splits} in "
            f"several splits and {patients} of several patients; the command audit lists them."
        )
    return told


def _leaking(index: Index) -> list[Finding]:
    first: dict[str, dict[str, Sample]] = defaultdict(dict)
    for sample in index.samples:
        if sample.group and sample.split:
            first[sample.group].setdefault(sample.split, sample)
    return [
        _finding(PATIENT, list(found.values()), index) for found in first.values() if len(found) > 1
    ]
