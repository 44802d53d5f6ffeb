"""What generated frames promise: their scale, their SNR, the same bytes for the same recipe."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apps.modulation_recognition.signals.generator import (
    BLOCK,
    Part,
    expected_snr,
    frames_of,
    generate,
    received,
    stream_length,
)
from apps.modulation_recognition.signals.parameters import CLASSES, PARAMETERS, Recipe
from core.errors import UserError

RECIPES = (
    Recipe(),
    Recipe(amssb="corrected", snr_convention="db"),
    Recipe(independent_channels=False),
    Recipe("rml22"),
)


def made(recipe, name, snr, count=BLOCK, **choices):
    parts = generate(recipe, count, classes=[name], snrs=[snr], **choices)
    return np.concatenate([frames for _, _, frames in parts])


@pytest.mark.parametrize("recipe", RECIPES, ids=["released", "corrected", "one channel", "rml22"])
def test_every_class_gives_frames_of_mean_magnitude_one_in_128(recipe):
    for name in recipe.set.classes:
        frames = frames_of(Part(recipe, name, 10, 0, BLOCK))
        assert frames.shape == (BLOCK, 2, 128) and frames.dtype == np.float32
        assert_allclose(np.hypot(*np.moveaxis(frames, 1, 0)).mean(axis=1), 1 / 128, rtol=1e-5)
        assert len(np.unique(frames[:, 0, 0])) == BLOCK


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_other_ones():
    recipe = Recipe()
    first = made(recipe, "QPSK", 18)
    assert made(recipe, "QPSK", 18).tobytes() == first.tobytes()
    assert (made(Recipe(seed=1), "QPSK", 18) != first).any(axis=(1, 2)).all()
    assert (made(recipe, "QPSK", 16) != first).any(axis=(1, 2)).all()


def test_a_larger_data_set_begins_with_the_frames_of_a_smaller_one():
    small, large = (made(Recipe(), "BPSK", 0, count) for count in (BLOCK + 3, 2 * BLOCK + 7))
    assert small.tobytes() == large[: len(small)].tobytes()


def test_four_workers_make_the_bytes_of_one():
    def bytes_of(workers):
        parts = generate(Recipe(), 400, classes=["BPSK", "CPFSK"], snrs=[0, 18], workers=workers)
        return [(name, snr, frames.tobytes()) for name, snr, frames in parts]

    alone = bytes_of(1)
    assert bytes_of(4) == alone
    assert len({frames for _, _, frames in alone}) == len(alone)


@pytest.mark.parametrize("name, power", [("QPSK", 1.0), ("PAM4", 1.25), ("GFSK", 0.998)])
def test_a_label_in_decibels_is_the_snr_but_for_the_power_of_signal_and_paths(name, power):
    for label in (-4, 6):
        frames = made(Recipe(snr_convention="db"), name, label, 20 * BLOCK)
        spectrum = np.abs(np.fft.fft(frames[:, 0] + 1j * frames[:, 1])) ** 2
        quiet = np.abs(np.fft.fftfreq(128)) > 0.25  # no signal there
        noise = spectrum[:, quiet].mean(axis=1)
        measured = 10 * np.log10((spectrum.mean(axis=1) / noise - 1).mean())
        expected = expected_snr(Recipe(snr_convention="db"), label) + 10 * np.log10(power)
        assert measured == pytest.approx(expected, abs=1)


def test_a_released_label_is_twice_as_many_decibels():
    """So 18 leaves a noise floor of -36 dB; the files' "SNR" is none."""

    def noise_share(recipe, label):
        frames = made(recipe, "GFSK", label, 4 * BLOCK)
        spectrum = np.abs(np.fft.fft(frames[:, 0] + 1j * frames[:, 1])) ** 2
        return spectrum[:, np.abs(np.fft.fftfreq(128)) > 0.25].mean() / spectrum.mean()

    assert noise_share(Recipe(), 4) == pytest.approx(
        noise_share(Recipe(snr_convention="db"), 8), rel=0.1
    )


@pytest.mark.parametrize(
    "recipe, label, expected",
    [
        (Recipe(), 0, 2.38),
        (Recipe(), 18, 38.38),
        (Recipe(snr_convention="db"), 18, 20.38),
        (Recipe("rml22"), 18, 26.06),
    ],
)
def test_the_mean_snr_of_a_label(recipe, label, expected):
    assert expected_snr(recipe, label) == pytest.approx(expected, abs=0.01)
    if recipe.snr_convention == "db":
        rngs = [np.random.default_rng([3, number]) for number in range(2000)]
        power = (np.abs(received(recipe, "GFSK", rngs)) ** 2).mean()
        assert 10 * np.log10(power) == pytest.approx(expected - label, abs=0.3)


def test_am_ssb_as_released_is_white_noise_at_any_label():
    frames = made(Recipe(), "AM-SSB", 18, 10 * BLOCK)
    spectrum = (np.abs(np.fft.fft(frames[:, 0] + 1j * frames[:, 1])) ** 2).mean(axis=0)
    assert spectrum.max() < 1.4 * spectrum.min()


def test_a_stream_is_as_long_as_its_items_say():
    released = PARAMETERS["radioml2016"]
    lengths = {name: stream_length(released, name) for name in CLASSES}
    assert lengths == {
        "8PSK": 26664, "AM-DSB": 45351, "AM-SSB": 45351, "BPSK": 80000, "CPFSK": 80000,
        "GFSK": 80000, "PAM4": 40000, "QAM16": 40000, "QAM64": 40000, "QPSK": 40000, "WBFM": 50000,
    }  # fmt: skip


@pytest.mark.parametrize(
    "choice, told",
    [
        ({"parameters": "rml23"}, "No such parameter set: 'rml23'. Did you mean 'rml22'?"),
        ({"snr_convention": "dbm"}, "The SNR convention is 'dbm'. Did you mean 'db'?"),
        ({"amssb": "fixed"}, "The AM-SSB is 'fixed'"),
        ({"seed": -1}, "Received -1 as seed"),
        ({"parameters": "rml22", "independent_channels": False}, "rml22: every frame has"),
    ],
)
def test_a_wrong_choice_is_told(choice, told):
    with pytest.raises(UserError, match=told.replace("?", r"\?")):
        Recipe(**choice)


@pytest.mark.parametrize(
    "choice, told",
    [
        ({"classes": ["QSPK"]}, "radioml2016: no such class: 'QSPK'. Did you mean 'QPSK'"),
        ({"count": 0}, "Received 0 frames for each class and SNR; choose a number from 1"),
        ({"snrs": [1000]}, "Received 1000 as SNR"),
    ],
)
def test_a_wrong_number_or_class_is_told(choice, told):
    with pytest.raises(UserError, match=told):
        list(generate(Recipe(), **{"count": 1, **choice}))
