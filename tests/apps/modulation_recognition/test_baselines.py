"""The seven published networks against their definitions, and their files."""

import frame_checks
import pytest

from apps.modulation_recognition.models import (
    amr_resnet,
    cnn1,
    cnn2,
    ic_amcnet,
    mcldnn,
    pet_cgdnn,
    vt_cnn2,
)

# Each with the name of its golden file and its least length.
PUBLISHED = {
    "vt-cnn2": (vt_cnn2.NETWORK, 1),
    "cnn1": (cnn1.NETWORK, 8),
    "cnn2": (cnn2.NETWORK, 16),
    "ic-amcnet": (ic_amcnet.NETWORK, 2),
    "resnet": (amr_resnet.NETWORK, 1),
    "mcldnn": (mcldnn.NETWORK, 5),
    "pet-cgdnn": (pet_cgdnn.NETWORK, 12),
}
RECURRENT = ("mcldnn", "pet-cgdnn")  # their int8 files: see their own tests
LENGTH = 16
each = pytest.mark.parametrize("name", PUBLISHED)


@each
def test_agrees_with_the_published_network(name):
    frame_checks.check_agreement(PUBLISHED[name][0], f"amr-baselines__{name}")


@each
def test_has_the_published_parameters(name):
    frame_checks.check_parameters(PUBLISHED[name][0])


@each
def test_lengths_that_fit_and_that_do_not(name):
    network, smallest = PUBLISHED[name]
    frame_checks.check_lengths(network, smallest)


@each
def test_float_file_agrees_with_keras(name):
    frame_checks.check_float_file(PUBLISHED[name][0], "base", LENGTH)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in RECURRENT])
def test_int8_file_is_integer_and_what_keras_simulates(name):
    frame_checks.check_int8_file(PUBLISHED[name][0], "base", LENGTH)
