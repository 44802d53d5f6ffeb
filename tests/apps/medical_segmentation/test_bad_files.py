"""Wrong pictures, files and checkpoints on the command line: one sentence, nothing lost."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from medseg_attempts import contents, cut_off, emptied, medseg, picture, sentence
from PIL import Image

# --- prediction -------------------------------------------------------------------------------


def test_good_files_are_predicted_beside_bad_ones(file, tmp_path):
    folder = tmp_path / "mixed"
    for number, name in enumerate(("good.png", "bad.png", "cut.png", "empty.png", "ünï 数.png")):
        picture(folder / name, seed=number)
    (folder / "bad.png").write_bytes(b"%PDF-1.7")
    cut_off(folder / "cut.png")
    emptied(folder / "empty.png")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere")
    result = medseg("predict", file, folder, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [Path(entry["input"]).name for entry in found["results"]] == ["good.png", "ünï 数.png"]
    assert [Path(entry["input"]).name for entry in found["failed"]] == [
        "bad.png",
        "cut.png",
        "empty.png",
        "gone.png",
    ]
    assert result.stderr.count("Error: ") == result.stderr.count("\n") == 4
    for name in ("good_mask.png", "good_overlay.png", "ünï 数_mask.png", "ünï 数_overlay.png"):
        assert Image.open(tmp_path / "out" / name).size == (24, 16)


@pytest.mark.parametrize("size", [(1, 1), (2000, 10), (10, 2000), (3, 5)])
def test_pictures_of_any_shape_keep_their_size(file, tmp_path, size):
    path = picture(tmp_path / "p.png", size)
    assert medseg("predict", file, path, "--out", tmp_path / "out").exit_code == 0
    for name in ("p_mask.png", "p_overlay.png"):
        assert Image.open(tmp_path / "out" / name).size == size


@pytest.mark.parametrize(
    "name, mode",
    [
        ("a.jpg", "CMYK"),
        ("a.tif", "F"),
        *(("a.png", mode) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
    ],
)
def test_every_kind_of_picture_is_predicted(file, tmp_path, name, mode):
    path = picture(tmp_path / name, mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        Image.fromarray(np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 150).save(path)
    result = medseg("predict", file, path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert set(np.unique(Image.open(tmp_path / "out" / "a_mask.png"))) <= {0, 255}


def test_inputs_that_are_nothing_to_predict(file, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no picture")
    out = tmp_path / "out"
    assert "notes: holds no image files" in sentence(
        medseg("predict", file, tmp_path / "notes", "--out", out)
    )
    assert "gone.png: no such file or folder" in sentence(
        medseg("predict", file, tmp_path / "gone.png", "--out", out)
    )
    assert not out.exists()


def test_equal_names_in_nested_folders(file, tmp_path):
    for part in ("a", "b"):
        picture(tmp_path / "in" / part / "same.png")
    out = tmp_path / "out"
    assert "a second input is called 'same.png'" in sentence(
        medseg("predict", file, tmp_path / "in" / "a", tmp_path / "in" / "b", "--out", out)
    )
    assert medseg("predict", file, tmp_path / "in", "--out", out, "--no-pictures").exit_code == 0
    assert list(contents(out)) == ["a/same_mask.png", "b/same_mask.png"]


def test_results_inside_the_inputs_are_not_predicted_again(file, tmp_path):
    folder = tmp_path / "in"
    picture(folder / "a.png")
    before = contents(folder)
    for _ in range(2):
        result = medseg("predict", file, folder, "--out", folder / "out", "--overwrite")
        assert result.exit_code == 0 and "1 of 1 inputs predicted" in result.stdout
    assert list(contents(folder)) == ["a.png", "out/a_mask.png", "out/a_overlay.png"]
    for given in (folder, folder / "a.png"):
        assert "in: holds the inputs, which results could replace; choose another --out." in (
            sentence(medseg("predict", file, given, "--out", folder, "--overwrite"))
        )
    assert contents(folder)["a.png"] == before["a.png"]


@pytest.mark.parametrize(
    "setting, said",
    [
        ("protocol=officia", "No such protocol: 'officia'. Did you mean 'official'?"),
        ("protocl=native", "--set: no such key: 'protocl'. Did you mean 'protocol'?"),
        ("threshold=2", "The threshold is 2; pass a number between 0 and 1."),
        ("threshold=high", "The threshold is 'high'; pass a number between 0 and 1."),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_decoding_that_does_not_exist(file, data, tmp_path, command, setting, said):
    out = tmp_path / "out"
    more = ["--data", data] if command == "evaluate" else [data / "images", "--out", out]
    assert sentence(medseg(command, file, *more, "--set", setting)) == f"Error: {said}\n"
    assert not out.exists()


def test_the_threshold_is_used_and_said(file, data):
    arguments = ["evaluate", file, "--data", data, "--split", "all", "--json"]
    found = [
        json.loads(medseg(*arguments, "--set", f"threshold={value}").stdout)
        for value in (0.001, 0.5, 0.999)
    ]
    recalls = [one["metrics"]["recall"] for one in found]
    assert recalls[0] > recalls[1] > recalls[2]
    assert "threshold 0.999" in found[2]["protocol"]


# --- exported files ---------------------------------------------------------------------------


FILES = {
    "empty": (lambda whole: b"", "is empty (0 bytes); export or copy it again."),
    "text": (lambda whole: b"text" * 99, "is not a TensorFlow Lite file"),
    "cut": (lambda whole: whole[: len(whole) // 2], "is damaged or cut off"),
}


@pytest.mark.parametrize("change, said", FILES.values(), ids=FILES)
@pytest.mark.parametrize("command", ["evaluate", "predict", "verify", "benchmark"])
def test_a_corrupt_file(file, data, tmp_path, command, change, said):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(change(file.read_bytes()))
    more = {
        "predict": [data / "images", "--out", tmp_path / "out"],
        "benchmark": ["--calls", 2],
    }.get(command, ["--data", data])
    result = medseg(command, bad, *more)
    assert f"bad.tflite: {said}" in sentence(result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "verify"])
def test_files_of_others(file, data, tmp_path, command):
    from core.command_line.quiet import tiny_tflite
    from core.tflite.metadata import embed, extract

    (tmp_path / "bare.tflite").write_bytes(tiny_tflite())
    document = extract(file)
    document["model_card"]["app"] = "reid"
    (tmp_path / "other.tflite").write_bytes(embed(file.read_bytes(), document))
    for name, said in (
        ("bare.tflite", "carries no Gossamer model card"),
        ("other.tflite", "'reid'"),
        ("none.tflite", "no such run folder or .tflite file"),
    ):
        said_now = sentence(medseg(command, tmp_path / name, "--data", data))
        assert f"{name}: " in said_now and said in said_now


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--io", "uint8"], "--io uint8 is for int8 files"),
        (["--out", "net.bin"], "net.bin: must end in .tflite; choose another --out."),
        (["--out", "there.tflite"], "there.tflite: exists; choose another --out or pass"),
        (["--input-size", "100"], "holds no model.keras yet"),
        (["--precision", "int4"], "--precision is 'int4'. Did you mean 'int8'?"),
    ],
)
def test_exports_that_cannot_be(run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("there.tflite").write_bytes(b"mine")
    assert said in sentence(medseg("export", run, *arguments))
    assert Path("there.tflite").read_bytes() == b"mine" and not (run / "export").exists()


# --- import -----------------------------------------------------------------------------------


class _Order:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_checkpoints_that_are_none(run, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound = Path(__file__).parents[2] / "data" / "checkpoints" / "small_net_zip.pth"
    for name, content in {
        "orders.pth": pickle.dumps({"weight": _Order()}),
        "cut.pth": sound.read_bytes()[:1500],
        "empty.pth": b"",
        "text.pth": b"hello" * 50,
        "picture.pth": (data / "images" / "0.png").read_bytes(),
    }.items():
        Path(name).write_bytes(content)
    out = tmp_path / "new"
    for name, said in (
        ("orders.pth", "asks to run 'posix.mkdir' while loading; such a file is not read."),
        ("cut.pth", "is cut short or damaged"),
        ("empty.pth", "is empty (0 bytes)"),
        ("text.pth", "is not a checkpoint"),
        ("picture.pth", "is a PNG image, not a checkpoint."),
        ("nothing.pth", "no such file"),
        ("data", "is a folder; give the checkpoint file."),
    ):
        result = medseg("import", "--checkpoint", name, "--out", out, "--json")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"Error: {name}: ") and said in result.stderr
        assert result.stderr.count("\n") == 1
    assert not out.exists() and not Path("pwned").exists()
    before = contents(run)
    assert "already holds files" in sentence(medseg("import", "--checkpoint", sound, "--out", run))
    assert contents(run) == before


@pytest.mark.slow
def test_a_checkpoint_of_another_network_is_reported_and_nothing_written(tmp_path):
    sound = Path(__file__).parents[2] / "data" / "checkpoints" / "small_net_zip.pth"
    arguments = ["import", "--checkpoint", sound, "--variant", "t", "--out", tmp_path / "new"]
    result = medseg(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "stem.0.weight" in result.stderr and "… and " in result.stderr
    assert result.stderr.rstrip().endswith("or load only what fits (--partial).")
    assert len(result.stderr.splitlines()) < 30
    partly = sentence(medseg(*arguments, "--partial"))
    assert "holds nothing that fits mk_unet t; check --network and --variant." in partly
    assert not (tmp_path / "new").exists()
