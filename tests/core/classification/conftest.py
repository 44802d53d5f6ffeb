"""The golden logits that several files look at."""

import numpy as np
import pytest
from golden_files import GOLDEN


@pytest.fixture(scope="session")
def golden():
    """Return logits float32 (1612, 20), labels, and the scores they have."""
    with np.load(GOLDEN / "classification__metrics.npz") as data:
        return dict(data)
