"""Every published layout is recognised and gives its segments; what is wrong is told in a line."""

import json
import pickle

import line_layouts as layouts
import numpy as np
import pytest
from line_layouts import SEGMENTS, SIZE

from apps.line_segments.data import READERS, notes_on, read_truth
from core.data.index import Sample
from core.data.readers import read_with
from core.errors import UserError


def raw(root, split="train", **changes):
    entries = layouts.raw_list(root, **changes)
    layouts.write_json(root / f"{split}.json", entries)
    return root


def hawp(root):
    layouts.write_json(root / "train.json", layouts.hawp_list(layouts.raw_list(root)))
    tested = layouts.raw_list(root, names=("00031546.jpg",), junc=[[4, 5]])
    layouts.write_json(root / "test.json", tested)
    return root


def test_a_folder_of_a_long_name_is_no_image_of_york_urban(tmp_path):
    layouts.york(tmp_path)
    (tmp_path / ("a" * 250)).mkdir()
    assert len(read_with(READERS, tmp_path)) == 2


@pytest.mark.parametrize(
    "write, name, splits",
    [
        (layouts.wireframe, "wireframe", {"train": 2, "test": 1}),
        (raw, "lists", {"train": 2}),
        (hawp, "lists", {"train": 2, "test": 1}),
        (layouts.york, "york", {"test": 2}),
        (layouts.markup, "reannotated", {"test": 1}),
        (layouts.labelme, "labelme", {"": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layout_is_recognised_and_its_segments_are_read(tmp_path, write, name, splits):
    index = read_with(READERS, write(tmp_path))
    assert index.format == name and index.counts() == splits
    for sample in index.samples:
        truth = read_truth(sample)
        assert truth.size == SIZE and truth.segments.dtype == np.float32
        assert truth.segments.tolist() == SEGMENTS
    assert notes_on(index) == []


def test_the_files_of_the_published_metric_are_a_format_of_their_own(tmp_path):
    index = read_with(READERS, layouts.wireframe(tmp_path), "wireframe-linemat")
    assert index.counts() == {"test": 1} and "2 image(s) without" in index.notes[0]
    assert read_truth(index.samples[0]).segments.tolist() == SEGMENTS


def test_prepared_squares_are_scaled_and_mirrored_copies_stay_together(tmp_path):
    index = read_with(READERS, layouts.lcnn(tmp_path))
    assert index.format == "lcnn" and index.counts() == {"train": 2, "test": 1}
    assert {sample.group for sample in index.samples} == {"a", "b"}
    scale = np.array([512 / SIZE[1], 512 / SIZE[0]] * 2)
    plain, mirrored, tested = map(read_truth, index.samples[1:] + index.samples[:1])
    by_id = {sample.id: read_truth(sample).segments for sample in index.samples}
    expected = np.array(SEGMENTS) * scale
    np.testing.assert_allclose(by_id["train/a_0.png"], expected, atol=1e-4)
    np.testing.assert_allclose(by_id["test/b_0.png"], expected, atol=1e-4)
    expected[:, [0, 2]] = 512 - expected[:, [0, 2]]
    np.testing.assert_allclose(by_id["train/a_1.png"], expected, atol=1e-4)
    assert plain.scaled and mirrored.size == tested.size == (512, 512)
    assert "mirrored copies" in index.notes[0] and "scaled" in notes_on(index)[0]


def test_images_under_another_suffix_and_published_splits_are_noted(tmp_path):
    raw(tmp_path, names=("a.png",))
    raw(tmp_path, "valid", names=("b.jpg",))
    index = read_with(READERS, tmp_path)
    assert index.counts() == {"train": 1, "test": 1}
    assert "462 test images" in index.notes[0] and "another suffix" in index.notes[1]
    one = read_with(READERS, tmp_path / "train.json")
    assert one.counts() == {"train": 1} and one.samples[0].inputs[0].name == "a.jpg"


def test_mirrored_copies_in_a_list_stay_together(tmp_path):
    index = read_with(READERS, raw(tmp_path, names=("a_0.png", "a_3.png", "b_0.png", "c.png")))
    assert [sample.group for sample in index.samples] == ["a", "a", "b", "c"]


def test_sizes_may_be_missing_and_annotations_scaled(tmp_path):
    entries = layouts.raw_list(tmp_path, names=("a.jpg", "b.jpg"))
    del entries[0]["width"], entries[0]["height"]
    entries[1].update(width=128, height=96, lines=(2 * np.array(SEGMENTS)).tolist())
    layouts.write_json(tmp_path / "test.json", entries)
    for sample in read_with(READERS, tmp_path).samples:
        np.testing.assert_allclose(read_truth(sample).segments, SEGMENTS, atol=1e-5)


def test_what_is_no_segment_is_dropped_and_what_sticks_out_is_cut(tmp_path):
    lines = [
        *SEGMENTS,
        [7, 7, 7, 7],  # no length
        [-9, -9, -2, -1],  # outside
        [70, 5, 80, 9],
        [-0.9, 3, 64.8, 3],  # by about a pixel, as annotators do
        [-20, 10, 84, 10],
    ]
    index = read_with(READERS, raw(tmp_path, names=("a.png",), lines=lines))
    truth = read_truth(index.samples[0])
    np.testing.assert_allclose(truth.segments[3:], [[-0.9, 3, 64.8, 3], [0, 10, 64, 10]])
    assert (truth.dropped, truth.cut) == (3, 1)
    assert notes_on(index)[:2] == [
        "3 segment(s) of no length or outside their image are left out.",
        "1 segment(s) leave their image by more than 2 pixels and are cut at its border.",
    ]


def test_an_image_without_segments_is_a_sample(tmp_path):
    index = read_with(READERS, raw(tmp_path, lines=[]))
    assert read_truth(index.samples[0]).segments.shape == (0, 4)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "ends in the middle"),
        (layouts.pointlines()[:-40], "is cut short or damaged|cannot be read"),
        (layouts.pointlines(size=(48, 50)), "is of a picture of 50x48 pixels, but .* has 64x48"),
        (layouts.pointlines(lines=[(0, 6)]), "joins .*, but there are 6 points"),
        (layouts.pointlines(lines=[(0, -1)]), "joins .*, but there are 6 points"),
        (layouts.pointlines(points=[(1.0, 2.0), (3.0,)]), "points are not rows of 2 numbers"),
        (layouts.python2_pickle({"points": []}), "holds no wireframe"),
        (b"cos\nsystem\n(S'touch gotcha'\ntR.", "asks to run 'os.system' while loading"),
        (pickle.dumps([1, 2]), "holds no wireframe"),
    ],
)
def test_a_wrong_pickle_is_told_in_a_sentence(tmp_path, content, message):
    layouts.wireframe(tmp_path)
    (tmp_path / "pointlines/00031546.pkl").write_bytes(content)
    index = read_with(READERS, tmp_path).split("test")
    with pytest.raises(UserError, match=message) as caught:
        read_truth(index.samples[0])
    assert "00031546.pkl" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ("[", "is no JSON"),
        ("{}", "holds no list of images"),
        ("[]", "holds no list of images"),
        ('[{"lines": []}]', "entry 0 names no image"),
        ('[{"filename": "a.png"}]', "neither 'lines' nor 'junctions'"),
        ('[{"filename": "a.png", "lines": [[1, 2, 3]]}]', "not rows of 4 numbers"),
        ('[{"filename": "a.png", "lines": ["up"]}]', "not rows of 4 numbers"),
        ('[{"filename": "a.png", "lines": [], "width": -1, "height": 2}]', "tells a size"),
        (
            '[{"filename": "a.png", "junctions": [[1, 2]], "edges_positive": [[0, 1]]}]',
            "joins .* but there are 1 points",
        ),
        (
            '[{"filename": "a.png", "lines": []}, {"filename": "lost.png", "lines": []}]',
            "1 of its 2 images are missing, first 'lost.png'",
        ),
        ('[{"filename": "a.png", "lines": [[1, 2, 3, NaN]]}]', "segment 1 holds NaN"),
        ('[{"filename": "a.png", "lines": [], "width": 64, "height": 64}]', "64x64 pixels, but"),
    ],
)
def test_a_wrong_list_is_told_in_a_sentence(tmp_path, change, message):
    raw(tmp_path, names=("a.png",))
    (tmp_path / "train.json").write_text(change)
    with pytest.raises(UserError, match=message) as caught:
        for sample in read_with(READERS, tmp_path, "lists").samples:
            read_truth(sample)
    assert "train.json" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    york = layouts.york(tmp_path / "york")
    (york / "P1020171/P1020171.jpg").unlink()
    with pytest.raises(UserError, match=r"its image 'P1020171\.jpg' is missing"):
        read_with(READERS, york)
    wireframe = layouts.wireframe(tmp_path / "wireframe")
    (wireframe / "v1.1/train/00030043.jpg").unlink()
    with pytest.raises(UserError, match="1 of its 3 images are missing, first '00030043'"):
        read_with(READERS, wireframe)
    markup = layouts.markup(tmp_path / "markup")
    index = read_with(READERS, markup)
    (markup / "markup/35.jpg.json").unlink()
    with pytest.raises(UserError, match="no such annotation file"):
        read_truth(index.samples[0])
    prepared = layouts.lcnn(tmp_path / "lcnn")
    (prepared / "train/a_1.png").unlink()
    with pytest.raises(UserError, match=r"its image 'a_1\.png' is missing"):
        read_with(READERS, prepared)
    own = layouts.labelme(tmp_path / "own")
    layouts.picture(own / "bare.jpg")
    assert "1 image(s) without a JSON file" in read_with(READERS, own).notes[0]
    (own / "house.png").unlink()
    with pytest.raises(UserError, match="its image is missing"):
        read_with(READERS, own, "labelme")


