"""The report of a small run of a toy task: what is on the page, and that it stands alone."""

import base64
import dataclasses
import io
import json
import re
import shutil
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from PIL import Image

from core.config import TrainConfig
from core.data.images import read_image, write_image
from core.data.index import Sample, make_index
from core.errors import UserError
from core.export import report, report_timing
from core.export.exporting import export
from core.export.report import write_report
from core.files import write_atomic
from core.model_card import ModelCard
from core.network import Network
from core.run_folder import RunFolder
from core.task import Example, Scores, Task

SIDE = 32
EVIL = "<script>alert('x')</script>"
LABEL = '<img src="http://evil.example/x" onerror=alert(1)>'
VOID = {"img", "meta", "br"}


def build(variant, shape, **options):
    keras.utils.set_random_seed(1)
    image = keras.Input(shape)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    return keras.Model(image, keras.layers.Conv2D(1, 1)(x), name="toy")


class ToyTask(Task):
    """Which pixels are bright, for pictures of noise."""

    name = "toy"
    networks = {"toy": Network(build, {"s": {}}, lambda variant: ModelCard("toy", variant, "toy"))}
    readers = {}
    headline = "hits"
    int8_tolerance = 1.0

    def read(self, path, format="auto"):
        from pathlib import Path

        files = sorted(Path(path).glob("*.png"))
        if not files:
            raise UserError(f"{path}: no such data.")
        samples = [
            Sample(
                id=f"{EVIL} {n}",
                inputs=(file,),
                targets=(file,) if n else (),
                split="test" if n > 3 else "train",
            )
            for n, file in enumerate(files)
        ]
        return make_index("toy", Path(path), samples, labels=(LABEL,), notes=("Drawn at random.",))

    def load(self, sample, card):
        return Example(read_image(sample.inputs[0]))

    def objective(self, config):
        raise NotImplementedError

    def decode(self, outputs, sample, card):
        return outputs[0][..., 0] > np.float32(0)

    def score(self, results, card, *, quick=False):
        rows = [np.mean(mask == self.truth(sample)) for sample, mask in results]
        summary = {"hits": float(np.mean(rows)), "distance": float("nan"), "samples": len(rows)}
        return Scores(summary, [], "toy: share of right pixels <b>")

    def truth(self, sample):
        return read_image(sample.inputs[0]).mean(axis=-1) > 128

    def draw(self, sample, result, card):
        return np.repeat(result[..., None], 3, axis=-1).astype(np.uint8) * np.uint8(255)

    def draw_truth(self, sample, card):
        return self.draw(sample, self.truth(sample), card) if sample.targets else None


TASK = ToyTask()


@dataclasses.dataclass
class Made:
    run: RunFolder
    text: str


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    """A run with a history, a float32 and an int8 file, and its report."""
    root = tmp_path_factory.mktemp("report")
    generator = np.random.default_rng(0)
    for n in range(8):
        pixels = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        write_image(root / "data" / f"{n}.png", pixels)
    config = TrainConfig(app="toy", network="toy", variant="s", data=str(root / "data"), epochs=3)
    card = ModelCard(
        network="toy",
        variant="s",
        app="toy",
        title="ToyNet: a network for tests",
        paper="https://example.org/paper",
        licence="MIT",
        input_size=(SIDE, SIDE),
        labels=(LABEL,),
    )
    run = RunFolder.create(root / "first run", config, card, source="train")
    run.save_model(build("s", (SIDE, SIDE, 3)))
    write_atomic(
        run.file("history.csv"),
        "epoch,learning_rate,loss,val_hits\n1,0.01,1.5,0.5\n2,0.005,0.8,0.75\n3,0.001,0.7,\n",
    )
    for precision in ("float32", "int8"):
        export(TASK, run, precision)
    path = write_report(TASK, run, samples=3)
    assert path == run.file("report.html")
    return Made(run, path.read_text(encoding="utf-8"))


@pytest.fixture
def copied(made, tmp_path) -> RunFolder:
    """The run in a folder of its own, to be changed."""
    return RunFolder(shutil.copytree(made.run.path, tmp_path / made.run.path.name))


