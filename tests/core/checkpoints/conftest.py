"""Files as PyTorch writes them, for the tests of the readers."""

import types
from pathlib import Path

import pytest
import torch_files


@pytest.fixture
def writers():
    """The writers, with PyTorch's names importable while a test runs."""
    with torch_files.torch_names():
        yield types.SimpleNamespace(
            zip=torch_files.write_zip,
            legacy=torch_files.write_legacy,
            zip_pickle=torch_files.write_zip_pickle,
            legacy_pickle=torch_files.write_legacy_pickle,
        )


@pytest.fixture
def real() -> Path:
    """Folder of files that PyTorch wrote (tests/data/checkpoints/generate.py)."""
    return Path(__file__).parents[2] / "data" / "checkpoints"