@pytest.mark.parametrize(
    "write, file, change, message",
    [
        (layouts.markup, "markup/35.jpg.json", {"objects": [1]}, "holds no markup"),
        (layouts.markup, "markup/35.jpg.json", {"objects": []}, "tells no size"),
        (layouts.labelme, "house.json", [], "is not LabelMe's"),
        (
            layouts.labelme, "house.json",
            {"shapes": [{"shape_type": "line", "points": [[1, 2]]}]}, "a line has 1 points",
        ),
    ],
)  # fmt: skip
def test_a_wrong_document_is_told_in_a_sentence(tmp_path, write, file, change, message):
    index = read_with(READERS, write(tmp_path))
    (tmp_path / file).write_text(json.dumps(change))
    with pytest.raises(UserError, match=message):
        read_truth(index.samples[0])


@pytest.mark.parametrize("mode, size", [("L", SIZE), ("RGBA", SIZE), ("RGB", (1, 1))])
def test_pictures_of_any_kind_have_truths(tmp_path, mode, size):
    """Grey, transparent and of one pixel: only the size in the header matters."""
    image = layouts.picture(tmp_path / "a.png", size, mode)
    file = layouts.write_json(tmp_path / "a.json", {"shapes": [
        {"shape_type": "line", "points": [[0, 0], [1, 1]]}]})  # fmt: skip
    sample = Sample("a", (image,), (file,), extra={"annotation": "labelme"})
    assert read_truth(sample).segments.tolist() == [[0, 0, 1, 1]]


def test_nothing_else_is_recognised(tmp_path):
    layouts.picture(tmp_path / "a.png")
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(UserError, match="not recognised as a data set"):
        read_with(READERS, tmp_path)
