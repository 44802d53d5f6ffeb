"""Real ultrasound frames that come with pydicom, to look at preprocessing and explanations.

They show a heart, vessels and a test pattern, not the six planes: nothing can be scored on them.
Text and colour are burned in, as clinics export them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.data.images import as_rgb, write_image
from core.errors import UserError
from core.files import claim_folder

FILES = (
    "examples_ybr_color.dcm",
    "examples_rgb_color.dcm",
    "examples_jpeg2k.dcm",
    "examples_palette.dcm",
)


def write_frames(
    folder: str | os.PathLike,
    *,
    most: int = 5,
    overwrite: bool = False,
    decode: Callable[[Path, int], list[np.ndarray]] | None = None,
) -> tuple[list[Path], list[dict[str, str]]]:
    """Write the frames as PNG; return the files, and "input" and "error" of what failed.

    Args:
        folder: New or empty.
        most: Frames of a file, evenly chosen.
        overwrite: Whether the folder may hold files.
        decode: Returns at most so many frames of a file, uint8 (H, W, 3); None takes pydicom.

    Raises:
        UserError: When pydicom is not installed, or its files do not come with it.
    """
    places = [path for name in FILES if (path := _place(name)) is not None]
    if not places:
        raise UserError("pydicom has none of its test files; install it anew from its wheel.")
    out = claim_folder(folder, overwrite=overwrite)
    written, failed = [], []
    for path in places:
        try:
            frames = (decode or frames_of)(path, most)
        except Exception as error:  # a decoder that is missing, or one that fails
            reason = str(error).partition("\n")[0][:200] or type(error).__name__
            failed.append({"input": str(path), "error": f"{path}: cannot be decoded ({reason})."})
            continue
        for number, frame in enumerate(frames):
            written.append(write_image(out / f"{path.stem}_{number:02d}.png", frame))
    return written, failed


def frames_of(path: Path, most: int) -> list[np.ndarray]:
    """Return at most so many frames of a DICOM file, evenly chosen, uint8 (H, W, 3)."""
    import pydicom
    from pydicom.pixels import apply_color_lut, pixel_array

    header = pydicom.dcmread(path, stop_before_pixels=True)
    count = int(header.get("NumberOfFrames") or 1)
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
    frames = []
    for number in chosen:
        pixels = pixel_array(path, index=int(number))
        if header.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
            pixels = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
        frames.append(as_rgb(pixels if pixels.ndim == 3 else pixels[..., None]))
    return frames


def _place(name: str) -> Path | None:
    """Return where a test file lies; nothing is downloaded."""
    try:
        from pydicom.data import get_testdata_file
    except ImportError as error:
        raise UserError(
            "The frames come with pydicom, which is not installed; install with: "
            "pip install 'gossamer-keras[medical]'."
        ) from error
    found = get_testdata_file(name, download=False)
    return Path(str(found)) if found else None
