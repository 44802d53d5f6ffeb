"""SigMF recordings: a file of samples and, beside it, JSON that says what they are (sigmf.org)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.checkpoints.reading import damage_explained
from core.documents import read_json
from core.errors import UserError, not_found

META, DATA = ".sigmf-meta", ".sigmf-data"
_KINDS = {"cf32_le": "complex64", "cf32": "complex64", "ci16_le": "int16", "ci16": "int16"}


def described(path: Path) -> tuple[Path, str, float | None]:
    """Return a recording's file of samples, its type of number and its sample rate in Hz.

    Args:
        path: Either file of the pair.

    Raises:
        UserError: When one of the pair is missing, the description is damaged, or the samples are
            of a kind that is not read.
    """
    meta, data = path.with_suffix(META), path.with_suffix(DATA)
    for file, other in ((meta, data), (data, meta)):
        if not file.is_file():
            raise not_found(file, "file", f"put it beside {other.name}")
    with damage_explained(meta, "Copy it again."):
        content = read_json(meta)
    about: Any = content.get("global") if isinstance(content, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get("core:datatype"), str):
        raise UserError(f"{meta}: names no core:datatype in 'global'; write what the samples are.")
    kind, rate = about["core:datatype"], about.get("core:sample_rate")
    if kind not in _KINDS or about.get("core:num_channels", 1) != 1:
        raise UserError(
            f"{meta}: describes {kind} of {about.get('core:num_channels', 1)} channel(s); read are "
            "one channel of cf32_le or ci16_le, convert it first."
        )
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float)):
        raise UserError(f"{meta}: core:sample_rate is {rate!r}; write a number of Hz.")
    return data, _KINDS[kind], rate
