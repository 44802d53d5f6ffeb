"""Raw recordings: what a receiver wrote, cut in frames on the scale of RadioML's."""

import json

import numpy as np
import pytest

from apps.modulation_recognition.data import READERS, frame
from apps.modulation_recognition.data.recordings import open_recording, read_recording
from core.data.readers import read_with
from core.errors import UserError

TONE = (0.3 * np.exp(2j * np.pi * 0.05 * np.arange(300))).astype("<c8")


def stored(path, values):
    path.write_bytes(values.tobytes())
    return path


@pytest.fixture
def complex64(tmp_path):
    return stored(tmp_path / "tone.cfile", TONE)


@pytest.fixture
def int16(tmp_path):
    parts = np.stack([TONE.real, TONE.imag], axis=-1)
    return stored(tmp_path / "tone.cs16", np.rint(parts * 32768).astype("<i2"))


def test_both_types_give_the_same_frames(complex64, int16):
    for path, error in ((complex64, 1e-9), (int16, 1e-6)):
        index = read_with(READERS, path)
        assert index.format == "recording" and len(index) == 2
        assert [sample.label for sample in index.samples] == [None, None]
        assert "The last 44 samples are no whole frame and are left out." in index.notes
        for sample, start in zip(index.samples, (0, 128), strict=True):
            values = TONE[start : start + 128]
            values = values / np.abs(values).sum()
            np.testing.assert_allclose(frame(sample), [values.real, values.imag], atol=error)


def test_the_sample_rate_gives_times_and_the_length_can_be_chosen(complex64):
    index = read_recording(complex64, sample_rate=1e6, length=100)
    assert [sample.extra["seconds"] for sample in index.samples] == [0, 1e-4, 2e-4]
    assert frame(index.samples[2]).shape == (2, 100)
    assert open_recording(complex64, sample_rate=1e6).samples == 300


def test_silence_stays_zero(tmp_path):
    silence = stored(tmp_path / "a.cfile", np.zeros(128, "<c8"))
    assert not frame(read_recording(silence).samples[0]).any()


def described(folder, **about):
    (folder / "air.sigmf-meta").write_text(json.dumps({"global": about}))
    return stored(folder / "air.sigmf-data", TONE)


def test_a_sigmf_recording_brings_its_type_and_its_sample_rate(tmp_path, complex64):
    about = {"core:datatype": "cf32_le", "core:sample_rate": 2e6, "core:version": "1.0.0"}
    data = described(tmp_path, **about)
    raw = read_recording(complex64)
    for path in (data, data.with_suffix(".sigmf-meta")):
        index = read_with(READERS, path)
        assert index.format == "recording" and index.samples[1].extra["seconds"] == 128 / 2e6
        for sample, same in zip(index.samples, raw.samples, strict=True):
            np.testing.assert_array_equal(frame(sample), frame(same))
    assert open_recording(data, sample_rate=5.0).sample_rate == 5


@pytest.mark.parametrize(
    "about, told",
    [
        ({}, "names no core:datatype"),
        (
            {"core:datatype": "rf32_le"},
            r"describes rf32_le of 1 channel\(s\); read are one channel",
        ),
        ({"core:datatype": "cf32_le", "core:num_channels": 2}, r"of 2 channel\(s\)"),
        ({"core:datatype": "cf32_le", "core:sample_rate": "2 MHz"}, "core:sample_rate is '2 MHz'"),
    ],
)
def test_a_sigmf_description_of_something_else_is_told(tmp_path, about, told):
    with pytest.raises(UserError, match=told):
        read_with(READERS, described(tmp_path, **about))


def test_half_a_sigmf_recording_is_told(tmp_path):
    data = described(tmp_path)
    data.with_suffix(".sigmf-meta").write_text("{")
    with pytest.raises(UserError, match=r"air\.sigmf-meta: is cut short or damaged"):
        read_with(READERS, data)
    data.with_suffix(".sigmf-meta").unlink()
    with pytest.raises(UserError, match="no such file; put it beside air"):
        read_with(READERS, data)


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("a.cfile", TONE.tobytes()[:-3], "has 2,397 bytes, no whole number of complex64 samples"),
        ("a.cs16", b"x" * 2001, "has 2,001 bytes, no whole number of int16 samples of 4 bytes"),
        ("a.cfile", TONE[:50].tobytes(), "has 50 samples; a frame takes 128"),
        ("a.cfile", b"", "has 0 samples"),
        ("a.cfile", TONE.real.astype("<c8").tobytes(), "is real-valued, all its Q samples are 0"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_with(READERS, path)


def test_nan_is_told_by_its_place_and_unknown_types_by_name(tmp_path, complex64):
    values = TONE.copy()
    values[200] = np.nan
    with pytest.raises(UserError, match="sample 200 is NaN or infinite; cut it out"):
        read_recording(stored(tmp_path / "b.cfile", values))
    odd = stored(tmp_path / "b.dat2", TONE)
    with pytest.raises(UserError, match="its ending does not tell how numbers are stored"):
        open_recording(odd)
    assert open_recording(odd, kind="complex64").samples == 300
    with pytest.raises(UserError, match="'int8'"):
        open_recording(odd, kind="int8")
    with pytest.raises(UserError, match="a sample rate of -1 Hz is none"):
        open_recording(complex64, sample_rate=-1)
