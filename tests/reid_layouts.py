"""Small data sets on a disk, as they are downloaded."""

import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ("bounding_box_train", "query", "bounding_box_test")


def save(*paths: Path, size=(4, 8)) -> None:
    """Write small images, width before height, that follow from their paths."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(zlib.crc32(str(path).encode())).integers(
            0, 256, (size[1], size[0], 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(path)


def market_name(person: int, camera: int, number: int = 1) -> str:
    text = str(person) if person < 0 else f"{person:04d}"
    return f"{text}_c{camera}s1_{number:06d}_00.png"


def duke_name(person: int, camera: int, number: int = 1) -> str:
    return f"{person:04d}_c{camera}_f{number:07d}.png"


def laid_out(root: Path, name=market_name, parts=PARTS, people: int = 8) -> Path:
    """Write a data set: `people` to train on in two cameras, two others with a query each."""
    train, query, gallery = (root / part for part in parts)
    save(*(train / name(p, c, n) for p in range(2, people + 2) for c in (1, 2) for n in (1, 2)))
    save(*(query / name(p, 1, 3) for p in (20, 21)))
    save(*(gallery / name(p, c, 4) for p in (20, 21) for c in (1, 2)))
    return root


def msmt17(root: Path, train="train", test="test") -> Path:
    def lines(part: str, persons: range, numbers) -> str:
        made = []
        for person in persons:
            for number in numbers:
                file = f"{person:04d}/{person:04d}_{number:03d}_{number + 1:02d}_0303noon_1_0.png"
                save(root / part / file)
                made.append(f"{file} {person}")
        return "\n".join(made) + "\n"

    root.mkdir(parents=True, exist_ok=True)
    (root / "list_train.txt").write_text(lines(train, range(6), (0, 1)))
    (root / "list_val.txt").write_text(lines(train, range(6), (2,)))
    (root / "list_query.txt").write_text(lines(test, range(3), (0,)))
    (root / "list_gallery.txt").write_text(lines(test, range(3), (1, 14)))
    return root


def roles(index, split: str) -> dict[str, int]:
    return dict(Counter(one.extra["role"] for one in index.samples if one.split == split))


def said(index) -> str:
    return "\n".join(index.notes)
