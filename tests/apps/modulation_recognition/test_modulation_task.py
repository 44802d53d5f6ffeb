"""What modulation recognition tells core: data, scaling, augmentation, calibration, scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.modulation_recognition.augment import AUGMENTATIONS, augmented
from apps.modulation_recognition.data import SNR
from apps.modulation_recognition.data.sample import SNRS, sample_data
from apps.modulation_recognition.signals.parameters import CLASSES, Recipe
from apps.modulation_recognition.signals.shards import write_shards
from apps.modulation_recognition.task import TASK
from core.config import TrainConfig
from core.errors import UserError
from core.model_card import ModelCard


def card(**changes):
    """The card of a network of three classes that takes frames as they are."""
    given = {
        "input_size": (128,),
        "channels": 2,
        "color_order": "",
        "full_scale": 1.0,
        "mean": (0.0, 0.0),
        "std": (1.0, 1.0),
        "labels": ("AM-DSB", "CPFSK", "QPSK"),
        **changes,
    }
    return ModelCard("kd_cnn", "base", "modrec", **given)


@pytest.fixture(scope="module")
def index(small_set):
    return TASK.read(small_set)


# --- data -----------------------------------------------------------------------------------------


@pytest.fixture
def small_sample(monkeypatch, tmp_path):
    """Sample data of fewer frames, in a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("apps.modulation_recognition.data.sample.FRAMES", 5)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sample_data.cache_clear()
    yield tmp_path
    sample_data.cache_clear()


def test_sample_data_are_generated_once_and_are_called_simulated(small_sample):
    place = sample_data()
    index = TASK.read("sample")
    assert index.root == place and place.is_relative_to(small_sample / "cache")
    assert "not recorded ones" in " ".join(index.notes)
    assert len(index) == len(CLASSES) * len(SNRS) * 5 and index.labels == CLASSES
    made = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    sample_data.cache_clear()  # another process
    assert sample_data() == place
    assert made == {path.name: path.stat().st_mtime_ns for path in place.iterdir()}


def test_sample_data_need_no_writable_cache(small_sample):
    (small_sample / "cache").write_text("a file")
    assert sample_data().parent == small_sample and len(TASK.read("sample")) == 5 * 8 * 11


@pytest.mark.parametrize(
    "format, labels", [("auto-snr0", {18}), ("shards-snr-10to-4", {-4}), ("auto", {-4, 18})]
)
def test_a_format_chooses_snr_labels(small_set, index, format, labels):
    chosen = TASK.read(small_set, format)
    assert {sample.extra[SNR] for sample in chosen.samples} == labels
    kept = {sample.id: sample.split for sample in chosen.samples}
    assert kept.items() <= {sample.id: sample.split for sample in index.samples}.items()


def test_a_format_chooses_the_published_split(small_set):
    """Half of all frames are for the test; validation is taken from the others."""
    counts = TASK.read(small_set, "shards-vt-cnn2").counts()
    assert counts["test"] == counts["train"] + counts["val"] == 60
    high = TASK.read(small_set, "auto-vt-cnn2-snr0")
    assert sum(high.counts().values()) == 60 and high.counts()["test"] not in (12, 60)


@pytest.mark.parametrize(
    "format, why",
    [
        ("auto-snr20", "no frame at the SNR labels asked for; its labels are -4, 18"),
        ("auto-normal", "read as shards, which has no '-normal'; that belongs to radioml2018"),
        ("auto-snr0-snr5", "gives SNR labels twice"),
        ("shard-snr0", "No such data format: 'shard'. Did you mean 'shards'?"),
    ],
)
def test_a_format_that_asks_for_what_is_not_there(small_set, format, why):
    with pytest.raises(UserError, match=why.replace(".", r"\.").replace("?", r"\?")):
        TASK.read(small_set, format)