class Reader(HTMLParser):
    """Collects what a browser would do with a page; fails on a tag that is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.started: list[tuple[str, dict]] = []
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self.facts: list[list[str]] = []
        self.seen = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.started.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h2", "h3"):
            self.headings.append("")
        elif tag == "dt":
            self.facts.append(["", ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.seen += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if {"dt", "dd"} & set(self.open):
            self.facts[-1]["dd" in self.open] += data
        if {"h2", "h3"} & set(self.open):
            self.headings[-1] += data

    def table(self, first: str) -> list[list[str]]:
        """Return the rows of the table whose first heading is `first`."""
        return next(rows for rows in self.tables if rows[0][0] == first)


def test_the_page_is_well_formed_and_asks_nothing_of_a_network(made):
    reader = Reader(made.text)
    assert not {name for name, _ in reader.started} & {"script", "link", "iframe", "object"}
    for name, attributes in reader.started:
        for attribute in ("href", "srcset", "data", "action", "poster"):
            assert attribute not in attributes, name
        assert attributes.get("src", "data:image/").startswith("data:image/"), name
    style = made.text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_the_page_serves_dark_screens_phones_and_paper(made):
    assert "prefers-color-scheme: dark" in made.text
    assert "@media print" in made.text
    assert 'content="width=device-width, initial-scale=1"' in made.text


def test_sections_come_in_order(made):
    assert [h for h in Reader(made.text).headings if not h.endswith(("hold", "fails"))] == [
        "Model card",
        "Training",
        "Accuracy on the held-out samples (test)",
        "Pictures",
        *(f"{EVIL} {n}" for n in (4, 6, 7)),
        "Size and speed",
        "Compression",
        "Verification",
        "Operators",
        "float32 ",
        "int8 ",
        "Data and configuration",
        "Configuration",
    ]


def test_scores_have_a_row_for_keras_and_each_file_by_both_kernels(made):
    rows = Reader(made.text).table("precision")
    assert rows[0] == ["precision", "computed by", "hits", "distance", "samples"]
    assert [row[:2] for row in rows[1:]] == [
        ["Keras", "float32"],
        ["float32", "XNNPACK"],
        ["float32", "reference kernels"],
        ["int8", "XNNPACK"],
        ["int8", "reference kernels"],
    ]
    stored = made.run.metrics()["verify/first run_int8.tflite"]["metrics"]
    assert rows[1][2] == f"{stored['keras']['hits']:.4f}"
    assert rows[4][2] == f"{stored['file']['hits']:.4f}"
    assert {row[3] for row in rows[1:]} == {"–"}  # NaN
    assert {row[4] for row in rows[1:]} == {"4"}
    assert "Protocol – toy: share of right pixels <b>" in Reader(made.text).seen


def test_times_are_measured_once_and_kept(made):
    rows = Reader(made.text).table("file")
    assert [row[0] for row in rows[1:]].count("int8") in (1, 2)  # one core or several
    assert "2 of 2" in {row[6] for row in rows if row[0] == "float32"}
    stored = made.run.metrics()["benchmark/first run_int8.tflite"]
    assert stored["timings"][0]["median_ms"] > 0
    # 32 · 32 pixels of 8 filters of 3 · 3 · 3 and one of 8
    assert {row[7] for row in rows[2:]} == {"229 k"}


def test_checks_and_operators_of_every_file_are_listed(made):
    reader = Reader(made.text)
    checks = [rows for rows in reader.tables if rows[0][0] == "check"]
    assert len(checks) == 2
    assert ["operators left in float", "0", "0", "✓ passes"] in checks[1]
    assert ["CONV_2D", "float32", "2"] in reader.table("operator")


def test_text_of_the_user_is_shown_and_not_run(made):
    reader = Reader(made.text)
    assert EVIL in reader.seen and LABEL in reader.seen
    assert EVIL not in made.text and LABEL not in made.text


def test_pictures_decode_and_show_where_int8_differs(made):
    reader = Reader(made.text)
    images = [attributes for name, attributes in reader.started if name == "img"]
    titles = [image["alt"] for image in images]
    assert titles[:5] == ["Input", "Target", "Keras", "float32", "int8"]
    assert titles.count("Keras against int8") == 3
    for image in images:
        content = base64.b64decode(image["src"].split(",", 1)[1], validate=True)
        picture = Image.open(io.BytesIO(content))
        assert picture.size == (int(image["width"]), int(image["height"])) == (SIDE, SIDE)
    by_title = dict(zip(titles, images, strict=True))
    pixels = {
        title: np.array(
            Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))).convert("RGB")
        )
        for title, image in by_title.items()
    }
    red = (pixels["Keras against int8"] == (230, 30, 45)).all(axis=-1)
    assert (red == (pixels["Keras"] != pixels["int8"]).any(axis=-1)).all()


def test_the_best_epoch_is_named_and_marked(made):
    text = Reader(made.text).seen
    assert "3 epochs; best validation hits 0.7500 in epoch 2." in text
    assert text.count("best: epoch 2") == 3


def test_folders_of_this_machine_are_not_told(made):
    assert str(made.run.path.parent) not in made.text
    assert ["data set", "data"] in Reader(made.text).facts


def test_what_was_measured_is_not_measured_again(copied, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr(report, "verify", refuse)
    monkeypatch.setattr(report, "evaluate", refuse)
    monkeypatch.setattr(report_timing.benchmark, "benchmark", refuse)
    before = copied.file("report.html").read_text(encoding="utf-8")
    write_report(TASK, copied, samples=3)
    assert copied.file("report.html").read_text(encoding="utf-8") == before


class Classes(ToyTask):
    """A domain with a table and a picture of its scores."""

    def score(self, results, card, *, quick=False):
        scores = super().score(results, card)
        return dataclasses.replace(scores, tables={"per_class": [{"class": "a", "recall": 0.25}]})

    def score_pictures(self, scores):
        return {"confusion_matrix": np.zeros((500, 600, 3), np.uint8)}


def test_a_domain_shows_its_scores_in_detail(copied):
    write_report(Classes(), copied, samples=1)
    shown = Reader(copied.file("report.html").read_text(encoding="utf-8"))
    place = shown.headings.index("The scores in detail (Keras, float32)")
    assert shown.headings[place - 1].startswith("Accuracy")
    assert shown.headings[place + 1 :][:2] == ["per class", "Pictures"]
    assert shown.table("class") == [["class", "recall"], ["a", "0.2500"]]
    assert "confusion matrix" in shown.seen


@pytest.mark.parametrize("change", ["bytes", "split"])
def test_a_verification_of_other_bytes_or_samples_is_not_used(copied, monkeypatch, change):
    asked = []

    def record(task, path, **options):
        asked.append((path.name, options["split"]))
        raise UserError("asked")

    monkeypatch.setattr(report, "verify", record)
    key = "verify/first run_float32.tflite"
    stored = copied.metrics()[key]
    if change == "bytes":
        stored["subject"]["sha256"] = "0" * 64
        copied.add_metrics(key, stored)
        write_report(TASK, copied, samples=0)
        assert asked == [("first run_float32.tflite", "test")]
    else:
        write_report(TASK, copied, split="train", samples=0)
        assert asked == [(f"first run_{name}.tflite", "train") for name in ("float32", "int8")]


def test_a_failed_report_leaves_the_old_one(copied, monkeypatch):
    before = copied.file("report.html").read_bytes()
    names = sorted(path.name for path in copied.path.iterdir())
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(UserError, match="disk is full"):
        write_report(TASK, copied, samples=0)
    assert copied.file("report.html").read_bytes() == before
    assert sorted(path.name for path in copied.path.iterdir()) == names


def test_a_run_without_exports_has_curves_and_keras_scores(copied):
    shutil.rmtree(copied.file("export"))
    copied.file("metrics.json").unlink()
    reader = Reader(write_report(TASK, copied, samples=1).read_text(encoding="utf-8"))
    assert "The run has no exported .tflite file yet." in reader.seen
    assert "best: epoch 2" in reader.seen
    assert [row[0] for row in reader.table("precision")[1:]] == ["Keras"]
    stored = json.loads(copied.file("metrics.json").read_text())["keras/toy/test"]
    assert stored["metrics"]["hits"] == float(stored["metrics"]["hits"])
    assert stored["samples"] == 4


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (
            "epoch,learning_rate,loss,val_hits\n0,,,0.9\n1,0.01,1.5,0.5\n2,0.005,0.8,0.75\n",
            "2 epochs; best validation hits 0.9000 before the first.",
        ),
        (
            "epoch,learning_rate,loss,val_hits,val_signal_to_noise\n"
            "0,,,0.5,28.5\n1,0.01,1.5,0.9,14.8\n2,0.005,0.8,0.75,26.6\n",
            "2 epochs; best validation signal to noise 28.50 before the first.",
        ),
    ],
    ids=["by the task's metric", "by what the outputs keep"],
)
def test_a_start_that_was_kept_is_named_and_marked(copied, history, said):
    shutil.rmtree(copied.file("export"))
    copied.file("history.csv").write_text(history, encoding="utf-8")
    reader = Reader(write_report(TASK, copied, samples=1).read_text(encoding="utf-8"))
    assert said in reader.seen
    assert "best: epoch 0" in reader.seen


def test_a_run_without_data_and_history_says_so(copied):
    copied.file("history.csv").unlink()
    copied.file("metrics.json").unlink()
    reader = Reader(write_report(TASK, copied, data="/nowhere/at all").read_text(encoding="utf-8"))
    assert "The run has no history of a training." in reader.seen
    assert "The data could not be read, so nothing was scored" in reader.seen
    checks = [rows for rows in reader.tables if rows[0][0] == "check"]
    assert ["builtin operators only", "2 builtin", "all", "✓ passes"] in checks[0]
    assert not any(name == "img" for name, _ in reader.started)


def test_a_run_without_weights_says_so(copied):
    shutil.rmtree(copied.file("export"))
    copied.file("model.keras").unlink()
    reader = Reader(write_report(TASK, copied).read_text(encoding="utf-8"))
    assert "holds no model.keras yet" in reader.seen
    assert "best: epoch 2" in reader.seen


def test_a_damaged_export_does_not_spoil_the_page(copied):
    path = copied.file("export") / "first run_int8.tflite"
    path.write_bytes(path.read_bytes()[:100])
    text = write_report(TASK, copied, samples=1).read_text(encoding="utf-8")
    reader = Reader(text)
    assert [row[0] for row in reader.table("precision")[1:]] == ["Keras", "float32", "float32"]
    assert re.search(r"first run_int8\.tflite: [^.]*(damaged|cut|not a)", reader.seen)
