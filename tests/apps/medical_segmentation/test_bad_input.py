"""Wrong data, choices and run folders on the command line: one sentence, nothing lost."""

import json
import re
import shutil

import pytest
import yaml
from medseg_attempts import contents, cut_off, data_set, emptied, medseg, picture, sentence

from core.run_folder import RunFolder

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


def _pdf(path):
    path.write_bytes(b"%PDF-1.7\n" + b"x" * 300)


@pytest.mark.parametrize(
    "harm, said",
    [
        (emptied, "is empty (0 bytes); copy or download it again."),
        (cut_off, "cannot be decoded, it is damaged or cut off; copy or download it again."),
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
        (
            "--set options.loss=dise",
            "Option 'loss' is 'dise'. Known: auto, structure,",
        ),
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
        r"Error: Mask '.*/masks/\d.png' has values \{0, 255\}; expected class indices 0..2. Pass "
        r"--classes 1 if it is a binary mask, or store class indices.\n$",
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
