import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, features

from apps.super_resolution.imresize import imresize
from apps.super_resolution.picture_writing import write_picture
from apps.super_resolution.pictures import Rows, comparison, enlarged_strips, read_picture
from apps.super_resolution.png_stream import PngStream
from core.errors import UserError
from core.model_card import ModelCard

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIZE = (13, 21)


class Nearest:
    """Repeats every pixel twice."""

    name, input_shape = "nearest", (1, None, None, 3)

    def __call__(self, batch):
        return [batch.repeat(2, 1).repeat(2, 2)]


CARD = ModelCard(
    "toy", "x2", "superres", mean=(0, 0, 0), std=(1, 1, 1), decode={"scale": 2, "radius": 0}
)


def noise(channels, dtype=np.uint8, size=SIZE, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top + 1, (*size, channels)).astype(dtype)


def smooth(channels, dtype=np.uint8, size=SIZE):
    ramp = np.add.outer(np.arange(size[0]) * 5, np.arange(size[1]) * 3)
    levels = np.stack([ramp + 11 * c for c in range(channels)], axis=-1)
    return (levels * (257 if dtype == np.uint16 else 1)).astype(dtype)


def write(path, array, strips=(5, 8), **options):
    cuts = np.split(array, np.cumsum(strips)[: len(array)])
    size = array.shape[:2]
    return write_picture(path, iter(cuts), size, array.shape[-1], array.dtype, **options)


def whole(picture):
    if picture.alpha is None:
        return picture.pixels
    return np.concatenate([picture.pixels, picture.alpha[..., None]], axis=-1)


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [noise, smooth])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pillow_reads_a_streamed_png_to_the_bit(tmp_path, channels, make):
    array, path = make(channels, size=(70, 33)), tmp_path / "a.png"
    assert write(path, array, strips=(1, 40, 3), icc=SRGB) == []
    with Image.open(path) as image:
        assert image.info["icc_profile"] == SRGB
        np.testing.assert_array_equal(np.asarray(image).reshape(array.shape), array)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_and_tiff_give_every_bit_and_channel_back(tmp_path, suffix, channels, dtype):
    array, path = noise(channels, dtype, size=(77, 9)), tmp_path / f"a.{suffix}"
    assert write(path, array, icc=SRGB) == []
    found = read_picture(path)
    np.testing.assert_array_equal(whole(found), array)
    assert (found.pixels.dtype, found.icc, found.notes) == (dtype, SRGB, ())


def test_opencv_reads_the_16_bits_of_a_streamed_png(tmp_path):
    array = noise(3, np.uint16)
    write(tmp_path / "a.png", array)
    found = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(found, array)


def test_every_chunk_of_a_streamed_png_has_its_checksum_and_filters_pay(tmp_path):
    path, array = tmp_path / "a.png", smooth(3, size=(64, 64))
    write(path, array)
    data, at, names = path.read_bytes(), 8, []
    while at < len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        assert zlib.crc32(name + content) == int.from_bytes(data[at + 8 + length :][:4], "big")
        names.append(name)
        at += 12 + length
    assert (names[0], names[-1]) == (b"IHDR", b"IEND")
    assert len(data) < len(zlib.compress(array.tobytes())) / 2


