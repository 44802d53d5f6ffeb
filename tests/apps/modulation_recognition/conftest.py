"""The golden arrays of the signal chain, pairs of (real, imaginary) as complex numbers."""

import numpy as np
import pytest
from golden_files import GOLDEN


@pytest.fixture(scope="session")
def golden():
    with np.load(GOLDEN / "radioml__blocks.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file if name != "meta"}
    return {
        name: values @ (1, 1j) if values.shape[-1] == 2 else values
        for name, values in arrays.items()
    }
