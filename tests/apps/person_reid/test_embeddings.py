"""The embedding file, tracklets, and looking through an index."""

import dataclasses
import json
import re

import numpy as np
import pytest

from apps.person_reid.embeddings import (
    About,
    Embeddings,
    at_length_one,
    first_camera_of,
    identities,
    read_embeddings,
    write_embeddings,
)
from apps.person_reid.index_file import about_source, check_same_network, find
from apps.person_reid.re_ranking import re_rank
from apps.person_reid.tracklets import evenly, grouped, single
from core.command_line.quiet import tiny_tflite
from core.config import TrainConfig
from core.data.index import Sample
from core.errors import UserError
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.tflite.metadata import embed

ABOUT = About("osnet", "x0_25", "0123456789abcdef", "market", "float32", (256, 128), "euclidean")
NAMES = ("0002_c1s1_000451_03.jpg", "a/-1_c3s1_000001_01.jpg", "a/holiday.png", "é.jpg")


def embeddings(count=4, length=6, *, seed=0, **about):
    values = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    names = (*NAMES, *(f"b/{i}.jpg" for i in range(count)))[:count]
    persons, cameras = identities(names, 1)
    about = dataclasses.replace(ABOUT, **about)
    tracklets = ("", "", "walk", "")[:count] + ("",) * (count - 4)
    return Embeddings(values, names, persons, cameras, tracklets, np.ones(count, np.int64), about)


@pytest.fixture
def file(tmp_path):
    return write_embeddings(tmp_path / "gallery.npz", embeddings())


def changed(path, **arrays):
    """Write the file again with other arrays."""
    with np.load(path) as old:
        np.savez(path, **{**old, **arrays})
    return path


def changed_about(path, **values):
    with np.load(path) as old:
        about = json.loads(old["about"].item())
    return changed(path, about=np.array(json.dumps({**about, **values})))


def test_everything_comes_back(file):
    written, found = embeddings(), read_embeddings(file)
    np.testing.assert_array_equal(found.embeddings, written.embeddings)
    assert found.embeddings.dtype == np.float32
    assert (found.names, found.tracklets, found.about) == (NAMES, written.tracklets, ABOUT)
    assert [found.person(row) for row in range(4)] == [2, -1, None, None]
    assert [found.camera(row) for row in range(4)] == [0, 2, None, None]


def test_the_file_is_plain_numpy_and_json(file):
    with np.load(file, allow_pickle=False) as arrays:
        assert arrays["embeddings"].shape == (4, 6)
        assert arrays["persons"].tolist() == [2, -1, -1, -1]
        assert arrays["cameras"].tolist() == [0, 2, -1, -1]
        about = json.loads(arrays["about"].item())
    assert about["network"] == "osnet" and about["input_size"] == [256, 128]


def test_a_failed_writing_leaves_the_file_that_was_there(file, monkeypatch):
    before = file.read_bytes()

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(UserError, match="the disk is full"):
        write_embeddings(file, embeddings(seed=1))
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"written as \.npz"):
        write_embeddings(tmp_path / "gallery.npy", embeddings())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cut off or not an .npz"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "cut off or not an .npz"),
        (lambda path: np.savez(path, image=np.zeros(3)), "lacks 'embeddings'"),
        (lambda path: changed(path, persons=np.array([{}] * 4)), "no array of numbers or text"),
        (lambda path: changed(path, embeddings=np.zeros((4, 6))), "float64 of shape"),
        (lambda path: changed(path, embeddings=np.zeros((0, 6), "f4")), "float32 of shape"),
        (lambda path: changed(path, embeddings=np.full((4, 6), np.nan, "f4")), "NaN"),
        (lambda path: changed(path, embeddings=np.full((4, 6), 3e38, "f4")), "huge numbers"),
        (lambda path: changed(path, names=np.array(["a"])), "names of <U1 of shape"),
        (lambda path: changed(path, names=np.array(["a", "a", "b", "c"])), "twice there"),
        (lambda path: changed(path, names=np.array(["../a", "b", "c", "d"])), "outside their"),
        (lambda path: changed(path, cameras=np.zeros(4, "i4")), "cameras of int32"),
        (lambda path: changed(path, frames=np.zeros(4, "i8")), "make no sense"),
        (lambda path: changed(path, about=np.array("{")), "no embedding file of Gossamer"),
        (lambda path: changed_about(path, version=2), "has version 2"),
        (lambda path: changed_about(path, input_size=[256]), "wrong 'input_size'"),
        (lambda path: changed_about(path, normalised=1), "wrong 'normalised'"),
        (lambda path: changed_about(path, normalised=True), "of length one, but they are not"),
        (lambda path: changed_about(path, metric="euclid"), "Did you mean 'euclidean'"),
        (lambda path: changed_about(path, more=1), "unknown, missing or wrong 'more'"),
    ],
)
def test_a_file_that_is_not_sound_is_refused_in_one_sentence(file, damage, sentence):
    damage(file)
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        read_embeddings(file)
    assert str(caught.value).startswith(f"{file}: ") and "command index" in str(caught.value)


