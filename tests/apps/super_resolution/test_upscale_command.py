import errno
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from apps.super_resolution import upscale_command
from apps.super_resolution.pictures import read_picture
from apps.super_resolution.task import TASK
from core.model_card import ModelCard


class Nearest:
    name = "nearest"
    card = ModelCard(
        "toy", "x2", "superres", mean=(0, 0, 0), std=(1, 1, 1), decode={"scale": 2, "radius": 0}
    )

    def __init__(self):
        self.shapes, self.scale = [], 2

    def __call__(self, batch):
        self.shapes.append(batch.shape)
        return [batch.repeat(self.scale, 1).repeat(self.scale, 2)]


@pytest.fixture
def engine(monkeypatch):
    """The engine of every source; what finds it is tested below."""
    engine = Nearest()
    monkeypatch.setattr(upscale_command, "load_engine", lambda task, source: engine)
    return engine


@pytest.fixture
def upscale(engine, tmp_path):
    from core.command_line.program import Command, new_app

    program = new_app("a program")
    task = SimpleNamespace(name="superres", files=TASK.files)

    @program.callback()
    def _bind(ctx: upscale_command.typer.Context):
        ctx.obj = SimpleNamespace(load=lambda: task)

    program.command("upscale", cls=Command)(upscale_command.upscale)
    source = tmp_path / "toy.tflite"
    source.touch()

    def call(*arguments):
        words = ["upscale", str(source), *map(str, arguments)]
        return CliRunner().invoke(program, words, prog_name="toy")

    return call


