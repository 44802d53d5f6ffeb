"""Golden arrays of the signal chain, small data sets, recordings, and a cache of the tests' own."""

import numpy as np
import pytest
from golden_files import GOLDEN


@pytest.fixture(scope="session")
def golden():
    """The arrays by name, pairs of (real, imaginary) as complex numbers."""
    with np.load(GOLDEN / "radioml__blocks.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file if name != "meta"}
    return {
        name: values @ (1, 1j) if values.shape[-1] == 2 else values
        for name, values in arrays.items()
    }


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache in which the sample data are made, not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """A generated data set: three classes, two SNR labels, 20 frames of each."""
    from apps.modulation_recognition.signals.parameters import Recipe
    from apps.modulation_recognition.signals.shards import write_generated

    folder = tmp_path_factory.mktemp("generated") / "set"
    write_generated(folder, Recipe(), 20, classes=("AM-DSB", "CPFSK", "QPSK"), snrs=(-4, 18))
    return folder
