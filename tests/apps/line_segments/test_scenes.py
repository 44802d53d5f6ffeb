"""Synthetic scenes: hidden parts are cut exactly, pictures show their segments, seeds decide."""

import json

import numpy as np
import pytest

from apps.line_segments.data import READERS, read_truth
from apps.line_segments.drawing import TRUTH, drawn_segments
from apps.line_segments.geometry import lengths
from apps.line_segments.scenes.rendering import KINDS, SHORTEST, apart, contrasts, render
from apps.line_segments.scenes.simulation import WHAT, simulate
from apps.line_segments.scenes.textures import ATLAS, atlas
from apps.line_segments.scenes.view import Camera, look_at, visible_parts
from apps.line_segments.scenes.world import Look, World, on_wall
from core.data.images import read_image, write_image
from core.data.readers import read_with
from core.errors import UserError

GREY = Look((0.5, 0.5, 0.5))
SIZE = (200, 200)


def camera(**changes) -> Camera:
    given = {"place": (0, 0, 0), "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "focal": 100.0}
    return Camera(**{**given, "size": SIZE, **changes})


def square(x, y, z, half) -> list:
    return [[x - half, y - half, z], [x - half, y + half, z], [x + half, y + half, z],
            [x + half, y - half, z]]  # fmt: skip


def seen(world: World, **changes) -> np.ndarray:
    """Return the visible parts in order, without what rounding leaves at corners."""
    parts = visible_parts(look_at(world, camera(**changes)))
    parts = parts[lengths(parts) > 0.05]
    return parts[np.lexsort(parts.T[::-1])]


def test_a_segment_is_projected_and_cut_where_a_nearer_face_hides_it():
    world = World()
    world.add_edges([[-8, 0, 10], [8, 0, 10]])  # at row 100, from column 20 to 180
    world.add(square(0, 0, 5, 1), GREY)  # columns 80 to 120
    world.add(square(6, 0, 20, 1), GREY)  # behind it
    np.testing.assert_allclose(seen(world), [[20, 100, 80, 100], [120, 100, 180, 100]], atol=1e-9)


def test_a_face_that_is_crossed_hides_what_is_behind_the_crossing():
    world = World()
    world.add_edges([[-2, 0, 4], [2, 0, 12]])
    world.add(square(0, 0, 8, 5), GREY)  # crossed at its middle
    np.testing.assert_allclose(seen(world), [[50, 100, 100, 100]], atol=0.01)  # half a layer


def test_round_things_hide_a_chord():
    world = World()
    world.add_edges([[-8, 0, 10], [8, 0, 10]])
    world.ball((0, 0.3, 5), 0.5, (1, 1, 1))  # a circle of radius 10, 6 above the line
    np.testing.assert_allclose(seen(world), [[20, 100, 92, 100], [108, 100, 180, 100]], atol=1e-9)


def test_what_is_behind_the_camera_and_beside_the_picture_is_cut():
    world = World()
    world.add_edges(
        [[[0, -1, 5], [0, -1, -5]], [[-30, 1, 10], [30, 1, 10]], [[-1, 0, -2], [1, 0, -2]]]
    )
    world.add(square(0, 0, 30, 20), GREY)
    np.testing.assert_allclose(seen(world), [[0, 90, 200, 90], [100, 120, 100, 200]], atol=1e-9)


def test_a_cubes_hidden_edges_are_hidden_and_layers_lie_on_their_wall():
    world = World()
    faces = world.box((0, -1, 6), (2, 2, 2), 0.0, GREY)
    front = seen(world)
    assert len(front) == 4  # seen straight: four edges of the front
    assert seen(world, yaw=0.25, place=(-2.5, 0, 0)).shape == (7, 4)
    assert seen(world, yaw=0.25, pitch=-0.25, place=(-2.5, 2.5, 0)).shape == (9, 4)
    world.panel(on_wall(faces["front"], (0.5, 0.5, 1.5, 1.5)), GREY, layer=1, solid=True)
    world.panel(on_wall(faces["back"], (0.5, 0.5, 1.5, 1.5)), GREY, layer=1, solid=True)
    assert len(seen(world)) == 8  # and what is on the back is hidden
    world.add_edges([[-2, 0, 5], [2, 0, 5]])  # along the wall, under the panel
    middle = seen(world)
    level = middle[(middle[:, 1] == 100) & (middle[:, 3] == 100)]
    np.testing.assert_allclose(level[:, [0, 2]], [[60, 90], [110, 140]], atol=1e-2)


@pytest.fixture(scope="module")
def pictures():
    return [render(np.random.default_rng([3, n]), (96, 128), KINDS[n % 3]) for n in range(9)]


def test_scenes_show_their_segments(pictures):
    for picture in pictures:
        assert picture.image.shape == (96, 128, 3) and picture.image.dtype == np.uint8
        segments = picture.segments
        assert len(segments) >= 3 and segments.dtype == np.float32
        assert lengths(segments).min() >= SHORTEST - 1e-3
        assert segments.min() >= 0 and (segments.max(0) <= [128, 96, 128, 96]).all()
    # In the finished pictures, whatever blur and noise, sides differ more than a bit aside.
    at, beside = [], []
    for picture in pictures:
        shown = picture.image.astype(np.float32) / 255
        step = picture.segments[:, 2:] - picture.segments[:, :2]
        normal = np.stack([-step[:, 1], step[:, 0]], 1) / lengths(picture.segments)[:, None]
        at.append(contrasts(shown, picture.segments))
        beside.append(contrasts(shown, picture.segments + 7 * np.tile(normal, 2)))
    assert np.concatenate(at).mean() > 0.85 > 0.7 > np.concatenate(beside).mean()


def test_a_scene_follows_from_its_generator(pictures):
    again = render(np.random.default_rng([3, 4]), (96, 128), KINDS[1])
    assert (again.image == pictures[4].image).all()
    assert (again.segments == pictures[4].segments).all()
    with pytest.raises(ValueError, match="street"):
        render(np.random.default_rng(0), kind="forest")


def test_of_lines_close_together_the_longest_stays():
    segments = np.float32([[10, 10, 50, 10], [10, 11, 60, 11], [10, 14, 60, 14], [20, 10, 26, 16]])
    assert apart(segments).tolist() == segments[[1, 2, 3]].tolist()
    assert len(apart(np.zeros((0, 4), np.float32))) == 0


def test_textures_have_no_mean_and_no_seam():
    assert len(atlas()) == len(ATLAS)
    for values in atlas():
        assert abs(values.mean()) < 0.05 and 0.2 < values.std() < 0.8
        seam = np.abs(values[:, 0] - values[:, -1]).mean()
        assert seam <= np.abs(np.diff(values, axis=1)).mean(0).max()  # a joint of bricks may be


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "data"
    told = []
    record = simulate(
        folder, counts={"train": 3, "test": 2}, size=(64, 96), seed=7, advance=told.append
    )
    assert sum(told) == 5
    return folder, record


def test_a_data_set_is_read_as_what_it_is(written):
    folder, record = written
    assert record["what"] == WHAT and record["files"] == {"train": 3, "test": 2}
    assert json.loads((folder / "about.json").read_text()) == record
    index = read_with(READERS, folder)
    assert index.format == "synthetic" and index.counts() == {"train": 3, "test": 2}
    assert any("synthetic" in note for note in index.notes)
    picture = render(np.random.default_rng([7, 2, 1]), (64, 96))  # the last of the test
    sample = index.split("test").samples[1]
    truth = read_truth(sample)
    np.testing.assert_allclose(truth.segments, picture.segments, atol=1e-3)
    stored = read_image(sample.inputs[0])
    assert np.abs(stored.astype(int) - picture.image).mean() < 8  # JPEG


def test_surfaces_take_the_texture_of_photographs(tmp_path):
    rng = np.random.default_rng(0)
    photographs = tmp_path / "photographs"
    for n in range(2):
        write_image(photographs / f"{n}.png", rng.integers(0, 256, (40, 50, 3), np.uint8))
    record = simulate(
        tmp_path / "data", counts={"test": 1}, size=(64, 96), seed=7, photographs=photographs
    )
    assert record["photographs"] == 2
    image = read_image(tmp_path / "data/images/test_000000.jpg")
    plain = render(np.random.default_rng([7, 2, 0]), (64, 96)).image
    assert np.abs(image.astype(int) - plain).mean() > 3
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no image files"):
        simulate(tmp_path / "other", photographs=tmp_path / "none")


@pytest.mark.slow
def test_the_files_are_the_same_for_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("apps.line_segments.scenes.simulation._TOGETHER", 2)
    contents = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        simulate(folder, counts={"train": 3, "valid": 1}, size=(64, 64), seed=1, workers=workers)
        files = sorted(file for file in folder.glob("**/*") if file.is_file())
        contents.append({file.relative_to(folder): file.read_bytes() for file in files})
    assert contents[0] == contents[1] and len(contents[0]) == 7


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"counts": {}}, "Received 0 scenes"),
        ({"size": (32, 320)}, "Received 32 pixels on the shorter side"),
        ({"seed": -1}, "Received -1 as seed"),
        ({"workers": 0}, "Received 0 workers"),
    ],
)
def test_wrong_choices_are_refused(tmp_path, choice, message):
    with pytest.raises(UserError, match=message):
        simulate(tmp_path / "data", **choice)
    assert not (tmp_path / "data").exists()


