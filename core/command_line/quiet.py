"""Loading TensorFlow and LiteRT without their chatter.

TensorFlow, absl and XLA write to file descriptor 2 while they load, below Python's `sys.stderr`,
and LiteRT announces its delegate once. All of it happens at a first use, so that is what is done
here, behind a redirected descriptor; later messages are real ones and stay visible.
"""

from __future__ import annotations

import base64
import gc
import logging
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

# A .tflite file that adds a float32 (1, 2) input to itself: enough to start the delegate.
_TINY = (
    "c-m!BJx{_=6upHi1RBK97zYLhN7Dd)490~ZCM0|qBu*x!NvmlB#gsxA{0UCR(UHM{-{5a>aCG!HI9ktpy+slpIpMu?"
    "?>YC~`&uNT{$=Y(rxF!upLEKT1};r1_5_aT3HSzH6ru(2nIKByj4iUo%1D*aWN^}0cMj|T6UU#q-o0r%ch+<mNSzA2"
    "hG7`*)4+HdJWK<#OzbWA9CB1X&jFOCV~%}sOrQYNyPcax@4DITnC(Wtc2Vos;2Ygb_$SwLN3Li3Q!j8wjyZGui97aa"
    "3;YsTh`Rxgod3*q2CII>eRC^c!5v6;TXNg1BRPwBrmCFFX(N#;{xpk8?nRX<qN-7?80Ae5;axFKq7bjeZy3G-OF+!G"
    "-D>tq^|6OO0>?JwtaO=~TU8gHIp)RN+;TrQ*BM!^7tcM`>axB@S=MszS&jFH{C*1e5-(*9#IXU_d51=X^6VjECGoc4"
    "ckzE^`GFhYH5|Kc4TooC&iSvgCwn69Dq1P9QR&!MVc!q<7B;^@a}MWqUxmLxRsM+n002m4+5"
)


def tiny_tflite() -> bytes:
    """Return the bytes of a .tflite file that doubles a float32 (1, 2) input."""
    return zlib.decompress(base64.b85decode(_TINY))


def set_environment() -> None:
    """Set what the libraries read when they are imported; the user's own values win."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def load_tensorflow() -> None:
    """Import TensorFlow and Keras and run one operation, silently (seconds, the first time)."""
    if "tensorflow" in sys.modules and "keras" in sys.modules:
        return
    set_environment()
    waits = sys.stderr.isatty()
    if waits:
        print("Loading TensorFlow …", end="", file=sys.stderr, flush=True)
    try:
        with _silenced():
            import keras  # noqa: F401
            import tensorflow as tf

            _ = tf.constant(1.0) + 1.0  # looks for devices
        for name in ("tensorflow", "absl"):  # advice to programmers, not to users
            logging.getLogger(name).setLevel(logging.ERROR)
        collect_seldom()
    finally:
        if waits:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def collect_seldom() -> None:
    """Let Python look for garbage less often; to be called when TensorFlow is loaded.

    Half a million objects then stay for good, and graphs come by the hundred thousand: looking
    among them as often as Python does by itself took a tenth of a command's time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 10, 20)


def load_litert() -> None:
    """Import LiteRT and start its delegate, silently."""
    if "ai_edge_litert.interpreter" in sys.modules:
        return
    with _silenced():
        from ai_edge_litert.interpreter import Interpreter

        Interpreter(model_content=tiny_tflite()).allocate_tensors()


@contextmanager
def _silenced() -> Iterator[None]:
    """Send what is written to file descriptor 2 to nowhere."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # the program was started without a standard error
        yield
        return
    with tempfile.TemporaryFile() as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