def test_no_damaged_byte_is_taken_for_numbers(file):
    """Wherever a byte is wrong, the file is refused or what it holds is what was written."""
    whole, original = file.read_bytes(), read_embeddings(file)
    for position in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        file.write_bytes(damaged)
        try:
            found = read_embeddings(file)
        except UserError:
            continue
        np.testing.assert_array_equal(found.embeddings, original.embeddings)
        assert found.names == original.names and found.about == original.about


def test_persons_and_cameras_are_what_names_say():
    names = ["0002_c1s1_000451_03.jpg", "x/0001_c2_f0046182.jpg", "-1_c6s1_1_1.jpg", "IMG_1.jpg"]
    persons, cameras = identities([*names, f"{10**30}_c1.jpg"], 1)
    assert persons.tolist() == [2, 1, -1, -1, -1] and cameras.tolist() == [0, 1, 5, -1, -1]
    assert first_camera_of(names) == 1 and first_camera_of([*names, "3_c0.png"]) == 0
    assert identities(["3_c0.png", "3_c1.png"], 0)[1].tolist() == [0, 1]


def test_embeddings_of_zeros_stay_zeros():
    found = at_length_one(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]], rtol=1e-6)


def samples(*names):
    return [Sample(id=name, inputs=(name,)) for name in names]


def shown(tracklets):
    return {t.name: [sample.id for sample in t.samples] for t in tracklets}


def test_a_folder_is_a_tracklet():
    found = shown(grouped(samples("a/1.jpg", "a/2.jpg", "b/c/1.jpg", "3.jpg"), "folder", "walks"))
    assert found == {"a": ["a/1.jpg", "a/2.jpg"], "b/c": ["b/c/1.jpg"], "walks": ["3.jpg"]}


def test_names_make_tracklets_of_persons_but_not_of_junk_and_strangers():
    names = ["2_c1s1_01.jpg", "2_c1s1_02.jpg", "2_c1s2_01.jpg", "2_c2_f03.jpg", "2_c2_f04.jpg"]
    found = shown(grouped(samples(*names, "q/2_c1s1_05.jpg"), "name"))
    assert found == {
        "2_c1s1": names[:2],
        "2_c1s2": names[2:3],
        "2_c2": names[3:],
        "q/2_c1s1": ["q/2_c1s1_05.jpg"],
    }
    alone = samples("-1_c1s1_1.jpg", "-1_c1s1_2.jpg", "0000_c1s1_1.jpg", "0000_c1s1_2.jpg", "x.jpg")
    assert grouped(alone, "name") == single(alone)


