"""Parquet shards, as they are downloaded, and what may be wrong with them."""

import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from species_shards import encoded, write_shard

from apps.underwater_species.data import SPECIES, picture, shards
from apps.underwater_species.task import TASK
from core.data.check import check_samples
from core.errors import UserError

ONE, TWO = "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"
TEST = "test-00000-of-00001.parquet"


@pytest.fixture
def data(tmp_path):
    """Two shards of training and one of test, in data/, with the hub's names."""
    write_shard(tmp_path / "data" / ONE, [0, 1, 4, 4, 19], names=SPECIES)
    write_shard(tmp_path / "data" / TWO, [4, 4, 1, 0, 19], names=SPECIES)
    write_shard(tmp_path / "data" / TEST, [4, 1], names=SPECIES)
    return tmp_path


def test_rows_become_samples_with_their_split_and_class(data):
    index = TASK.read(str(data))
    assert index.format == "parquet" and index.labels == SPECIES
    assert [s.id for s in index.samples if s.split == "test"] == [
        "test/crab/00001",
        "test/fish/00000",
    ]
    assert {s.id for s in index.samples} >= {"train/fish/00002", "train/turtle/00009"}
    assert {s.inputs[0].name for s in index.samples} == {ONE, TWO, TEST}
    assert any("Licence" in note for note in index.notes)


def test_every_picture_is_its_rows_in_any_order_and_any_thread(data, monkeypatch):
    monkeypatch.setattr(shards, "KEPT", 1)  # as if the row groups were many
    index = TASK.read(str(data))
    samples = [index.samples[n] for n in np.random.default_rng(0).permutation(len(index))] * 5
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda sample: picture(sample, 3), samples))
    for sample, pixels in zip(samples, pictures, strict=True):
        assert pixels.shape == (7, 9, 3)
        assert tuple(pixels[0, 0]) == (sample.extra["row"], 0, 0)


def test_row_groups_too_large_to_keep_are_gone_through_and_noted(data, monkeypatch):
    monkeypatch.setattr(shards, "LARGEST", 10)
    monkeypatch.setattr(shards, "_ROWS", 2)
    write_shard(data / "data" / TEST, [4, 1, 4, 1, 0], names=SPECIES, group=5)
    index = TASK.read(str(data))
    assert any("larger than" in note and TEST in note for note in index.notes)
    found = [picture(s, 3)[0, 0, 0] for s in index.samples if s.split == "test"]
    assert sorted(found) == [0, 1, 2, 3, 4]


def test_one_file_is_a_data_set_too(data):
    index = TASK.read(str(data / "data" / TEST))
    assert index.counts() == {"test": 2}


def test_the_names_in_the_file_decide_not_their_numbers(tmp_path):
    other = SPECIES[::-1]
    write_shard(tmp_path / TEST, list(range(20)), names=other)
    index = TASK.read(str(tmp_path))
    assert index.labels == SPECIES
    assert all(s.id.split("/")[1] == SPECIES[s.label] for s in index.samples)
    assert all(other[s.extra["row"]] == SPECIES[s.label] for s in index.samples)


def test_other_names_are_own_data_and_none_are_taken_for_aqua20(tmp_path):
    write_shard(tmp_path / TEST, [0, 1], names=["cod", "eel"])
    assert TASK.read(str(tmp_path)).labels == ("cod", "eel")
    write_shard(tmp_path / "plain" / TEST, [0, 1])
    index = TASK.read(str(tmp_path / "plain"))
    assert index.labels == SPECIES and any("name no classes" in note for note in index.notes)


@pytest.mark.parametrize(
    "mode, kind",
    [("CMYK", "JPEG"), ("RGBA", "PNG"), ("L", "PNG"), ("P", "GIF"), ("RGBA", "TIFF")],
)
def test_any_kind_of_picture_becomes_rgb(tmp_path, mode, kind):
    colour = (204, 204, 204)  # one of the palette's too
    write_shard(tmp_path / TEST, [0], contents=[encoded(colour, mode, kind)], names=SPECIES)
    (sample,) = TASK.read(str(tmp_path)).samples
    pixels = picture(sample, 3)
    assert pixels.shape == (7, 9, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 204).max() <= 3


