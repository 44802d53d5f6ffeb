"""What tests of bad input share: attempts that must not crash, and small data to spoil."""

import hashlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from apps.medical_segmentation.cli import app


def medseg(*arguments):
    """Run the program; no outcome but an exit code and text is let through."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer medseg")
    assert result.exit_code in (0, 1, 2), result.exception
    assert "Traceback" not in result.stderr and "fault of the program" not in result.stderr
    return SimpleNamespace(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def sentence(result) -> str:
    """Return the one line a refusal has on standard error."""
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert re.fullmatch(r"Error: [^\n]+[.?…]\n", result.stderr), result.stderr
    return result.stderr


def picture(path: Path, size=(24, 16), seed=0, mode="RGB") -> Path:
    """Write noise; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def data_set(root: Path, count=4, size=(24, 16)) -> Path:
    """Write images/ and masks/ of a binary data set."""
    for number in range(count):
        picture(root / "images" / f"{number}.png", size, number)
        mask = np.zeros((size[1], size[0]), np.uint8)
        mask[: size[1] // 2] = 255
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def emptied(path):
    path.write_bytes(b"")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:200])
