"""The data sets of the fetal planes app, in the form users download them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from apps.fetal_planes.data.layouts import (
    LICENCE,
    PLANES,
    SIMULATED,
    looks_african,
    looks_drawn,
    looks_like_planes,
    read_african,
    read_planes,
)
from core.classification.folders import reader
from core.data.readers import Reader

__all__ = ["PLANES", "READERS", "SAMPLE_DATA"]

SAMPLE_DATA: Path = Path(__file__).resolve().parent.parent / "sample_data"

# The particular before the general: "auto" takes the first that recognises a path.
READERS: dict[str, Reader] = {
    one.name: one
    for one in (
        Reader(
            "simulated",
            "drawn planes of `simulate`, laid out as FETAL_PLANES_DB",
            looks_drawn,
            partial(read_planes, format="simulated", notes=(SIMULATED,)),
            "Apache-2.0, drawn by this suite",
        ),
        Reader(
            "fetal-planes",
            "FETAL_PLANES_DB: Images/ and FETAL_PLANES_DB_data.csv",
            looks_like_planes,
            read_planes,
            LICENCE,
        ),
        Reader(
            "african",
            "the sister set of five African countries: <country>/<picture>.png and a table",
            looks_african,
            read_african,
            LICENCE,
        ),
        reader(known=PLANES),
    )
}
