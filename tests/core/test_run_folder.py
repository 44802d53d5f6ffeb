"""A run folder whose documents cannot be read says so in one sentence."""

import pytest
import yaml

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


@pytest.mark.parametrize("epoch", ["nan", "inf", "1.5"])
def test_a_history_with_an_epoch_that_is_none_is_damaged(epoch, folder):
    (folder / "history.csv").write_text(f"epoch,loss\n1,0.5\n{epoch},0.4\n")
    with pytest.raises(UserError, match=r"history\.csv: is damaged"):
        RunFolder(folder).history()


@pytest.mark.parametrize("name", ["data", "versions"])
def test_an_entry_of_another_shape_is_named_and_an_empty_one_left_out(name, folder):
    path = folder / "config.yaml"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, name: None}))
    assert name not in RunFolder(folder).record
    path.write_text(yaml.safe_dump({**document, name: "x"}))
    with pytest.raises(UserError, match=f"config.yaml: has a damaged entry '{name}'"):
        RunFolder(folder)


@pytest.mark.parametrize("name", ["config.yaml", "model_card.json", "history.csv", "metrics.json"])
def test_a_document_that_the_disk_does_not_give_is_named(name, folder):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(UNREADABLE)
    with pytest.raises(UserError, match=f"{name}: is "):
        run = RunFolder(folder)
        run.history()
        run.metrics()
