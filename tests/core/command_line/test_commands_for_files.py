"""What is done with the files of a run, and what needs no run: export to report, models to demo."""

import json
from types import SimpleNamespace

import pytest
import small_task

from core.command_line.quiet import tiny_tflite

# --- export, verify, benchmark, report ------------------------------------------------------------


def test_export_hands_every_choice_on(toy, toy_run, toy_data, stand_in, tmp_path):
    made = SimpleNamespace(path=tmp_path / "a.tflite", sidecar=tmp_path / "a.json", notes=["done"])
    made.path.write_bytes(b"x" * 1500)
    calls = stand_in("core.export.exporting.export", made)
    result = toy("export", toy_run, "--precision", "int8", "--io", "uint8", "--input-size", 32, 16)
    assert result.exit_code == 0, result.stderr
    (_, precision), named = calls[0]
    assert precision == "int8"
    assert named == {
        "data": str(toy_data),
        "format": "auto",
        "samples": 200,
        "io": "uint8",
        "calibrator": "own",
        "equalize": False,
        "balance": False,
        "correct_bias": False,
        "out": None,
        "overwrite": False,
        "input_size": (32, 16),
        "open_size": False,
    }
    assert f"Defaults: calibration data {toy_data}" in result.stdout
    assert "Done." in result.stdout and "(1.5 kB)" in result.stdout


@pytest.mark.parametrize(
    "option, value, near",
    [
        ("precision", "int9", "int8"),
        ("io", "uint", "uint8"),
        ("calibrator", "convert", "converter"),
    ],
)
def test_export_names_the_nearest_choice(toy, toy_run, option, value, near):
    result = toy("export", toy_run, f"--{option}", value)
    assert result.exit_code == 2
    assert result.stderr == f"Error: --{option} is '{value}'. Did you mean '{near}'?\n"


def test_verify_fails_with_exit_code_1(toy, run_copy, toy_data, stand_in):
    from core.export.verify import Verification

    path = run_copy / "export" / "run_int8.tflite"
    path.parent.mkdir()
    path.write_bytes(tiny_tflite())
    about = {"subject": {"sha256": "0" * 64}, "protocol": "rule plain", "notes": ["3 samples"]}
    found = Verification(path.name, "int8", **about)
    found.add("operators XNNPACK took", "9 of 9")
    found.add("accuracy, XNNPACK", "0.5", "loses ≤ 0.01", False)
    calls = stand_in("core.export.verify.verify", found)
    result = toy("verify", path, "--samples", 2)
    assert result.exit_code == 1
    assert f"Defaults: run {run_copy}, data {toy_data}." in result.stdout
    assert "accuracy, XNNPACK" in result.stdout and "NO" in result.stdout
    assert result.stderr == f"Failed: {path}: does not hold: accuracy, XNNPACK.\n"
    assert (calls[0][1]["data"], calls[0][1]["samples"]) == (str(toy_data), 2)

    as_json = toy("verify", path, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["rows"][1]["ok"] is False

    found.rows.pop()
    assert toy("verify", path).exit_code == 0


def test_benchmark_goes_on_after_a_bad_file(toy, tmp_path):
    (tmp_path / "good.tflite").write_bytes(tiny_tflite())
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    arguments = ["benchmark", tmp_path / "bad.tflite", tmp_path / "good.tflite", "--threads", 1]
    result = toy(*arguments, "--calls", 2, "--json", "--csv", tmp_path / "times.csv")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [(t["name"], t["threads"]) for t in found["results"]] == [("good.tflite", 1)]
    assert [one["input"] for one in found["failed"]] == [str(tmp_path / "bad.tflite")]
    assert "bad.tflite" in result.stderr
    assert (tmp_path / "times.csv").read_text().startswith("name,threads,median_ms,")


def test_benchmark_of_a_run_times_the_keras_network(toy, toy_run):
    result = toy("benchmark", toy_run, "--calls", 2)
    assert result.exit_code == 0, result.stderr
    assert "run (Keras)" in result.stdout


def test_report_prints_the_page(toy, toy_run, toy_data, stand_in):
    calls = stand_in("core.export.report.write_report", toy_run / "report.html")
    result = toy("report", toy_run, "--json")
    page = {"run": str(toy_run), "report": str(toy_run / "report.html")}
    assert json.loads(result.stdout) == page
    assert calls[0][1]["data"] == str(toy_data)


# --- models, data, demo -----------------------------------------------------------------------


def test_models_counts_the_parameters(toy):
    found = json.loads(toy("models", "--json").stdout)["networks"]
    assert [(m["network"], m["variant"]) for m in found] == [("small", "base"), ("small", "wide")]
    assert {m["parameters"] for m in found} == {28}
    assert found[0]["published_parameters"] == 28
    table = toy("models").stdout
    assert "weights: none published" in table


def test_data_says_what_was_read_and_draws_it(toy, toy_data, tmp_path):
    from core.data.images import read_image

    result = toy("data", toy_data, "--out", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.stderr
    assert "11 (train 6, val 2, test 3)" in result.stdout
    assert "A toy." in result.stdout and "Licence: CC0" in result.stdout
    assert "No problems found in 11 samples." in result.stdout
    assert read_image(tmp_path / "sheet.png").shape == (3 * 212 + 6, 4 * 198 + 6, 3)


def test_data_with_problems_ends_with_1(toy, toy_data, monkeypatch):
    monkeypatch.setattr(small_task.TASK, "problems", ("a.png: is empty; replace it.",))
    result = toy("data", toy_data)
    assert result.exit_code == 1
    assert "Problem: a.png: is empty; replace it." in result.stdout
    as_json = toy("data", toy_data, "--json")
    assert as_json.exit_code == 1
    found = json.loads(as_json.stdout)
    assert found["problems"] == ["a.png: is empty; replace it."]
    assert found["splits"] == {"train": 6, "val": 2, "test": 3}


def test_the_demo_replaces_its_own_folder_only(toy, tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("mine")
    refused = toy("demo", "--out", tmp_path)
    assert refused.exit_code == 2 and "pass --overwrite" in refused.stderr
    (tmp_path / "demo.json").write_text("{}")
    monkeypatch.setattr(
        "core.command_line.demo._train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    stopped = toy("demo", "--out", tmp_path)
    assert stopped.exit_code == 130
    assert f"Replacing the earlier demo in {tmp_path}." in stopped.stdout
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_demo_walks_the_whole_way(toy, toy_data, tmp_path, monkeypatch):
    monkeypatch.setattr(small_task.SmallTask, "sample_data", toy_data, raising=False)
    result = toy("demo", "--out", tmp_path / "demo", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    names = [row["name"] for row in found["results"]]
    assert names == ["Keras", "TFLite float32", "TFLite int8"]
    assert all(row["median_ms"] > 0 and row["file_bytes"] > 0 for row in found["results"])
    assert found["passed"] is True
    assert (tmp_path / "demo" / "report.html").is_file()
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["epochs"] == 1
