"""The channel: sample-rate and carrier offset, selective fading, noise, and the frame's scale.

Rows are transmissions. Fading is the sum of sinusoids of GNU Radio's current fader.
"""

from __future__ import annotations

from functools import cache

import numpy as np

TAPS = 8  # of the fading filter
SINUSOIDS = 8
REACH = 8  # samples that the interpolator reads for one
_ARMS = 4096  # of the interpolator between two samples
_STRIDE = 16  # samples that one sinusoid's start is turned on for
_KAISER = 6.0


@cache
def _interpolator() -> np.ndarray:
    """Return a windowed sinc for each fraction of a sample, (_ARMS + 1, REACH), gain 1 at 0 Hz."""
    fraction = np.arange(_ARMS + 1)[:, None] / _ARMS
    at = np.arange(REACH) - (REACH // 2 - 1) - fraction
    inside = np.clip(1 - (at / (REACH / 2)) ** 2, 0, None)
    taps = np.sinc(at) * np.i0(_KAISER * np.sqrt(inside))
    return taps / taps.sum(axis=-1, keepdims=True)


def read_between(signal: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return a signal (B, N) read between its samples, with 8 taps.

    Args:
        signal: Complex.
        positions: (B, n), in samples, from 3 to less than N - 5; a whole one gives the sample
            itself.
    """
    whole = np.floor(positions).astype(int)
    arms = np.rint((positions - whole) * _ARMS).astype(int)
    first = whole - (REACH // 2 - 1)
    rows = np.arange(len(signal))[:, None, None]
    around = signal[rows, first[..., None] + np.arange(REACH)]
    return (around * _interpolator()[arms]).sum(axis=-1)


def sinusoids(phases: np.ndarray, turns: np.ndarray, count: int) -> np.ndarray:
    """Return the sum over k of e^{j (phases_k + n turns_k)} for n = 1 … count: (…, count).

    Args:
        phases: (…, K), radians.
        turns: (…, K), radians per sample.
        count: Of samples.
    """
    blocks = -(-count // _STRIDE)
    starts = np.exp(
        1j * (phases[..., None, :] + turns[..., None, :] * (_STRIDE * np.arange(blocks)[:, None]))
    )
    inside = np.exp(1j * turns[..., None] * np.arange(1, _STRIDE + 1))
    return (starts @ inside).reshape(*phases.shape[:-1], -1)[..., :count]


def flat_fading(
    psi: np.ndarray, phi: np.ndarray, theta: np.ndarray, doppler: float, count: int
) -> np.ndarray:
    """Return Rayleigh fading of mean power 1, complex (…, count).

    Theta stands still: its walk is under 0.0001 radian in a stream.

    Args:
        psi, phi: Phases of the real and the imaginary part's sinusoids, (…, 8); they are advanced
            before they are used.
        theta: (…,), radians.
        doppler: Largest, in cycles per sample.
        count: Of samples.
    """
    number = np.arange(1, SINUSOIDS + 1)
    angles = (2 * np.pi * number - np.pi + theta[..., None]) / (4 * SINUSOIDS)
    turns = 2 * np.pi * doppler * np.cos(angles)
    both = sinusoids(np.stack([psi, phi]), np.stack([turns, turns]), count)
    return np.sqrt(1 / SINUSOIDS) * (both[0].real + 1j * both[1].imag)


def with_line_of_sight(
    fading: np.ndarray, start: np.ndarray, theta: np.ndarray, doppler: float, rician: float
) -> np.ndarray:
    """Return Rician fading of mean power 1 from Rayleigh fading (…, count).

    Args:
        fading: Of `flat_fading`.
        start: Phase of the direct path (…,), radians.
        theta: Its angle (…,), radians.
        doppler: Largest, in cycles per sample.
        rician: The direct path's power over the rest's.
    """
    turn = 2 * np.pi * doppler * np.cos(theta)
    direct = sinusoids(start[..., None], turn[..., None], fading.shape[-1])
    return fading / np.sqrt(rician + 1) + np.sqrt(rician / (rician + 1)) * direct


def path_taps(delays: tuple[float, ...], magnitudes: tuple[float, ...]) -> np.ndarray:
    """Return the filter of each path, (P, 8): its magnitude times sinc(k - delay)."""
    return np.array(magnitudes)[:, None] * np.sinc(np.arange(TAPS) - np.array(delays)[:, None])


def selective_fading(signal: np.ndarray, gains: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Return what arrives over several paths, (B, n).

    Args:
        signal: (B, n + 7), complex.
        gains: Of the paths at the n samples that leave, (B, P, n).
        paths: Their filters, (P, 8).
    """
    windows = np.lib.stride_tricks.sliding_window_view(signal, TAPS, axis=-1)
    backwards = paths[:, ::-1].T
    real, imaginary = windows.real @ backwards, windows.imag @ backwards
    arrived = np.moveaxis(real + 1j * imaginary, -1, 1)
    return (gains * arrived).sum(axis=1)


def noise_amplitude(label: float, convention: str) -> float:
    """Return the noise's root mean square of an SNR label: 10^(-label/10), or /20 for "db"."""
    return 10 ** (-label / (10 if convention == "radioml2016" else 20))


def scaled_frames(signal: np.ndarray) -> np.ndarray:
    """Return frames (B, n) divided by their sum of magnitudes: float32 (B, 2, n), I before Q."""
    signal = signal / np.abs(signal).sum(axis=-1, keepdims=True)
    return np.stack([signal.real, signal.imag], axis=1).astype(np.float32)