def test_counts_of_classes_and_labels_are_told(index, tmp_path):
    assert TASK.data_notes(index) == [
        "SNR labels: -4, 18 (2).",
        "Every class has 20 frames at each label.",
    ]
    blocks = [("BPSK", 0, frames(3)), ("QPSK", 0, frames(5)), ("QPSK", 2, frames(4))]
    write_shards(tmp_path / "set", blocks, ["BPSK", "QPSK"], {"what": "noise"})
    assert TASK.data_notes(TASK.read(tmp_path / "set"))[1] == (
        "Classes and labels have unequal numbers of frames: BPSK at 2 has 0, QPSK at 0 has 5."
    )


def test_few_samples_have_every_class_and_label_in_each_split(index):
    few = TASK.few_samples(index)
    assert few.counts() == {"train": 6, "val": 6, "test": 6}


def test_a_frame_of_another_length_says_what_to_pass(index):
    with pytest.raises(UserError, match="frames of 128 samples, but the network takes 64; pass"):
        TASK.load(index.samples[0], card(input_size=(64,)))


# --- scaling --------------------------------------------------------------------------------------


def frames(count, scale=1.0, length=128):
    return scale * np.random.default_rng(0).standard_normal((count, 2, length)).astype(np.float32)


def test_frames_that_sum_to_one_are_taken_as_stored(index):
    assert TASK.settled_options({}, index)["scaling"] == "stored"
    example = TASK.load(index.samples[0], card(decode={"scaling": "stored"}))
    assert np.hypot(*example.inputs.T).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_other_frames_are_brought_to_radiomls_magnitude(tmp_path, scale):
    """As those of 2018.01a, whose size would be the first thing a network has to unlearn."""
    blocks = [("BPSK", 0, frames(5, scale)), ("QPSK", 0, frames(5, scale))]
    write_shards(tmp_path / "set", blocks, ["BPSK", "QPSK"], {"what": "noise"})
    index = TASK.read(tmp_path / "set")
    options = TASK.settled_options({}, index)
    config = TrainConfig("modrec", "kd_cnn", "base", options=options)
    scaled = TASK.card_for(card(), config, index)
    assert scaled.decode["scaling"] == "mean"
    values = TASK.load(index.samples[0], scaled).inputs
    assert np.hypot(*values.T).mean() == pytest.approx(1 / 128, rel=1e-5)
    assert TASK.settled_options({"scaling": "stored"}, index)["scaling"] == "stored"


@pytest.mark.parametrize(
    "options, why",
    [
        ({"scaling": "loud"}, "Option 'scaling' is 'loud'"),
        ({"augmentations": ["rotatoin"]}, "is 'rotatoin'. Did you mean 'rotation'?"),
        ({"smoothing": 1}, "must be below 1"),
    ],
)
def test_wrong_options_are_told(options, why):
    with pytest.raises(UserError) as error:
        TASK.check_options(options)
    assert why in str(error.value)


def test_a_single_class_is_told(tmp_path):
    write_shards(tmp_path / "set", [("BPSK", 0, frames(5))], ["BPSK"], {"what": "noise"})
    with pytest.raises(UserError, match="a single class, 'BPSK'"):
        TASK.settled_options({}, TASK.read(tmp_path / "set"))


# --- augmentation ---------------------------------------------------------------------------------

SIGNAL = (np.exp(0.3j * np.arange(64)) / 64).astype(np.complex64)


def as_frame(signal):
    return np.stack([signal.real, signal.imag], axis=-1).astype(np.float32)


@given(st.integers(0, 2**32), st.lists(st.sampled_from(AUGMENTATIONS)))
def test_a_frame_keeps_its_magnitudes_and_its_frequency(seed, kinds):
    """A tone stays above 0 Hz: reversal conjugates too, so that no sideband changes sides."""
    frame = as_frame(SIGNAL)
    before = frame.copy()
    changed = augmented(frame, np.random.default_rng(seed), kinds)
    assert changed.dtype == np.float32 and changed.shape == frame.shape
    np.testing.assert_allclose(np.hypot(*changed.T), 1 / 64, rtol=1e-5)
    tone = changed[:, 0] + 1j * changed[:, 1]
    turns = np.angle(tone[1:] * tone[:-1].conj())
    assert np.median(turns) == pytest.approx(0.3, abs=1e-4)
    np.testing.assert_array_equal(frame, before)
    again = augmented(frame, np.random.default_rng(seed), kinds)
    np.testing.assert_array_equal(again, changed)