def test_a_picture_that_ends_early_leaves_no_file(tmp_path):
    array = noise(3)
    with pytest.raises(ValueError, match="lacks its last 3 rows"):
        write_picture(tmp_path / "a.png", iter([array[:10]]), SIZE, 3, np.uint8)
    with pytest.raises(ValueError, match="ended 3 rows early"):
        write_picture(tmp_path / "a.tif", iter([array[:10]]), SIZE, 3, np.uint8)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_refuses_rows_of_another_kind(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        stream = PngStream(file, *SIZE, 3, np.uint8)
        for wrong in (noise(4), noise(3, np.uint16), noise(3, size=(14, 21))):
            with pytest.raises(ValueError, match="Received"):
                stream.write(wrong)


def test_jpeg_keeps_fine_colour_and_says_what_it_loses(tmp_path):
    array = smooth(4, np.uint16)
    lost = write(tmp_path / "a.jpg", array, icc=SRGB)
    assert len(lost) == 2 and "16 to 8 bits" in lost[0] and "transparency" in lost[1]
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.mode, image.info["icc_profile"]) == ("RGB", SRGB)
        assert np.abs(np.asarray(image) - array[..., :3] / 257).max() < 8
        assert image.layer[0][1:3] == image.layer[1][1:3]  # no chroma subsampling
    assert write(tmp_path / "grey.jpeg", smooth(1)) == []
    with Image.open(tmp_path / "grey.jpeg") as image:
        assert image.mode == "L"


@pytest.mark.skipif(not features.check("webp"), reason="Pillow without WebP")
def test_webp_keeps_transparency(tmp_path):
    assert write(tmp_path / "a.webp", smooth(4)) == []
    with Image.open(tmp_path / "a.webp") as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 3], smooth(4)[..., 3])


@pytest.mark.parametrize(
    "name, size, said",
    [
        ("a.gif", (4, 4), "written as png, tif, jpg, webp"),
        ("a.webp", (4, 16384), "WEBP ends at 16383 a side; pass --picture-format png"),
        ("a.jpg", (65536, 4), "JPG ends at 65535"),
        ("a.jpg", (24000, 32000), "too many to be held in memory"),
    ],
)
def test_a_format_that_cannot_hold_the_result_is_named(tmp_path, name, size, said):
    with pytest.raises(UserError, match=said):
        write_picture(tmp_path / name, iter(()), size, 3, np.uint8)


# --- reading ----------------------------------------------------------------------------------


def test_palettes_are_resolved_with_their_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "clear.png", transparency=1)
    plain, clear = read_picture(tmp_path / "plain.png"), read_picture(tmp_path / "clear.png")
    expected = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]
    assert plain.pixels.tolist() == clear.pixels.tolist() == expected
    assert plain.alpha is None and clear.alpha.tolist() == [[255, 0], [255, 0]]


@pytest.mark.parametrize("mode, value", [("L", 7), ("RGB", (7, 8, 9))])
def test_a_single_transparent_colour_becomes_alpha(tmp_path, mode, value):
    image = Image.new(mode, (3, 2), 0)
    image.putpixel((1, 0), value)
    image.save(tmp_path / "a.png", transparency=value)
    found = read_picture(tmp_path / "a.png")
    assert found.channels == (2 if mode == "L" else 4)
    assert found.alpha.tolist() == [[255, 0, 255], [255, 255, 255]]


def test_one_bit_becomes_black_and_white(tmp_path):
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.png").pixels[..., 0], np.eye(5, dtype=np.uint8) * 255
    )


