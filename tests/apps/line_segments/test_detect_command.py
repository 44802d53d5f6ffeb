"""Segments of pictures and videos from the command line, and bad input to every command of it."""

import json
import pickle
import re
import zlib

import cv2
import line_layouts
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from apps.line_segments.cli import app
from core.data.videos import read_frames, read_info


def lines(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer lines")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(lines(*arguments, "--json", code=code).stdout)


def drawing(mode="RGB", size=(60, 90), dtype=np.uint8):
    """Return a picture of a bright box, whose edges are at 20, 70 and 15, 45."""
    pixels = np.full(size, 40, np.uint8)
    pixels[15:45, 20:70] = 220
    if dtype == np.uint16:
        return Image.fromarray(pixels.astype(np.uint16) * 257)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    drawing().save(folder / "house.png")
    return folder


def sides(segments):
    """Return which of the box's sides have a segment that runs nearly along all of them."""
    box = {"top": (20, 15, 70, 15), "bottom": (20, 45, 70, 45),
           "left": (20, 15, 20, 45), "right": (70, 15, 70, 45)}  # fmt: skip
    seen = set()
    for ends in np.asarray(segments):
        for name, side in box.items():
            orders = (ends, ends[[2, 3, 0, 1]])
            if min(np.abs(one - side).max() for one in orders) < 4:
                seen.add(name)
    return seen


@pytest.mark.parametrize("detector", ["lsd", "opencv"])
def test_a_picture_gets_text_drawing_and_list_with_every_score(detector, photos, tmp_path):
    out = tmp_path / "out"
    (done,) = found("detect", detector, photos, "--out", out)["results"]
    rows = np.loadtxt(out / "house_segments.txt")
    assert sides(rows[:, :4]) == {"top", "bottom", "left", "right"}
    assert (np.diff(rows[:, 4]) <= 0).all() and (rows[:, 4] > 0).all()
    (entry,) = json.loads((out / "segments.json").read_text())
    assert entry["filename"] == "house.png" and (entry["height"], entry["width"]) == (60, 90)
    np.testing.assert_allclose(entry["lines_pred"], rows[:, :4], atol=0.01)
    assert (out / "house_segments.svg").read_text().count("data-score=") == len(rows)
    drawn = np.array(Image.open(out / "house_overlay.png")).astype(int)
    changed = np.abs(drawn - np.array(drawing()).astype(int)).max(-1) > 30
    assert changed[15, 30:60].mean() > 0.8 and not changed[:8].any()
    assert done["segments"] == len(rows) == done["drawn"] and done["network_ms"] is None


def test_a_threshold_draws_fewer_and_writes_all(photos, tmp_path):
    every = found("detect", "lsd", photos, "--out", tmp_path / "a")["results"][0]
    none = found("detect", "lsd", photos, "--score", 1e6, "--out", tmp_path / "b")["results"][0]
    assert none["segments"] == every["segments"] > 0 == none["drawn"]
    plain = np.array(Image.open(tmp_path / "b" / "house_overlay.png"))
    np.testing.assert_array_equal(plain, np.array(drawing()))
    long = found("detect", "lsd", photos, "--least-length", 40, "--out", tmp_path / "c")
    assert long["results"][0]["segments"] == 2


def test_pictures_of_any_kind_are_taken(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    drawing("L").save(folder / "grey.png")
    drawing("RGBA").save(folder / "alpha.png")
    drawing(dtype=np.uint16).save(folder / "deep.png")
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    Image.new("RGB", (4000, 3)).save(folder / "thin.png")
    made = found("detect", "lsd", folder, "--out", tmp_path / "out")
    counts = {one["input"].rpartition("/")[2]: one["segments"] for one in made["results"]}
    assert counts["grey.png"] == counts["alpha.png"] == counts["deep.png"] >= 4
    assert counts["tiny.png"] == counts["thin.png"] == 0 and made["failed"] == []


def huge_png():
    """Return a PNG whose header claims 100,000 x 100,000 pixels."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    size = (100_000).to_bytes(4, "big")
    header = chunk(b"IHDR", size + size + b"\x08\x00\x00\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_what_cannot_be_read_is_named_and_the_rest_is_done(photos, tmp_path):
    (photos / "huge.png").write_bytes(huge_png())
    (photos / "text.jpg").write_text("no picture")
    told = lines("detect", "lsd", photos, "--out", tmp_path / "out", code=1)
    assert "huge.png: claims" in told.stderr and "text.jpg: is not an image" in told.stderr
    assert (tmp_path / "out" / "house_segments.txt").is_file()
    (photos / "house.png").unlink()
    lines("detect", "lsd", photos, "--out", tmp_path / "none", code=2)


def clip(path, frames=4):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (90, 60))
    for _ in range(frames):
        writer.write(np.array(drawing()))
    writer.release()
    return path


def test_a_video_gets_a_list_of_its_frames_and_a_drawn_video(tmp_path):
    source, out = clip(tmp_path / "walk.avi"), tmp_path / "out"
    (done,) = found("detect", "lsd", source, "--video-format", "avi", "--out", out)["results"]
    entries = json.loads((out / "walk_segments.json").read_text())
    assert [one["filename"] for one in entries] == [f"walk_{n:06d}.png" for n in range(1, 5)]
    assert all(len(sides(one["lines_pred"])) == 4 for one in entries)
    assert done["segments"] == sum(len(one["lines_pred"]) for one in entries)
    info = read_info(out / "walk_overlay.avi")
    assert (info.size, info.frames) == ((60, 90), 4)
    first = next(iter(read_frames(out / "walk_overlay.avi"))).astype(int)
    assert np.abs(first - np.array(drawing()).astype(int))[15, 30:60].max(-1).mean() > 60
    lines("detect", "lsd", source, "--no-pictures", "--out", tmp_path / "bare")
    assert [file.name for file in (tmp_path / "bare").iterdir()] == ["walk_segments.json"]


def test_a_name_that_is_no_detector_is_told(photos, tmp_path):
    told = lines("detect", "lsb", photos, "--out", tmp_path / "out", code=2)
    assert "lsb: is no run folder, no .tflite file, and none of lsd, opencv" in told.stderr
    assert not (tmp_path / "out").exists()


# --- data -----------------------------------------------------------------------------------------


def test_segments_that_are_none_are_told_and_left_out(tmp_path):
    zero, outside = [9, 9, 9, 9], [200, 200, 300, 300]
    entries = line_layouts.raw_list(tmp_path, lines=[*line_layouts.SEGMENTS, zero, outside])
    line_layouts.write_json(tmp_path / "train.json", entries)
    told = found("data", tmp_path)
    assert "4 segment(s) of no length or outside their image are left out." in told["notes"]
    assert told["problems"] == []


def data_told(root, words):
    told = lines("data", root, code=2)
    assert re.search(words, told.stderr) and told.stderr.count("\n") == 1, told.stderr


def test_annotations_of_other_pictures_are_refused(tmp_path):
    entries = line_layouts.raw_list(tmp_path, width=999)
    line_layouts.write_json(tmp_path / "train.json", entries)
    data_told(tmp_path, "is of a picture of 999x48 pixels, but .* has 64x48")


def test_missing_images_are_counted(tmp_path):
    entries = line_layouts.raw_list(tmp_path)
    line_layouts.write_json(tmp_path / "train.json", entries)
    (tmp_path / "images" / "00031810.jpg").unlink()
    data_told(tmp_path, "1 of its 2 images are missing, first '00031810.png'")


def test_a_pickle_runs_no_code(tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    root = line_layouts.wireframe(tmp_path / "wireframe")
    (root / "pointlines" / "00030043.pkl").write_bytes(pickle.dumps(Bad(), protocol=0))
    told = lines("data", root, code=2)
    assert "00030043.pkl" in told.stderr and told.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_predictions_with_nan_are_refused(tmp_path):
    root = line_layouts.markup(tmp_path / "data")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "35.txt").write_text("1 2 30 40 0.9\n1 2 nan 40 0.8\n")
    told = lines("compare", tmp_path / "theirs", "--data", root, "--split", "all", code=2)
    assert "1 prediction(s) for '35.jpg' hold NaN or infinity, first number 2" in told.stderr


def test_a_file_of_another_network_is_refused(tmp_path):
    weights = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "backbone.0.weight")
    nodes = [helper.make_node("Conv", ["x", "backbone.0.weight"], ["y"])]
    ports = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "other", ports[:1], ports[1:], [weights])
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    told = lines("import", "--network", "lsdnet", "--checkpoint", tmp_path / "other.onnx",
                 "--out", tmp_path / "run", code=2)  # fmt: skip
    assert "is not LSDNet's" in told.stderr and told.stderr.count("\n") == 1
