"""Modulators: symbols, bits or audio to complex baseband of about unit amplitude.

All work on rows: one row is one transmitter. Filters give what follows their start-up, so a row
begins in the middle of a transmission; who needs the start puts zeros in front.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_AMPLITUDE = 0.999  # of GFSK
_DEVIATION = 75e3  # of WBFM, in Hz
_INDEX = 0.5  # of CPFSK

_GRAY4, _GRAY8 = (0, 1, 3, 2), (0, 1, 3, 2, 7, 6, 4, 5)
_QAM16 = (2, 6, 14, 10, 3, 7, 15, 11, 1, 5, 13, 9, 0, 4, 12, 8)
_QAM64 = (
    0, 32, 8, 40, 3, 35, 11, 43, 48, 16, 56, 24, 51, 19, 59, 27, 12, 44, 4, 36, 15, 47, 7, 39,
    60, 28, 52, 20, 63, 31, 55, 23, 2, 34, 10, 42, 1, 33, 9, 41, 50, 18, 58, 26, 49, 17, 57, 25,
    14, 46, 6, 38, 13, 45, 5, 37, 62, 30, 54, 22, 61, 29, 53, 21,
)  # fmt: skip
_PSK4 = np.array([1, 1j, -1, -1j]) * np.exp(0.25j * np.pi)
LINEAR = ("8PSK", "BPSK", "PAM4", "QAM16", "QAM64", "QPSK")


@cache
def constellation(name: str) -> np.ndarray:
    """Return a linear class's points by symbol value, complex (M,), of mean magnitude 1.

    The first bit of a symbol is its most significant one.

    Args:
        name: One of `LINEAR`.
    """
    points, order = {
        "BPSK": (np.array([1, -1]), (0, 1)),
        "QPSK": (_PSK4, _GRAY4),
        "8PSK": (np.exp(0.25j * np.pi * np.arange(8)), _GRAY8),
        "PAM4": (np.array([-3, -1, 3, 1]), _GRAY4),
        "QAM16": (_square(4), _QAM16),
        "QAM64": (_square(8), _QAM64),
    }[name]
    values = points.astype(complex)[list(order)]
    return values / np.abs(values).mean()


def _square(side: int) -> np.ndarray:
    """Return the points of a square constellation, row by row from the top left."""
    levels = np.arange(1 - side, side, 2)
    return (levels + 1j * levels[::-1, None]).ravel()


def symbol_values(bits: np.ndarray, order: int) -> np.ndarray:
    """Return bits (…, order · N) as symbol values (…, N), the first bit most significant."""
    groups = bits.reshape(*bits.shape[:-1], -1, order)
    return groups @ (1 << np.arange(order)[::-1])


def history(taps: np.ndarray, factor: int) -> int:
    """Return how many inputs `stuffed_filter` uses up before its first output."""
    return -(-len(taps) // factor) - 1


def stuffed_filter(values: np.ndarray, taps: np.ndarray, factor: int) -> np.ndarray:
    """Return values (B, N), zero-stuffed by `factor` and filtered: (B, (N - history) · factor)."""
    each = history(taps, factor) + 1
    phases = np.zeros(each * factor)
    phases[: len(taps)] = taps
    phases = phases.reshape(each, factor)[::-1]  # the newest value comes last in a window
    parts = np.stack([values.real, values.imag]) if np.iscomplexobj(values) else values[None]
    windows = np.lib.stride_tricks.sliding_window_view(parts, each, axis=-1)
    found = (windows @ phases).reshape(*parts.shape[:-1], -1)
    return found[0] if len(found) == 1 else found[0] + 1j * found[1]


def linear(values: np.ndarray, name: str, taps: np.ndarray, sps: int) -> np.ndarray:
    """Return the signal of symbol values (B, N) of a linear class."""
    return stuffed_filter(constellation(name)[values], taps, sps)


def frequency_modulated(steps: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return unit phasors whose phase is `start` (B,) and all steps (B, N) up to here: radians."""
    return np.exp(1j * (start[:, None] + np.cumsum(steps, axis=-1)))


def gfsk(
    bits: np.ndarray, pulse: np.ndarray, sps: int, sensitivity: float, start: np.ndarray
) -> np.ndarray:
    """Return Gaussian frequency-shift keying of bits (B, N) in {0, 1}."""
    steps = sensitivity * stuffed_filter(2.0 * bits - 1, pulse, sps)
    return _AMPLITUDE * frequency_modulated(steps, start)


def cpfsk(bits: np.ndarray, sps: int, start: np.ndarray) -> np.ndarray:
    """Return continuous-phase frequency-shift keying of index 0.5, bits (B, N) in {0, 1}."""
    steps = np.repeat(2.0 * bits - 1, sps, axis=-1) * np.pi * _INDEX / sps
    return frequency_modulated(steps, start)


def wideband_fm(audio: np.ndarray, rate: float, start: np.ndarray) -> np.ndarray:
    """Return frequency modulation of 75 kHz deviation.

    Args:
        audio: (B, N), at `rate`.
        rate: In Hz.
        start: Phases (B,) in radians.
    """
    return frequency_modulated(2 * np.pi * _DEVIATION / rate * audio, start)


def resampled(audio: np.ndarray, start: np.ndarray, step: float, count: int) -> np.ndarray:
    """Return audio (B, N) read between its samples, linearly: at start + n · step, (B, count).

    Args:
        audio: Real or complex.
        start: (B,), in samples.
        step: In samples.
        count: Of values.
    """
    at = start[:, None] + step * np.arange(count)
    whole = at.astype(int)
    share = at - whole
    low, high = (np.take_along_axis(audio, whole + n, axis=-1) for n in (0, 1))
    return low + share * (high - low)
