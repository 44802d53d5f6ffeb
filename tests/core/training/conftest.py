import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # toy_task is also run as a program


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    import toy_task

    return toy_task.write_data(tmp_path_factory.mktemp("toy"))
