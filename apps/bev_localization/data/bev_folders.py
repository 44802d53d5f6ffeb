"""Folders of ready BEV images, as BEVPlace++ and its first version distribute them.

`KITTI/00/bev_imgs/000000.png` with `KITTI/poses/00.txt`, `NCLT/<date>/bev_imgs` with
`NCLT/poses/<date>.txt` (a stamp before the 12 numbers); version 1: `00/imgs` with `00/pose.txt`.
The poses are the LiDAR's, the first of KITTI's is the identity. Beside the folders of sequences
`make-bev` writes which recipe the images are of.
"""

from __future__ import annotations

from pathlib import Path

from apps.bev_localization.data.pose_files import read_pose_rows
from apps.bev_localization.data.samples import IMAGE, counted, kitti_split, scan_samples
from apps.bev_localization.images.recipes import BevRecipe
from core.data.folders import folders, subfolder
from core.data.images import find_images
from core.data.index import Index, make_index
from core.data.readers import Reader
from core.documents import BadDocument, read_json
from core.errors import UserError

RECORD = "recipe.json"
_IMAGES = ("bev_imgs", "imgs")


def recipe_beside(image: Path) -> BevRecipe | None:
    """Return the recipe that `make-bev` wrote beside an image's sequence, or None."""
    try:
        return BevRecipe(**read_json(image.absolute().parents[2] / RECORD)["recipe"])
    except (BadDocument, OSError, IndexError, KeyError, TypeError, ValueError):
        return None  # others' images come without, and may have a file of that name


def _sequences(path: Path) -> list[tuple[Path, Path]]:
    """Return (folder of the sequence, of its images), at most two levels down."""
    around = [path, *folders(path), *(two for one in folders(path) for two in folders(one))]
    return [(one, images) for one in around if (images := subfolder(one, *_IMAGES))]


def _read(path: Path) -> Index:
    found = _sequences(path)
    samples = []
    for folder, images in found:
        files = find_images(images)
        places = (folder / "pose.txt", folder.parent / "poses" / f"{folder.name}.txt")
        truth = next((file for file in places if file.is_file()), None)
        if truth is None:
            raise UserError(
                f"{places[1]}: no such file; put the poses of '{folder.name}' there, which come "
                "with the images."
            )
        trajectory = read_pose_rows(truth)
        counted(truth, len(files), len(trajectory), "images")
        several = len({one.parent for one, _ in found}) > 1
        name = f"{folder.parent.name}-{folder.name}" if several else folder.name
        samples += scan_samples(
            files, name, IMAGE, poses=trajectory.poses, stamps=trajectory.stamps.tolist(),
            splits=kitti_split(folder.name, len(files)),
        )  # fmt: skip
    note = (
        "Images are as good as the recipe they were made with; networks and maps of another one "
        "recognise nothing in them."
    )
    return make_index("bev-images", path, samples, notes=[note])


READERS = (
    Reader(
        "bev-images",
        "BEVPlace++'s images: KITTI/00/bev_imgs/*.png, KITTI/poses/00.txt",
        lambda path: path.is_dir() and bool(_sequences(path)),
        _read,
        "MIT (as its repository); the scans' own terms hold too",
    ),
)
