"""A small data set, a run without weights and an exported file, for commands to be refused."""

import pytest
from medseg_attempts import data_set

from apps.medical_segmentation.task import TASK
from core.config import TrainConfig
from core.run_folder import RunFolder


@pytest.fixture
def data(tmp_path):
    return data_set(tmp_path / "data")


@pytest.fixture
def run(tmp_path):
    """Return a run folder without weights: what is refused must be refused before they matter."""
    card = TASK.network("mk_unet").card("t").replace(input_size=(32, 32), labels=("nucleus",))
    config = TrainConfig("medseg", "mk_unet", "t", input_size=(32, 32), options=dict(TASK.options))
    return RunFolder.create(tmp_path / "run", config, card, source="train").path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return an exported file of a network that is made in a moment: bright is foreground."""
    import keras

    from core.export.convert import to_tflite
    from core.tflite.metadata import embed

    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="head")(inputs)
    card = TASK.network("mk_unet").card("t").replace(input_size=(32, 32), labels=("bright",))
    document = {"model_card": card.to_dict(), "precision": "float32"}
    content = to_tflite(keras.Model(inputs, outputs), "float32")
    path = tmp_path_factory.mktemp("file") / "bright.tflite"
    path.write_bytes(embed(content, document, card.labels))
    return path
