"""Small real pictures in every form the suite opens, cut out of the apps' sample data."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.fuzzing.cases import Case

ROOT = Path(__file__).resolve().parents[3]
SIDES = (20, 28)  # height and width


@functools.cache
def pixels(which: str | int = 0) -> np.ndarray:
    """Return a part of a photograph, uint8 (20, 28, 3); another one for every name or number."""
    number = which if isinstance(which, int) else zlib.crc32(which.encode())
    folder = ROOT / "apps" / "super_resolution" / "sample_data" / "train"
    files = sorted(folder.glob("*.*"))
    image = np.asarray(Image.open(files[number % len(files)]).convert("RGB"))
    number //= len(files)
    rows, columns = (n - side for n, side in zip(image.shape, SIDES, strict=False))
    top, left = number % rows, number // rows % columns
    return np.ascontiguousarray(image[top : top + SIDES[0], left : left + SIDES[1]])


@functools.cache
def mask(number: int = 0) -> np.ndarray:
    """Return a part of a mask, uint8 0 and 255 (20, 28)."""
    folder = ROOT / "apps" / "medical_segmentation" / "sample_data" / "train" / "masks"
    files = sorted(folder.glob("*.png"))
    image = np.asarray(Image.open(files[number % len(files)]).convert("L"))
    return np.where(image[: SIDES[0], : SIDES[1]] > 0, 255, 0).astype(np.uint8)


@functools.cache
def picture(suffix: str, which: str | int = 0, *, shrink: int = 1) -> bytes:
    """Return a photograph (see `pixels`) as a file of a suffix."""
    image = Image.fromarray(pixels(which))
    if shrink > 1:
        image = image.reduce(shrink)
    return _saved(image, {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF"}[suffix])


@functools.cache
def mask_picture(suffix: str = "png", number: int = 0) -> bytes:
    """Return a mask as a file of a suffix."""
    kinds = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF"}
    return _saved(Image.fromarray(mask(number)), kinds[suffix])


def person(which: str | int = 0) -> bytes:
    """Return an upright crop (see `pixels`), JPEG."""
    turned = np.ascontiguousarray(pixels(which).swapaxes(0, 1)[:, :12])
    return _saved(Image.fromarray(turned), "JPEG")


def _saved(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "camera"
    return exif


def png_cases() -> list[Case]:
    """Return PNG files: grey, colour, palette, 1, 2, 8 and 16 bits, alpha, EXIF, animated."""
    import cv2

    colour = Image.fromarray(pixels())
    grey = colour.convert("L")
    deep = np.array(grey, np.uint16) * 250
    found = [
        _saved(colour, "PNG"),
        _saved(grey, "PNG"),
        _saved(colour.convert("P", palette=Image.Palette.ADAPTIVE, colors=16), "PNG"),
        _saved(grey.convert("1"), "PNG"),
        _saved(colour.convert("RGBA"), "PNG"),
        _saved(grey.convert("LA"), "PNG"),
        _saved(Image.fromarray(deep), "PNG"),
        cv2.imencode(".png", np.uint16(pixels()) * 257)[1].tobytes(),
        cv2.imencode(".png", np.uint16(np.dstack([pixels(), mask()])) * 257)[1].tobytes(),
        _saved(colour, "PNG", exif=_exif(6)),
        _saved(colour, "PNG", save_all=True, append_images=[Image.fromarray(pixels(1))]),
        _saved(colour.convert("P"), "PNG", transparency=3),
        _saved(grey, "PNG", transparency=7, icc_profile=b"x" * 40),
    ]
    return [Case.file("picture.png", content) for content in found]


def jpeg_cases() -> list[Case]:
    """Return JPEG files: colour, grey, progressive, CMYK, turned, several pictures in one."""
    colour = Image.fromarray(pixels())
    found = [
        _saved(colour, "JPEG"),
        _saved(colour.convert("L"), "JPEG"),
        _saved(colour, "JPEG", progressive=True, quality=60),
        _saved(colour.convert("CMYK"), "JPEG"),
        _saved(colour, "JPEG", exif=_exif(6), subsampling=0),
        _saved(colour, "MPO", save_all=True, append_images=[Image.fromarray(pixels(1))]),
    ]
    return [Case.file("picture.jpg", content) for content in found]


def tiff_cases() -> list[Case]:
    """Return TIFF files: strips and tiles, 8, 16 and 32 bits, floats, compressed, pages, Big."""
    colour = Image.fromarray(pixels())
    grey = colour.convert("L")
    found = [
        _saved(colour, "TIFF"),
        _saved(grey, "TIFF"),
        _saved(grey.convert("1"), "TIFF", compression="group4"),
        _saved(colour, "TIFF", compression="tiff_lzw"),
        _saved(colour, "TIFF", compression="tiff_adobe_deflate", exif=_exif(8)),
        _saved(colour, "TIFF", compression="jpeg"),
        _saved(grey, "TIFF", compression="packbits"),
        _saved(grey, "TIFF", save_all=True, append_images=[grey, grey]),
        _saved(colour.convert("CMYK"), "TIFF"),
        _saved(colour.convert("P"), "TIFF"),
    ]
    wide = np.uint16(pixels()) * 257
    found += [
        _by_tifffile(wide),
        _by_tifffile(wide[..., 0], bigtiff=True),
        _by_tifffile(np.float32(mask() > 0)),
        _by_tifffile(np.moveaxis(pixels(), -1, 0), planarconfig="separate", photometric="rgb"),
        _by_tifffile(pixels(), tile=(16, 16), compression="zlib", predictor=True),
        _by_tifffile(np.uint32(pixels()[..., 0]) * 100, byteorder=">"),
        _by_tifffile(np.stack([mask(), mask(1)]), photometric="minisblack"),
    ]
    return [Case.file("picture.tif", content) for content in found]


def stack(*, of_masks: bool = False) -> bytes:
    """Return a TIFF file of three pages, grey."""
    make = mask if of_masks else (lambda number: pixels(number)[..., 1])
    pages = [Image.fromarray(make(number)) for number in range(3)]
    return _saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def _by_tifffile(array: np.ndarray, **options) -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def bmp_cases() -> list[Case]:
    """Return BMP files: colour, grey, palette, 1 bit, with alpha."""
    colour = Image.fromarray(pixels())
    modes = ("RGB", "L", "P", "1", "RGBA")
    return [Case.file("picture.bmp", _saved(colour.convert(mode), "BMP")) for mode in modes]


def webp_cases() -> list[Case]:
    """Return WebP files: lossy, lossless, with alpha, turned, animated."""
    colour = Image.fromarray(pixels())
    found = [
        _saved(colour, "WEBP"),
        _saved(colour, "WEBP", lossless=True, exif=_exif(3)),
        _saved(colour.convert("RGBA"), "WEBP"),
        _saved(colour, "WEBP", save_all=True, append_images=[Image.fromarray(pixels(1))]),
    ]
    return [Case.file("picture.webp", content) for content in found]


def other_picture_cases() -> list[Case]:
    """Return what else is opened, under a known name: GIF, PPM, PGM, JPEG 2000."""
    colour = Image.fromarray(pixels())
    found = [
        _saved(colour, "GIF", save_all=True, append_images=[Image.fromarray(pixels(1))]),
        _saved(colour.convert("L"), "GIF"),
        _saved(colour, "PPM"),
        _saved(Image.fromarray(np.uint16(pixels()[..., 0]) * 9), "PPM"),
        _saved(colour.convert("1"), "PPM"),
        _saved(colour, "JPEG2000"),
        _saved(colour.convert("L"), "JPEG2000"),
    ]
    return [Case.file("picture.png", content) for content in found]


def single_pictures() -> list[Case]:
    """Return the pictures that hold one picture of 8 or 16 bits, which can be written back."""
    from apps.super_resolution.pictures import read_picture
    from benchmarks.reliability.fuzzing.cases import write_case
    from core.errors import UserError

    kept = []
    makers = (png_cases, jpeg_cases, tiff_cases, bmp_cases, webp_cases, other_picture_cases)
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(case for make in makers for case in make()):
            with contextlib.suppress(UserError):
                read_picture(write_case(case, Path(folder) / str(number)))
                kept.append(case)
    return kept


def video_cases() -> list[Case]:
    """Return videos of six frames as OpenCV writes them."""
    import cv2

    kinds = (
        *(("mp4", "mp4v"), ("avi", "MJPG"), ("avi", "XVID"), ("mov", "mp4v"), ("mkv", "mp4v")),
        *(("webm", "VP80"), ("mkv", "FFV1"), ("mpg", "PIM1"), ("avi", "PNG ")),
    )
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in kinds:
            path = Path(folder) / f"video.{suffix}"
            fourcc = cv2.VideoWriter_fourcc(*codec)
            writer = cv2.VideoWriter(str(path), fourcc, 25.0, (64, 48))
            for number in range(6):
                frame = np.tile(pixels(number), (3, 3, 1))[:48, :64]
                writer.write(np.ascontiguousarray(frame))
            writer.release()
            if path.is_file() and path.stat().st_size:
                found.append(Case.file(path.name, path.read_bytes()))
                path.unlink()
    return found
