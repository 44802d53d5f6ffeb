"""`gossamer modrec generate` on the command line."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from apps.modulation_recognition.cli import app
from apps.modulation_recognition.generate_command import parse_snrs
from apps.modulation_recognition.task import TASK
from core.errors import UserError

FEW = ("--frames-of-each", 5, "--snrs", "0,10", "--modulations", "QPSK,AM-SSB")


def generate(*arguments, code=0):
    given = [str(argument) for argument in ("generate", *arguments)]
    result = CliRunner().invoke(app, given, prog_name="gossamer modrec")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def test_what_was_chosen_is_made_told_and_read(tmp_path):
    out = tmp_path / "set"
    told = generate("--out", out, *FEW, "--snr-convention", "db", "--am-ssb", "corrected").stdout
    assert "20 frames: 2 classes, 2 SNR labels, 5 of each" in told and "frames/s" in told
    assert "not recorded ones" in told and f"train --data {out}" in told
    about = json.loads((out / "about.json").read_text())
    assert about["snr_convention"] == "db" and about["amssb"] == "corrected"
    assert sorted(path.name for path in out.iterdir()) == ["about.json", "snr+00.npz", "snr+10.npz"]
    assert len(TASK.read(out)) == 20
    again = generate("--out", out, *FEW, code=2)
    assert "already holds files" in again.stderr


def test_the_seed_decides_and_hdf5_holds_the_same(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed, kind in zip(folders, (1, 1, 2), ("npz", "hdf5", "npz"), strict=True):
        made = generate(
            "--out", folder, *FEW, "--seed", seed, "--shard-format", kind, "--json"
        ).stdout
        assert json.loads(made)["frames"] == 20 and json.loads(made)["about"]["seed"] == seed
    first, same, other = (
        np.stack([TASK.load(s, TASK.network("kd_cnn").card("base")).inputs for s in index.samples])
        for index in map(TASK.read, folders)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "wrong, why",
    [
        (("--parameters", "rml2022"), "No such parameter set: 'rml2022'. Did you mean 'rml22'?"),
        (("--snr-convention", "decibel"), "The SNR convention is 'decibel'"),
        (("--am-ssb", "released"), "Did you mean 'as_released'?"),
        (("--modulations", "QPSX"), "no such class: 'QPSX'. Did you mean 'QPSK'?"),
        (("--parameters", "rml22", "--modulations", "AM-SSB"), "rml22: no such class: 'AM-SSB'"),
        (("--parameters", "rml22", "--one-channel"), "belongs to radioml2016"),
        (("--frames-of-each", 0), "Received 0 frames"),
        (("--snrs", "ten"), "--snrs is 'ten'; pass whole numbers"),
        (("--shard-format", "hdf"), "Did you mean 'hdf5'?"),
        (("--seed", -1), "Received -1 as seed"),
    ],
)
def test_a_wrong_choice_is_a_sentence_and_nothing_is_written(tmp_path, wrong, why):
    told = generate("--out", tmp_path / "set", *wrong, code=2)
    assert why in told.stderr and "Traceback" not in told.stderr
    assert not (tmp_path / "set").exists()


def test_labels_are_a_list_or_a_range_with_its_end():
    assert parse_snrs(None) == ()
    assert parse_snrs("-4,18") == (-4, 18)
    assert parse_snrs("-20:18:2") == tuple(range(-20, 20, 2)) and parse_snrs("0:3") == (0, 1, 2, 3)
    for wrong in ("3:1", "0:10:0", "0:1:1:1", "", "0:1e9", "-500:500"):
        with pytest.raises(UserError, match="pass whole numbers such as"):
            parse_snrs(wrong)
