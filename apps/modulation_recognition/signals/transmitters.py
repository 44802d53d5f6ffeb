"""Random transmissions of every class: what is sent, and the baseband it becomes.

Every frame has a random generator of its own. What is drawn is drawn frame by frame, what is
computed is computed for all frames of a block at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from apps.modulation_recognition.signals import modulators, pulses
from apps.modulation_recognition.signals.parameters import AUDIO_RATE, Parameters

Rngs = Sequence[np.random.Generator]

_BAND = (120.0, 3400.0)  # of speech, in Hz
_SYLLABLE = 0.06 * AUDIO_RATE  # audio samples
_LOUDNESS, _SHAPE, _POLE = 0.12, 0.6, 0.9
_SETTLING = 700  # audio samples after which the filters' start is forgotten
_ANALYTIC = 401  # taps


def rows(rngs: Rngs, draw: Callable[[np.random.Generator], Any]) -> np.ndarray:
    """Return what each generator draws, stacked."""
    return np.array([draw(rng) for rng in rngs])


def baseband(
    parameters: Parameters, name: str, rngs: Rngs, count: int, amssb: str = "as_released"
) -> np.ndarray:
    """Return a class's signal before the channel, complex (B, count), from its middle.

    Args:
        parameters: Of the set.
        name: Of the class.
        rngs: One a frame, B of them.
        count: Of samples.
        amssb: One of `AMSSB`.
    """
    if name in ("WBFM", "AM-DSB", "AM-SSB"):
        return _analog(parameters, name, rngs, count, amssb)
    sps = parameters.sps
    symbols = -(-(count + sps - 1) // sps)  # a frame begins anywhere in a symbol
    if name in modulators.LINEAR:
        taps = _rrc(sps, parameters.roll_off)
        needed = symbols + modulators.history(taps, sps)
        points = len(modulators.constellation(name))
        values = rows(rngs, lambda rng: rng.integers(0, points, needed))
        signal = modulators.linear(values, name, taps, sps)
    else:
        pulse = _gaussian_pulse(sps, parameters.bandwidth_time)
        needed = symbols + (modulators.history(pulse, sps) if name == "GFSK" else 0)
        bits = rows(rngs, lambda rng: rng.integers(0, 2, needed))
        start = rows(rngs, _phase)
        if name == "GFSK":
            signal = modulators.gfsk(bits, pulse, sps, parameters.sensitivity, start)
        else:
            signal = modulators.cpfsk(bits, sps, start)
    first = rows(rngs, lambda rng: rng.integers(0, sps))
    return np.take_along_axis(signal, first[:, None] + np.arange(count), axis=-1)


def speech(rngs: Rngs, count: int) -> np.ndarray:
    """Return audio at 44.1 kHz with the pauses of speech, in [-1, 1], float64 (B, count).

    Noise in the band of a telephone, its high notes weaker, times syllables of 60 ms; a stand-in
    for the podcast of the released data.
    """
    from scipy.signal import lfilter

    numerator, denominator = _speech_filter()
    noise = rows(rngs, lambda rng: rng.standard_normal(_SETTLING + count))
    voice = lfilter(numerator, denominator, noise, axis=-1)[:, _SETTLING:]
    syllables = 2 + int(count / _SYLLABLE + 1)
    heights = rows(rngs, lambda rng: rng.gamma(_SHAPE, size=syllables))
    start = rows(rngs, lambda rng: rng.random())
    envelope = modulators.resampled(heights, start, 1 / _SYLLABLE, count)
    return np.clip(_LOUDNESS * envelope * voice, -1, 1)


def _analog(parameters: Parameters, name: str, rngs: Rngs, count: int, amssb: str) -> np.ndarray:
    if name == "AM-SSB" and amssb == "as_released":
        return np.zeros((len(rngs), count), complex)
    if name == "WBFM":
        return _wideband_fm(parameters, rngs, count)
    step = AUDIO_RATE / parameters.sample_rate
    needed = int(step * count) + 3
    begin = rows(rngs, lambda rng: rng.random())
    if name == "AM-DSB":
        sound = modulators.resampled(speech(rngs, needed), begin, step, count)
        return (1 + sound).astype(complex)
    taps = pulses.analytic(_ANALYTIC)  # at the audio's rate, where they resolve its low notes
    sound = speech(rngs, needed + _ANALYTIC - 1)
    parts = [modulators.stuffed_filter(sound, part, 1) for part in (taps.real, taps.imag)]
    return modulators.resampled(parts[0] + 1j * parts[1], begin, step, count)


def _wideband_fm(parameters: Parameters, rngs: Rngs, count: int) -> np.ndarray:
    from scipy.signal import lfilter

    gain = parameters.audio_gain
    rate = gain * AUDIO_RATE
    needed = -(-(count + gain - 1) // gain)
    if gain > 1:
        taps = _low_pass(rate, gain)
        audio = speech(rngs, needed + modulators.history(taps, gain))
        audio = modulators.stuffed_filter(audio, taps, gain)
    else:
        audio = speech(rngs, needed)
    first = rows(rngs, lambda rng: rng.integers(0, gain))
    if parameters.emphasis:
        audio = lfilter(*pulses.pre_emphasis(rate), audio, axis=-1)
    audio = np.take_along_axis(audio, first[:, None] + np.arange(count), axis=-1)
    return modulators.wideband_fm(audio, rate, rows(rngs, _phase))


def _phase(rng: np.random.Generator) -> float:
    return rng.uniform(-np.pi, np.pi)


@cache
def _rrc(sps: int, roll_off: float) -> np.ndarray:
    return pulses.root_raised_cosine(sps, roll_off)


@cache
def _gaussian_pulse(sps: int, bandwidth_time: float) -> np.ndarray:
    return pulses.gaussian_pulse(sps, bandwidth_time)


@cache
def _low_pass(rate: float, gain: int) -> np.ndarray:
    return pulses.audio_low_pass(rate, gain)


@cache
def _speech_filter() -> tuple[np.ndarray, np.ndarray]:
    """Return the band-pass and the one-pole low-pass as one, of unit variance for white noise."""
    from scipy.signal import butter, lfilter

    numerator, denominator = butter(2, _BAND, "bandpass", fs=AUDIO_RATE)
    denominator = np.convolve(denominator, (1, -_POLE))
    impulse = np.zeros(20 * _SETTLING)
    impulse[0] = 1
    energy = np.sum(lfilter(numerator, denominator, impulse) ** 2)
    return numerator / np.sqrt(energy), denominator
