"""The published splits, against the published procedure written out."""

import numpy as np

from apps.modulation_recognition.data.published import published_split, random_split

FIRST_TESTED = [7, 13, 15, 26, 30, 41, 50, 61]
FIRST_VALIDATED = [3, 9, 11, 17, 23, 24, 25, 29]


def test_the_benchmarks_split_is_drawn_as_published():
    """Class after class, label after label, from NumPy's global generator, seeded with 2016."""
    classes, labels, count = 3, 4, 1000
    np.random.seed(2016)
    train, val, key = [], [], 0
    for _ in range(classes):
        for _ in range(labels):
            first, last = key * count, (key + 1) * count
            train += list(np.random.choice(range(first, last), size=600, replace=False))
            left = list(set(range(first, last)) - set(train))
            val += list(np.random.choice(left, size=200, replace=False))
            key += 1
    splits = published_split([count] * classes * labels)
    assert set(np.flatnonzero(splits == "train")) == set(train)
    assert set(np.flatnonzero(splits == "val")) == set(val)
    assert (splits == "test").sum() == 200 * classes * labels


def test_its_first_frames_stay_what_they_are():
    """The split is compared across papers: no version of NumPy or Python may change it."""
    splits = published_split([1000])
    assert np.flatnonzero(splits == "test")[:8].tolist() == FIRST_TESTED
    assert np.flatnonzero(splits == "val")[:8].tolist() == FIRST_VALIDATED


def test_unequal_counts_are_split_each_by_itself():
    splits = published_split([10, 25, 5])
    for start, count in ((0, 10), (10, 25), (35, 5)):
        part = splits[start : start + count]
        assert (part == "train").sum() == count * 6 // 10
        assert (part == "val").sum() == count * 2 // 10


def test_vt_cnn2_takes_half_of_all_frames():
    np.random.seed(2016)
    train = np.random.choice(range(0, 220), size=110, replace=False)
    splits = published_split([22] * 10, "vt-cnn2")
    assert set(np.flatnonzero(splits == "train")) == set(train.tolist())
    assert set(splits) == {"train", "test"}


def test_a_random_split_is_60_20_20_and_stays():
    splits = random_split(1000)
    assert [(splits == name).sum() for name in ("train", "val", "test")] == [600, 200, 200]
    assert (splits == random_split(1000)).all()