def test_sixteen_bits_are_stretched_to_eight(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.linspace(1000, 3000, 63).astype(np.uint16).reshape(7, 9)).save(stream, "PNG")
    write_shard(tmp_path / TEST, [0], contents=[stream.getvalue()], names=SPECIES)
    pixels = picture(TASK.read(str(tmp_path)).samples[0], 3)
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)


def test_what_is_wrong_with_a_shard_is_said_in_a_sentence(tmp_path):
    def refused(why, *arguments, name=TEST, **named):
        write_shard(tmp_path / name, *arguments, **{"names": SPECIES, **named})
        with pytest.raises(UserError, match=why):
            TASK.read(str(tmp_path))
        (tmp_path / name).unlink()

    refused("has no column 'image' \\(only picture, label\\)", [1], columns=("picture", "label"))
    refused("has no column 'label' \\(only image, kind\\)", [1], columns=("image", "kind"))
    refused("column 'label' is string, not whole numbers", ["crab"])
    refused("row 1: has label 20, but the classes are 0 to 19 \\(coral … turtle\\)", [1, 20])
    refused("row 0: has label -1", [-1, 2])
    refused("row 1: has no label", [1, None])
    refused("shard train-00001-of-00002.parquet is missing \\(1 of 2", [1], name=ONE)


def test_shards_of_two_data_sets_are_told(data):
    write_shard(data / "data" / TWO, [0], names=["cod", "eel"])
    with pytest.raises(UserError, match=f"{TWO}: has other class names than {TEST}"):
        TASK.read(str(data))


@pytest.mark.parametrize("kept", [0, 3, 100, -60, -8])
def test_a_shard_that_is_cut_off_is_told(data, kept):
    file = data / "data" / TEST
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{TEST}: is cut off or damaged, or no parquet file"):
        TASK.read(str(data))


def test_a_shard_that_waits_or_leads_round_and_round_is_told(data):
    shard = data / "data" / ONE
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(UserError, match=rf"{ONE}: is a pipe or a device"):
        TASK.read(str(data))
    shard.unlink()
    shard.symlink_to(shard)
    with pytest.raises(UserError, match=rf"{ONE}: cannot be read: Too many levels"):
        TASK.read(str(data))


def test_damaged_rows_are_told_when_they_are_read(tmp_path):
    contents = [encoded(), None, b"", b"no picture at all", encoded()[:45]]
    write_shard(tmp_path / TEST, [1] * 5, contents=contents, names=SPECIES)
    index = TASK.read(str(tmp_path))
    told = check_samples(index.samples, lambda sample: (picture(sample, 3) is None or [], ""))
    assert [sentence.split(f"{TEST}, ")[1].split(";")[0] for sentence in told] == [
        "row 1: holds no picture (null)",
        "row 2: is empty (0 bytes)",
        "row 3: is not an image in a known format (its content, whatever its name)",
        "row 4: cannot be decoded, it is damaged or cut off",
    ]


def test_a_damaged_row_group_is_told_when_it_is_read(data):
    index = TASK.read(str(data))
    file = data / "data" / TEST
    content = bytearray(file.read_bytes())
    content[4:60] = bytes(56)
    file.write_bytes(content)
    sample = next(s for s in index.samples if s.split == "test")
    with pytest.raises(UserError, match=f"{TEST}.*damaged"):
        picture(sample, 3)


def test_without_pyarrow_the_extra_is_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match="needs the 'parquet' extra: pip install"):
        TASK.read(str(data))


def test_the_fingerprint_tells_other_labels(data):
    before = TASK.read(str(data)).fingerprint()
    assert TASK.read(str(data)).fingerprint() == before
    write_shard(data / "data" / TEST, [1, 4], names=SPECIES)
    assert TASK.read(str(data)).fingerprint() != before
