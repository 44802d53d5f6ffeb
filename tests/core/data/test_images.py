"""Any image file to a known form; a bad one to a sentence."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from core.data.images import (
    count_pages,
    find_images,
    read_image,
    read_mask,
    read_size,
    write_image,
)
from core.data.pixels import as_picture
from core.errors import UserError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def noise(height=40, width=50):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_grey_png_becomes_three_equal_channels(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (6, 8, 3) and image.dtype == np.uint8
    assert (image == RAMP[..., None]).all()
    assert (read_image(tmp_path / "a.png", 1) == RAMP[..., None]).all()


def test_rgb_as_grey_is_luma(tmp_path):
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 1).tolist() == [[[76]] * 3] * 2


def test_alpha_is_dropped_not_composited(tmp_path):
    Image.new("RGBA", (3, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    Image.new("LA", (3, 2), (40, 0)).save(tmp_path / "b.png")
    assert (read_image(tmp_path / "a.png") == (10, 20, 30)).all()
    assert (read_image(tmp_path / "b.png") == 40).all()
    assert read_mask(tmp_path / "a.png").tolist() == [[30] * 3] * 2


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_palette_gives_colours_as_image_and_indices_as_mask(tmp_path, suffix):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 100, 50])
    options = {"transparency": 0} if suffix == "png" else {}
    image.save(tmp_path / f"a.{suffix}", **options)
    assert read_image(tmp_path / f"a.{suffix}").tolist() == [
        [[0, 0, 0], [200, 0, 0]],
        [[0, 100, 50], [200, 0, 0]],
    ]
    assert read_mask(tmp_path / f"a.{suffix}").tolist() == [[0, 1], [2, 1]]


def test_grey_palette_mask_is_not_turned_inside_out(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0, 9, 1, 1])
    image.save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[255, 0]]


def test_1_bit(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 1)[..., 0].tolist() == [[255, 0]]
    assert read_mask(tmp_path / "a.png").tolist() == [[1, 0]]


def test_cmyk_jpeg(tmp_path):
    Image.new("RGB", (16, 16), (200, 100, 50)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - (200, 100, 50)).max() <= 3


def test_16_bit_values_that_fit_are_kept(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", RAMP.astype(np.uint16))
    for name in ("a.png", "b.tif"):
        assert (read_image(tmp_path / name, 1)[..., 0] == RAMP).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32, np.float32, ">u2"])
def test_deep_values_are_stretched_between_percentiles(tmp_path, dtype):
    deep = np.linspace(1000, 3000, 5000).reshape(50, 100).round().astype(dtype)
    deep[0, 0] = 30000  # a hot pixel must not darken the rest
    tifffile.imwrite(tmp_path / "a.tif", deep)
    image = read_image(tmp_path / "a.tif", 1)[..., 0]
    assert (image[0, 0], image[0, 1], image[-1, -1]) == (255, 0, 255)
    assert abs(int(image[25, 0]) - 127) <= 1


def test_16_bit_colour_tiff_keeps_its_low_bytes(tmp_path):
    deep = np.zeros((10, 10, 3), np.uint16)
    deep[:5] = 4000
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    image = read_image(tmp_path / "a.tif")
    assert (image[:5] == 255).all() and (image[5:] == 0).all()


def test_float_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "unit.tif", np.array([[0, 0.5, 1]], np.float32))
    tifffile.imwrite(tmp_path / "nan.tif", np.array([[0, np.nan, 1]], np.float32))
    assert read_image(tmp_path / "unit.tif", 1)[..., 0].tolist() == [[0, 128, 255]]
    with pytest.raises(UserError, match=r"nan\.tif: holds NaN"):
        read_image(tmp_path / "nan.tif")


def test_pages(tmp_path):
    stack = np.stack([RAMP, 255 - RAMP])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert count_pages(tmp_path / "a.tif") == 2
    assert (read_image(tmp_path / "a.tif", 1)[..., 0] == stack[0]).all()
    assert (read_mask(tmp_path / "a.tif", page=1) == stack[1]).all()
    with pytest.raises(UserError, match=r"a\.tif: has no page 2, only 0\.\.1"):
        read_image(tmp_path / "a.tif", page=2)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_exif_orientation_turns_image_and_size(tmp_path, name):
    upright = np.zeros((8, 24, 3), np.uint8)
    upright[:, :12] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    Image.fromarray(np.rot90(upright, 1).copy()).save(tmp_path / name, exif=exif)
    assert read_size(tmp_path / name) == (8, 24)
    image = read_image(tmp_path / name)
    assert image.shape == (8, 24, 3)
    assert image[:, :11].min() > 240 and image[:, 13:].max() < 15


def test_size_comes_from_the_header(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    assert read_size(tmp_path / "a.png") == (40, 50)


def test_instance_masks_keep_16_and_32_bits(tmp_path):
    labels = np.array([[0, 300], [65535, 7]])
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", labels.astype(np.int32))
    for name in ("a.png", "b.tif"):
        mask = read_mask(tmp_path / name)
        assert mask.dtype == np.uint16 and mask.tolist() == labels.tolist()


def test_rgb_mask_gives_the_largest_channel(tmp_path):
    Image.fromarray(np.array([[[255, 255, 255], [0, 3, 0]]], np.uint8)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[255, 3]]


@pytest.mark.parametrize("values", [[[0.0, 0.4]], [[-1.0, 2.0]], [[0.0, 70000.0]]])
def test_mask_values_must_be_whole_numbers(tmp_path, values):
    tifffile.imwrite(tmp_path / "a.tif", np.array(values, np.float32))
    with pytest.raises(UserError, match=r"a\.tif: has mask values that are not whole numbers"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_truncated_files_are_refused_not_half_decoded(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(300, 300)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=rf"a\.{suffix}: (cannot be decoded|is not an image)"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_deep_tiff_is_refused(tmp_path, compression):
    path = tmp_path / "a.tif"
    deep = np.random.default_rng(0).integers(0, 60000, (300, 300, 3), dtype=np.uint16)
    tifffile.imwrite(path, deep, photometric="rgb", compression=compression)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="damaged or cut off"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, read_mask, read_size, count_pages])
@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty"),
        (b"<html>404 not found</html>", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "is not an image"),
        (None, "no such file"),
    ],
)
@pytest.mark.parametrize("name", ["bad.png", "bad.tif"])
def test_unreadable_files_are_named(tmp_path, read, content, reason, name):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if name == "bad.tif" and reason == "is not an image":
        reason = "(is not an image|cannot be decoded)"
    with pytest.raises(UserError, match=rf"{name}: {reason}") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_an_image(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UserError, match=r"a\.png: is a folder"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("side", [9000, 60000])
@pytest.mark.parametrize("read", [read_image, read_size])
def test_decompression_bombs_are_refused(tmp_path, side, read):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))]
    chunks += [bytes(4) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(UserError, match=r"a\.png: claims"):
        read(tmp_path / "a.png")


def test_a_tiff_that_unfolds_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("core.data.images._MAX_BYTES", 2**20)  # as if pictures had gigabytes
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((400, 400), np.float64), compression="zlib")
    with pytest.raises(UserError, match=r"a\.tif: unfolds to more than 1 MB"):
        read_image(tmp_path / "a.tif")


def test_a_tiff_of_complex_numbers_is_no_picture(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), np.complex64))
    with pytest.raises(UserError, match=r"a\.tif: "):
        read_image(tmp_path / "a.tif")


def test_a_later_page_without_rows_is_refused(tmp_path):
    path = tmp_path / "stack.tif"
    page = Image.new("L", (6, 4))
    page.save(path, save_all=True, append_images=[page])
    data = bytearray(path.read_bytes())
    height = data.rfind(struct.pack("<HHI", 257, 4, 1))  # ImageLength of the second page
    data[height + 8 : height + 12] = bytes(4)
    path.write_bytes(data)
    assert read_image(path).shape == (4, 6, 3)
    with pytest.raises(UserError, match=r"stack\.tif: cannot be decoded"):
        read_image(path, page=1)


def test_tall_deep_pictures_are_scaled_as_one(tmp_path):
    """Rows are brought to 8 bits in parts, all by the same range."""
    values = np.linspace(0, 60000, 600 * 3).reshape(600, 3).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values)
    column = read_image(tmp_path / "a.tif", 1)[:, 0, 0]
    assert column[0] == 0 and column[-1] == 255
    assert (np.diff(column.astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "array",
    [RAMP, RAMP[..., None], noise(), RAMP > 100, RAMP.astype(np.uint16) * 257],
    ids=["grey", "one channel", "rgb", "bool", "16 bit"],
)
def test_what_is_written_is_read_back(tmp_path, array):
    path = write_image(tmp_path / "new" / "a.png", array)
    with Image.open(path) as image:
        stored = np.array(image)
    expected = array * np.uint8(255) if array.dtype == bool else array
    assert stored.tolist() == expected.reshape(stored.shape).tolist()
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_write_refuses_other_formats_and_arrays(tmp_path):
    with pytest.raises(UserError, match=r"choose a name ending in \.png"):
        write_image(tmp_path / "a.jpg", RAMP)
    with pytest.raises(ValueError, match="float64"):
        write_image(tmp_path / "a.png", RAMP / 255)


def test_find_images_walks_in_natural_order_and_skips_leftovers(tmp_path):
    for name in ("10.png", "2.PNG", "a (1).jpeg", "sub/3.tif", "Thumbs.db", ".4.png", "x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for folder in ("__MACOSX", ".hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "5.png").touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert [path.name for path in find_images(tmp_path)] == ["2.PNG", "10.png", "a (1).jpeg"]
    assert [str(path.relative_to(tmp_path)) for path in find_images(tmp_path, recursive=True)] == [
        *("2.PNG", "10.png", "a (1).jpeg", "sub/3.tif")
    ]


def test_find_images_refuses_missing_and_empty_folders(tmp_path):
    with pytest.raises(UserError, match="gone: no such folder"):
        find_images(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no image files"):
        find_images(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"a\.png: is a file, not a folder"):
        find_images(tmp_path / "a.png")


def test_bytes_are_decoded_as_the_file_they_are_of(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    for kind in ("png", "tif", "bmp"):
        file = tmp_path / f"a.{kind}"
        Image.fromarray(pixels).save(file)
        found = read_image("a row of a table", content=file.read_bytes())
        np.testing.assert_array_equal(found, read_image(file))
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, rng.integers(0, 60_000, (5, 7, 3), dtype=np.uint16))
    np.testing.assert_array_equal(read_image("row 1", content=deep.read_bytes()), read_image(deep))


@pytest.mark.parametrize(
    "content, why",
    [(b"", "is empty"), (b"text", "is not an image"), (b"II*\0", "damaged or cut off")],
)
def test_bytes_that_are_no_picture_are_told_by_their_name(content, why):
    with pytest.raises(UserError, match=f"^shard, row 3: .*{why}"):
        read_image("shard, row 3", content=content)


@pytest.mark.parametrize(
    "picture, expected",
    [
        (np.full((2, 3), 7, np.uint8), 7),
        (np.full((2, 3, 1), 0.2, np.float32), 51),
        (np.full((2, 3, 4), 9, np.uint8), 9),
        (np.ones((2, 3), bool), 255),
        (Image.new("I;16", (3, 2), 40), 40),
        (Image.new("LA", (3, 2), (8, 0)), 8),
    ],
)
def test_a_decoded_picture_gets_the_form_of_a_read_one(picture, expected):
    for channels in (1, 3):
        pixels = as_picture(picture, channels)
        assert pixels.shape == (2, 3, channels) and pixels.dtype == np.uint8
        assert (pixels == expected).all()


def test_what_is_no_decoded_picture_is_told():
    for value in (np.zeros((2, 2, 2)), np.zeros((0, 4)), np.zeros(5), "a.png", None):
        with pytest.raises(UserError, match=r"^row 3: is no picture"):
            as_picture(value, name="row 3")
    with pytest.raises(UserError, match="row 3: holds NaN"):
        as_picture(np.full((2, 2), np.nan), name="row 3")
