"""The program of medical segmentation, as the tests call it, and networks that take less time."""

import functools
from contextlib import contextmanager
from types import SimpleNamespace

import keras
import pytest
from typer.testing import CliRunner

from apps.medical_segmentation.cli import app
from apps.medical_segmentation.models import mk_unet
from apps.medical_segmentation.task import MedicalSegmentation
from core.layers.resize import NearestUpsampling
from core.model_card import ModelCard
from core.network import Network


def medseg(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer medseg")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return SimpleNamespace(stdout=result.stdout, stderr=result.stderr)


def sentence_of(*arguments) -> str:
    """Return the one sentence the program ends with."""
    said = medseg(*arguments, code=2).stderr
    assert said.count("\n") == 1, said
    return said


def tiny(variant: str, input_shape, *, classes: int = 1) -> keras.Model:
    """Return a network of an encoder's and a decoder's convolution."""
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="encoder.0")(image)
    x = NearestUpsampling(2, name="decoder.upsample")(x)
    return keras.Model(image, keras.layers.Conv2D(classes, 1, name="head")(x), name="tiny")


def card(variant: str) -> ModelCard:
    """Return its card."""
    return ModelCard("tiny", variant, "medseg", input_size=(32, 32), size_multiple=2,
                     labels=("foreground",),
                     decode={"threshold": 0.5, "protocol": "native"})  # fmt: skip


@contextmanager
def tiny_network():
    """Let the program know the network "tiny" beside its own."""
    entry = Network(tiny, {"base": {}}, card, features={2: "encoder.0"})
    known = {**MedicalSegmentation.networks, "tiny": entry}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MedicalSegmentation, "networks", known)
        yield


@contextmanager
def smaller_mk_unet():
    """Build MK-UNet with one kernel size instead of three, attention in its first decoder only."""
    parts = ("channel_attention", "spatial_attention", "attention_gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mk_unet, "KERNELS", (3,))
        for name in parts:
            real = getattr(mk_unet, name)
            patch.setattr(mk_unet, name, functools.partial(in_the_first_decoder, real))
        yield


def in_the_first_decoder(attention, *arguments):
    """Apply an attention, or return what it would weight."""
    name = arguments[-1]
    if name in ("CA1", "SA.1", "AG1"):
        return attention(*arguments)
    return arguments[1] if name.startswith("AG") else arguments[0]
