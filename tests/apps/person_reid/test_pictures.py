import cv2
import numpy as np
import pytest
from PIL import ImageDraw

from apps.person_reid.pictures import (
    VERDICTS,
    Hit,
    activation,
    activation_map,
    search_sheet,
    verdict,
)

GREY = np.full((128, 64, 3), 120, np.uint8)


def hit(distance=0.5, person=None, camera=None, name="", image=GREY):
    return Hit(image, distance, name, person, camera)


def count(sheet, judged):
    return (sheet == VERDICTS[judged][0]).all(axis=-1).sum()


@pytest.fixture
def texts(monkeypatch):
    """Everything that is written on a sheet."""
    written, original = [], ImageDraw.ImageDraw.text

    def recorded(self, xy, text, *arguments, **options):
        written.append(text)
        return original(self, xy, text, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recorded)
    return written


@pytest.mark.parametrize(
    "person, camera, found, expected",
    [
        (7, 0, hit(person=7, camera=1), "right"),
        (7, 0, hit(person=7, camera=0), "skipped"),
        (7, 0, hit(person=8, camera=0), "wrong"),
        (7, 0, hit(person=0, camera=1), "wrong"),
        (7, 0, hit(person=-1, camera=1), "skipped"),
        (7, 0, hit(), "unknown"),
        (None, None, hit(person=7, camera=1), "unknown"),
        (7, None, hit(person=7), "right"),
    ],
)
def test_hits_are_judged_by_the_market_protocol(person, camera, found, expected):
    assert verdict(person, camera, found) == expected


def test_frames_and_legend_show_only_the_verdicts_that_occur():
    hits = [hit(person=7, camera=1), hit(person=7, camera=0), hit(person=9, camera=1)]
    sheet = search_sheet(GREY, hits, person=7, camera=0)
    assert sheet.dtype == np.uint8 and sheet.shape[-1] == 3
    assert min(count(sheet, judged) for judged in ("right", "wrong", "skipped")) > 1000
    assert count(sheet, "unknown") == 0
    blind = search_sheet(GREY, hits)
    assert count(blind, "unknown") > 3000
    assert count(blind, "right") == count(blind, "wrong") == 0


def test_the_frame_of_a_hit_that_does_not_count_is_dashed():
    counted = search_sheet(GREY, [hit(person=7, camera=1)], person=7, camera=0)
    removed = search_sheet(GREY, [hit(person=7, camera=0)], person=7, camera=0)
    assert 0.35 < count(removed, "skipped") / count(counted, "right") < 0.7


def test_ranks_count_only_what_the_protocol_keeps(texts):
    found = [
        hit(0.125, 7, 0, "0007_c1s1_000001_01.jpg"),
        hit(0.25, 7, 1, "0007_c2s1_000001_01.jpg"),
        hit(0.5, 9, 1, "0009_c2s1_000001_01.jpg"),
        hit(0.75, 0, 1),
    ]
    search_sheet(GREY, found, person=7, camera=0, name="0007_c1s1_000009_01.jpg")
    captions = [text for text in texts if text[:1] in "-123456789" and "  " in text]
    assert captions == ["-  skipped  0.125", "1  right  0.25", "2  wrong  0.5", "3  wrong  0.75"]
    assert "0007_c2s1_000001_01" in texts and "person 9, camera 2" in texts
    assert "distractor, camera 2" in texts


def test_a_sheet_of_drawings_says_so(texts):
    search_sheet(GREY, [hit()], title="osnet", synthetic=True)
    assert "osnet, synthetic pedestrians, not photographs" in texts
    texts.clear()
    search_sheet(GREY, [hit()], title="osnet")
    assert "osnet" in texts and not any("synthetic" in text for text in texts)