def test_each_augmentation_does_what_it_is_called():
    frame = as_frame(SIGNAL)
    rng = np.random.default_rng
    assert augmented(frame, rng(1), ()).tolist() == frame.tolist()
    turned = augmented(frame, rng(1), ("rotation",)).view(np.complex64)[:, 0] / SIGNAL
    np.testing.assert_allclose(turned, turned[0], rtol=1e-4)
    shifted = augmented(frame, rng(1), ("shift",)).tolist()
    assert any(shifted == np.roll(frame, -n, axis=0).tolist() for n in range(64))
    both = {str(augmented(frame, rng(n), ("reversal",)).tolist()) for n in range(20)}
    assert both == {str(frame.tolist()), str(as_frame(SIGNAL[::-1].conj()).tolist())}


# --- calibration and scores -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 7, 40])
def test_calibration_takes_equally_many_frames_of_each_label(index, count):
    inputs = TASK.calibration_inputs(index, card(), count)
    stored = {TASK.network_input(s, card()).tobytes(): s.extra[SNR] for s in index.samples}
    labels = [stored[values.tobytes()] for values in inputs]
    assert len(inputs) == count and abs(labels.count(-4) - labels.count(18)) <= 1


def result(logits):
    return TASK.decode([np.array(logits, np.float32)], None, card())


def test_scores_are_by_snr_label(index):
    """All right at 18; at -4 everything is taken for the first class."""
    results = []
    for sample in index.samples:
        named = sample.label if sample.extra[SNR] == 18 else 0
        results.append((sample, result(np.eye(3)[named])))
    scores = TASK.score(iter(results), card())
    assert scores.summary["average_accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    assert scores.summary["high_snr_accuracy"] == 1 and scores.summary["samples"] == 120
    assert [(row["snr"], row["accuracy"]) for row in scores.tables["by_snr"]] == [
        (-4, pytest.approx(1 / 3)), (18, 1.0),
    ]  # fmt: skip
    assert [row["recall"] for row in scores.tables["classes"]] == [1, 0.5, 0.5]
    assert {row["true"] for row in scores.tables["confused"]} == {"CPFSK", "QPSK"}
    assert {row["snr"] for row in scores.per_sample} == {-4, 18}
    drawn = TASK.score_pictures(scores)
    assert list(drawn) == ["accuracy", "confusion", "confusion_snr-04", "confusion_snr+18"]
    assert not np.array_equal(drawn["confusion_snr-04"], drawn["confusion_snr+18"])


def test_frames_without_class_or_label_are_not_scored(index):
    from dataclasses import replace

    sample = index.samples[0]
    for wrong, why in (
        (replace(sample, label=None), "has no class"),
        (replace(sample, extra={}), "has no SNR label"),
    ):
        with pytest.raises(UserError, match=why):
            TASK.score(iter([(wrong, result([1, 0, 0]))]), card())


def test_classes_of_other_data_are_matched_by_name(index):
    other = card(labels=("QPSK", "CPFSK", "AM-DSB"))
    assert {s.id[:4]: s.label for s in TASK.matched(index, other).samples} == {
        "AM-D": 2, "CPFS": 1, "QPSK": 0,
    }  # fmt: skip
    with pytest.raises(UserError, match="has the class 'CPFSK', which the network does not know"):
        TASK.matched(index, card(labels=("QPSK", "GFSK", "AM-DSB")))


def test_recipes_are_the_publishers():
    assert TASK.recipe("vt_cnn2")["batch"] == 1024 and not TASK.recipe("mcldnn")["augment"]
    for name in ("clst", "kd_cnn", "kd_mobilenet"):
        recipe = TASK.recipe(name)
        assert recipe["augment"] and recipe["batch"] == 400 and recipe["schedule"] == "cosine"
    assert Recipe().amssb == "as_released"
