"""The channel's blocks are those of the golden arrays, and do to a signal what they say."""

import numpy as np
from numpy.testing import assert_allclose

from apps.modulation_recognition.signals import channel

EXACT = {"rtol": 0, "atol": 1e-11}


def test_fading_is_the_published_sum_of_sinusoids(golden):
    psi, phi = np.linspace(-3, 3, 9), np.linspace(2.5, -2.5, 9)
    doppler = 1 / 200e3
    fading = channel.flat_fading(psi[1:], phi[1:], np.array(0.3), doppler, 20000)
    assert_allclose(fading[::500], golden["fader/nlos"], **EXACT)
    direct = channel.with_line_of_sight(fading, psi[0], np.array(0.7), doppler, 4)
    assert_allclose(direct[::500], golden["fader/los"], **EXACT)


def test_fading_has_mean_power_one():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (18, 4000))
    fading = channel.flat_fading(angles[:8].T, angles[8:16].T, angles[16], 0.01, 8)
    assert_allclose((np.abs(fading) ** 2).mean(), 1, rtol=0.05)
    direct = channel.with_line_of_sight(fading, angles[17], angles[16], 0.01, 4)
    assert_allclose((np.abs(direct) ** 2).mean(), 1, rtol=0.05)


def test_selective_fading_is_the_published_filter(golden):
    paths = channel.path_taps((0, 0.9, 1.7), (1, 0.8, 0.3))
    gains = golden["selective/h"]
    assert_allclose(gains @ paths, golden["selective/taps"], **EXACT)
    signal = np.concatenate([np.zeros(7), golden["mod/QPSK"]])[None]
    still = np.repeat(gains[None, :, None], 300, axis=-1)
    out = channel.selective_fading(signal, still, paths)[0]
    assert_allclose(out, golden["selective/out"], **EXACT)


def test_the_carrier_offset_turns_before_it_is_used(golden):
    phase = np.cumsum(golden["cfo/hz"]) / 200e3
    turned = golden["mod/QPSK"] * np.exp(2j * np.pi * phase)
    assert_allclose(turned, golden["cfo/out"], **EXACT)


def test_the_scale_of_noise_and_frames_is_the_published_one(golden):
    for label, released, decibels in golden["noise_amp"]:
        assert_allclose(channel.noise_amplitude(label, "radioml2016"), released)
        assert_allclose(channel.noise_amplitude(label, "db"), decibels)
    frame = channel.scaled_frames(golden["mod/QPSK"][None, :128])[0]
    assert frame.dtype == np.float32
    assert_allclose(frame, golden["frame/normalised"], rtol=0, atol=1e-8)


def test_reading_between_samples_delays_a_tone():
    n = np.arange(400)
    for cycles in (0.02, 0.1, -0.25):
        signal = np.exp(2j * np.pi * cycles * n)[None]
        at = 5.3 + 1.0002 * np.arange(300)
        error = channel.read_between(signal, at[None])[0] - np.exp(2j * np.pi * cycles * at)
        assert np.abs(error).max() < 5e-3, cycles
    assert_allclose(channel.read_between(signal, n[None, 4:300].astype(float)), signal[:, 4:300])
