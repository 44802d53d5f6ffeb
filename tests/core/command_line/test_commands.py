import json
import shutil

import numpy as np
import pytest
import yaml

from core.command_line.train import learned_nothing
from core.run_folder import RunFolder

# --- train ------------------------------------------------------------------------------------


def test_training_leaves_a_run_of_what_was_chosen(toy, toy_run, toy_data):
    run = RunFolder(toy_run, app="toy")
    assert (run.config.epochs, run.config.batch, run.config.data) == (2, 3, str(toy_data))
    assert (run.config.variant, run.config.classes) == ("base", 1)
    assert run.card.labels == ("bright",)
    assert len(run.history()) == 2


def test_a_training_says_defaults_result_and_next_steps(toy, toy_data, tmp_path):
    out = tmp_path / "run"
    result = toy("train", "--data", toy_data, "--out", out, "--quick", "--input-size", "16", "16")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"Data: {toy_data}, format halves, train 6, val 2, test 3."
    assert lines[1].startswith("Defaults: network small, variant base, channels 3, classes 1, ")
    assert "epochs" not in lines[1] and "input size" not in lines[1]
    assert lines[2].startswith("Best: accuracy 0.") and lines[2].endswith("epoch 1 of 1.")
    assert lines[-2] == f"Next: toy evaluate {out} --data {toy_data}"
    assert RunFolder(out).config.steps_per_epoch == 2


