"""Frames of a recipe: transmitters, channel and noise, the same bytes however they are shared out.

A frame depends on the recipe, its class, its SNR label and its number alone. Blocks of a fixed size
are computed together, so that also the rounding of a frame depends on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from apps.modulation_recognition.signals import channel
from apps.modulation_recognition.signals.parameters import (
    AUDIO_RATE,
    CLASSES,
    FRAME,
    Parameters,
    Recipe,
)
from apps.modulation_recognition.signals.transmitters import Rngs, baseband, rows
from core.errors import UserError, no_such

VERSION = 1  # of the generator; another one makes other frames of the same recipe
BLOCK = 50  # frames computed together
_IN = FRAME + channel.TAPS - 1  # samples that enter the fading
_BEFORE = _IN + 2 * channel.REACH  # samples that enter the interpolator
_ITEMS = {"QAM16": 20_000, "QAM64": 30_000}  # bits or audio samples of a stream, else 10,000
_ORDER = {"8PSK": 3, "QPSK": 2, "PAM4": 2, "QAM16": 4, "QAM64": 6}  # bits a symbol, else 1
_CHANNEL_SEED, _POOL = 0x1337, 8192  # of the released data
_DROPPED, _PER_STREAM = 1000, 50  # samples, frames: rml22


class Part(NamedTuple):
    """Frames that are made together: a block of one class at one SNR label."""

    recipe: Recipe
    name: str
    snr: int
    block: int
    frames: int


def generate(
    recipe: Recipe,
    count: int,
    *,
    classes: Sequence[str] = (),
    snrs: Sequence[int] = (),
    workers: int = 1,
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield (class, SNR label, frames), label after label, class after class, in blocks.

    Args:
        recipe: Every choice.
        count: Frames for each class and label.
        classes: Some of the set's classes; none stands for all.
        snrs: SNR labels, any integers; none stands for the set's.
        workers: Processes; the frames do not depend on it.

    Yields:
        Frames are float32 (up to 50, 2, 128), I before Q, of mean magnitude 1/128.

    Raises:
        UserError: When a class is none of the set's, or a number is out of range.
    """
    names, labels = chosen(recipe, count, classes, snrs)
    parts = [
        Part(recipe, name, snr, start // BLOCK, min(BLOCK, count - start))
        for snr in labels
        for name in names
        for start in range(0, count, BLOCK)
    ]
    if workers == 1:
        yield from ((part.name, part.snr, frames_of(part)) for part in parts)
        return
    # A forked copy of a process with threads (TensorFlow's) may hang: start fresh ones.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for part, frames in zip(parts, pool.map(frames_of, parts, chunksize=8), strict=True):
            yield part.name, part.snr, frames


def chosen(
    recipe: Recipe, count: int, classes: Sequence[str], snrs: Sequence[int]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the classes, sorted, and the SNR labels, ascending, that are to be made."""
    known = recipe.set.classes
    for name in classes:
        if name not in known:
            raise no_such("class", name, known, where=recipe.parameters)
    labels = tuple(sorted(set(snrs or recipe.set.snrs)))
    for value, low, high, what in (
        (count, 1, 10**6, "frames for each class and SNR"),
        (labels[0], -100, 100, "as SNR"),
        (labels[-1], -100, 100, "as SNR"),
    ):
        if not low <= value <= high:
            raise UserError(f"Received {value} {what}; choose a number from {low} to {high}.")
    return tuple(sorted(set(classes or known))), labels


def frames_of(part: Part) -> np.ndarray:
    """Return the frames of a part, float32 (frames, 2, 128)."""
    rngs = [
        np.random.default_rng(
            [part.recipe.seed, CLASSES.index(part.name), part.snr + 1000, part.block, number]
        )
        for number in range(BLOCK)
    ]
    signal = received(part.recipe, part.name, rngs)
    noise = _noise(part.recipe, rngs)
    amplitude = channel.noise_amplitude(part.snr, part.recipe.snr_convention)
    return channel.scaled_frames(signal + amplitude * noise)[: part.frames]


def received(recipe: Recipe, name: str, rngs: Rngs) -> np.ndarray:
    """Return signals behind the channel, without noise and unscaled: complex (B, 128).

    Args:
        recipe: Every choice.
        name: Of the class.
        rngs: One a frame.
    """
    parameters = recipe.set
    walks = parameters.clock == "walks"
    sent = baseband(parameters, name, rngs, _BEFORE if walks else _IN, recipe.amssb)
    if not walks:
        at = _DROPPED + FRAME * rows(rngs, lambda rng: rng.integers(0, _PER_STREAM))
        faded = _faded(parameters, rngs, sent)
        return faded * np.exp(1j * _crystal_phase(parameters, rngs, at))
    length = stream_length(parameters, name)
    if recipe.independent_channels:
        at = rows(rngs, lambda rng: _cut(length, rng))
        drift, phase = (_walk(parameters, rngs, at, most) for most in parameters.clock_most)
        gains = None
    else:
        at = np.array([_cut(length, rng) for rng in rngs])
        shared = _shared(parameters)
        steps = at[:, None] + np.arange(_IN)
        drift, phase = shared.drift[steps], shared.phase[steps]
        gains = shared.gains[:, at[:, None] + np.arange(FRAME)].swapaxes(0, 1)
    # Where in the stream the interpolator stands is only told apart below one sample.
    drift = drift - np.floor(drift[:, :1]) + channel.REACH // 2
    read = channel.read_between(sent, drift + np.arange(_IN))
    return _faded(parameters, rngs, read * np.exp(2j * np.pi * phase), gains)


def expected_snr(recipe: Recipe, label: int) -> float:
    """Return the mean SNR in dB, over all frames, of a signal of power 1 at a label.

    The paths' powers add up, 2.4 dB for radioml2016 and 8.1 dB for rml22. The mean power of the
    classes is from 1 to 1.25, as constellations have mean magnitude 1.
    """
    noise = channel.noise_amplitude(label, recipe.snr_convention)
    paths = sum(magnitude**2 for magnitude in recipe.set.magnitudes)
    return 10 * math.log10(paths) - 20 * math.log10(noise)


def stream_length(parameters: Parameters, name: str) -> int:
    """Return how many samples a transmitter of the released data sends before it is replaced."""
    items = _ITEMS.get(name, 10_000)
    if name == "WBFM":
        return items * parameters.audio_gain
    if name.startswith("AM"):
        return int(items * parameters.sample_rate / AUDIO_RATE)
    return items // _ORDER.get(name, 1) * parameters.sps


def _cut(length: int, rng: np.random.Generator) -> int:
    """Return where one of a stream's frames begins, each as likely as another."""
    steps = rng.integers(FRAME, round(0.05 * length) + 1, length // FRAME)
    starts = rng.integers(50, 501) + np.concatenate([[0], np.cumsum(steps)])
    return int(starts[rng.integers(0, np.sum(starts + FRAME < length))])


def _walk(parameters: Parameters, rngs: Rngs, at: np.ndarray, most: float) -> np.ndarray:
    """Return the running sum of a random walk's frequencies in cycles, (B, _IN).

    The walk and its sum at the frame's place in the stream are drawn together from their Gaussian
    distribution.

    Args:
        parameters: Of the set.
        rngs: One a frame.
        at: Places (B,), in samples.
        most: Largest frequency, in Hz.
    """
    draws = rows(rngs, lambda rng: rng.standard_normal(_IN + 2)) * parameters.clock_step
    first, second, steps = draws[:, 0], draws[:, 1], draws[:, 2:]
    here = np.sqrt(at) * first
    gone = np.sqrt(at) ** 3 * (first / 2 + second / np.sqrt(12))
    hertz = np.clip(here[:, None] + np.cumsum(steps, axis=-1), -most, most)
    return (gone[:, None] + np.cumsum(hertz, axis=-1)) / parameters.sample_rate


def _crystal_phase(parameters: Parameters, rngs: Rngs, at: np.ndarray) -> np.ndarray:
    """Return rml22's carrier phase at the frames' samples, (B, 128) radians."""
    (most,) = parameters.clock_most
    steps = rows(rngs, lambda rng: rng.standard_normal(FRAME + 1)) * parameters.clock_step
    error = rows(rngs, lambda rng: rng.uniform(-most, most))
    turned = rows(rngs, lambda rng: rng.uniform(-np.pi, np.pi))
    steps[:, 0] *= np.sqrt(at)
    carrier = 100 * (error[:, None] + np.cumsum(steps, axis=-1)[:, 1:])
    n = at[:, None] + np.arange(FRAME)
    return 2 * np.pi * carrier * n / parameters.sample_rate + turned[:, None]


def _faded(
    parameters: Parameters, rngs: Rngs, signal: np.ndarray, gains: np.ndarray | None = None
) -> np.ndarray:
    if gains is None:
        paths, each = len(parameters.delays), 2 * channel.SINUSOIDS + 1
        angles = rows(rngs, lambda rng: rng.uniform(-np.pi, np.pi, (paths * each + 2)))
        gains = _gains(parameters, angles, FRAME)
    taps = channel.path_taps(parameters.delays, parameters.magnitudes)
    return channel.selective_fading(signal, gains, taps)


def _gains(parameters: Parameters, angles: np.ndarray, count: int) -> np.ndarray:
    """Return the paths' gains (B, P, count) for starting angles (B, 17 P + 2)."""
    doppler = parameters.doppler / parameters.sample_rate
    paths, number = len(parameters.delays), channel.SINUSOIDS
    each = angles[:, :-2].reshape(len(angles), paths, -1)
    gains = channel.flat_fading(
        each[..., :number], each[..., number:-1], each[..., -1], doppler, count
    )
    if parameters.rician:
        gains[:, 0] = channel.with_line_of_sight(
            gains[:, 0], angles[:, -2], angles[:, -1], doppler, parameters.rician
        )
    return gains


def _noise(recipe: Recipe, rngs: Rngs) -> np.ndarray:
    """Return white noise of power 1, complex (B, 128)."""
    if recipe.independent_channels:
        parts = rows(rngs, lambda rng: rng.standard_normal((2, FRAME)))
        return np.sqrt(0.5) * (parts[:, 0] + 1j * parts[:, 1])
    picks = rows(rngs, lambda rng: rng.integers(0, _POOL, FRAME))
    return _shared(recipe.set).noise[picks]


class _Shared(NamedTuple):
    """The one channel of the released data, from a stream's start."""

    drift: np.ndarray
    phase: np.ndarray
    gains: np.ndarray
    noise: np.ndarray


@lru_cache(maxsize=1)
def _shared(parameters: Parameters) -> _Shared:
    rng = np.random.default_rng(_CHANNEL_SEED)
    longest = max(stream_length(parameters, name) for name in parameters.classes) + _IN
    steps = parameters.clock_step * rng.standard_normal((2, longest))
    most = np.array(parameters.clock_most)[:, None]
    hertz = np.clip(np.cumsum(steps, axis=-1), -most, most)
    drift, phase = np.cumsum(hertz, axis=-1) / parameters.sample_rate
    each = (2 * channel.SINUSOIDS + 1) * len(parameters.delays) + 2
    angles = rng.uniform(-np.pi, np.pi, (1, each))
    noise = np.sqrt(0.5) * (rng.standard_normal((_POOL, 2)) @ (1, 1j))
    return _Shared(drift, phase, _gains(parameters, angles, longest)[0], noise)
