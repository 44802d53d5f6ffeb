"""A data set object that is already loaded."""

import numpy as np
import pytest
from PIL import Image
from species_shards import Loaded, encoded, grey

from apps.underwater_species.data import SPECIES, from_dataset, picture
from apps.underwater_species.task import TASK
from core.errors import UserError


def rows(*labels):
    return [{"image": grey(10 * label), "label": label} for label in labels]


def test_splits_of_a_loaded_data_set_become_an_index():
    index = from_dataset({"train": Loaded(rows(4, 1, 4)), "validation": Loaded(rows(1))})
    assert index.labels == SPECIES and index.counts() == {"train": 3, "val": 1}
    assert {s.id: s.label for s in index.samples}["train/crab/00001"] == 1
    assert index.fingerprint() == index.fingerprint()


def test_one_without_splits_is_split_as_a_folder_is():
    index = TASK.with_splits(from_dataset(Loaded(rows(*[1, 4] * 25))))
    assert index.counts() == {"train": 32, "val": 8, "test": 10}


def test_the_names_of_its_features_decide():
    index = from_dataset(Loaded(rows(0, 1), ["eel", "cod"]), "train")
    assert index.labels == ("eel", "cod")
    index = from_dataset(Loaded(rows(0), SPECIES[::-1]), "train")
    assert index.labels == SPECIES and index.samples[0].id == "train/turtle/00000"


@pytest.mark.parametrize(
    "image, expected",
    [
        (grey(7), 7),
        (grey(7, (6, 8, 4)), 7),
        (grey(7, (6, 8, 1)).astype(np.float32) / 255, 7),
        (Image.new("CMYK", (8, 6), (0, 0, 0, 0)), 255),
        (Image.new("RGBA", (8, 6), (9, 9, 9, 0)), 9),
        (Image.new("L", (8, 6), 3), 3),
        ({"bytes": encoded((5, 5, 5), size=(8, 6)), "path": None}, 5),
    ],
)
def test_pictures_of_any_kind_become_rgb(image, expected):
    index = from_dataset(Loaded([{"image": image, "label": 0}]), "test")
    pixels = picture(index.samples[0], 3)
    assert pixels.shape == (6, 8, 3) and pixels.dtype == np.uint8
    assert (pixels == expected).all()
    card = TASK.network("squeezenet").card("1_1").sized((32, 48))
    assert TASK.load(index.samples[0], card).inputs.shape == (32, 48, 3)


@pytest.mark.parametrize(
    "image, why",
    [
        (None, "holds no picture"),
        (grey(7, (0, 8)), r"is no picture \(uint8 \(0, 8\)\)"),
        (grey(7, (6, 8, 2)), r"is no picture \(uint8 \(6, 8, 2\)\)"),
        ("a.jpg", "is no picture"),
        ({"bytes": None, "path": "a.jpg"}, "is empty"),
    ],
)
def test_what_is_no_picture_is_told(image, why):
    index = from_dataset(Loaded([{"image": image, "label": 0}]), "test")
    with pytest.raises(UserError, match=f"test/coral/00000: {why}"):
        picture(index.samples[0], 3)


def test_wrong_labels_and_splits_are_told():
    with pytest.raises(UserError, match="Row 1 of split 'train' has label 20"):
        from_dataset({"train": Loaded(rows(1, 20))})
    with pytest.raises(UserError, match=r"Split 'trian' is none of .* Did you mean 'train'"):
        from_dataset({"trian": Loaded(rows(1))})
    with pytest.raises(UserError, match="has other class names"):
        from_dataset({"train": Loaded(rows(1)), "test": Loaded(rows(1), ["a", "b"])})
    with pytest.raises(UserError, match="'crab' is a class of test, but train has no picture"):
        from_dataset({"train": Loaded(rows(4)), "test": Loaded(rows(1))})
