"""The built-in volumes are what their README says, and can be made again."""

import gzip
import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from apps.medical_segmentation.data import read
from apps.medical_segmentation.data.volumes import SAMPLE_VOLUMES
from apps.medical_segmentation.volumes.reading import read_labels, read_volume

TOOL = Path(__file__).resolve().parents[4] / "tools" / "make_volume_sample.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_volume_sample", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cases():
    return {sample.id: sample for sample in read(SAMPLE_VOLUMES).samples}


def test_splits_and_labels():
    index = read(SAMPLE_VOLUMES)
    assert index.format == "sample-volumes"
    assert index.labels == ("background", "grey matter", "white matter")
    assert index.counts() == {"train": 3, "val": 1, "test": 2}
    assert index.notes[0].startswith("Licence: free with notice, McConnell Brain Imaging Centre")


def test_the_ordinary_reader_reads_them():
    assert read(SAMPLE_VOLUMES, "volumes").counts() == {"train": 3, "val": 1, "test": 2}


def test_every_block_is_a_volume_of_the_tissues_that_are_told(cases):
    shares = {"train": [], "val": [], "test": []}
    for sample in cases.values():
        volume, labels = read_volume(sample), read_labels(sample, 3)
        assert volume.values.shape == labels.shape == (40, 31, 38)
        assert volume.geometry.spacing == (2, 2, 2)
        grey, white = (volume.values[labels == value].mean() for value in (1, 2))
        assert 100 < grey < white - 20  # T1: white matter is the brighter
        shares[sample.split].append(np.bincount(labels.ravel(), minlength=3) / labels.size)
    rounded = {name: np.mean(parts, axis=0).round(2)[1:].tolist() for name, parts in shares.items()}
    assert rounded == {"train": [0.28, 0.11], "val": [0.3, 0.31], "test": [0.15, 0.1]}


def test_blocks_are_disjoint_and_on_one_side_of_the_brain(cases):
    boxes = []
    for sample in cases.values():
        geometry = read_volume(sample).geometry
        ends = geometry.affine @ [[0, 37], [0, 30], [0, 39], [1, 1]]
        boxes.append(np.stack([ends[:3].min(1) - 1, ends[:3].max(1) + 1]))
        assert boxes[-1][0, 0] >= -0.5  # the left half is the right one again
    for n, one in enumerate(boxes):
        for other in boxes[:n]:
            overlap = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
            assert overlap.min() <= 0


def test_licence_and_source_are_told():
    licence = (SAMPLE_VOLUMES / "LICENSE.txt").read_text()
    assert "1993-2009 Louis Collins, McConnell Brain Imaging Centre" in licence
    readme = (SAMPLE_VOLUMES / "README.md").read_text()
    assert "nilearn" in readme and "0.14.1" in readme and "not a benchmark" in readme
    assert sum(file.stat().st_size for file in SAMPLE_VOLUMES.rglob("*.gz")) < 200_000


def test_the_tool_cuts_the_same_blocks_again(tool, cases, tmp_path):
    # Eight equal voxels of 1 mm for each of 2 mm give the same mean.
    t1, grey, white = np.zeros((3, *tool.SHAPE), np.uint8)
    for place, (split, name) in tool.PLACES.items():
        sample = cases[f"{split}/{name}"]
        start = tool.FIRST + 2 * np.array([0, *place]) * tool.BLOCK
        area = tuple(slice(a, a + 2 * side) for a, side in zip(start, tool.BLOCK, strict=True))
        image, labels = (nibabel.load(file) for file in (*sample.inputs, *sample.targets))
        for values, target in (
            (np.asarray(image.dataobj), t1),
            ((np.asarray(labels.dataobj) == 1) * 255, grey),
            ((np.asarray(labels.dataobj) == 2) * 255, white),
        ):
            target[area] = values.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = np.eye(4)
    affine[:3, 3] = (-98, -134, -72)
    files = tool.cut(t1, grey, white, affine, tmp_path)
    assert len(files) == 12
    for file in files:
        shipped = SAMPLE_VOLUMES / file.relative_to(tmp_path)
        assert gzip.decompress(file.read_bytes()) == gzip.decompress(shipped.read_bytes())


def test_the_tool_refuses_another_template(tool, tmp_path):
    small = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(SystemExit, match="expected three volumes"):
        tool.cut(small, small, small, np.eye(4), tmp_path)
