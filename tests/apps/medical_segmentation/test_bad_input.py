"""What a user can get wrong, through the command line: one sentence, an exit code, nothing lost."""

import hashlib
import json
import os
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from apps.medical_segmentation.cli import app
from apps.medical_segmentation.task import TASK
from core.config import TrainConfig
from core.run_folder import RunFolder


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


@pytest.fixture
def data(tmp_path):
    return data_set(tmp_path / "data")


@pytest.fixture
def run(tmp_path):
    """Return a run folder without weights: what is refused must be refused before they matter."""
    card = TASK.network("mk_unet").card("t").replace(input_size=(32, 32), labels=("nucleus",))
    config = TrainConfig("medseg", "mk_unet", "t", input_size=(32, 32), options=dict(TASK.options))
    return RunFolder.create(tmp_path / "run", config, card, source="train").path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return an exported file of a network that is made in a moment: bright is foreground."""
    import keras

    from core.export.convert import to_tflite
    from core.tflite.metadata import embed

    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="head")(inputs)
    card = TASK.network("mk_unet").card("t").replace(input_size=(32, 32), labels=("bright",))
    document = {"model_card": card.to_dict(), "precision": "float32"}
    content = to_tflite(keras.Model(inputs, outputs), "float32")
    path = tmp_path_factory.mktemp("file") / "bright.tflite"
    path.write_bytes(embed(content, document, card.labels))
    return path


# --- data sets --------------------------------------------------------------------------------


def _no_mask(data):
    (data / "masks" / "1.png").unlink()


def _no_image(data):
    (data / "images" / "2.png").unlink()


def _nothing(data):
    shutil.rmtree(data / "images")
    shutil.rmtree(data / "masks")


def _twice(data):
    picture(data / "images" / "1.bmp")


@pytest.mark.parametrize(
    "harm, said",
    [
        (shutil.rmtree, "data: no such file or folder; check --data."),
        (_nothing, r"data: not recognised as a data set \(found an empty folder\)"),
        (_no_mask, r"images: 1 image\(s\) without mask \('1.png'\); add, remove or rename"),
        (_no_image, r"masks: 1 mask\(s\) without image \('2.png'\); add, remove or rename"),
        (_twice, "'1.bmp' and '1.png' have the same base name"),
    ],
)
@pytest.mark.parametrize("command", ["data", "evaluate", "train"])
def test_a_data_set_that_cannot_be_read(data, run, file, tmp_path, command, harm, said):
    harm(data)
    if command == "evaluate":
        arguments = [file, "--data", data, "--split", "all", "--json"]
    elif command == "train":
        arguments = ["--data", data, "--out", tmp_path / "new", "--json"]
    else:
        arguments = [data]
    assert re.search(said, sentence(medseg(command, *arguments)))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["data", "evaluate"])
def test_a_link_to_nowhere_is_named(data, file, command):
    (data / "images" / "0.png").unlink()
    (data / "images" / "0.png").symlink_to(data / "nowhere.png")
    arguments = [data] if command == "data" else [file, "--data", data, "--split", "all"]
    assert "0.png: no such file" in sentence(medseg(command, *arguments))


def _zero(path):
    path.write_bytes(b"")


def _cut(path):
    path.write_bytes(path.read_bytes()[:200])


def _pdf(path):
    path.write_bytes(b"%PDF-1.7\n" + b"x" * 300)


@pytest.mark.parametrize(
    "harm, said",
    [
        (_zero, "is empty (0 bytes); copy or download it again."),
        (_cut, "cannot be decoded, it is damaged or cut off; copy or download it again."),
        (_pdf, "is not an image in a known format (its content, whatever its name); replace it."),
    ],
)
@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_file_that_is_no_picture_is_named(data, file, part, harm, said):
    bad = data / part / "1.png"
    if part == "masks":  # large enough to be cut
        picture(bad, mode="L")
    harm(bad)
    before = contents(data)
    found = medseg("data", data, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["problems"] == [f"{bad}: {said}"]
    scored = medseg("evaluate", file, "--data", data, "--split", "all", "--json")
    assert sentence(scored) == f"Error: {bad}: {said}\n"
    assert contents(data) == before


def test_a_mask_of_another_size_is_named(data, file):
    picture(data / "masks" / "3.png", (7, 5), mode="L")
    said = "is 5x7 (height x width) but its image '3.png' 16x24; export them at the same size."
    found = medseg("data", data)
    assert found.exit_code == 1 and said in found.stdout
    assert said in sentence(medseg("evaluate", file, "--data", data, "--split", "all"))


def test_data_too_small_to_split_can_be_evaluated_on(tmp_path, file):
    two = data_set(tmp_path / "two", count=2)
    assert medseg("evaluate", file, "--data", two, "--split", "all").exit_code == 0
    assert "no samples in its 'test' split (unsplit 2); choose another --split." in sentence(
        medseg("evaluate", file, "--data", two)
    )
    refused = medseg("train", "--data", two, "--out", tmp_path / "run")
    assert refused.exit_code == 2 and not (tmp_path / "run").exists()
    assert "training needs a 'train' and a 'val' split" in refused.stderr


def test_a_split_that_does_not_exist(data, file):
    for command in ("evaluate", "verify"):
        said = sentence(medseg(command, file, "--data", data, "--split", "tets"))
        assert said == "Error: No such split: 'tets'. Did you mean 'test'?\n"


# --- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("--input-size 100", "multiples of 32; the nearest that fits is 96x96."),
        ("--input-size 64x64x", "--input-size is '64x64x'; pass its sides, such as: 256 256."),
        ("--input-size 64x64x64", "has 3 sides, but the input of mk_unet has 2; pass height and"),
        ("--classes 0", "classes is 0; it must be 1 or more."),
        ("--channels 2", "channels is 2; it must be 1 (grey) or 3 (RGB)."),
        ("--batch 0", "batch is 0; it must be 1 or more."),
        ("--batch many", "Invalid value for '--batch': pass a whole number."),
        ("--learning-rate inf", "learning_rate is inf; it must be a positive number."),
        ("--network unet", "No such network: 'unet'. Did you mean 'mk_unet'?"),
        ("--set epohcs=1", "--set: no such key: 'epohcs'. Did you mean 'epochs'?"),
        ("--set epochs=[1,2]", "epochs is [1, 2]; it must be a whole number"),
        ("--set batch=1e300", "batch is 1e+300; it must be a whole number (of at most 2^32)."),
        ("--set seed=99999999999", "seed is 99999999999; it must be a whole number"),
        ("--set options.loss=dise", "Option 'loss' is 'dise'. Known: auto, structure, ce_dice."),
        ("--set loss=dice", "no such key: 'loss'. Did you mean 'options.loss'?"),
        ("--set =1", "--set =1: is no choice; write --set key=value."),
        ("--set labels=[", "--set labels=[: the value cannot be read; quote it."),
        ("--initial-weights nowhere", "nowhere: is not a run folder (does not exist)"),
        ("--format isic2016", "expected the folders"),
        ("--format folde", "No such data format: 'folde'. Did you mean 'folder'?"),
    ],
)
def test_choices_that_cannot_be_trained_with(data, tmp_path, arguments, said):
    out = tmp_path / "new"
    result = medseg("train", "--data", data, "--variant", "t", "--out", out, *arguments.split())
    assert result.exit_code == 2 and not out.exists()
    assert result.stderr.count("\n") == 1 and said in result.stderr


@pytest.mark.parametrize(
    "content, said",
    [
        (b"epohcs: 5\n", "no such key: 'epohcs'. Did you mean 'epochs'?"),
        (b"epochs: ten\n", "epochs is 'ten'; it must be a whole number"),
        (b"a: [\n", "is not valid YAML near line"),
        (b"", "must hold 'key: value' lines."),
        (b"\xff\xfe\x00", "is not a text file (UTF-8)"),
        (b"app: reid\n", "is a config of another app, not of 'medseg'"),
        (b"!!python/object/apply:os.mkdir [pwned]\n", "is not valid YAML near line 1"),
    ],
)
def test_config_files(data, tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_bytes(content)
    arguments = ["--data", data, "--out", tmp_path / "new", "--config", tmp_path / "c.yaml"]
    assert said in sentence(medseg("train", *arguments))
    assert not (tmp_path / "new").exists() and not (tmp_path / "pwned").exists()


def test_an_output_folder_that_is_in_use(data, run, tmp_path):
    before = contents(run)
    assert "already holds files; choose another --out or pass --overwrite." in sentence(
        medseg("train", "--data", data, "--out", run)
    )
    assert "is a file, not a folder; choose another --out." in sentence(
        medseg("train", "--data", data, "--out", run / "config.yaml")
    )
    assert "was started with data 'sample', not" in sentence(
        medseg("train", "--resume", "--data", data, "--out", run)
    )
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("mine")
    for folder in (tmp_path / "letters", tmp_path / "nowhere"):
        said = sentence(medseg("train", "--resume", "--out", folder))
        assert f"{folder}: holds no run to resume" in said
    assert contents(run) == before and (tmp_path / "letters" / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_binary_masks_are_no_masks_of_three_classes(data, tmp_path):
    out = tmp_path / "new"
    arguments = ["--data", data, "--variant", "t", "--input-size", 32, "--classes", 3]
    result = medseg("train", *arguments, "--out", out)
    assert result.exit_code == 2 and not out.exists()
    assert re.search(
        r"Error: Mask '\d.png' has values \{0, 255\}; expected class indices 0..2. Pass --classes "
        r"1 if it is a binary mask, or store class indices.\n$",
        result.stderr,
    )


# --- run folders ------------------------------------------------------------------------------


def _changed(name, **values):
    def harm(run):
        document = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({**document, **values}))

    return harm


def _written(name, content):
    return lambda run: (run / name).write_bytes(content)


def _of_another_app(run):
    document = yaml.safe_load((run / "config.yaml").read_text())
    document["config"]["app"] = "reid"
    (run / "config.yaml").write_text(yaml.safe_dump(document))


DAMAGE = {
    "config missing": (lambda run: (run / "config.yaml").unlink(), "is not a run folder"),
    "config empty": (_written("config.yaml", b""), "config.yaml: is not the config of a run"),
    "config binary": (_written("config.yaml", b"\xff\xfe"), "config.yaml: is damaged"),
    "config a number": (
        _written("config.yaml", b"format_version: 1\nconfig: 5\n"),
        "config.yaml: is not the config of a run",
    ),
    "config of a later version": (
        _written("config.yaml", b"format_version: 99\nconfig: {}\n"),
        "has run-folder format 99, this version reads 1",
    ),
    "config of another app": (_of_another_app, "is a run of 'reid', not of 'medseg'"),
    "card missing": (lambda run: (run / "model_card.json").unlink(), "is missing or damaged"),
    "card empty": (_written("model_card.json", b""), "model_card.json: is missing or damaged"),
    "card a number": (_written("model_card.json", b"5"), "holds no model card"),
    "card of nothing": (_written("model_card.json", b"{}"), "missing fields"),
    "card with more": (_changed("model_card.json", extra=1), "unknown fields ['extra']"),
    "card with a size in words": (
        _changed("model_card.json", input_size="large"),
        "the model card has input_size 'large'; it is damaged",
    ),
    "card with three sides": (_changed("model_card.json", input_size=[1, 2, 3]), "input_size"),
    "card with one mean": (_changed("model_card.json", mean=[0.5]), "mean, std and channels"),
    "card with a number to decode by": (_changed("model_card.json", decode=5), "decode 5"),
    "metrics cut off": (_written("metrics.json", b'{"a'), "metrics.json: is damaged; delete it"),
    "metrics a list": (_written("metrics.json", b"[]"), "metrics.json: is damaged; delete it"),
    "no weights": (lambda run: None, "holds no model.keras yet; finish the training"),
    "weights empty": (_written("model.keras", b""), "model.keras: cannot be loaded (cut off"),
    "weights cut": (_written("model.keras", b"PK\x03\x04rest"), "cannot be loaded (cut off"),
}


@pytest.mark.parametrize("harm, said", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_folder(run, data, harm, said):
    harm(run)
    before = contents(run)
    assert said in sentence(medseg("evaluate", run, "--data", data, "--split", "all", "--json"))
    assert contents(run) == before


@pytest.mark.parametrize("content", [b"\xff\xfe", b"epoch,loss\n1,low\n", b"epoch\n1,2,3\n"])
def test_a_damaged_history(run, content):
    from core.errors import UserError

    (run / "history.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"history\.csv: is damaged; train --resume writes it anew"):
        RunFolder(run).history()


# --- prediction -------------------------------------------------------------------------------


def test_good_files_are_predicted_beside_bad_ones(file, tmp_path):
    folder = tmp_path / "mixed"
    for number, name in enumerate(("good.png", "bad.png", "cut.png", "empty.png", "ünï 数.png")):
        picture(folder / name, seed=number)
    (folder / "bad.png").write_bytes(b"%PDF-1.7")
    _cut(folder / "cut.png")
    _zero(folder / "empty.png")
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
