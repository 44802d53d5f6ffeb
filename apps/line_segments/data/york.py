"""York Urban: 102 photographs of Manhattan scenes, a folder each, with a MATLAB file of segments.

P. Denis, J. Elder, F. Estrada, "Efficient edge-based methods for estimating Manhattan frames in
urban imagery", ECCV 2008. Only segments of the three Manhattan directions are annotated, so the
precision of every detector is low. Papers on detection test on all 102.
"""

from __future__ import annotations

import os
from pathlib import Path

from apps.line_segments.data.annotations import KIND, Annotation
from apps.line_segments.data.wireframe import matlab_rows
from core.data.folders import folders
from core.data.images import SUFFIXES
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

_ENDING = "LinesAndVP.mat"


def read_york(path: Path) -> Annotation:
    """Return the segments of a file: in `lines`, (2 N, 2), two rows are the ends of one.

    Raises:
        UserError: When it is damaged or holds something else.
    """
    ends = matlab_rows(path, "lines", 2)
    if len(ends) % 2:
        raise UserError(f"{path}: its last segment has one end; download it again.")
    return Annotation(ends.reshape(-1, 4))


def _truths(path: Path) -> list[Path]:
    inside = [path / folder.name / f"{folder.name}{_ENDING}" for folder in folders(path)]
    return [file for file in inside if os.path.isfile(file)]  # its name may be too long


def _read(path: Path) -> Index:
    truths = _truths(path)
    samples = []
    for truth in truths:
        stem = truth.name.removesuffix(_ENDING)
        image = next((f for s in SUFFIXES if (f := truth.with_name(f"{stem}{s}")).is_file()), None)
        if image is None:
            raise UserError(
                f"{truth}: its image '{stem}.jpg' is missing; put it there or take the folder out."
            )
        samples.append(Sample(stem, (image,), (truth,), split="test", extra={KIND: "york"}))
    note = "Only Manhattan directions are annotated: the precision of every detector is low."
    return make_index("york", path, samples, notes=[note])


READERS = (
    Reader(
        "york",
        "York Urban: a folder an image, P1020171/P1020171.jpg and P1020171LinesAndVP.mat",
        lambda path: bool(_truths(path)),
        _read,
        "for research (York University)",
    ),
)
