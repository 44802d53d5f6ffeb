"""The data sets of modulation recognition, in the form users download them."""

from __future__ import annotations

from apps.modulation_recognition.data import (
    hisarmod,
    radioml2016,
    radioml2018,
    recordings,
    shards,
)
from apps.modulation_recognition.data.stores import SNR, frame
from core.data.readers import Reader

__all__ = ["READERS", "SNR", "frame"]

# The particular before the general: "auto" takes the first that recognises a path.
READERS: dict[str, Reader] = {
    one.READER.name: one.READER for one in (shards, radioml2016, radioml2018, hisarmod, recordings)
}
