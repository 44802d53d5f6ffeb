"""Real ultrasound frames, as far as pydicom brings some."""

import sys

import numpy as np
import pytest
from json_outputs import check_output
from typer.testing import CliRunner

from apps.fetal_planes.cli import app
from apps.fetal_planes.frames import FILES, write_frames
from core.data.images import read_image
from core.errors import UserError


def test_without_pydicom_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.setitem(sys.modules, "pydicom.data", None)
    with pytest.raises(UserError, match=r"install with: pip install 'gossamer-keras\[medical\]'"):
        write_frames(tmp_path / "frames")


def test_a_file_that_cannot_be_decoded_is_told_and_the_others_are_written(tmp_path):
    pytest.importorskip("pydicom")

    def decode(path, most):
        if "jpeg2k" in path.name:
            raise RuntimeError("no decoder\nat all")
        return [np.full((4, 6, 3), 9, np.uint8)] * most

    files, failed = write_frames(tmp_path / "frames", most=2, decode=decode)
    assert len(files) == 2 * (len(FILES) - 1)
    (told,) = failed
    assert told["error"].endswith("examples_jpeg2k.dcm: cannot be decoded (no decoder).")
    assert read_image(files[0]).shape == (4, 6, 3)


def test_frames_are_written_as_colour_pictures(tmp_path):
    pytest.importorskip("pydicom")
    arguments = ["frames", "--out", str(tmp_path / "frames"), "--most", "2", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    check_output(app, arguments, result.stdout)
    doppler = read_image(tmp_path / "frames" / "examples_rgb_color_00.png")
    palette = read_image(tmp_path / "frames" / "examples_palette_00.png")
    assert doppler.shape == (240, 320, 3) and palette.shape == (350, 800, 3)
    assert np.ptp(doppler, axis=-1).max() > 100
    banner = palette[20, 100].astype(int)
    assert banner[2] > banner[0] + 20  # a blue banner, by its palette
