"""Segments of other programs are read and fitted to their images; ours are written as they read."""

import re
import xml.etree.ElementTree as ElementTree

import line_layouts as layouts
import numpy as np
import pytest
from line_layouts import SEGMENTS, SIZE

from apps.line_segments.detections import Detections
from apps.line_segments.predictions import read_predictions
from apps.line_segments.writing import write_list, write_segments, write_svg
from core.data.index import Sample
from core.errors import UserError

SCORES = [0.91, 0.55, 0.12]


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    images = [layouts.picture(tmp_path / "images" / name) for name in ("35.jpg", "112.jpg")]
    return [Sample(image.name, (image,)) for image in images]


def texts(folder, samples):
    rows = [" ".join(map(str, [*ends, s])) for ends, s in zip(SEGMENTS, SCORES, strict=True)]
    for sample in samples:
        (folder / f"{sample.id}.txt").write_text("\n".join(rows) + "\n")


def hawp(folder, samples):
    doubled = (2 * np.array(SEGMENTS)).tolist()
    size = {"width": 2 * SIZE[1], "height": 2 * SIZE[0]}
    entries = [
        {
            "filename": f"{s.inputs[0].stem}.png",
            **size,
            "lines_pred": doubled,
            "lines_score": SCORES,
        }
        for s in samples
    ]
    layouts.write_json(folder / "results.json", entries)


def lcnn(folder, samples):
    """By number; the padded tail repeats the first line."""
    ends = np.reshape(SEGMENTS, (-1, 2, 2)) * (128 / np.array([SIZE[1], SIZE[0]]))
    lines = np.concatenate([ends, ends[:1], ends[:1]])[:, :, ::-1].astype(np.float32)
    for number in range(len(samples)):
        np.savez(folder / f"{number:06d}.npz", lines=lines, score=np.float32([*SCORES, 0.9, 0.9]))


def labelme(folder, samples):
    for sample in samples:
        shapes = [
            {"shape_type": "line", "points": np.reshape(e, (2, 2)).tolist(), "score": s}
            for e, s in zip(SEGMENTS, SCORES, strict=True)
        ]
        layouts.write_json(folder / f"{sample.inputs[0].stem}.json", {"shapes": shapes})


@pytest.mark.parametrize("write", [texts, hawp, lcnn, labelme])
def test_a_programs_predictions_are_read(tmp_path, samples, write):
    folder = tmp_path / "found"
    folder.mkdir()
    write(folder, samples)
    found, notes = read_predictions(folder, samples)
    assert [sample for sample, _ in found] == samples and notes == []
    for _, one in found:
        np.testing.assert_allclose(one.segments, SEGMENTS, atol=1e-4)
        np.testing.assert_allclose(one.scores, SCORES, atol=1e-6)
        assert one.size == SIZE
    few, notes = read_predictions(folder, samples[:1])
    assert len(few) == 1 and "1 image(s) of" in notes[0]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("35.txt", "1 2 3 4 nan\n", "1 prediction.* hold NaN or infinity, first number 1"),
        ("35.txt", "1 2 3 4\n", "line 1: expected five numbers"),
        ("35.txt", "x y z\n", "line 1: expected five numbers"),
        ("35.json", "{", "is no JSON"),
        ("35.json", '{"a": 1}', "holds no predictions"),
        ("35.json", '[{"filename": "35.jpg"}]', "entry 0 holds no predictions"),
        (
            "all.json",
            '[{"filename": "35.jpg", "width": 64, "height": 48, "lines_pred": [[1, 2, 3, 4]], '
            '"lines_score": []}]',
            "has 1 segments and 0 scores",
        ),
        (
            "all.json",
            '[{"filename": "35.jpg", "lines_pred": [], "lines_score": []}]',
            "tells a size of None",
        ),
        ("35.npz", "no archive", "damaged|cannot be read"),
        ("other.txt", "1 2 3 4 0.5\n", "no predictions for 1 of 1 images, first '35.jpg'"),
        ("35.csv", "1,2", "holds no prediction files"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(tmp_path, samples, name, content, message):
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_predictions(folder, samples[:1])
    assert "\n" not in str(caught.value)


def test_two_programs_in_one_folder_are_refused(tmp_path, samples):
    texts(tmp_path, samples)
    labelme(tmp_path, samples)
    with pytest.raises(UserError, match="a second entry for image"):
        read_predictions(tmp_path, samples)
    with pytest.raises(UserError, match="no such file or folder"):
        read_predictions(tmp_path / "nowhere", samples)


@pytest.fixture
def found() -> Detections:
    order = [2, 0, 1]  # not yet sorted
    return Detections(np.array(SEGMENTS)[order], np.array(SCORES)[order], SIZE)


def test_detections_keep_every_score_and_take_thresholds(found):
    assert found.scores.tolist() == pytest.approx(SCORES)
    assert len(found.above(0.5)) == 2 and len(found.above(0.91)) == 0
    assert found.longer(36.5).segments.tolist() == [SEGMENTS[2]]
    doubled = found.resized((2 * SIZE[0], 3 * SIZE[1]))
    np.testing.assert_allclose(doubled.segments, np.array(SEGMENTS) * [3, 2, 3, 2])
    with pytest.raises(ValueError, match="as many scores"):
        Detections(SEGMENTS, SCORES[:1], SIZE)


def test_what_is_written_reads_back(tmp_path, samples, found):
    (tmp_path / "text").mkdir()
    write_segments(tmp_path / "text/35.txt", found)
    write_list(tmp_path / "list.json", {"35.jpg": found})
    for path in (tmp_path / "text", tmp_path / "list.json"):
        (_, again), *_ = read_predictions(path, samples[:1])[0]
        np.testing.assert_allclose(again.segments, found.segments, atol=6e-3)
        np.testing.assert_allclose(again.scores, found.scores, atol=1e-6)


def test_a_drawing_has_a_score_a_line_and_a_layer_a_tenth(tmp_path, found):
    path = write_svg(tmp_path / "35.svg", found, picture='a "b" & c.jpg')
    root = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("viewBox") == f"0 0 {SIZE[1]} {SIZE[0]}"
    assert root.find(f"{space}image").get("href") == 'a "b" & c.jpg'
    layers = root.findall(f"{space}g")
    assert [layer.get("id") for layer in layers] == ["score-0.1", "score-0.5", "score-0.9"]
    lines = root.findall(f".//{space}line")
    assert [float(line.get("data-score")) for line in lines] == pytest.approx(SCORES[::-1])
    ends = [[float(line.get(name)) for name in ("x1", "y1", "x2", "y2")] for line in lines]
    assert ends == SEGMENTS[::-1]
    empty = write_svg(tmp_path / "none.svg", Detections([], [], SIZE))
    assert not re.search("<line|<image", empty.read_text())
