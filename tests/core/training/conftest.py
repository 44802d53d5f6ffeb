import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # toy_task is also run as a program


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    import toy_task

    return toy_task.write_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def source(toy_data, tmp_path_factory):
    """A trained run."""
    from toy_task import ToyTask, config

    from core.training.fit import train

    out = tmp_path_factory.mktemp("source") / "run"
    return train(ToyTask(), config(epochs=2), out, index=toy_data)


@pytest.fixture(scope="session")
def whole(source, toy_data, tmp_path_factory):
    """A chain of all methods that nothing interrupted: its folder."""
    from chains import compress

    out = tmp_path_factory.mktemp("whole") / "small"
    compress(source, toy_data, out)
    return out
