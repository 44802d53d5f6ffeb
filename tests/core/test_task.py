"""What a domain need not say: the defaults of a task."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.data.images import write_image
from core.data.index import Sample, make_index
from core.data.readers import Reader
from core.errors import UserError
from core.model_card import ModelCard
from core.network import Network
from core.task import Example, Objective, Scores, Task

PICTURE = ModelCard("plain", "base", "plain", input_size=(4, 6))
SIGNAL = ModelCard(
    "plain", "base", "plain", input_size=(4,), channels=2, color_order="", full_scale=1.0,
    mean=(0.0, 0.0), std=(2.0, 2.0),
)  # fmt: skip


def read(folder: Path):
    samples = [Sample(path.name, (path,), label=0) for path in folder.glob("*.npy")]
    return make_index("arrays", folder, samples, labels=("only",))


class Plain(Task):
    """Says what must be said, and no more."""

    name = "plain"
    networks = {
        "plain": Network(dict, {"base": {}}, lambda variant: PICTURE),
        "lazy": "test_task_networks:LAZY",
    }
    readers = {"arrays": Reader("arrays", "arrays", Path.is_dir, read)}
    input_kind, input_suffixes = "array", (".npy",)
    headline = "accuracy"
    options = {"word": "a", "count": 2, "share": 0.5, "any": None}
    option_values = {"word": ("a", "b")}
    option_least = {"count": 1, "share": 0}

    def load(self, sample, card):
        if not sample.inputs[0].is_file():
            raise UserError(f"{sample.inputs[0]}: no such file; check the path.")
        return Example(np.load(sample.inputs[0]), sample.label)

    def objective(self, config):
        return Objective("mse")

    def decode(self, outputs, sample, card):
        return {"class": int(np.argmax(outputs[0])), "outputs": outputs[0]}

    def score(self, results, card, *, quick=False):
        return Scores({"accuracy": 1.0})


TASK = Plain()


def save(path: Path, values) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(values))
    return path


def test_networks_are_found_by_name_wherever_they_stand(tmp_path, monkeypatch):
    assert TASK.default_network == "plain"
    assert TASK.network("plain").card("base") is PICTURE
    (tmp_path / "test_task_networks.py").write_text("LAZY = 'imported when it is asked for'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert TASK.network("lazy") == "imported when it is asked for"
    with pytest.raises(UserError, match=r"No such network: 'plan'\. Did you mean 'plain'\?"):
        TASK.network("plan")


def test_classes_follow_the_labels():
    assert TASK.build_arguments(PICTURE) == {}
    assert TASK.build_arguments(PICTURE.replace(labels=("a", "b"))) == {"classes": 2}


def test_data_without_splits_get_them_and_the_sample_data_must_exist(tmp_path):
    for number in range(10):
        save(tmp_path / f"{number}.npy", [number])
    assert TASK.read(str(tmp_path)).counts() == {"train": 8, "val": 1, "test": 1}
    with pytest.raises(UserError, match="'plain' has no built-in sample data; pass --data PATH"):
        TASK.read("sample")


def test_files_of_the_domain_are_found_in_folders(tmp_path):
    (tmp_path / "in" / "inside").mkdir(parents=True)
    for name in ("10.npy", "2.NPY", "notes.txt", ".hidden.npy", "inside/a.npy"):
        (tmp_path / "in" / name).write_bytes(b"")
    found = TASK.files([tmp_path / "in"])
    assert [sample.id for sample in found] == ["2.NPY", "10.npy", "inside/a.npy"]
    assert [sample.id for sample in TASK.files([tmp_path / "in" / "notes.txt"])] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no array files \(npy\); check the path"):
        TASK.files([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"a second input is called '10\.npy'"):
        TASK.files([tmp_path / "in" / "10.npy", save(tmp_path / "other" / "10.npy", [1])])


def test_an_example_is_normalised_and_its_truth_stays(tmp_path):
    sample = Sample("a", (save(tmp_path / "a.npy", [[2.0, 4.0]]),), label=3)
    inputs, target = TASK.prepare(sample, SIGNAL)
    np.testing.assert_allclose(inputs, [[1, 2]])
    assert (inputs.dtype, target) == (np.float32, 3)


def test_samples_that_cannot_be_loaded_or_lie_in_two_splits_are_named(tmp_path):
    values = {"a": [1, 2], "b": [1, 2], "c": [3, 4], "d": [3, 4]}
    splits = {"a": "train", "b": "val", "c": "train", "d": "train", "e": "test"}
    samples = [
        Sample(name, (tmp_path / f"{name}.npy",), label=0, split=split)
        for name, split in splits.items()
    ]
    for name, found in values.items():
        save(tmp_path / f"{name}.npy", found)
    assert TASK.check_data(make_index("arrays", tmp_path, samples), SIGNAL) == [
        "Sample 'b' (val) has the same content as 'a' (train); keep it in one split.",
        f"{tmp_path / 'e.npy'}: no such file; check the path.",
    ]


@pytest.mark.parametrize(
    "given, said",
    [
        ({"wrod": "a"}, "No such option: 'wrod'. Did you mean 'word'?"),
        ({"word": "c"}, "Option 'word' is 'c'. Known: a, b."),
        ({"count": 0}, "Option 'count' is 0; it must be a whole number, 1 or more."),
        ({"count": 1.5}, "Option 'count' is 1.5; it must be a whole number, 1 or more."),
        ({"count": True}, "Option 'count' is True; it must be a whole number, 1 or more."),
        ({"share": -0.1}, "Option 'share' is -0.1; it must be a number, 0 or more."),
        ({"share": float("nan")}, "Option 'share' is nan; it must be a number, 0 or more."),
        ({"share": "half"}, "Option 'share' is 'half'; it must be a number, 0 or more."),
    ],
)
def test_options_are_checked(given, said):
    with pytest.raises(UserError) as error:
        TASK.check_options(given)
    assert str(error.value) == said


def test_options_are_completed():
    assert TASK.check_options({"share": 1}) == {**TASK.options, "share": 1}


def test_a_result_is_written_as_json(tmp_path):
    result = TASK.decode([np.array([0.25, 0.5], np.float32)], None, PICTURE)
    (file,) = TASK.write(Sample("b/c.npy", ()), result, tmp_path, PICTURE)
    assert file == tmp_path / "b" / "c_result.json"
    assert json.loads(file.read_text()) == {"class": 1, "outputs": [0.25, 0.5]}


def test_pictures_are_drawn_of_pictures_only(tmp_path):
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    image = Sample("a", (write_image(tmp_path / "a.png", pixels),))
    np.testing.assert_array_equal(TASK.draw_input(image, PICTURE), pixels)
    grey = PICTURE.replace(channels=1, color_order="gray", mean=(0.5,), std=(0.5,))
    assert TASK.draw_input(image, grey).shape == (4, 6, 3)
    stored = Sample("b", (save(tmp_path / "b.npy", pixels),))
    np.testing.assert_array_equal(TASK.draw_input(stored, PICTURE), pixels)
    assert TASK.draw_input(stored, SIGNAL) is None
    assert TASK.draw_truth(image, PICTURE) is TASK.draw(image, {}, PICTURE) is None
