import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.person_reid import simulation
from apps.person_reid.pedestrians.brushes import Canvas
from apps.person_reid.pedestrians.cameras import draw_cameras, draw_passage, photograph, scene_of
from apps.person_reid.pedestrians.figures import draw
from apps.person_reid.pedestrians.people import Garment, Person, draw_person
from apps.person_reid.pedestrians.scenes import SCENES, paint_scene
from apps.person_reid.pedestrians.skeleton import Pose
from apps.person_reid.simulation import FOLDERS, simulate
from core.data.images import read_image
from core.errors import UserError

SAMPLE = Path(simulation.__file__).parent / "sample_data"
SMALL = {"people": 2, "test_people": 2, "cameras": 2, "images": 1, "distractors": 2, "junk": 1}
NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_(\d{6})_\d\d\.jpg")
FRONT, BACK = 0.0, np.pi


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def people(folder):
    """Return (person, camera) of every picture of a folder."""
    return [(int(m[1]), int(m[2])) for m in (NAME.fullmatch(p.name) for p in folder.iterdir())]


# --- the folder -------------------------------------------------------------------------------


def test_the_folder_is_laid_out_as_market_1501(tmp_path):
    done = []
    record = simulate(
        tmp_path / "set", people=3, test_people=2, cameras=3, images=2, query_cameras=2,
        distractors=4, junk=2, size=(64, 32), progress=lambda *counts: done.append(counts),
    )  # fmt: skip
    train, query, test = (people(tmp_path / "set" / name) for name in FOLDERS)
    assert sorted(train) == sorted([(p, c) for p in (1, 2, 3) for c in (1, 2, 3)] * 2)
    assert len(query) == 2 * 2 and {p for p, _ in query} == {4, 5}
    assert len(set(query)) == 4  # one query of each person by a camera
    known = [(p, c) for p, c in test if p > 0]
    assert sorted(known) == sorted([(p, c) for p in (4, 5) for c in (1, 2, 3)] * 2)
    assert sum(p == 0 for p, _ in test) == 4 and sum(p == -1 for p, _ in test) == 2
    assert list(record["files"].values()) == [len(train), len(query), len(test)]
    assert done[-1] == (sum(record["files"].values()),) * 2


def test_the_folder_says_that_its_pictures_are_no_photographs(tmp_path):
    record = simulate(tmp_path, **SMALL, seed=5, size=(32, 16))
    assert json.loads((tmp_path / "about.json").read_text()) == json.loads(json.dumps(record))
    assert record["what"] == "synthetic pedestrians, not photographs"
    assert record["seed"] == 5 and record["size"] == [32, 16] and record["version"] >= 1
    assert {name: record[name] for name in SMALL} == SMALL


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path):
    simulate(tmp_path / "one", **SMALL, seed=3, size=(64, 32))
    simulate(tmp_path / "two", **SMALL, seed=3, size=(64, 32), workers=2)
    simulate(tmp_path / "other", **SMALL, seed=4, size=(64, 32))
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert set(one) == set(other)
    assert all(one[name] != other[name] for name in one)


@pytest.mark.parametrize("size", [(128, 64), (256, 128), (61, 40)])
def test_pictures_have_the_size_asked_for(tmp_path, size):
    simulate(tmp_path, **SMALL, size=size)
    for path in tmp_path.rglob("*.jpg"):
        assert read_image(path).shape == (*size, 3)


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "0001_c1s1_000001_00.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="already holds files"):
        simulate(tmp_path, **SMALL)
    assert contents(tmp_path) == {"query/0001_c1s1_000001_00.jpg": b"mine"}


def test_a_disk_that_is_full_at_the_record_leaves_no_set_without_one(tmp_path, monkeypatch):
    def full(path, _):
        raise UserError(f"{path}: cannot be written: the disk is full; free some space.")

    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(simulation, "write_json", full)
        simulate(tmp_path, **SMALL, size=(32, 16))
    assert not list(tmp_path.iterdir())
    simulate(tmp_path, **SMALL, size=(32, 16))  # the same command again


