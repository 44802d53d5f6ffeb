"""Drawn animals, the water before them, and the data set of both."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from apps.underwater_species import animals, water
from apps.underwater_species.cli import app
from apps.underwater_species.data import SAMPLE_DATA
from apps.underwater_species.scenes import KINDS, draw_picture
from apps.underwater_species.simulation import SHARES, counts_of, jpeg, simulate
from apps.underwater_species.task import TASK
from core.data.images import read_image
from core.errors import UserError

TINY = {
    "train": dict.fromkeys(KINDS, 1),
    "test": dict.fromkeys(KINDS, 1),
}


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.jpg")
    }


@pytest.mark.parametrize("kind", sorted(animals.ANIMALS))
def test_an_animal_lies_within_a_unit_of_its_middle(kind):
    for seed in range(5):
        parts = animals.ANIMALS[kind](np.random.default_rng(seed))
        assert max(np.abs(part.outline).max() for part in parts) <= 1.25
        assert all(0 < part.opacity <= 1 for part in parts)


def test_a_mirrored_pose_is_the_other_way_round():
    picture = np.zeros((60, 60, 3), np.float32)
    parts = animals.fish(np.random.default_rng(4))
    shapes = []
    for mirrored in (False, True):
        pose = animals.Pose((29.83, 29.83), 25, mirrored=mirrored)
        _, hidden = animals.paint(picture, parts, pose, np.random.default_rng(0))
        shapes.append(hidden)
    assert 0.03 < shapes[0].mean() < 0.5
    assert np.abs(shapes[0][:, ::-1] - shapes[1]).mean() < 0.01


def test_red_goes_first_and_what_is_far_takes_the_colour_of_the_water():
    clear = water.Water((0.4, 0.1, 0.08), (0.4, 0.1, 0.08), (0.05, 0.3, 0.4), 0.0, 0.0, 0.0)
    white = np.ones((8, 8, 3), np.float32)

    def seen(metres):
        away = np.full((8, 8), metres, np.float32)
        return water.submerged(white, away, clear, np.random.default_rng(0))[4, 4].astype(int)

    near, middle, far = seen(0.0), seen(4.0), seen(500.0)
    assert tuple(near) == (255, 255, 255)
    assert middle[0] < middle[1] and middle[0] < middle[2]
    expected = 255 * np.array(clear.veil) ** (1 / water.GAMMA)
    np.testing.assert_allclose(far, expected, atol=1)
    # 4 m by the equation: the direct light and the veil.
    direct = np.exp(-4 * np.array(clear.attenuation))
    value = direct + np.array(clear.veil) * (1 - np.exp(-4 * np.array(clear.backscatter)))
    np.testing.assert_allclose(middle, 255 * np.clip(value, 0, 1) ** (1 / water.GAMMA), atol=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_follows_from_its_generator(kind):
    first, again, other = (
        draw_picture(kind, np.random.default_rng(seed), 64) for seed in (1, 1, 2)
    )
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_the_same_seed_draws_the_same_data_set(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / name, counts=TINY, size=48, seed=seed)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again and first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())
    about = json.loads((tmp_path / "a" / "about.json").read_text())
    assert about["files"] == TINY and "not AQUA20" in about["what"]


def test_counts_are_unequal_and_no_class_is_without_test_pictures():
    counts = counts_of(112)
    assert counts["train"] == dict(sorted(SHARES.items()))
    assert min(counts["test"].values()) == 8
    assert counts_of(6)["train"]["crab"] == 1


def test_the_sample_is_what_the_generator_draws_and_says_so():
    about = json.loads((SAMPLE_DATA / "about.json").read_text())
    picture = draw_picture("crab", np.random.default_rng([about["seed"], 0, 0, 0]), 112)
    file = SAMPLE_DATA / "train" / "crab" / "00000.jpg"
    assert np.abs(read_image(file).astype(int) - picture).mean() < 4  # JPEG
    assert len(jpeg(picture)) == pytest.approx(file.stat().st_size, rel=0.2)
    index = TASK.read("sample")
    assert index.counts() == {"train": 538, "val": 134, "test": 150}
    assert sum(path.stat().st_size for path in SAMPLE_DATA.rglob("*.*")) < 2.5e6
    assert "not AQUA20" in (SAMPLE_DATA / "README.md").read_text().replace("\n", " ")


def call(*arguments):
    given = ["simulate", *map(str, arguments)]
    return CliRunner().invoke(app, given, prog_name="gossamer aqua")


def test_the_command_draws_what_training_reads(tmp_path):
    made = call("--out", tmp_path / "drawn", "--count", 6, "--pixels", 32, "--seed", 2, "--json")
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["counts"] == {"train": 7, "test": 48} and told["about"]["seed"] == 2
    index = TASK.read(str(tmp_path / "drawn"))
    assert index.format == "folders" and index.labels == KINDS


def test_photographs_stand_for_the_places(tmp_path):
    (tmp_path / "photographs").mkdir()
    Image.new("RGB", (90, 60), (255, 0, 0)).save(tmp_path / "photographs" / "red.png")
    record = simulate(tmp_path / "out", counts=TINY, size=32, photographs=tmp_path / "photographs")
    assert record["photographs"] == 1
    drawn = simulate(tmp_path / "plain", counts=TINY, size=32)
    assert drawn["photographs"] == 0
    first, other = (digests(tmp_path / name) for name in ("out", "plain"))
    assert not set(first.values()) & set(other.values())


def test_wrong_numbers_full_folders_and_missing_photographs_are_told(tmp_path):
    with pytest.raises(UserError, match="Received 5 pictures in training; choose a number from 6"):
        simulate(tmp_path / "new", count=5)
    with pytest.raises(UserError, match="Received 8 pixels a side"):
        simulate(tmp_path / "new", size=8)
    with pytest.raises(UserError, match="no such folder"):
        simulate(tmp_path / "new", photographs=tmp_path / "none")
    (tmp_path / "mine.txt").write_text("mine")
    assert "already holds files" in call("--out", tmp_path).stderr
    assert not (tmp_path / "new").exists()
