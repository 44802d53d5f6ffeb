"""Run folders and files of earlier versions: what their cards do not say is as it was then."""

import json
import shutil

import pytest
import small_task

from core.export.card_checks import check_card
from core.export.verification import Verification
from core.files import write_json
from core.model_card import UNSAID
from core.run_folder import RunFolder
from core.tflite.metadata import embed, extract


@pytest.fixture(scope="module")
def earlier(toy, toy_run, tmp_path_factory):
    """Return a run and its exported file with cards as the first version wrote them."""
    run = shutil.copytree(toy_run, tmp_path_factory.mktemp("earlier") / "run")
    file = run / "export" / "run_float32.tflite"
    assert toy("export", run).exit_code == 0
    card = json.loads((run / "model_card.json").read_text())
    document = extract(file)
    for name in UNSAID:
        del card[name], document["model_card"][name]
    write_json(run / "model_card.json", card)
    file.write_bytes(embed(file.read_bytes(), document, card["labels"]))
    file.with_suffix(".json").unlink()
    return run, file


def test_they_are_opened_and_score_what_they_scored(toy, toy_run, earlier):
    run, file = earlier
    assert RunFolder(run).card == RunFolder(toy_run).card
    scores = [
        json.loads(toy("evaluate", source, "--json").stdout)["metrics"]
        for source in (toy_run, run, file)
    ]
    assert scores[0] == scores[1] == scores[2]


def test_their_files_are_verified_with_their_run_and_without(toy, toy_data, earlier, tmp_path):
    _, file = earlier
    with_run = toy("verify", file, "--json")
    assert with_run.exit_code == 0, with_run.stderr
    alone = toy("verify", shutil.copy(file, tmp_path), "--data", toy_data, "--json")
    assert alone.exit_code == 0, alone.stderr


@pytest.mark.parametrize("beside_its_run", [True, False])
def test_their_cards_lack_nothing(earlier, beside_its_run):
    path, file = earlier
    run = RunFolder(path) if beside_its_run else None
    result = Verification(file.name, "float32")
    check_card(result, small_task.TASK, file, extract(file), run, input_shape=None)
    assert [row for row in result.rows if row.ok is False] == []


def test_a_file_exported_now_is_verified_beside_an_earlier_run(toy, earlier, tmp_path):
    run = shutil.copytree(earlier[0], tmp_path / "run")
    assert toy("export", run, "--overwrite").exit_code == 0
    checked = toy("verify", run / "export" / "run_float32.tflite", "--json")
    assert checked.exit_code == 0, checked.stderr
