"""A run folder whose documents cannot be read says so in one sentence."""

import pytest

from core.config import TrainConfig
from core.errors import UserError
from core.model_card import ModelCard
from core.run_folder import RunFolder

UNREADABLE = "/proc/self/mem"  # its first page is never there: an input/output error


@pytest.fixture
def folder(tmp_path):
    """A run folder that can be opened."""
    RunFolder.create(
        tmp_path / "run",
        TrainConfig(app="medseg", network="mk_unet", variant="t", classes=1),
        ModelCard(app="medseg", network="mk_unet", variant="t", input_size=(32, 32)),
    )
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["config.yaml", "model_card.json", "history.csv", "metrics.json"])
def test_a_document_that_the_disk_does_not_give_is_named(name, folder):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(UNREADABLE)
    with pytest.raises(UserError, match=f"{name}: is "):
        run = RunFolder(folder)
        run.history()
        run.metrics()
