"""Filter taps of the RadioML transmitters: pulse shapes, low-pass, emphasis, analytic signal.

T. J. O'Shea, N. West, "Radio Machine Learning Dataset Generation with GNU Radio", GRCon 2016.
Everything here is float64.
"""

from __future__ import annotations

import math

import numpy as np

ARMS = 32  # prototype samples per symbol
_SPAN = 11  # symbols of the prototype for each output sample of a symbol
_TIME_CONSTANT = 75e-6  # of FM's emphasis, in seconds


def rrc_prototype(sps: int, roll_off: float) -> np.ndarray:
    """Return a root-raised cosine at 32 samples per symbol, 32 · 11 · sps + 1 taps of sum 32."""
    count = ARMS * _SPAN * sps + 1
    t = (np.arange(count) - count // 2) / ARMS
    x = 4 * roll_off * t
    with np.errstate(divide="ignore", invalid="ignore"):
        taps = np.cos((1 + roll_off) * np.pi * t) + np.sin((1 - roll_off) * np.pi * t) / x
        taps /= 1 - x**2
    taps[count // 2] = 1 + (1 - roll_off) * np.pi / (4 * roll_off)
    angle = np.pi / (4 * roll_off)
    limit = (1 + 2 / np.pi) * math.sin(angle) + (1 - 2 / np.pi) * math.cos(angle)
    taps[np.isclose(np.abs(x), 1)] = np.pi / (4 * math.sqrt(2)) * limit
    return ARMS * taps / taps.sum()


def root_raised_cosine(sps: int, roll_off: float) -> np.ndarray:
    """Return the taps for symbols zero-stuffed by `sps`: 705 for 8, 45 for 2.

    They leave a signal about the mean power of its symbols.

    Args:
        sps: Samples per symbol, a divisor of 32.
        roll_off: In (0, 1].
    """
    if sps < 1 or ARMS % sps:
        raise ValueError(f"`sps` must divide {ARMS}. Received: sps={sps}")
    return rrc_prototype(sps, roll_off)[:: ARMS // sps]


def gaussian(sps: int, bandwidth_time: float) -> np.ndarray:
    """Return GFSK's Gaussian, 4 · sps taps of sum 1."""
    count = 4 * sps
    t = (np.arange(count) - (count // 2 - 1)) / sps
    taps = np.exp(-0.5 * (2 * np.pi * bandwidth_time / math.sqrt(math.log(2)) * t) ** 2)
    return taps / taps.sum()


def gaussian_pulse(sps: int, bandwidth_time: float) -> np.ndarray:
    """Return the Gaussian convolved with a symbol's rectangle: for zero-stuffed ±1."""
    return np.convolve(gaussian(sps, bandwidth_time), np.ones(sps))


def audio_low_pass(rate: float, gain: float) -> np.ndarray:
    """Return the filter that follows the zero-stuffing of audio: Hamming, 16 kHz, 2 kHz wide.

    Args:
        rate: After the zero-stuffing, in Hz; at 220.5 kHz the filter has 265 taps.
        gain: Sum of the taps.
    """
    count = int(53 * rate / (22 * 2e3)) | 1  # a Hamming window suppresses by 53 dB
    taps = np.sinc(2 * 16e3 / rate * (np.arange(count) - count // 2)) * np.hamming(count)
    return gain * taps / taps.sum()


def pre_emphasis(rate: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (numerator, denominator) of FM's 75 µs pre-emphasis, flat from 0.925 · rate / 2.

    The bilinear transform of a zero and a pole, with gain 1 at 0 Hz.
    """
    zero, pole = (
        (1 - tangent) / (1 + tangent)
        for tangent in (
            math.tan(1 / (2 * rate * _TIME_CONSTANT)),
            math.tan(np.pi * 0.925 / 2),
        )
    )
    gain = (1 - pole) / (1 - zero)
    return (gain, -gain * zero), (1.0, -pole)


def analytic(count: int = 401) -> np.ndarray:
    """Return the taps that make a real signal analytic, complex: its upper sideband, delayed."""
    n = np.arange(count) - count // 2
    with np.errstate(divide="ignore"):
        hilbert = np.where(n % 2, 2 / (np.pi * n), 0.0) * np.hamming(count)
    return (n == 0) + 1j * hilbert