def test_fifteen_frames_are_taken_evenly():
    assert evenly(15) == list(range(15)) and evenly(1) == [0]
    assert evenly(45) == list(range(1, 45, 3))
    for count in (16, 31, 100):
        taken = evenly(count)
        assert len(set(taken)) == 15 and max(np.diff(taken)) - min(np.diff(taken)) <= 1
        assert abs(taken[0] - (count - 1 - taken[-1])) <= 1
    with pytest.raises(ValueError, match="`pooling`"):
        grouped([], "person")


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("backend", ["numpy", "faiss"])
def test_the_nearest_are_found_exactly(metric, backend):
    if backend == "faiss":
        pytest.importorskip("faiss")
    gallery = embeddings(50)
    query = gallery.embeddings[[7, 30]] + np.float32(0.01)
    rows, distances = find(query, gallery, 5, metric=metric, backend=backend)
    a, b = (query, gallery.embeddings)
    if metric == "cosine":
        a, b = at_length_one(a), at_length_one(b)
        expected = 1 - a @ b.T
    else:
        expected = np.square(a[:, None] - b).sum(-1)
    assert rows[:, 0].tolist() == [7, 30]
    np.testing.assert_array_equal(rows, np.argsort(expected, axis=1)[:, :5])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :5], atol=1e-5)
    assert find(query, gallery, 99, metric=metric, backend=backend)[0].shape == (2, 50)


def test_re_ranked_hits_are_in_the_order_of_re_ranking():
    gallery = embeddings(50)
    query = gallery.embeddings[[7, 30]] + np.float32(0.1)
    rows, distances = find(query, gallery, 10, metric="cosine", rerank="authors")
    expected = re_rank(query, gallery.embeddings, "cosine", convention="authors")
    np.testing.assert_array_equal(rows, np.argsort(expected, axis=1, kind="stable")[:, :10])
    np.testing.assert_array_equal(distances, np.take_along_axis(expected, rows, axis=1))


def test_a_missing_faiss_is_said_and_how_to_go_on(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(UserError, match=r"gossamer-keras\[retrieval\]"):
        find(np.ones((1, 6), np.float32), embeddings(), 1, metric="cosine", backend="faiss")


def test_embeddings_of_another_length_are_refused():
    with pytest.raises(UserError, match="have 3 numbers, those of the index 6"):
        find(np.ones((1, 3), np.float32), embeddings(), 1, metric="cosine")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "other"}, ["osnet x0_25", "other x0_25"]),
        ({"variant": "x1_0"}, ["osnet x0_25", "osnet x1_0"]),
        ({"weights": "fedcba98765"}, ["01234567", "fedcba98"]),
        ({"input_size": (128, 64)}, ["at 256x128", "at 128x64"]),
        ({"normalised": True}, ["are not normalised", "would be normalised"]),
    ],
)
def test_an_index_of_another_network_is_refused_and_both_are_named(change, words):
    with pytest.raises(UserError) as caught:
        check_same_network("g.npz", ABOUT, dataclasses.replace(ABOUT, **change))
    sentence = str(caught.value)
    assert sentence.startswith("g.npz: ") and all(word in sentence for word in words)


def test_a_file_searches_in_what_its_run_has_embedded(tmp_path):
    card = ModelCard("osnet", "ain_x0_25", "reid", decode={"metric": "cosine"})
    config = TrainConfig("reid", "osnet", "ain_x0_25")
    run = RunFolder.create(tmp_path / "market", config, card)
    task = type("", (), {"name": "reid"})
    with pytest.raises(UserError, match=r"holds no model\.keras yet"):
        about_source(task, run.path)
    run.file("model.keras").write_bytes(b"weights")
    whole = about_source(task, run.path)
    assert whole.metric == "cosine" and whole.precision == "float32" and whole.source == "market"
    document = {"model_card": card.to_dict(), "precision": "int8", "model_sha256": whole.weights}
    exported = tmp_path / "market_int8.tflite"
    exported.write_bytes(embed(tiny_tflite(), document))
    of_file = about_source(task, exported)
    assert of_file.precision == "int8" and of_file.source == "market_int8.tflite"
    check_same_network("g.npz", whole, of_file)
    run.file("model.keras").write_bytes(b"other weights")
    with pytest.raises(UserError, match="different networks"):
        check_same_network("g.npz", whole, about_source(task, run.path))
