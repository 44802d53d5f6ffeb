"""A published checkpoint becomes a verified file through the command line."""

import json
from pathlib import Path

import golden_files
import pytest
import torch_files
from medseg_program import medseg

pytestmark = pytest.mark.slow


def found(*arguments):
    """Run the program with --json and return what it found."""
    return json.loads(medseg(*arguments, "--json").stdout)


def test_an_official_checkpoint_is_a_verified_file_in_three_commands(tmp_path):
    golden = golden_files.load("mk-unet__t")
    checkpoint = torch_files.write_zip(tmp_path / "mk_unet_t.pth", {"state_dict": golden.state()})
    run = tmp_path / "published"
    made = found("import", "--checkpoint", checkpoint, "--input-size", 64, 96, "--out", run)
    assert (made["variant"], made["counts"]["matched"]) == ("t", 350)
    assert made["counts"]["missing"] == made["counts"]["unexpected"] == 0
    exported = found("export", run)
    checked = found("verify", exported["file"], "--data", "sample", "--samples", 2)
    assert checked["passed"] and checked["subject"]["samples"] == 2

    from core.engines import LiteRTEngine

    (logits,) = LiteRTEngine(Path(exported["file"]))(golden.inputs())
    assert golden.error("logits", logits) < 1e-4  # the file computes what the official code does