def test_a_folder_with_files_is_left_alone(written):
    folder, _ = written
    with pytest.raises(UserError, match="already holds files"):
        simulate(folder, counts={"train": 1})


def test_segments_are_drawn_where_they_lie_in_the_colour_of_their_score():
    image = np.full((40, 60, 3), 200, np.uint8)
    truth = drawn_segments(image, np.array([[10, 20.5, 50, 20.5]]))
    assert np.abs(truth[20, 12:48] - np.array(TRUTH)).max() < 40 and (truth[18] == 200).all()
    assert (image == 200).all()
    crossing = np.array([[30.5, 5, 30.5, 35], [10, 20.5, 1e7, 20.5]])
    found = drawn_segments(image, crossing, np.array([0.1, 1.0]))
    sure, crossed, unsure = (found[row, column].astype(int) for row, column in
                             ((20, 20), (20, 30), (10, 30)))  # fmt: skip
    assert np.abs(sure - crossed).max() < 40 < np.abs(sure - unsure).max()
    assert sure.mean() > unsure.mean()  # the sure one is lighter, and on top
    assert (drawn_segments(image, np.zeros((0, 4)), np.zeros(0)) == image).all()


def test_visible_parts_agree_with_the_depth_of_the_pixels():
    """Painted by its own rules, the picture's depth says the same of points along segments."""
    from apps.line_segments.scenes import room, street
    from apps.line_segments.scenes.view_kernel import fill

    agreed = []
    for number, compose in enumerate((street.compose, room.compose)):
        world, view = compose(np.random.default_rng(number), (600, 600))
        scene = look_at(world, view, least=20)
        depth = np.zeros(view.size, np.float32)
        faces = np.full(view.size, -1, np.int32)
        fill(scene.polygons, scene.counts, scene.planes, scene.discs, depth, faces)
        parts = visible_parts(scene)
        for ends, depths in zip(scene.segments, scene.depths, strict=True):
            along = np.linspace(0.02, 0.98, 60)[:, None]
            points = ends[:2] + along * (ends[2:] - ends[:2])
            own = depths[0] + along[:, 0] * (depths[1] - depths[0])
            columns, rows = points.astype(int).clip(0, 599).T
            hidden = depth[rows, columns] > own * 1.01
            start, step = parts[:, None, :2], parts[:, None, 2:] - parts[:, None, :2]
            share = ((points - start) * step).sum(-1) / (step**2).sum(-1).clip(1e-12)
            apart = points - start - share.clip(0, 1)[..., None] * step
            shown = (np.hypot(*np.moveaxis(apart, -1, 0)) < 1e-6).any(0)
            agreed.append(shown != hidden)
    assert len(agreed) > 100 and np.mean(agreed) > 0.97
