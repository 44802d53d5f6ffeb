"""Tables and pictures of an evaluation, where the task has some."""

import json


def test_classes_and_confusions_follow_the_summary(colours, colour_run, tmp_path):
    done = colours("evaluate", colour_run.path, "--split", "train")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index("Classes:")
    assert lines[start + 1].split()[:5] == ["class", "samples", "predictions", "precision", "95%"]
    assert [line.split()[0] for line in lines[start + 3 : start + 6]] == ["red", "green", "blue"]
    assert lines[-1].startswith("Protocol:")


def test_the_document_holds_the_tables_and_the_run_keeps_the_summary(colours, colour_run):
    done = colours("evaluate", colour_run.path, "--split", "train", "--json")
    told = json.loads(done.stdout)
    assert [row["samples"] for row in told["tables"]["classes"]] == [7, 5, 4]
    assert told["tables"]["classes"][0]["recall_low"] <= told["tables"]["classes"][0]["recall"]
    assert sum(row["count"] for row in told["tables"].get("confused", [])) == round(
        16 * (1 - told["metrics"]["accuracy"])
    )
    kept = colour_run.metrics()["keras/colours/train"]
    assert kept["metrics"] == told["metrics"] and "tables" not in kept


def test_pictures_of_the_scores_are_written(colours, colour_run, tmp_path):
    out = tmp_path / "pictures"
    done = colours("evaluate", colour_run.path, "--pictures", out, "--json")
    assert done.exit_code == 0, done.stderr
    names = ["confusion.png", "reliability.png"]
    assert json.loads(done.stdout)["files"] == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == names
    again = colours("evaluate", colour_run.path, "--pictures", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_a_task_without_such_pictures_says_so(toy, toy_run, tmp_path):
    done = toy("evaluate", toy_run, "--pictures", tmp_path / "pictures")
    assert done.exit_code == 2 and "has no pictures of its scores" in done.stderr
    assert not (tmp_path / "pictures").exists()
