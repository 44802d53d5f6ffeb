"""Parts of a data set, and other published splits, chosen by what follows a format's name.

As in `--format auto-snr0`, `radioml2016-vt-cnn2` and `radioml2018-normal-snr10to30`. A run keeps
its format, so that everything after the training sees the same part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from apps.modulation_recognition.data.radioml2018 import NORMAL
from apps.modulation_recognition.data.stores import SNR
from core.data.index import Index
from core.data.readers import Reader
from core.errors import UserError

# What can follow the name → readers that take it, and their argument.
_CHOICES: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "vt-cnn2": (("shards", "radioml2016"), {"rule": "vt-cnn2"}),
    "normal": (("radioml2018",), {"classes": NORMAL}),
    "whole": (("radioml2018",), {"frames_of_each": 2**40}),
}
_SNRS = re.compile(r"snr(-?\d+)(?:to(-?\d+))?")
_LAST = re.compile(rf"(.+)-({'|'.join(_CHOICES)}|{_SNRS.pattern})")


@dataclass(frozen=True)
class Selection:
    """What a format asks for.

    Attributes:
        name: The reader's, or "auto".
        choices: Of `_CHOICES`.
        least, most: SNR labels that are kept; None for no bound.
    """

    name: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    readers: Mapping[str, Reader] = field(default_factory=dict)

    def selected(self, index: Index) -> Index:
        """Return the samples of the SNR labels asked for, in the splits they have."""
        if self.least is None:
            return index
        if any(SNR not in sample.extra for sample in index.samples):
            raise UserError(f"{index.root}: its frames have no SNR labels to choose by.")
        low, high = self.least, self.most
        kept = tuple(
            sample
            for sample in index.samples
            if low <= sample.extra[SNR] and (high is None or sample.extra[SNR] <= high)
        )
        if not kept:
            known = sorted({sample.extra[SNR] for sample in index.samples})
            raise UserError(
                f"{index.root}: has no frame at the SNR labels asked for; its labels are "
                f"{', '.join(map(str, known))}."
            )
        bounds = f"from {low} on" if high is None else f"from {low} to {high}"
        note = f"Only SNR labels {bounds}: {len(kept):,} of {len(index):,} frames."
        return replace(index, samples=kept, notes=(*index.notes, note))


def selection(format: str, readers: Mapping[str, Reader]) -> Selection:
    """Return what a format asks for, with readers that do as it says.

    Args:
        format: A reader's name or "auto", and choices behind it.
        readers: By name.

    Raises:
        UserError: When a choice is given twice.
    """
    found = Selection(format, readers=readers)
    while found.name not in readers and (last := _LAST.fullmatch(found.name)):
        name, choice = last.group(1), last.group(2)
        if bounds := _SNRS.fullmatch(choice):
            if found.least is not None:
                raise UserError(f"--format {format}: gives SNR labels twice; give them once.")
            most = bounds.group(2)
            found = replace(
                found,
                name=name,
                least=int(bounds.group(1)),
                most=None if most is None else int(most),
            )
        else:
            found = replace(found, name=name, choices=(choice, *found.choices))
    own = {
        name: replace(one, read=partial(_read, one, found.choices)) for name, one in readers.items()
    }
    return replace(found, readers=own)


def _read(reader: Reader, choices: tuple[str, ...], path: Path) -> Index:
    arguments: dict[str, Any] = {}
    for choice in choices:
        takers, argument = _CHOICES[choice]
        if reader.name not in takers:
            raise UserError(
                f"{path}: is read as {reader.name}, which has no '-{choice}'; that belongs to "
                f"{' and '.join(takers)}."
            )
        arguments |= argument
    return reader.read(path, **arguments)