def save(path, *, size=(20, 30), channels=3, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    Image.fromarray(array[..., 0] if channels == 1 else array).save(path)
    return array


def double(array):
    return array.repeat(2, 0).repeat(2, 1)


def test_folders_are_walked_and_results_keep_their_places(upscale, tmp_path):
    first = save(tmp_path / "in/a.png", channels=4)
    second = save(tmp_path / "in/b/c.png", channels=1)
    result = upscale(tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    found = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.png"))
    assert [str(path) for path in found] == ["a_x2.png", "b/c_x2.png"]
    a, c = (read_picture(tmp_path / "out" / path) for path in found)
    np.testing.assert_array_equal(a.pixels, double(first[..., :3]))
    assert a.alpha.shape == (40, 60)
    np.testing.assert_array_equal(c.pixels, double(second))
    assert result.stdout == f"2 of 2 inputs enlarged; the results are in {tmp_path / 'out'}\n"


def test_json_says_files_sizes_and_what_was_lost(upscale, tmp_path):
    save(tmp_path / "a.png", channels=4)
    arguments = ["--out", tmp_path / "out", "--picture-format", "jpg", "--compare", "--json"]
    result = upscale(tmp_path / "a.png", *arguments)
    assert result.exit_code == 0, result.stderr
    (entry,) = json.loads(result.stdout)["results"]
    names = ["a_x2.jpg", "a_x2_comparison.png"]
    assert entry["files"] == [str(tmp_path / "out" / name) for name in names]
    assert entry["size"] == [40, 60] and entry["seconds"] >= 0
    assert entry["notes"] == ["lost its transparency, which JPEG does not have"]


def test_a_comparison_of_a_large_picture_shows_its_middle(upscale, tmp_path):
    array = save(tmp_path / "a.png", size=(600, 30))
    result = upscale(tmp_path / "a.png", "--out", tmp_path / "out", "--compare", "--tile", 64)
    assert result.exit_code == 0, result.stderr
    sheet = np.asarray(Image.open(tmp_path / "out/a_x2_comparison.png"))
    assert sheet.shape[1] == 2 * 60 + 2
    np.testing.assert_array_equal(sheet[-1024:, -60:], double(array[44:556]))


def test_tile_overlap_and_batch_reach_the_engine(upscale, engine, tmp_path):
    save(tmp_path / "a.png", size=(64, 64))
    choices = ["--tile", 16, "--overlap", 2, "--batch", 2]
    result = upscale(tmp_path / "a.png", "--out", tmp_path / "out", *choices)
    assert result.exit_code == 0, result.stderr
    assert {shape for shape in engine.shapes if shape[1] == 20} == {(1, 20, 18, 3), (2, 20, 20, 3)}


def test_photographs_of_any_size_are_restored_at_their_size(upscale, engine, tmp_path):
    """By IMDN_AS, whose authors crop what is no multiple of four."""
    engine.card = engine.card.replace(size_multiple=4, decode={"scale": 1})
    engine.scale = 1
    for name, size in (("a", (75, 130)), ("b", (72, 132)), ("c", (30, 41))):
        save(tmp_path / "in" / f"{name}.png", size=size)
    result = upscale(tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert engine.shapes == [(1, 68, 96, 3)] * 4 + [(1, 72, 132, 3), (1, 32, 44, 3)]
    for name in "abc":
        after = read_picture(tmp_path / "out" / f"{name}_x1.png").pixels
        np.testing.assert_array_equal(after, read_picture(tmp_path / f"in/{name}.png").pixels)


def test_a_video_is_enlarged_and_its_lost_sound_said(upscale, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (30, 20))
    for _ in range(3):
        writer.write(np.full((20, 30, 3), 90, np.uint8))
    writer.release()
    result = upscale(tmp_path / "v.avi", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'out/v_x2.mp4'}: has no sound")


def test_a_bad_file_is_named_and_does_not_stop_the_rest(upscale, tmp_path):
    save(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_text("no picture")
    (tmp_path / "in/c.mp4").write_text("no video")
    some = upscale(tmp_path / "in", tmp_path / "in/c.mp4", "--out", tmp_path / "out")
    assert some.exit_code == 1 and "1 of 3 inputs enlarged" in some.stdout
    assert "b.png: is not an image" in some.stderr and "c.mp4: is not a video" in some.stderr
    none = upscale(tmp_path / "in/b.png", "--out", tmp_path / "out2", "--json")
    assert none.exit_code == 2 and json.loads(none.stdout)["results"] == []


def test_a_full_disk_is_said_once_and_ends_it(upscale, engine, tmp_path, monkeypatch):
    for name in "abc":
        save(tmp_path / f"in/{name}.png")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.files._fill", full)
    result = upscale(tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 2 and result.stderr.count("Error: ") == 1
    assert "a_x2.png: cannot be written: the disk is full; free some space." in result.stderr
    assert len(engine.shapes) <= 1 and not list((tmp_path / "out").iterdir())


def test_nothing_is_overwritten_without_being_asked(upscale, tmp_path):
    save(tmp_path / "a.png")
    assert upscale(tmp_path / "a.png", "--out", tmp_path / "out").exit_code == 0
    kept = (tmp_path / "out/a_x2.png").stat().st_mtime_ns
    again = upscale(tmp_path / "a.png", "--out", tmp_path / "out")
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    assert (tmp_path / "out/a_x2.png").stat().st_mtime_ns == kept
    assert upscale(tmp_path / "a.png", "--out", tmp_path / "out", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    "choices, said",
    [
        (["--picture-format", "gif"], "--picture-format is 'gif'"),
        (["--video-format", "mov"], "--video-format is 'mov'"),
        (["--scheme", "average", "--tile", 16, "--overlap", 16], "leave nothing between"),
        (["--scheme", "padd"], "Did you mean 'padded'"),
    ],
)
def test_wrong_choices_are_said_before_anything_is_written(upscale, tmp_path, choices, said):
    save(tmp_path / "a.png")
    result = upscale(tmp_path / "a.png", "--out", tmp_path / "out", *choices)
    assert result.exit_code == 2 and said in result.stderr
    assert not (tmp_path / "out").exists()


def test_two_inputs_with_one_result_are_refused(upscale, tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "a.bmp")
    result = upscale(tmp_path / "a.png", tmp_path / "a.bmp", "--out", tmp_path / "out")
    assert "would overwrite that of" in result.stderr
    inside = upscale(tmp_path / "a.png", "--out", tmp_path)
    assert "choose another --out" in inside.stderr


def test_a_run_is_used_at_any_size_though_its_files_are_exported_at_one(tmp_path):
    from apps import catalog
    from apps.super_resolution.enlarge import enlarge, fixed_size
    from apps.super_resolution.task import TASK
    from core.config import TrainConfig
    from core.run_folder import RunFolder

    network = catalog.network("xlsr")
    config = TrainConfig(network="xlsr", variant="x2", app="superres")
    run = RunFolder.create(tmp_path / "run", config, network.card("x2"))
    run.save_model(network.build("x2", (None, None, 3)))
    engine = upscale_command.load_engine(TASK, tmp_path / "run")
    assert fixed_size(engine) is None
    image = np.random.default_rng(0).integers(0, 256, (31, 45, 3), dtype=np.uint8)
    whole = enlarge(engine, image, engine.card)
    tiled = enlarge(engine, image, engine.card, tile=16, overlap=16, batch=3)
    assert whole.shape == (62, 90, 3) and np.abs(whole.astype(int) - tiled).max() <= 1
