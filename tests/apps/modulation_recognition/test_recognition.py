"""Frames that slide over a recording, and the picture of what they were taken for."""

import numpy as np
import pytest

from apps.modulation_recognition.data.recordings import open_recording
from apps.modulation_recognition.recognition import (
    SILENT,
    Recognised,
    class_shares,
    frame_rows,
    recognise,
    stretches,
)
from apps.modulation_recognition.spectrogram import (
    class_lanes,
    recognition_picture,
    spectrogram,
)
from core.errors import UserError
from core.model_card import ModelCard

NAMES = ("high", "low")
RATE = 1e6


class BySideband:
    """Takes a tone above 0 Hz for class 0 and one below for class 1; remembers its batches."""

    name = "sideband"

    def __init__(self, scaling="stored"):
        self.card = ModelCard(
            "kd_cnn",
            "base",
            "modrec",
            input_size=(64,),
            channels=2,
            color_order="",
            full_scale=1.0,
            mean=(0.0, 0.0),
            std=(1 / 64, 1 / 64),
            labels=NAMES,
            decode={"scaling": scaling},
        )
        self.batches = []

    def __call__(self, batch):
        self.batches.append(batch)
        signal = batch[..., 0] + 1j * batch[..., 1]
        turn = np.angle(signal[:, 1:] * signal[:, :-1].conj()).mean(axis=-1)
        return [np.stack([10 * turn, -10 * turn], axis=-1).astype(np.float32)]


@pytest.fixture
def recording(tmp_path):
    """A tone at +0.1 of the rate, silence, and a weaker one at -0.1: 640, 320 and 640 samples."""
    n = np.arange(640)
    tone = np.exp(0.2j * np.pi * n)
    signal = np.concatenate([tone, np.zeros(320), 0.01 * tone.conj()]).astype("<c8")
    (tmp_path / "air.cf32").write_bytes(signal.tobytes())
    return open_recording(tmp_path / "air.cf32", sample_rate=RATE, least=64)


def test_frames_slide_over_the_recording_in_batches(recording):
    engine = BySideband()
    done = []
    found = recognise(engine, recording, hop=32, batch=10, advance=done.append)
    assert len(found) == 1 + (1600 - 64) // 32 == sum(done) and max(map(len, engine.batches)) <= 10
    assert found.starts[:3].tolist() == [0, 32, 64]
    expected = np.where(found.starts < 640, 0, np.where(found.starts <= 960 - 64, SILENT, 1))
    spanning = (found.starts > 896) & (found.starts < 960)  # silence, then the second tone
    np.testing.assert_array_equal(found.classes[~spanning], expected[~spanning])
    assert (found.probability[found.classes == SILENT] == 0).all()
    np.testing.assert_allclose(found.power[[0, -1]], [0, -40], atol=1e-3)


def test_the_size_of_batches_changes_nothing(recording):
    one, other = (recognise(BySideband(), recording, hop=50, batch=n) for n in (1, 256))
    np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-6)


@pytest.mark.parametrize("scaling, magnitude", [("stored", 1.0), ("mean", 0.5)])
def test_a_network_sees_frames_on_the_scale_of_its_training(recording, scaling, magnitude):
    """Whatever the receiver's gain: magnitudes sum to 1, or have a mean of 1/128."""
    engine = BySideband(scaling)
    recognise(engine, recording)
    seen = np.concatenate(engine.batches)
    sizes = np.hypot(seen[..., 0], seen[..., 1]).mean(axis=-1)
    np.testing.assert_allclose(sizes, magnitude, rtol=1e-4)


def test_a_wrong_hop_and_infinite_samples_are_told(recording, tmp_path):
    with pytest.raises(UserError, match="Received 0 samples as hop"):
        recognise(BySideband(), recording, hop=0)
    values = np.ones(200, "<c8") * (1 + 1j)
    values[150] = np.inf
    (tmp_path / "bad.cf32").write_bytes(values.tobytes())
    with pytest.raises(UserError, match="sample 150 is NaN or infinite"):
        recognise(BySideband(), open_recording(tmp_path / "bad.cf32", least=64))


def known(classes, probability=0.5, hop=64):
    classes = np.array(classes, np.int16)
    share = np.where(classes == SILENT, 0, probability).astype(np.float32)
    return Recognised(hop, 64, classes, share, np.zeros(len(classes), np.float32))


def test_shares_stretches_and_rows():
    found = known([0, 0, SILENT, 1, 1, 1])
    assert class_shares(found.classes, found.probability, NAMES) == [
        {"class": "low", "frames": 3, "share": 0.5, "mean_probability": 0.5},
        {"class": "high", "frames": 2, "share": pytest.approx(1 / 3), "mean_probability": 0.5},
        {"class": None, "frames": 1, "share": pytest.approx(1 / 6), "mean_probability": None},
    ]
    told = stretches(found, NAMES, RATE)
    assert [(row["class"], row["start"], row["end"], row["frames"]) for row in told] == [
        ("high", 0, 128, 2), (None, 128, 192, 1), ("low", 192, 384, 3),
    ]  # fmt: skip
    assert (
        told[2]["start_seconds"] == pytest.approx(192e-6)
        and "start_seconds" not in (stretches(found, NAMES)[0])
    )
    rows = frame_rows(found, NAMES, None)
    assert rows[2] == {"start": 128, "class": None, "probability": None, "power_db": 0.0}
    assert frame_rows(found, NAMES, RATE)[3]["seconds"] == pytest.approx(192e-6)


@pytest.mark.parametrize("columns", [3, 6, 60])
def test_lanes_show_each_class_where_it_is(columns):
    lanes = class_lanes(known([0, 0, SILENT, SILENT, 1, 1], 0.5), 6 * 64, columns)
    third = columns // 3
    assert list(lanes) == [0, 1]
    for number, first in ((0, 0), (1, 2 * third)):
        expected = np.zeros(columns)
        expected[first : first + third] = 0.5
        np.testing.assert_allclose(lanes[number], expected)


def test_a_tone_stands_at_its_frequency(recording):
    power = spectrogram(recording, 20, 64)
    rows = power.argmax(axis=0)
    assert rows[0] == pytest.approx(31 - 0.1 * 64, abs=1) and power[:, 0].max() > 0
    assert rows[-1] == pytest.approx(31 + 0.1 * 64, abs=1)
    assert power[:, 10].max() < -100  # silence


def test_the_picture_shows_spectrogram_and_classes(recording):
    found = recognise(BySideband(), recording, hop=16)
    picture = recognition_picture(recording, found, NAMES)
    assert picture.dtype == np.uint8 and picture.shape[1] > 1000
    silence = recognition_picture(recording, known([SILENT] * 25), NAMES)
    assert silence.shape[1] == picture.shape[1] and silence.shape[0] < picture.shape[0]
