"""Constellations, pulses and modulators are those of the golden arrays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apps.modulation_recognition.signals import modulators, pulses
from apps.modulation_recognition.signals.parameters import PARAMETERS
from apps.modulation_recognition.signals.transmitters import baseband, speech

EXACT = {"rtol": 0, "atol": 1e-12}
BITS = {"8PSK": 3, "BPSK": 1, "PAM4": 2, "QAM16": 4, "QAM64": 6, "QPSK": 2}
START = np.zeros(1)


def behind_zeros(values, taps, factor):
    """Values as a stream that has just begun."""
    return np.concatenate([np.zeros(modulators.history(taps, factor)), values])[None]


@pytest.mark.parametrize(
    "name, taps",
    [
        ("rrc/proto_sps8", lambda: pulses.rrc_prototype(8, 0.35)),
        ("rrc/arm_taps_sps8", lambda: pulses.root_raised_cosine(8, 0.35)),
        ("rrc/arm_taps_sps2", lambda: pulses.root_raised_cosine(2, 0.35)),
        ("gauss/sps8_bt035", lambda: pulses.gaussian(8, 0.35)),
        ("gauss/with_square", lambda: pulses.gaussian_pulse(8, 0.35)),
        ("lowpass/220500_16k_2k_gain5", lambda: pulses.audio_low_pass(220.5e3, 5)),
    ],
)
def test_taps_are_the_published_ones(golden, name, taps):
    assert_allclose(taps(), golden[name], **EXACT)


def test_the_root_raised_cosine_has_its_limit_where_the_formula_divides_by_zero():
    taps = pulses.rrc_prototype(8, 0.5)  # a tap lies at half a symbol, where 4 a t = 1
    middle = len(taps) // 2
    assert_allclose(taps[middle + 16], (taps[middle + 15] + taps[middle + 17]) / 2, rtol=5e-3)


def test_pre_emphasis_is_the_published_filter(golden):
    (b0, b1), (_, a1) = pulses.pre_emphasis(220.5e3)
    assert_allclose([b0, b1, a1], golden["preemph/coef_b0_b1_a1"], **EXACT)
    assert_allclose((b0 + b1) / (1 + a1), 1)  # no gain at 0 Hz


def test_an_analytic_signal_has_no_lower_sideband():
    turns = np.exp(-2j * np.pi * np.arange(401) / 44.1e3 * np.array([[-1000], [1000]]))
    lower, upper = np.abs(turns @ pulses.analytic())
    assert lower < 0.01 and abs(upper - 2) < 0.01


@pytest.mark.parametrize("name", modulators.LINEAR)
def test_linear_classes_are_the_published_signals(golden, name):
    assert_allclose(modulators.constellation(name), golden[f"const/{name}"], **EXACT)
    assert_allclose(np.abs(modulators.constellation(name)).mean(), 1)
    bits = golden["bits"][: len(golden["bits"]) // BITS[name] * BITS[name]]
    values = modulators.symbol_values(bits, BITS[name])
    taps = pulses.root_raised_cosine(8, 0.35)
    points = modulators.constellation(name)[values]
    signal = modulators.stuffed_filter(behind_zeros(points, taps, 8), taps, 8)[0, 600:900]
    assert_allclose(signal, golden[f"mod/{name}"][: len(signal)], **EXACT)
    after_its_start = modulators.linear(values[None], name, taps, 8)[0]
    whole = modulators.stuffed_filter(behind_zeros(points, taps, 8), taps, 8)[0]
    assert_allclose(after_its_start, whole[8 * modulators.history(taps, 8) :], **EXACT)


def test_cpfsk_and_gfsk_are_the_published_signals(golden):
    bits = golden["bits"].astype(float)
    signal = modulators.cpfsk(bits[None], 8, START)[0, :400]
    assert_allclose(signal, golden["mod/CPFSK"], **EXACT)
    pulse = pulses.gaussian_pulse(8, 0.35)
    steps = 0.1 * modulators.stuffed_filter(behind_zeros(2 * bits - 1, pulse, 8), pulse, 8)
    signal = 0.999 * modulators.frequency_modulated(steps, START)[0, :400]
    assert_allclose(signal, golden["mod/GFSK"], **EXACT)
    later = modulators.gfsk(bits[None], pulse, 8, 0.1, START)[0]
    turned = 0.999 * modulators.frequency_modulated(steps, START)[0, 32:]
    assert_allclose(np.diff(np.unwrap(np.angle(later))), np.diff(np.unwrap(np.angle(turned))))


def test_wbfm_and_am_are_the_published_signals(golden):
    from scipy.signal import lfilter

    taps = pulses.audio_low_pass(220.5e3, 5)
    audio = modulators.stuffed_filter(behind_zeros(golden["audio"], taps, 5), taps, 5)
    signal = modulators.wideband_fm(audio, 220.5e3, START)[0, 500:900]
    assert_allclose(signal, golden["mod/WBFM_no_preemph"], rtol=0, atol=1e-9)
    loud = lfilter(*pulses.pre_emphasis(220.5e3), audio, axis=-1)
    signal = modulators.wideband_fm(loud, 220.5e3, START)[0, 500:900]
    assert_allclose(signal, golden["mod/WBFM_preemph"], rtol=0, atol=1e-9)
    sound = modulators.resampled(golden["audio"][None], START, 44.1 / 200, 400)[0]
    assert_allclose(1 + sound, golden["mod/AM-DSB_linear_interp"], **EXACT)


# --- what a receiver can measure, before the channel ----------------------------------------------


def sent(name, count=2048, frames=20, **choices):
    rngs = [np.random.default_rng([7, number]) for number in range(frames)]
    return baseband(PARAMETERS["radioml2016"], name, rngs, count, **choices)


@pytest.mark.parametrize("name", modulators.LINEAR)
def test_a_linear_class_has_its_bandwidth_its_power_and_a_line_at_the_symbol_rate(name):
    signal = sent(name)
    power = (np.abs(np.fft.fft(signal * np.hanning(2048))) ** 2).mean(axis=0)
    inside = np.abs(np.fft.fftfreq(2048)) <= 1.35 / 8 / 2 + 2 / 2048
    assert power[inside].sum() > 0.9999 * power.sum()
    points = np.abs(modulators.constellation(name)) ** 2
    assert_allclose((np.abs(signal) ** 2).mean(), points.mean(), rtol=0.1)
    envelope = np.abs(signal) ** 2
    spectrum = np.abs(np.fft.fft(envelope - envelope.mean(axis=-1, keepdims=True))).mean(axis=0)
    assert spectrum[2048 // 8] > 8 * np.median(spectrum[2048 // 16 : 2048 // 4])


@pytest.mark.parametrize("name", ["CPFSK", "GFSK", "WBFM"])
def test_frequency_modulation_has_a_constant_envelope(name):
    assert_allclose(np.abs(sent(name)), 0.999 if name == "GFSK" else 1, rtol=1e-12)


def test_kurtosis_orders_the_classes():
    def kurtosis(name):
        power = np.abs(sent(name)) ** 2
        return (power**2).mean() / power.mean() ** 2

    found = [kurtosis(name) for name in ("GFSK", "8PSK", "QAM16", "QAM64", "PAM4")]
    assert found == sorted(found) and found[0] == pytest.approx(1)


def test_am_ssb_is_nothing_as_released_and_the_upper_sideband_corrected():
    assert not sent("AM-SSB").any()
    signal = sent("AM-SSB", 16384, frames=6, amssb="corrected")
    power = (np.abs(np.fft.fft(signal * np.hanning(16384))) ** 2).mean(axis=0)
    hertz = np.fft.fftfreq(16384, 1 / 200e3)
    upper, lower = (power[(hertz * side > 300) & (hertz * side < 3000)] for side in (1, -1))
    assert upper.sum() > 1000 * lower.sum()


def test_speech_has_its_band_and_its_pauses():
    audio = speech([np.random.default_rng(n) for n in range(40)], 8192)
    power = (np.abs(np.fft.rfft(audio * np.hanning(8192))) ** 2).mean(axis=0)
    hertz = np.fft.rfftfreq(8192, 1 / 44.1e3)
    assert power[(hertz > 100) & (hertz < 3600)].sum() > 0.95 * power.sum()
    levels = np.abs(audio).reshape(-1, 1024).mean(axis=1)
    assert np.percentile(levels, 20) < 0.3 * levels.mean()