def test_a_set_that_was_not_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    drawn = []

    def interrupted(*arguments):
        drawn.append(arguments)
        if len(drawn) > 3:
            raise KeyboardInterrupt
        return np.zeros((32, 16, 3), np.uint8)

    monkeypatch.setattr(simulation, "_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "set", **SMALL)
    assert list((tmp_path / "set").iterdir()) == []


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"people": 1}, "1 people in training; choose a number from 2"),
        ({"cameras": 1}, "1 cameras"),
        ({"cameras": 10}, "10 cameras; choose a number from 2 to 9"),
        ({"images": 0}, "0 images of a person"),
        ({"query_cameras": 3}, "3 cameras that take queries; choose a number from 1 to 2"),
        ({"junk": -1}, "-1 junk images"),
        ({"seed": -1}, "-1 as seed"),
        ({"workers": 0}, "0 workers"),
        ({"size": (8, 64)}, "8 rows"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message):
        simulate(tmp_path / "set", **{**SMALL, **wrong})
    assert not (tmp_path / "set").exists()


# --- the shipped sample -----------------------------------------------------------------------


def test_the_sample_is_small_and_says_what_it_is():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 1.5e6
    about = json.loads((SAMPLE / "about.json").read_text())
    assert about["what"] == "synthetic pedestrians, not photographs"
    assert "synthetic" in (SAMPLE / "README.md").read_text()
    assert "synthetic" in (SAMPLE / "LICENSE.txt").read_text()
    train, query, test = (people(SAMPLE / name) for name in FOLDERS)
    assert about["files"] == dict(zip(FOLDERS, map(len, (train, query, test)), strict=True))
    assert len({p for p, _ in train}) == 60 and not {p for p, _ in train} & {p for p, _ in query}
    for person, camera in query:  # each has a match in another camera, and some that do not count
        assert any(p == person and c != camera for p, c in test)
        assert (person, camera) in test