def test_cmyk_is_converted_and_said(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    found = read_picture(tmp_path / "a.jpg")
    assert np.abs(found.pixels.astype(int) - [255, 0, 0]).max() < 8 and found.icc is None
    assert found.notes == ("was converted from CMYK to RGB without a colour profile",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_the_camera_s_orientation_is_applied(tmp_path, orientation, deep):
    array, path = smooth(3, np.uint16 if deep else np.uint8), tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth(3)).save(tmp_path / "eight.png", exif=exif)
    with Image.open(tmp_path / "eight.png") as image:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(image))
    if deep:  # Pillow writes no such file: put the tag into one that was streamed
        write(path, array)
        data, content = path.read_bytes(), exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = b"eXIf" + content
        chunk = len(content).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        path.write_bytes(data[:33] + chunk + data[33:])
    else:
        path = tmp_path / "eight.png"
    found = read_picture(path).pixels
    np.testing.assert_array_equal(found // (257 if deep else 1), expected)


def test_deep_tiff_is_read_whatever_its_layout(tmp_path):
    array = noise(3, np.uint16)
    tifffile.imwrite(
        tmp_path / "planar.tif",
        np.moveaxis(array, -1, 0),
        photometric="rgb",
        planarconfig="separate",
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "planar.tif").pixels, array)
    cv2.imwrite(str(tmp_path / "lzw.tif"), array[..., ::-1])  # OpenCV packs by LZW
    np.testing.assert_array_equal(read_picture(tmp_path / "lzw.tif").pixels, array)
    tifffile.imwrite(tmp_path / "inverse.tif", array[..., 0], photometric="miniswhite")
    found = read_picture(tmp_path / "inverse.tif").pixels[..., 0]
    np.testing.assert_array_equal(found, 65535 - array[..., 0])


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_animations_and_pages_are_refused_with_a_way_out(tmp_path, suffix):
    frames = [Image.fromarray(noise(3, seed=n)) for n in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    said = "holds 3 pages" if suffix == "tif" else "animation of 3 frames; save it as a video"
    with pytest.raises(UserError, match=said):
        read_picture(tmp_path / f"a.{suffix}")


def test_what_is_no_picture_is_said_in_a_sentence(tmp_path):
    tifffile.imwrite(tmp_path / "float.tif", np.zeros(SIZE, np.float32))
    tifffile.imwrite(tmp_path / "float3.tif", np.zeros((*SIZE, 3), np.float32), photometric="rgb")
    (tmp_path / "text.png").write_text("no picture")
    write(tmp_path / "cut.png", noise(3, np.uint16))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:300])
    for name, said in [
        ("float.tif", "holds float32 values"),
        ("float3.tif", "holds float32 values"),
        ("text.png", "is not an image"),
        ("cut.png", "damaged"),
        ("none.png", "no such file"),
    ]:
        with pytest.raises(UserError, match=said):
            read_picture(tmp_path / name)


# --- enlarging --------------------------------------------------------------------------------


def enlarged(tmp_path, array, **options):
    write(tmp_path / "in.png", array)
    picture = read_picture(tmp_path / "in.png")
    return np.concatenate(list(enlarged_strips(Nearest(), picture, CARD, **options)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colour_goes_through_the_network_and_alpha_through_the_bicubic(tmp_path, channels, dtype):
    array = noise(channels, dtype, size=(300, 20))
    result = enlarged(tmp_path, array, tile=32)
    assert result.shape == (600, 40, channels) and result.dtype == dtype
    colours = channels - (channels in (2, 4))
    repeated = array[..., :colours].repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(result[..., :colours], repeated)
    if channels in (2, 4):
        alpha = array[..., -1]
        if dtype == np.uint16:
            alpha = np.clip(np.rint(imresize(alpha.astype(float), scale=2)), 0, 65535)
        else:
            alpha = imresize(alpha, scale=2)
        np.testing.assert_array_equal(result[..., -1], alpha)


def test_rows_are_cut_anew_and_their_end_is_noticed():
    rows = Rows(np.arange(n).reshape(-1, 1) + 10 * n for n in (3, 1, 4))
    assert rows.take(2).ravel().tolist() == [30, 31]
    assert rows.take(3).ravel().tolist() == [32, 10, 40]
    with pytest.raises(ValueError, match="ended 1 rows early"):
        rows.take(4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_comparison_has_the_bicubic_left_and_the_network_right(dtype):
    image = noise(3, dtype, size=(40, 50))
    result = image.repeat(2, 0).repeat(2, 1)
    sheet = comparison(image, result, 2)
    caption = len(sheet) - 80
    assert 10 <= caption <= 30 and sheet.dtype == np.uint8
    eight = image if dtype == np.uint8 else np.rint(image / 257).astype(np.uint8)
    np.testing.assert_array_equal(sheet[caption:, :100], imresize(eight, scale=2))
    np.testing.assert_array_equal(sheet[caption:, -100:], eight.repeat(2, 0).repeat(2, 1))
    assert (sheet[:caption] < 128).any() and (sheet[0] == 255).all()