def test_a_training_that_learned_nothing_says_so(toy, toy_data, tmp_path):
    still = ("--epochs", 3, "--learning-rate", 1e-12, "--set", "validate_every=1")
    result = toy("train", "--data", toy_data, *still, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert "Warning: every validation gave the same" in result.stdout
    assert "try 2.5e-13 in place of 1e-12" in " ".join(result.stdout.split())
    # One that goes on from there may be as good as it gets.
    start = ("--initial-weights", tmp_path / "run")
    result = toy("train", "--data", toy_data, *still, *start, "--out", tmp_path / "on")
    assert result.exit_code == 0 and "Warning" not in result.stdout


@pytest.mark.parametrize(
    "scores, losses, nothing",
    [
        ([32.43] * 3, [6.6, 6.4, 6.5], True),
        ([1.0] * 3, [0.5, 0.2, 0.1], False),  # perfect from the start, and still learning
        ([32.43, 32.43, 32.5], [6.6, 6.4, 6.5], False),
        ([32.43] * 2, [6.6, 6.5], False),  # too few to tell
    ],
)
def test_learning_nothing_shows_in_scores_and_losses(scores, losses, nothing):
    rows = [{"loss": a, "val_psnr": b} for a, b in zip(losses, scores, strict=True)]
    assert learned_nothing(rows, "val_psnr") is nothing


def test_resume_needs_the_folder_only_and_may_raise_the_epochs(toy, run_copy):
    result = toy("train", "--resume", "--out", run_copy, "--epochs", 3, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["run"], found["epochs"], found["headline"]) == (str(run_copy), 3, "accuracy")
    assert 0 <= found["value"] <= 1 and 1 <= found["best_epoch"] <= 3
    changed = toy("train", "--resume", "--out", run_copy, "--batch", 2)
    assert changed.exit_code == 2
    assert "was started with batch 3, not 2" in changed.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "Nothing to train on: pass --data PATH"),
        (["--resume"], "holds no run to resume"),
        (["--data", "nowhere"], "nowhere: no such file or folder; check --data."),
        (["--data", "DATA", "--epochs", "0"], "Config: epochs is 0; it must be 1 or more."),
        (["--data", "DATA", "--variant", "wid"], "No such variant: 'wid'. Did you mean 'wide'?"),
        (["--data", "DATA", "--precision", "float23"], "Did you mean 'float32'?"),
        (["--data", "DATA", "--input-size", "15"], "the nearest that fits is 16x16"),
        (["--data", "DATA", "--resume", "--overwrite"], "exclude each other"),
        (["--data", "DATA", "--config", "missing.yaml"], "missing.yaml: cannot be read"),
    ],
)
def test_a_training_that_cannot_start_writes_nothing(toy, toy_data, tmp_path, arguments, said):
    out = tmp_path / "run"
    given = [toy_data if a == "DATA" else a for a in arguments]
    result = toy("train", "--out", out, *given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr and result.stderr.startswith("Error: ")
    assert not out.exists()


def test_a_folder_with_files_is_refused(toy, toy_data, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    result = toy("train", "--data", toy_data, "--out", tmp_path)
    assert result.exit_code == 2
    assert "already holds files; choose another --out or pass --overwrite." in result.stderr
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_ctrl_c_says_how_to_go_on(toy, toy_data, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("core.training.fit.train", stop)
    result = toy("train", "--data", toy_data, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert f"Stopped: go on with: toy train --resume --out {tmp_path / 'run'}" in result.stderr


# --- import -----------------------------------------------------------------------------------


def test_import_makes_a_run_with_the_published_weights(toy, tmp_path):
    weight = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    np.savez(tmp_path / "small.npz", **{"head.weight": weight, "head.bias": np.ones(2, np.float32)})
    arguments = ["import", "--checkpoint", tmp_path / "small.npz", "--out", tmp_path / "run"]
    result = toy(*arguments, "--labels", "a,b")
    assert result.exit_code == 0, result.stderr
    assert "Checkpoint: 2 matched, 0 missing" in result.stdout
    run = RunFolder(tmp_path / "run", app="toy")
    assert run.config.classes == 2 and run.card.labels == ("a", "b")
    assert run.record["source"] == "import" and run.record["checkpoint"]["file"] == "small.npz"
    kernel = run.load_model().get_layer("head").get_weights()[0]
    np.testing.assert_array_equal(kernel, weight.transpose(2, 3, 1, 0))
    again = toy(*arguments)
    assert again.exit_code == 2 and "pass --overwrite" in again.stderr
    missing_data = toy("evaluate", tmp_path / "run")
    assert missing_data.exit_code == 2
    assert "Nothing to evaluate on: pass --data PATH" in missing_data.stderr


def test_an_import_that_cannot_be_written_leaves_nothing(toy, tmp_path, monkeypatch):
    weights = {
        "head.weight": np.ones((1, 3, 3, 3), np.float32),
        "head.bias": np.ones(1, np.float32),
    }
    np.savez(tmp_path / "small.npz", **weights)
    monkeypatch.setattr("core.run_folder.RunFolder.save_model", lambda run, _: _full(run.path))
    arguments = ["import", "--checkpoint", tmp_path / "small.npz", "--out", tmp_path / "run"]
    result = toy(*arguments)
    assert result.exit_code == 2 and "cannot be written: the disk is full" in result.stderr
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    assert toy(*arguments, "--labels", "a").exit_code == 0
    monkeypatch.setattr("core.run_folder.RunFolder.save_model", lambda run, _: _full(run.path))
    assert toy(*arguments, "--overwrite").exit_code == 2
    run = RunFolder(tmp_path / "run")  # the earlier one
    assert run.card.labels == ("a",) and run.load_model() and not list(run.path.glob(".*"))


def test_import_is_complete_or_fails_unless_partial(toy, tmp_path):
    np.savez(tmp_path / "part.npz", **{"head.bias": np.ones(1, np.float32)})
    arguments = ["import", "--checkpoint", tmp_path / "part.npz", "--out", tmp_path / "run"]
    refused = toy(*arguments)
    assert refused.exit_code == 2 and "head.weight" in refused.stderr
    assert not (tmp_path / "run").exists()
    result = toy(*arguments, "--partial", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["counts"]["matched"] == 1 and list(found["not_loaded"]["missing"]) == [
        "head.weight"
    ]


# --- evaluate and predict ---------------------------------------------------------------------


def test_evaluate_prints_pure_json_and_keeps_the_result(toy, run_copy, toy_data, tmp_path):
    arguments = ["evaluate", run_copy, "--data", toy_data, "--json"]
    result = toy(*arguments, "--per-sample", tmp_path / "rows.csv")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["samples"] == 3 and found["split"] == "test" and found["protocol"] == "rule plain"
    assert found["metrics"]["undefined"] is None
    kept = RunFolder(run_copy).metrics()["keras/halves/test"]
    assert kept["metrics"] == found["metrics"]
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0] == "id,accuracy" and len(lines) == 4


def test_evaluate_prints_scores_it_cannot_keep(toy, run_copy, toy_data, monkeypatch):
    monkeypatch.setattr("core.run_folder.write_json", _full)
    result = toy("evaluate", run_copy, "--data", toy_data, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["samples"] == 3
    assert "Not kept with the run: metrics.json: cannot be written: the disk is full" in (
        result.stderr
    )


def _full(path, *_):
    from core.errors import UserError

    raise UserError(f"{path.name}: cannot be written: the disk is full; free some space.")


def test_evaluate_changes_the_decoding(toy, run_copy, toy_data):
    arguments = ["evaluate", run_copy, "--data", toy_data, "--split", "val"]
    strict = toy(*arguments, "--set", "rule=strict")
    assert strict.exit_code == 0, strict.stderr
    assert "Protocol: rule strict" in strict.stdout
    assert list(RunFolder(run_copy).metrics()) == ["keras/halves/val/rule=strict"]
    for wrong, said in (
        ("rul=strict", "--set: no such key: 'rul'. Did you mean 'rule'?"),
        ("rule=strickt", "--set: rule is 'strickt'. Did you mean 'strict'?"),
    ):
        result = toy(*arguments, "--set", wrong)
        assert result.exit_code == 2 and said in result.stderr


def test_evaluate_takes_the_data_of_the_training(toy, run_copy, toy_data):
    result = toy("evaluate", run_copy)
    assert result.exit_code == 0
    assert f"Defaults: data {toy_data}." in result.stdout
    assert "accuracy" in result.stdout
    as_json = toy("evaluate", run_copy, "--json")
    assert "Defaults: " in as_json.stderr and json.loads(as_json.stdout)["split"] == "test"


def test_predict_names_bad_files_and_goes_on(toy, toy_run, toy_data, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    good = [toy_data / f"test_{n}.png" for n in range(3)]
    arguments = ["predict", toy_run, good[0], tmp_path / "bad.png", *good[1:], "--batch", 2]
    result = toy(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "3 of 4 inputs predicted" in result.stdout
    assert result.stderr.count("Error: ") == 1 and "bad.png: is not an image" in result.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    expected = [f"test_{n}{end}" for n in range(3) for end in (".txt", "_overlay.png")]
    assert written == sorted(expected)

    again = toy(*arguments, "--out", tmp_path / "out")
    assert again.exit_code == 2 and "pass --overwrite" in again.stderr
    only_bad = toy("predict", toy_run, tmp_path / "bad.png", "--out", tmp_path / "o2", "--json")
    assert only_bad.exit_code == 2
    found = json.loads(only_bad.stdout)
    assert found["results"] == [] and found["failed"][0]["input"].endswith("bad.png")


def test_predict_refuses_inputs_whose_results_would_collide(toy, toy_run, toy_data, tmp_path):
    for name in ("a.png", "a.bmp"):
        shutil.copy(toy_data / "test_0.png", tmp_path / name)
    result = toy(
        "predict", toy_run, tmp_path / "a.png", tmp_path / "a.bmp", "--out", tmp_path / "o"
    )
    assert result.exit_code == 2 and "would overwrite that of 'a.png'" in result.stderr


@pytest.mark.parametrize("command", ["evaluate", "predict", "export", "report", "benchmark"])
def test_a_folder_that_is_no_run_is_refused(toy, tmp_path, command):
    arguments = {"predict": [tmp_path, "--out", tmp_path / "o"], "evaluate": ["--data", tmp_path]}
    result = toy(command, tmp_path, *arguments.get(command, []))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{tmp_path}: is not a run folder (has no config.yaml)" in result.stderr


def test_a_run_of_another_app_is_refused(toy, run_copy):
    path = run_copy / "config.yaml"
    document = yaml.safe_load(path.read_text())
    document["config"]["app"] = "reid"
    path.write_text(yaml.safe_dump(document))
    result = toy("evaluate", run_copy)
    assert result.exit_code == 2 and "is a run of 'reid', not of 'toy'" in result.stderr
