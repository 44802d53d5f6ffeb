"""The commands extract and index: what they write, warn of and refuse."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from apps.person_reid import extract_command
from apps.person_reid.embeddings import read_embeddings
from apps.person_reid.task import TASK
from core.command_line.quiet import tiny_tflite
from core.config import TrainConfig
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.tflite.metadata import embed

CARD = ModelCard("osnet", "x0_25", "reid", input_size=(32, 16), decode={"metric": "euclidean"})


class Colours:
    """Its embedding of an image: the mean colour as pixels, and its square."""

    name, card = "colours", CARD

    def __init__(self):
        self.batches, self.bad = [], None

    def __call__(self, batch):
        self.batches.append(len(batch))
        colours = (batch * np.array(CARD.std) + np.array(CARD.mean)).mean((1, 2)) * 255
        found = np.concatenate([colours, colours**2 / 255], axis=1).astype(np.float32)
        if self.bad is not None:
            found[np.abs(colours - self.bad).max(1) < 1] = np.nan
        return [found]


@pytest.fixture
def engine(monkeypatch):
    engine = Colours()
    monkeypatch.setattr(extract_command, "load_engine", lambda task, source: engine)
    return engine


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "run", TrainConfig("reid", "osnet", "x0_25"), CARD)
    run.file("model.keras").write_bytes(b"weights")
    return run.path


def program():
    from core.command_line.program import Command, new_app

    made = new_app("a program")

    @made.callback()
    def _bind(ctx: extract_command.typer.Context):
        ctx.obj = SimpleNamespace(load=lambda: TASK)

    for name in ("extract", "index"):
        made.command(name, cls=Command)(extract_command.extract)
    return made


def call(*arguments):
    return CliRunner().invoke(program(), list(map(str, arguments)), prog_name="toy")


def save(path, colour=(10, 20, 30), size=(64, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), colour, np.uint8)).save(path)
    return path


def embedding(*colours):
    mean = np.mean(colours, axis=0)
    return np.concatenate([mean, np.mean(np.square(colours) / 255, axis=0)])


@pytest.fixture
def crops(tmp_path):
    save(tmp_path / "crops/0002_c1s1_000001_01.png", (200, 0, 0))
    save(tmp_path / "crops/0002_c3s1_000001_01.png", (0, 200, 0))
    save(tmp_path / "crops/more/-1_c2s1_000001_01.png", (0, 0, 200))
    save(tmp_path / "crops/more/photo.png", (50, 60, 70))
    return tmp_path / "crops"


def test_a_folder_becomes_embeddings_with_what_names_say(engine, run, crops, tmp_path):
    result = call("extract", run, crops, "--out", tmp_path / "e.npz", "--batch", 3)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"Saved: {tmp_path / 'e.npz'} (4 embeddings of 6 numbers)",
        f"Next: toy search {run} {tmp_path / 'e.npz'} QUERY... --out DIR",
    ]
    found = read_embeddings(tmp_path / "e.npz")
    assert engine.batches == [3, 1]
    assert set(found.names) == {
        "0002_c1s1_000001_01.png",
        "0002_c3s1_000001_01.png",
        "more/-1_c2s1_000001_01.png",
        "more/photo.png",
    }
    rows = {name: row for row, name in enumerate(found.names)}
    row = rows["0002_c3s1_000001_01.png"]
    np.testing.assert_allclose(found.embeddings[row], embedding((0, 200, 0)), atol=0.1)
    assert (found.person(row), found.camera(row)) == (2, 2)
    junk, photo = rows["more/-1_c2s1_000001_01.png"], rows["more/photo.png"]
    assert (found.person(junk), found.camera(junk)) == (-1, 1)
    assert (found.person(photo), found.camera(photo)) == (None, None)
    about = found.about
    assert (about.network, about.variant, about.source) == ("osnet", "x0_25", "run")
    assert (about.input_size, about.metric, about.normalised) == ((32, 16), "euclidean", False)
    assert about.root == str(crops) and not about.synthetic


def test_several_inputs_are_named_from_the_folder_around_them(engine, run, tmp_path):
    for camera in ("a", "b"):
        save(tmp_path / camera / "1.png")
    inputs = [tmp_path / "a", tmp_path / "b", tmp_path / "a/1.png"]
    assert call("index", run, *inputs, "--out", tmp_path / "e.npz").exit_code == 0
    found = read_embeddings(tmp_path / "e.npz")
    assert found.names == ("a/1.png", "b/1.png") and found.about.root == str(tmp_path)


def test_embeddings_are_scaled_to_length_one_where_wished(engine, run, crops, tmp_path):
    call("index", run, crops, "--out", tmp_path / "e.npz", "--normalize")
    found = read_embeddings(tmp_path / "e.npz")
    assert found.about.normalised
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-5)


def test_a_tracklet_is_the_mean_of_its_frames(engine, run, tmp_path):
    for frame in range(1, 31):
        save(tmp_path / f"walks/0007_c2/{frame}.png", (frame, 0, 0))
    for camera in (1, 2):
        save(tmp_path / f"walks/person/0003_c{camera}s1_01.png", (0, 90, 0))
    result = call(
        "extract", run, tmp_path / "walks", "--tracklets", "folder", "--out", tmp_path / "e.npz"
    )
    assert "2 embeddings of 6 numbers, means over 17 images" in result.stdout
    found = read_embeddings(tmp_path / "e.npz")
    assert found.tracklets == ("0007_c2", "person") and found.frames.tolist() == [15, 2]
    assert found.names[0] == "0007_c2/16.png" and found.about.pooling == "folder"
    sampled = [(frame, 0, 0) for frame in range(2, 31, 2)]
    np.testing.assert_allclose(found.embeddings[0], embedding(*sampled), atol=0.1)
    assert (found.person(1), found.camera(1)) == (3, None)


def test_a_tracklet_lives_on_without_a_bad_frame(engine, run, tmp_path):
    save(tmp_path / "in/0002_c1s1_01.png", (10, 0, 0))
    save(tmp_path / "in/0002_c1s1_02.png", (30, 0, 0))
    (tmp_path / "in/0002_c1s1_03.png").write_text("no picture")
    (tmp_path / "in/0002_c1s2_01.png").write_text("no picture")
    result = call("index", run, tmp_path / "in", "--tracklets", "name", "--out", tmp_path / "e.npz")
    assert result.exit_code == 1 and result.stderr.count("is not an image") == 2
    found = read_embeddings(tmp_path / "e.npz")
    assert found.tracklets == ("0002_c1s1",) and found.frames.tolist() == [2]
    np.testing.assert_allclose(found.embeddings[0], embedding((10, 0, 0), (30, 0, 0)), atol=0.1)


def test_bad_files_are_named_and_the_rest_is_written(engine, run, crops, tmp_path):
    (crops / "bad.png").write_text("no picture")
    engine.bad = (50, 60, 70)
    some = call("extract", run, crops, "--out", tmp_path / "e.npz", "--json")
    assert some.exit_code == 1
    assert "bad.png: is not an image" in some.stderr and "no finite numbers" in some.stderr
    document = json.loads(some.stdout)
    assert document["embeddings"] == 3 and document["length"] == 6
    assert len(document["failed"]) == 2 and len(read_embeddings(tmp_path / "e.npz")) == 3
    none = call("extract", run, crops / "bad.png", "--out", tmp_path / "f.npz", "--json")
    assert none.exit_code == 2 and json.loads(none.stdout)["out"] is None
    assert not (tmp_path / "f.npz").exists()


def test_crops_that_are_not_upright_are_counted_and_the_first_is_named(engine, run, tmp_path):
    save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png", size=(48, 64))
    save(tmp_path / "in/c.png", size=(64, 8))
    result = call("extract", run, tmp_path / "in", "--out", tmp_path / "e.npz")
    assert result.exit_code == 0
    assert "Warning: 2 of 3 images are not upright" in result.stderr
    assert f"the first: {tmp_path / 'in/b.png'} with 48x64 pixels" in result.stderr


def test_drawn_pedestrians_are_known_as_such(engine, run, tmp_path):
    from apps.person_reid.data import SAMPLE_DATA

    queries = sorted((SAMPLE_DATA / "query").glob("*.jpg"))[:2]
    call("index", run, *queries, "--out", tmp_path / "e.npz")
    assert read_embeddings(tmp_path / "e.npz").about.synthetic


def test_nothing_is_overwritten_without_being_asked(engine, run, crops, tmp_path):
    out = tmp_path / "e.npz"
    out.write_bytes(b"mine")
    again = call("extract", run, crops, "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr and not engine.batches
    assert out.read_bytes() == b"mine"
    assert call("extract", run, crops, "--out", out, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (["--out", "e.txt"], "choose a name ending so"),
        (["--out", "e.npz", "--tracklets", "folders"], "Did you mean 'folder'"),
        (["--out", "e.npz", "--backend", "fais"], "Did you mean 'faiss'"),
    ],
)
def test_wrong_choices_are_said_before_the_work(engine, run, crops, choices, said):
    result = call("index", run, crops, *choices)
    assert result.exit_code == 2 and said in result.stderr and not engine.batches


def test_inputs_that_are_not_there_are_named(engine, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, said in (("empty", "holds no image files"), ("missing", "no such file or folder")):
        result = call("extract", run, tmp_path / path, "--out", tmp_path / "e.npz")
        assert result.exit_code == 2 and f"{tmp_path / path}: {said}" in result.stderr


def test_faiss_is_asked_for_before_the_work(engine, run, crops, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    result = call("index", run, crops, "--out", tmp_path / "e.npz", "--backend", "faiss")
    assert result.exit_code == 2 and "gossamer-keras[retrieval]" in result.stderr
    monkeypatch.setitem(__import__("sys").modules, "faiss", SimpleNamespace())
    assert (
        call("index", run, crops, "--out", tmp_path / "e.npz", "--backend", "faiss").exit_code == 0
    )
    assert read_embeddings(tmp_path / "e.npz").about.backend == "faiss"


def keras_engine(pooling="global_avgpool"):
    import keras

    from core.engines import KerasEngine

    image = keras.Input((32, 16, 3))
    features = keras.layers.AveragePooling2D(8)(image)
    embedding = keras.layers.GlobalAveragePooling2D(name=pooling)(features)
    return KerasEngine(keras.Model(image, embedding), CARD)


def test_maps_show_where_a_run_answers(run, tmp_path, monkeypatch):
    engine = keras_engine()
    monkeypatch.setattr(extract_command, "load_engine", lambda task, source: engine)
    grey = np.rint(255 * np.array(CARD.mean)).astype(np.uint8)  # to which the network is blind
    image = np.full((32, 16, 3), grey, np.uint8)
    image[:16] = 255
    (tmp_path / "in/a").mkdir(parents=True)
    Image.fromarray(image).save(tmp_path / "in/a/1.png")
    (tmp_path / "in/2.png").write_text("no picture")
    maps = tmp_path / "in/maps"
    choices = ["--out", tmp_path / "e.npz", "--maps", maps]
    result = call("extract", run, tmp_path / "in", *choices)
    assert result.exit_code == 1 and f"Saved: 1 activation map in {maps}\n" in result.stdout
    drawn = np.asarray(Image.open(maps / "a/1_map.png")).astype(int)
    np.testing.assert_array_equal(drawn[:, :16], image)
    assert drawn[2, -8, 0] > drawn[2, -8, 2] and drawn[30, -8, 2] > drawn[30, -8, 0]  # red, blue
    again = call("extract", run, tmp_path / "in", *choices, "--overwrite")
    assert again.exit_code == 1 and len(read_embeddings(tmp_path / "e.npz")) == 1


def test_maps_that_cannot_be_drawn_are_refused_before_the_work(run, crops, tmp_path, monkeypatch):
    engine = keras_engine("pool")
    monkeypatch.setattr(extract_command, "load_engine", lambda task, source: engine)
    choices = ["--out", tmp_path / "e.npz", "--maps", tmp_path / "maps"]
    result = call("extract", run, crops, *choices)
    assert result.exit_code == 2 and "has no layer 'global_avgpool'" in result.stderr
    exported = tmp_path / "run.tflite"
    exported.write_bytes(embed(tiny_tflite(), {"model_card": CARD.to_dict()}))
    result = call("extract", exported, crops, *choices)
    assert result.exit_code == 2 and "pass the run folder" in result.stderr
    assert not (tmp_path / "maps").exists() and not (tmp_path / "e.npz").exists()
