"""What mask values mean, and the check of a whole data set."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from apps.medical_segmentation.data import read
from apps.medical_segmentation.data.masks import check, load_mask
from core.data.images import write_image
from core.data.index import Sample
from core.errors import UserError


def sample(folder, *masks, size=(1, 4), **extra):
    """Write an image and its masks (arrays) as PNG."""
    image = write_image(folder / "image.png", np.zeros(size, np.uint8))
    targets = []
    for number, mask in enumerate(masks):
        name = folder / f"mask{number}.png"
        targets.append(write_image(name, mask if isinstance(mask, np.ndarray) else bytes_of(mask)))
    return Sample("x", (image,), tuple(targets), extra=extra)


def bytes_of(rows):
    return np.array(rows, np.uint8)


@pytest.mark.parametrize(
    "values, expected",
    [
        ([[0, 20, 21, 255]], [[0, 0, 1, 1]]),
        ([[0, 20, 21, 128]], [[0, 0, 1, 1]]),
        ([[0, 1, 2, 127]], [[0, 1, 1, 1]]),
        ([[0, 0, 0, 1]], [[0, 0, 0, 1]]),
        ([[0, 0, 0, 0]], [[0, 0, 0, 0]]),
        (np.array([[0, 1, 20, 700]], np.uint16), [[0, 1, 1, 1]]),
        (np.array([[0, 1, 20, 183]], np.uint16), [[0, 1, 1, 1]]),
    ],
)
def test_binary_masks_are_binarised_adaptively(tmp_path, values, expected):
    mask = load_mask(sample(tmp_path, values), 1)
    assert mask.dtype == np.uint8 and mask.tolist() == expected


def test_several_masks_are_merged(tmp_path):
    masks = [[255, 0, 0, 0]], [[0, 0, 1, 0]]
    assert load_mask(sample(tmp_path, *masks), 1).tolist() == [[1, 0, 1, 0]]


def test_jpeg_noise_is_settled(tmp_path):
    square = np.zeros((64, 64), np.uint8)
    square[16:48, 16:48] = 255
    image = write_image(tmp_path / "a.png", square)
    Image.fromarray(square).save(tmp_path / "m.jpg", quality=90)
    mask = load_mask(Sample("a", (image,), (tmp_path / "m.jpg",)), 1)
    assert mask.sum() == 32 * 32


def test_class_indices_are_kept(tmp_path):
    assert load_mask(sample(tmp_path, [[0, 1, 2, 2]]), 3).tolist() == [[0, 1, 2, 2]]


def test_values_that_are_no_class_indices_are_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        load_mask(sample(tmp_path, [[0, 255, 255, 0]]), 3)
    assert str(caught.value) == (
        f"Mask '{tmp_path / 'mask0.png'}' has values {{0, 255}}; expected class indices 0..2. Pass "
        "--classes 1 if it is a binary mask, or store class indices."
    )


def test_a_page_of_a_stack(tmp_path):
    stack = np.zeros((2, 3, 3), np.uint8)
    stack[1] = 255
    for name in ("v.tif", "l.tif"):
        tifffile.imwrite(tmp_path / name, stack, photometric="minisblack")
    one = Sample("x", (tmp_path / "v.tif",), (tmp_path / "l.tif",), extra={"page": 1})
    assert load_mask(one, 1).min() == 1


def test_another_size_than_the_image_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"is 2x4 \(height x width\) but its image 'image\.png' 1x4"
    ):
        load_mask(sample(tmp_path, np.zeros((2, 4), np.uint8)), 1)


def test_a_sample_without_mask_is_refused(tmp_path):
    with pytest.raises(UserError, match="Sample 'x' has no mask"):
        load_mask(sample(tmp_path), 1)


def test_check_names_every_problem_once(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 8, 8), dtype=np.uint8)
    for split, number in (("train", 0), ("train", 1), ("train", 2), ("val", 3), ("test", 4)):
        write_image(tmp_path / split / "images" / f"{number}.png", pictures[number])
        write_image(tmp_path / split / "masks" / f"{number}.png", pictures[number] > 99)
    assert check(read(tmp_path), 1) == []
    (tmp_path / "train" / "images" / "0.png").write_bytes(b"")
    write_image(tmp_path / "train" / "masks" / "1.png", np.zeros((4, 8), np.uint8))
    write_image(tmp_path / "test" / "images" / "4.png", pictures[2])
    problems = check(read(tmp_path), 1)
    assert len(problems) == 3
    assert "0.png: is empty (0 bytes)" in problems[0 if "empty" in problems[0] else 1]
    assert any("is 4x8 (height x width) but its image '1.png' 8x8" in one for one in problems)
    assert problems[-1] == (
        "Sample 'train/2' (train) has the same content as 'test/4' (test); keep it in one split."
    )
    assert len(check(read(tmp_path), 2)) == 5


def test_check_finds_images_that_only_look_the_same_in_two_splits(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 200, (3, 40, 40), dtype=np.uint8)
    for split, picture in zip(("train", "val", "test"), pictures, strict=True):
        write_image(tmp_path / split / "images" / "0.png", picture)
        write_image(tmp_path / split / "masks" / "0.png", pictures[0] > 99)
    assert check(read(tmp_path), 1) == []
    write_image(tmp_path / "test" / "images" / "0.png", pictures[0] + 9)
    (told,) = check(read(tmp_path), 1)
    assert told.startswith("'test/0' (test) and 'train/0' (train) look the same (")


def test_specks_of_a_jpeg_mask_are_background(tmp_path):
    """Kvasir-SEG's masks are JPEG: up to 127 is compression, in a PNG it would be foreground."""
    image = write_image(tmp_path / "image.png", np.zeros((32, 32), np.uint8))
    truth = np.zeros((32, 32), np.uint8)
    truth[8:24, 8:24] = 255
    specks = truth.copy()
    specks[:4] = 90
    Image.fromarray(specks).save(tmp_path / "mask.jpg", quality=100)
    mask = load_mask(Sample("x", (image,), (tmp_path / "mask.jpg",)), 1)
    np.testing.assert_array_equal(mask, truth > 0)