def test_colour_alone_does_not_solve_the_sample():
    def features(name):
        paths = sorted(path for path in (SAMPLE / name).iterdir() if path.name[0] != "-")
        found = []
        for path in paths:
            bins = (read_image(path).reshape(-1, 3) // 32).astype(int) @ (64, 8, 1)
            found.append(np.sqrt(np.bincount(bins, minlength=512) / len(bins)))
        ids = np.array([[int(part) for part in NAME.fullmatch(p.name).groups()[:2]] for p in paths])
        return np.array(found), ids

    (query, asked), (gallery, known) = features("query"), features("bounding_box_test")
    first = []
    for vector, who in zip(query, asked, strict=True):
        kept = ~(known == who).all(axis=1)
        nearest = np.argmax(gallery[kept] @ vector)
        first.append(known[kept][nearest, 0] == who[0])
    assert np.mean(first) < 0.3  # measured: 0.02


# --- people -----------------------------------------------------------------------------------


def plain_person(**changes) -> Person:
    shirt = Garment("t-shirt", (0.8, 0.1, 0.1), (0.1, 0.1, 0.9), "plain", 0.05, 0.51, 0.005)
    jeans = Garment("trousers", (0.1, 0.6, 0.1), (0.9, 0.9, 0.9), "plain", 0.05, 0.945, 0.005)
    person = draw_person(np.random.default_rng(0))
    return replace(
        person, shoulders=1.0, hips=1.0, bulk=1.0, head=1.0, hair_style="short", hat="none",
        hair=(0.0, 0.0, 0.0), upper=shirt, lower=jeans, shoes="low", shoe_colour=(0.9, 0.9, 0.0),
        bag="none", bag_colour=(0.0, 0.9, 0.9), scarf=None, beard=False, **changes,
    )  # fmt: skip


def figure(person, turn, size=(220, 110), stride=0.15):
    canvas = Canvas(
        size, top=10, centre=size[1] / 2, scale=200, light=(0.0, 0.0, 1.0), ambient=0.7,
        folds=np.ones(size, np.float32),
    )  # fmt: skip
    draw(canvas, person, Pose(turn, 0.8, stride, pitch=0.1))
    return canvas.rgb, canvas.alpha


def share_of(picture, colour):
    """Return the pixels of nearly one hue, lit as they may be."""
    length = np.linalg.norm(picture, axis=-1)
    along = picture @ (np.array(colour) / np.linalg.norm(colour))
    return ((along > 0.97 * length) & (length > 0.2)).sum()


@pytest.mark.parametrize("turn", np.arange(8) * np.pi / 4)
def test_a_person_is_built_from_hair_to_shoes_from_every_side(turn):
    person = plain_person()
    rgb, alpha = figure(person, turn)
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    assert 8 <= rows[0] <= 14 and 202 <= rows[-1] <= 216  # a body height tall
    crown, chest, thighs, feet = rgb[12:18], rgb[60:90], rgb[125:150], rgb[200:215]
    assert rgb[12:18].max() < 0.2 and alpha[12:18].max() == 1  # black hair
    assert share_of(chest, person.upper.colour) > 500
    assert share_of(thighs, person.lower.colour) > 500
    assert share_of(feet, person.shoe_colour) > 40
    assert share_of(crown, person.shoe_colour) == 0


def test_a_backpack_is_a_backpack_only_from_behind():
    person = plain_person()
    with_bag = replace(person, bag="backpack")
    front, back = (
        share_of(figure(with_bag, turn)[0], with_bag.bag_colour) for turn in (FRONT, BACK)
    )
    assert back > 1000
    assert 0 < front < 0.4 * back  # the straps


def test_a_print_is_on_the_chest_only():
    person = plain_person()
    printed = replace(person, upper=replace(person.upper, pattern="print"))
    blue = person.upper.second
    assert share_of(figure(printed, FRONT)[0], blue) > 150
    assert share_of(figure(printed, BACK)[0], blue) == 0


def test_a_stride_is_wider_from_the_side_than_from_the_front():
    def width(turn):
        return (figure(plain_person(), turn, stride=0.42)[1][170:] > 0.5).any(axis=0).sum()

    assert width(np.pi / 2) > 1.5 * width(FRONT)


def test_people_of_a_set_are_dressed_in_a_few_common_colours():
    """Else colour would tell everybody apart."""
    drawn = [draw_person(np.random.default_rng([1, i])) for i in range(200)]
    assert len({person.upper.kind for person in drawn}) == 5
    assert len({person.bag for person in drawn}) == 4
    colours = np.array([(*p.upper.colour, *p.lower.colour) for p in drawn])
    apart = np.abs(colours[:, None] - colours).max(axis=-1) + np.eye(len(drawn))
    assert np.mean(apart.min(axis=1) < 0.06) > 0.5
    assert len(set(drawn)) == 200


# --- cameras ----------------------------------------------------------------------------------


def test_cameras_see_the_same_person_in_other_colours_and_places():
    cameras = draw_cameras(6, np.random.default_rng(0))
    assert {camera.scene for camera in cameras} == set(SCENES)
    person, size = plain_person(), (128, 64)
    taken = []
    for number, camera in enumerate(cameras):
        rng = np.random.default_rng(number)
        scene, passage = scene_of(camera, rng, size), draw_passage(camera, rng)
        taken.append(photograph(person, camera, scene, passage, rng, size))
    assert all(picture.shape == (128, 64, 3) and picture.dtype == np.uint8 for picture in taken)
    chests = np.array([picture[32:52, 26:38].mean(axis=(0, 1)) for picture in taken])
    assert np.ptp(chests, axis=0).max() > 25


@pytest.mark.parametrize("kind", SCENES)
def test_scenes_can_be_drawn_for_any_seed_and_size(kind):
    for seed, scale in ((0, 238), (1, 30), (2, 60), (3, 30)):
        scene = paint_scene(kind, np.random.default_rng(seed), scale)
        assert scene.picture.shape[0] == round(2.2 * scale)
        assert scene.picture.min() >= 0 and scene.picture.max() <= 1
        assert 0 < scene.ground < scene.picture.shape[0]


def test_an_unknown_scene_is_a_programmers_mistake():
    with pytest.raises(ValueError, match="`kind` must be one of"):
        paint_scene("beach", np.random.default_rng(0), 100)
