"""Tones as users keep them: a folder of .wav files for each class."""

import wave

import numpy as np

from core.data.folders import find_files, folders
from core.data.index import Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

KIND, SUFFIXES = "sound", (".wav",)


def read_folders(root):
    """Return the index of a folder of classes; no file is opened."""
    labels = [folder.name for folder in folders(root)]
    samples = [
        Sample(f"{label}/{file.name}", (file,), label=number)
        for number, label in enumerate(labels)
        for file in find_files(root / label, KIND, SUFFIXES)
    ]
    return make_index("folders", root, samples, labels=labels)


def read_tone(path, length, channels):
    """Return the first samples of a 16-bit .wav file, int16 (length, channels)."""
    try:
        with wave.open(str(path)) as file:
            return np.frombuffer(file.readframes(length), "<i2").reshape(length, channels)
    except (OSError, EOFError, ValueError, wave.Error) as error:
        wanted = f"{length} samples of {channels} channels"
        raise UserError(f"{path}: is no 16-bit .wav file with {wanted}; replace it.") from error


READERS = {"folders": Reader("folders", "a folder of .wav files a class", folders, read_folders)}
