"""The command search: what it finds, draws and refuses."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from apps.person_reid import search_command
from apps.person_reid.data import SAMPLE_DATA
from apps.person_reid.embeddings import (
    Embeddings,
    at_length_one,
    identities,
    read_embeddings,
    write_embeddings,
)
from apps.person_reid.index_file import about_source
from apps.person_reid.task import TASK
from core.config import TrainConfig
from core.model_card import ModelCard
from core.run_folder import RunFolder

CARD = ModelCard("osnet", "x0_25", "reid", input_size=(32, 16), decode={"metric": "euclidean"})
# Gallery images by distance from a query of brightness 100, of person 2 by camera 1.
GALLERY = {
    "0002_c1s1_000001_01.png": 101,
    "-1_c2s1_000001_01.png": 102,
    "0002_c2s1_000001_01.png": 104,
    "more/0007_c1s1_000001_01.png": 108,
    "more/photo.png": 116,
}


def brightness(batch):
    return (batch * np.array(CARD.std) + np.array(CARD.mean)).mean((1, 2, 3)) * 255


class Brightness:
    """Its embedding of an image: the brightness and a constant."""

    name, card = "brightness", CARD

    def __call__(self, batch):
        values = brightness(batch)
        return [np.stack([values, np.full_like(values, 100)], axis=1).astype(np.float32)]


@pytest.fixture
def engine(monkeypatch):
    engine = Brightness()
    monkeypatch.setattr(search_command, "load_engine", lambda task, source: engine)
    return engine


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "run", TrainConfig("reid", "osnet", "x0_25"), CARD)
    run.file("model.keras").write_bytes(b"weights")
    return run.path


@pytest.fixture
def index(run, tmp_path):
    for name, value in GALLERY.items():
        save(tmp_path / "gallery" / name, value)
    return write(run, tmp_path / "index.npz", root=str(tmp_path / "gallery"))


def write(run, path, **about):
    values = np.array([[value, 100] for value in GALLERY.values()], np.float32)
    names = tuple(GALLERY)
    about = dataclasses.replace(about_source(TASK, run), **about)
    tracklets, frames = ("",) * 4 + ("walk",), np.array([1, 1, 1, 1, 3])
    values = at_length_one(values) if about.normalised else values
    found = Embeddings(values, names, *identities(names, 1), tracklets, frames, about)
    return write_embeddings(path, found)


def save(path, value, size=(64, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def query(tmp_path):
    return save(tmp_path / "queries/0002_c1s1_000099_01.png", 100)


def call(*arguments):
    from core.command_line.program import Command, new_app

    made = new_app("a program")

    @made.callback()
    def _bind(ctx: search_command.typer.Context):
        ctx.obj = SimpleNamespace(load=lambda: TASK)

    made.command("search", cls=Command)(search_command.search)
    return CliRunner().invoke(made, ["search", *map(str, arguments)], prog_name="toy")


def test_hits_are_listed_by_distance_and_those_that_do_not_count_are_said(
    engine, run, index, query, tmp_path
):
    result = call(run, index, query, "--out", tmp_path / "hits", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "hits/hits.json").read_text())
    assert {name: document[name] for name in ("metric", "rerank", "backend", "gallery")} == {
        "metric": "euclidean",
        "rerank": "off",
        "backend": "numpy",
        "gallery": 5,
    }
    assert document["failed"] == []
    (found,) = document["results"]
    assert (found["input"], found["person"], found["camera"]) == (str(query), 2, 0)
    hits = found["hits"]
    assert [hit["name"] for hit in hits] == list(GALLERY)
    np.testing.assert_allclose([hit["distance"] for hit in hits], [1, 4, 16, 64, 256], rtol=1e-2)
    assert [hit["rank"] for hit in hits] == [None, None, 1, 2, 3]
    verdicts = ["skipped", "skipped", "right", "wrong", "unknown"]
    assert [hit["verdict"] for hit in hits] == verdicts
    assert [hit["same_camera"] for hit in hits] == [True, False, False, True, False]
    assert [hit["person"] for hit in hits] == [2, -1, 2, 7, None]
    assert [hit["camera"] for hit in hits] == [0, 1, 1, 0, None]
    assert [hit["tracklet"] for hit in hits] == [None] * 4 + ["walk"]


def test_the_table_shows_the_same(engine, run, index, query, tmp_path):
    result = call(run, index, query, "--out", tmp_path / "hits", "--top", 3)
    lines = result.stdout.splitlines()
    assert lines[0] == f"1 query in 5 entries of {index}: euclidean distance"
    assert lines[2] == query.name
    rows = [line.split(maxsplit=3) for line in lines[5:8]]
    assert [row[0] for row in rows] == ["–", "–", "1"]
    assert [row[2] for row in rows] == list(GALLERY)[:3]
    said = ["not counted (same person and camera)", "not counted (junk)", "same person"]
    assert [row[3] for row in rows] == said
    assert lines[-1] == f"Saved: pictures of 1 query and hits.json in {tmp_path / 'hits'}"


def test_a_picture_of_each_query_is_drawn(engine, run, index, query, tmp_path):
    save(tmp_path / "queries/deeper/other.png", 108)
    result = call(run, index, tmp_path / "queries", "--out", tmp_path / "hits", "--top", 2)
    assert result.exit_code == 0, result.stderr
    wide = np.asarray(Image.open(tmp_path / f"hits/{query.stem}_hits.png"))
    other = np.asarray(Image.open(tmp_path / "hits/deeper/other_hits.png"))
    assert (wide == 101).all(-1).sum() > 5000  # the first hit
    assert (other == 108).all(-1).sum() > 10000  # the query and its first hit


def test_many_queries_are_all_in_the_file(engine, run, index, tmp_path):
    for number in range(25):
        save(tmp_path / f"many/{number}.png", number)
    result = call(run, index, tmp_path / "many", "--out", tmp_path / "hits", "--top", 1)
    assert "Not shown: 5 more queries." in result.stdout
    assert len(json.loads((tmp_path / "hits/hits.json").read_text())["results"]) == 25


def test_re_ranking_changes_distances(engine, run, index, query, tmp_path):
    result = call(run, index, query, "--out", tmp_path / "hits", "--rerank", "library", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["rerank"] == "library"
    distances = [hit["distance"] for hit in document["results"][0]["hits"]]
    assert distances == sorted(distances) and max(distances) <= 1
    both = call(
        run, index, query, "--out", tmp_path / "x", "--rerank", "authors", "--backend", "faiss"
    )
    assert both.exit_code == 2 and "leave one of them out" in both.stderr


def test_the_metric_is_the_indexs_unless_another_is_asked_for(engine, run, query, tmp_path):
    index = write(run, tmp_path / "index.npz", metric="cosine", root=str(tmp_path))
    found = json.loads(call(run, index, query, "--out", tmp_path / "a", "--json").stdout)
    assert found["metric"] == "cosine" and found["results"][0]["hits"][0]["distance"] < 1e-3
    choices = ["--out", tmp_path / "b", "--json", "--metric", "euclidean"]
    found = json.loads(call(run, index, query, *choices).stdout)
    assert found["metric"] == "euclidean"


def test_queries_are_normalised_as_the_index_is(engine, run, query, tmp_path):
    index = write(run, tmp_path / "index.npz", normalised=True)
    found = json.loads(call(run, index, query, "--out", tmp_path / "a", "--json").stdout)
    assert found["results"][0]["hits"][0]["distance"] < 1e-3
    refused = call(run, index, query, "--out", tmp_path / "b", "--no-normalize")
    assert refused.exit_code == 2 and "its embeddings are normalised" in refused.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "change",
    [{"variant": "x1_0"}, {"weights": "f" * 64}, {"input_size": (256, 128)}, {"network": "net"}],
)
def test_an_index_of_another_network_is_refused_before_the_work(run, query, tmp_path, change):
    index = write(run, tmp_path / "index.npz", **change)
    result = call(run, index, query, "--out", tmp_path / "hits")
    assert result.exit_code == 2 and "different networks cannot be compared" in result.stderr
    assert result.stderr.startswith(f"Error: {index}: was made by ")
    assert not (tmp_path / "hits").exists()


def test_another_precision_is_said(engine, run, query, tmp_path):
    index = write(run, tmp_path / "index.npz", precision="int8", root=str(tmp_path))
    result = call(run, index, query, "--out", tmp_path / "hits")
    assert result.exit_code == 0
    assert "made in int8, the queries are in float32" in result.stderr


def test_images_that_have_moved_are_drawn_grey_or_looked_for(engine, run, index, query, tmp_path):
    (tmp_path / "gallery").rename(tmp_path / "moved")
    result = call(run, index, query, "--out", tmp_path / "a")
    assert result.exit_code == 0
    assert "Warning: 5 images of the index cannot be read in" in result.stderr
    assert "--images DIR" in result.stderr
    result = call(run, index, query, "--out", tmp_path / "b", "--images", tmp_path / "moved")
    assert result.exit_code == 0 and result.stderr == ""
    grey, seen = (np.asarray(Image.open(tmp_path / d / f"{query.stem}_hits.png")) for d in "ab")
    grey, seen = ((picture == 200).all(-1).sum() for picture in (grey, seen))
    assert grey > 100_000 and seen < 1000


def test_cameras_count_from_where_the_index_counts(engine, run, query, tmp_path):
    index = write(run, tmp_path / "index.npz", first_camera=0, root=str(tmp_path))
    found = json.loads(call(run, index, query, "--out", tmp_path / "a", "--json").stdout)
    assert found["results"][0]["camera"] == 1


def test_bad_queries_are_named_and_the_rest_is_searched(engine, run, index, query, tmp_path):
    bad = tmp_path / "queries/bad.png"
    bad.write_text("no picture")
    save(tmp_path / "queries/wide.png", 9, (32, 64))
    some = call(run, index, tmp_path / "queries", "--out", tmp_path / "hits")
    assert some.exit_code == 1 and f"{bad}: is not an image" in some.stderr
    assert "1 of 2 images are not upright" in some.stderr
    none = call(run, index, bad, "--out", tmp_path / "none", "--json")
    assert none.exit_code == 2 and json.loads(none.stdout)["results"] == []


def test_nothing_is_overwritten_and_results_are_no_queries(engine, run, index, query, tmp_path):
    out = tmp_path / "queries/hits"
    assert call(run, index, tmp_path / "queries", "--out", out).exit_code == 0
    again = call(run, index, tmp_path / "queries", "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    again = call(run, index, tmp_path / "queries", "--out", out, "--overwrite", "--json")
    assert len(json.loads(again.stdout)["results"]) == 1


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (["--metric", "cosin"], "Did you mean 'cosine'"),
        (["--backend", "annoy"], "--backend is 'annoy'"),
        (["--images", "nowhere"], "no such folder"),
        (["--top", "0"], "--top"),
    ],
)
def test_wrong_choices_are_said_before_the_work(run, index, query, tmp_path, choices, said):
    result = call(run, index, query, "--out", tmp_path / "hits", *choices)
    assert result.exit_code == 2
    assert said in result.stderr or said in str(result.exception)
    assert not (tmp_path / "hits").exists()


def test_an_index_for_faiss_is_searched_without_it(engine, run, query, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    index = write(run, tmp_path / "index.npz", backend="faiss", root=str(tmp_path))
    result = call(run, index, query, "--out", tmp_path / "a", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["backend"] == "numpy"
    assert "numpy finds the same" in result.stderr
    asked = call(run, index, query, "--out", tmp_path / "b", "--backend", "faiss")
    assert asked.exit_code == 2 and "gossamer-keras[retrieval]" in asked.stderr


@pytest.mark.slow
def test_a_file_finds_in_the_index_of_its_run_what_the_run_finds(small_network, tmp_path):
    """The whole way: index by the run, search by it and by its .tflite file."""
    import keras

    from apps.person_reid import extract_command
    from core.command_line.program import Command, new_app
    from core.export.exporting import export

    keras.utils.set_random_seed(0)
    network = TASK.network(small_network)
    card = network.card("s")
    run = RunFolder.create(tmp_path / "run", TrainConfig("reid", small_network, "s"), card)
    run.save_model(network.build("s", card.input_shape))
    exported = export(TASK, run, "float32").path
    program = new_app("a program")

    @program.callback()
    def _bind(ctx: search_command.typer.Context):
        ctx.obj = SimpleNamespace(load=lambda: TASK)

    program.command("index", cls=Command)(extract_command.extract)
    program.command("search", cls=Command)(search_command.search)

    def call(*arguments):
        result = CliRunner().invoke(program, list(map(str, arguments)), prog_name="toy")
        assert result.exit_code == 0, (result.stderr, result.exception)
        return json.loads(result.stdout)

    gallery, query = SAMPLE_DATA / "bounding_box_test", SAMPLE_DATA / "query"
    index = tmp_path / "index.npz"
    made = call("index", run.path, gallery, "--out", index, "--json")
    assert made["embeddings"] == 230 and made["length"] == 512
    assert read_embeddings(index).about.synthetic
    by_run, by_file = (
        call("search", source, index, query, "--out", tmp_path / out, "--json", "--top", 1)
        for source, out in ((run.path, "a"), (exported, "b"))
    )
    for ours, theirs in zip(by_run["results"], by_file["results"], strict=True):
        assert ours["hits"][0]["name"] == theirs["hits"][0]["name"]
    assert len(list((tmp_path / "a").glob("*_hits.png"))) == 48