def test_the_nearest_ten_are_shown_and_the_query_keeps_its_pixels():
    marked = np.zeros((224, 112, 3), np.uint8)
    marked[..., 0] = np.arange(112)
    hits = [hit(image=np.full((32, 16, 3), 10 * i, np.uint8)) for i in range(14)]
    ten, two = search_sheet(marked, hits), search_sheet(marked, hits, top=2)
    assert ten.shape[0] == two.shape[0] and ten.shape[1] > 2 * two.shape[1]
    assert (ten == 90).all(axis=-1).sum() > 10_000
    assert (ten == 100).all(axis=-1).sum() < 500  # the eleventh is not there
    column = np.flatnonzero((ten[100] == (100, 0, 0)).all(axis=-1))
    assert len(column) == 1  # a pixel of the query is a pixel of the sheet


def test_pictures_of_any_shape_and_name_fit(texts):
    hits = [
        hit(1e-9, 7, 1, "x" * 80 + ".png", np.zeros((5, 200, 3), np.uint8)),
        hit(12345.678, 7, 1, "人物_1.jpg", np.zeros((300, 7, 3), np.uint8)),
    ]
    sheet = search_sheet(np.zeros((1, 1, 3), np.uint8), hits, person=7, camera=0, title="größe")
    assert sheet.shape[0] < 400
    assert all(text.isascii() for text in texts)
    assert max(len(text) for text in texts if "x" * 5 in text) <= 20
    assert search_sheet(GREY, []).shape[1] < 200


@pytest.mark.parametrize("image", [GREY[..., 0], GREY.astype(float), GREY[..., :1], GREY[:0]])
def test_what_is_no_rgb_picture_is_refused(image):
    with pytest.raises(ValueError, match="`image` must be uint8"):
        search_sheet(image, [])
    with pytest.raises(ValueError, match="`image` must be uint8"):
        activation_map(np.ones((4, 2, 8)), image)


def test_fewer_than_one_hit_is_refused():
    with pytest.raises(ValueError, match="`top` must be 1 or more"):
        search_sheet(GREY, [], top=0)


# --- activation maps --------------------------------------------------------------------------


def test_activation_is_the_sum_of_squares_of_norm_one():
    features = np.array([[[1.0, 2.0], [0.0, 0.0]], [[-3.0, 0.0], [0.0, 2.0]]], np.float16)
    expected = np.array([[5, 0], [9, 4]]) / np.sqrt(25 + 81 + 16)
    np.testing.assert_allclose(activation(features), expected, rtol=1e-6)
    assert not activation(np.zeros((3, 2, 4))).any()


def test_the_map_is_red_where_the_network_answers_and_blue_where_not():
    features = np.zeros((16, 8, 5), np.float32)
    features[4, 2] = -3  # the sign does not matter
    sheet = activation_map(features, GREY)
    assert sheet.shape == (128, 64 + 10 + 64, 3)
    np.testing.assert_array_equal(sheet[:, :64], GREY)
    assert (sheet[:, 64:74] == 255).all()
    overlay = sheet[:, 74:].astype(int)
    hot, cold = overlay[36, 20], overlay[100, 50]
    assert hot[0] > hot[2] + 60 and cold[2] > cold[0] + 60


def test_the_overlay_is_the_published_formula():
    rng = np.random.default_rng(0)
    features, image = rng.normal(size=(16, 8, 32)), rng.integers(0, 256, (64, 32, 3), np.uint8)
    strength = (features**2).sum(axis=-1)
    strength = cv2.resize(strength / np.linalg.norm(strength), (32, 64))
    levels = 255 * (strength - strength.min()) / (strength.max() - strength.min() + 1e-12)
    heat = cv2.applyColorMap(np.uint8(np.floor(levels)), cv2.COLORMAP_JET)[..., ::-1]
    expected = 0.3 * image + 0.7 * heat
    difference = np.abs(activation_map(features, image)[:, 42:] - expected)
    assert np.percentile(difference, 99) < 1  # a level may be rounded the other way
    same = activation_map(1000 * features, image)
    assert np.abs(same.astype(int) - activation_map(features, image)).max() <= 6


def test_a_network_that_answers_nowhere_gives_an_even_map():
    sheet = activation_map(np.zeros((16, 8, 4)), GREY)
    assert len(np.unique(sheet[:, 74:].reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("shape", [(16, 8), (1, 16, 8, 4), (0, 8, 4)])
def test_features_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`features` must be \(h, w, c\)"):
        activation_map(np.zeros(shape), GREY)
