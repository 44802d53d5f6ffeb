"""The built-in sample is what its README says, and can be made again."""

import importlib.util
from pathlib import Path

import numpy as np

from apps.medical_segmentation.data import SAMPLE_DATA, read
from apps.medical_segmentation.data.masks import check, load_mask
from core.data.images import read_image, read_mask

TOOL = Path(__file__).resolve().parents[3] / "tools" / "make_medseg_sample.py"


def test_splits_and_labels():
    index = read("sample")
    assert index.format == "sample" and index.labels == ("nucleus",)
    assert index.counts() == {"train": 10, "val": 2, "test": 4}
    assert read(SAMPLE_DATA).samples == index.samples


def test_the_ordinary_readers_read_it():
    for name in ("polyp", "folder"):
        assert read("sample", name).counts() == {"train": 10, "val": 2, "test": 4}


def test_every_tile_is_sound_and_has_nuclei():
    index = read("sample")
    assert check(index, 1) == []
    for sample in index.samples:
        assert read_image(sample.inputs[0]).shape == (128, 128, 3)
        assert np.unique(read_mask(sample.targets[0])).tolist() == [0, 255]
        assert 0.1 < load_mask(sample, 1).mean() < 0.3
    shares = [
        np.mean([load_mask(sample, 1).mean() for sample in index.split(name).samples])
        for name in ("train", "val", "test")
    ]
    assert np.round(shares, 2).tolist() == [0.21, 0.18, 0.17]  # as in the README


def test_train_and_test_are_disjoint_areas():
    areas = {
        name: {sample.inputs[0].stem for sample in read("sample").split(name).samples}
        for name in ("train", "val", "test")
    }
    assert areas["test"] == {f"nuclei_r{row}_c3" for row in range(4)}
    assert len(set.union(*areas.values())) == 16


def test_licence_and_source_are_told():
    licence = (SAMPLE_DATA / "LICENSE.txt").read_text()
    assert "BSD 3-Clause" in licence and "Uwe Schmidt, Martin Weigert" in licence
    readme = (SAMPLE_DATA / "README.md").read_text()
    assert "stardist" in readme and "0.9.2" in readme and "not a benchmark" in readme


def test_the_tool_cuts_the_same_tiles_again(tmp_path):
    spec = importlib.util.spec_from_file_location("make_medseg_sample", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    image, mask = np.zeros((2, 512, 512), np.uint16)
    for sample in read("sample").samples:
        row, column = int(sample.inputs[0].stem[-4]), int(sample.inputs[0].stem[-1])
        area = np.s_[row * 128 : (row + 1) * 128, column * 128 : (column + 1) * 128]
        image[area] = read_mask(sample.inputs[0])
        mask[area] = read_mask(sample.targets[0]) > 0
    files = tool.cut(image, mask, tmp_path)
    assert len(files) == 32
    for file in files:
        shipped = SAMPLE_DATA / file.relative_to(tmp_path)
        assert (read_mask(file) == read_mask(shipped)).all()
