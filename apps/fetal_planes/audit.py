"""What is wrong with a data set of planes: files that cannot be read, copies, patients that leak.

Every file is read once, by several threads, and no picture is kept. Users of FETAL_PLANES_DB found
192 byte-identical files, nearly all of them consecutive frames of one patient.
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
from core.errors import UserError, readable

UNREADABLE, COPIES, SAME_PIXELS, PATIENT = "unreadable", "copies", "same_pixels", "patient"
KINDS = {
    UNREADABLE: "a file that is no picture",
    COPIES: "byte-identical files",
    SAME_PIXELS: "files with other bytes, but the same pixels",
    PATIENT: "a patient whose pictures lie in several splits",
}
_AHEAD = 256  # files that are read before their results are asked for


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: One of `KINDS`.
        files: Ids of the samples; of a patient, one in each split.
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
    for sample, (content, pixels, wrong) in _examined(index.samples):
        if wrong:
            findings.append(_finding(UNREADABLE, [sample], index, wrong))
        else:
            by_bytes[content].append(sample)
            by_pixels[pixels].append(sample)
            bytes_of[sample.id] = content
        advance(1)
    findings += [_finding(COPIES, group, index) for group in by_bytes.values() if len(group) > 1]
    for group in by_pixels.values():
        differing = list({bytes_of[sample.id]: sample for sample in reversed(group)}.values())
        if len(differing) > 1:
            findings.append(_finding(SAME_PIXELS, differing[::-1], index))
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
    if found[PATIENT]:
        first = found[PATIENT][0]
        told.append(
            f"{len(found[PATIENT])} patient(s), for example '{first.patients[0]}', have pictures "
            f"in {' and '.join(first.found_in)}; scores are optimistic."
        )
    return list(map(readable, told))


def _examined(samples: Sequence[Sample]) -> Iterable[tuple[Sample, tuple[str, str, str]]]:
    """Yield samples with the digests of their bytes and pixels, or what is wrong with them."""
    with ThreadPoolExecutor() as pool:  # reading and decoding release the interpreter's lock
        for start in range(0, len(samples), _AHEAD):
            part = samples[start : start + _AHEAD]
            yield from zip(part, pool.map(_examine, part), strict=True)


def _examine(sample: Sample) -> tuple[str, str, str]:
    path = sample.inputs[0]
    try:
        content = path.read_bytes()
        pixels = digest(read_image(path, content=content))
    except (UserError, OSError) as error:
        told = (
            str(error) if isinstance(error, UserError) else f"{path}: cannot be read; replace it."
        )
        return "", "", told
    return hashlib.sha256(content).hexdigest(), pixels, ""


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


def _leaking(index: Index) -> list[Finding]:
    first: dict[str, dict[str, Sample]] = defaultdict(dict)
    for sample in index.samples:
        if sample.group and sample.split:
            first[sample.group].setdefault(sample.split, sample)
    return [
        _finding(PATIENT, list(found.values()), index) for found in first.values() if len(found) > 1
    ]
