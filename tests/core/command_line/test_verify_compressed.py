"""The command verify beside the run that a file's network was compressed from."""

import json
import shutil

import yaml

from core.run_folder import RunFolder


def test_a_file_is_compared_with_the_run_before_by_its_results(small, toy, toy_run):
    out, _ = small
    file = toy("export", out, "--precision", "int8", "--overwrite", "--json")
    checks = {}
    for run in (out, out / "stages" / "1_prune", toy_run):
        arguments = ("verify", json.loads(file.stdout)["file"], "--run", run, "--json")
        found = json.loads(toy(*arguments).stdout)
        checks[run] = {row["check"] for row in found["rows"]}
        told = "the run it was compressed from: by results" in " ".join(found["notes"])
        assert told is (run != out)
    assert "kernels as the run's" in checks[out]
    for run in (out / "stages" / "1_prune", toy_run):
        assert checks[run] >= {"output error, XNNPACK", "accuracy, XNNPACK"}
        assert not checks[run] & {"kernels as the run's", "exported from the run's present weights"}
        # A file of the same name of that run's own may have been verified before.
        assert not any(name.startswith("verify/") for name in RunFolder(run).metrics())
    assert "verify/run_int8.tflite" in RunFolder(out).metrics()


def test_of_a_pruned_float_file_the_distance_to_the_run_before_is_told_and_no_fault(
    small, toy, toy_run
):
    pruned = small[0] / "stages" / "1_prune"
    file = json.loads(toy("export", pruned, "--overwrite", "--json").stdout)["file"]
    found = json.loads(toy("verify", file, "--run", toy_run, "--json").stdout)
    (row,) = (row for row in found["rows"] if row["check"] == "output error, XNNPACK")
    assert "dB SNR" in row["value"] and row["ok"] is None


def test_runs_written_over_from_each_other_are_no_endless_way(small, toy, run_copy, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for run, before in ((one, other), (other, one)):
        shutil.copytree(small[0], run)
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["config"]["initial_weights"] = str(before)
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    file = json.loads(toy("export", one, "--precision", "int8", "--overwrite", "--json").stdout)
    found = json.loads(toy("verify", file["file"], "--run", run_copy, "--json").stdout)
    rows = {row["check"]: row["ok"] for row in found["rows"]}
    assert rows["exported from the run's present weights"] is False
