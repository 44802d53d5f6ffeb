"""People cut out of a video: followed from frame to frame, named as Market-1501 does."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from apps.person_reid.cli import app
from apps.person_reid.following import follow
from core.data.videos import read_info


def street(count: int = 90) -> list[np.ndarray]:
    """Return frames of a textured street: a red figure walks to the right, a blue one to the left.

    They never meet; a wide, flat car passes below them.
    """
    rng = np.random.default_rng(0)
    road = rng.integers(90, 130, (240, 320, 3), np.uint8)
    frames = []
    for t in range(count):
        frame = road.copy()
        if t >= 25:
            x = 10 + 3 * (t - 25)
            frame[20:100, x : x + 30] = (220, 30, 30)
            x = 280 - 3 * (t - 25)
            frame[120:200, x : x + 30] = (30, 30, 220)
            x = 2 * (t - 25)
            frame[205:235, x : x + 90] = (250, 250, 250)
        frames.append(frame)
    return frames


def test_each_walker_is_one_track_and_the_car_is_none():
    tracks = follow(street())
    assert len(tracks) == 2
    colours = []
    for track in tracks:
        assert len(track.frames) > 40 and track.frames == sorted(track.frames)
        crop = track.crops[20]
        middle = crop[crop.shape[0] // 2, crop.shape[1] // 2].astype(int)
        colours.append("red" if middle[0] > 150 else "blue" if middle[2] > 150 else "none")
    assert sorted(colours) == ["blue", "red"]


def test_crops_are_spread_over_the_track():
    track = follow(street())[0]
    frames = [frame for frame, _ in track.chosen(4)]
    length = track.frames[-1] - track.frames[0]
    assert len(frames) == 4 and min(np.diff(frames)) > 0.15 * length


def test_a_still_camera_without_walkers_has_no_track():
    assert follow(street(24)) == []


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "street.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (320, 240))
    for frame in street():
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def test_the_command_names_crops_so_that_they_can_be_indexed(video, tmp_path):
    from apps.person_reid.data.layouts import parse_name

    assert read_info(video).frames == 90
    out = tmp_path / "crops"
    words = ["crops", str(video), "--out", str(out), "--camera", "3", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["input"], found["tracks"], found["crops"]) == (str(video), 2, 16)
    files = sorted(path.name for path in out.iterdir())
    assert len(files) == 16
    assert {parse_name(name) for name in files} == {(1, 3), (2, 3)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["nowhere.avi"], "no such video file"), (["--least-height", "200"], "shows nobody upright")],
)
def test_videos_without_people_are_refused_in_a_sentence(video, tmp_path, arguments, sentence):
    given = arguments if arguments[0] == "nowhere.avi" else [str(video), *arguments]
    result = CliRunner().invoke(app, ["crops", *given, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and sentence in " ".join(result.stderr.split())
