"""`gossamer medseg pretrain` on real tiles, and training from what it leaves."""

import json
import shutil

import numpy as np
import pytest
from medseg_program import medseg, sentence_of, tiny_network
from untraced import untraced

from apps.medical_segmentation.task import SAMPLE_DATA, TASK
from core.command_line import choices
from core.config import TrainConfig
from core.errors import UserError
from core.run_folder import RunFolder
from core.training.pretraining import Pretraining
from core.training.setup import load_encoder
from core.training.transfer import transfer

SMALL = ["--network", "tiny", "--epochs", 1]
FEW = ["--batch", 5, "--steps-per-epoch", 1]


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with tiny_network():
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of images alone."""
    folder = tmp_path_factory.mktemp("data") / "unlabelled"
    shutil.copytree(SAMPLE_DATA / "train" / "images", folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(images, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "pre"
    with untraced():
        printed = medseg("pretrain", "--data", images, *SMALL, *FEW, "--out", run, "--json").stdout
    assert json.loads(printed)["epochs"] == 1
    return run


def test_images_alone_are_enough_and_a_training_begins_with_the_encoder(pretrained, tmp_path):
    assert RunFolder(pretrained).record["data"]["splits"] == {"train": 10}
    start = ["--initial-weights", pretrained]
    choices = ["--set", "options.multi_scale=off", "--learning-rate", 1e-30, *FEW]
    choices += [*start, "--out", tmp_path / "run"]
    with untraced():
        told = medseg("train", "--data", "sample", *SMALL, *choices)
    assert "arrays transferred" in told.stderr
    run = RunFolder(tmp_path / "run")
    moved = run.record["from_encoder"]["moved"]
    assert moved == ["encoder.0.weight", "encoder.0.bias"]
    ours, theirs = run.load_model(), RunFolder(pretrained).load_model(encoder=True)
    kernels = [model.get_layer("encoder.0").kernel for model in (ours, theirs)]
    np.testing.assert_array_equal(*kernels)


def test_mk_unets_encoder_is_transferred_too():
    network = TASK.network("mk_unet")
    part = network.encoder(network.build("t", (32, 32, 3)))
    moved = transfer(part, network.build("t", (64, 64, 3), auxiliary_heads=True))
    assert {name.split(".")[0] for name in moved.moved} == {f"encoder{n}" for n in range(1, 6)}
    assert not any(name.startswith("encoder") for name in moved.kept)


def test_an_encoder_has_no_results(pretrained, tmp_path):
    for arguments in (
        ("evaluate", pretrained, "--data", "sample"),
        ("export", pretrained),
        ("compress", pretrained, "--method", "prune", "--data", "sample", "--out", tmp_path / "c"),
    ):
        said = sentence_of(*arguments)
        assert f"--initial-weights {pretrained}" in said, said
    again = medseg("pretrain", "--resume", "--out", pretrained)
    assert "is finished (epoch 1)" in again.stderr
    assert "was made by pretrain" in sentence_of("train", "--resume", "--out", pretrained)


@pytest.mark.slow
def test_barlow_swins_encoder_arrives_whole_at_another_size(tmp_path):
    """As the published code believes it does."""
    run = tmp_path / "pre"
    few = ["--input-size", 64, "--epochs", 1, "--batch", 2, "--steps-per-epoch", 1]
    with untraced():
        medseg("pretrain", "--data", "sample", "--network", "barlow_swin", *few, "--out", run)
    network = TASK.network("barlow_swin")
    model = network.build("base", (128, 64, 3))
    moved = load_encoder(model, RunFolder(run))
    trained = RunFolder(run).load_model(encoder=True)
    assert (len(moved.moved), moved.resized) == (len(trained.weights), ("patch_embed.pos.weight",))
    assert {name.split(".")[0] for name in moved.kept} == {"decoder", "head", "head_bn"}
    for layer in ("stages.0.blocks.1.attn.qkv", "stages.2.merge.reduction"):
        theirs, ours = trained.get_layer(layer).kernel, model.get_layer(layer).kernel
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ((), "Nothing to train on: pass --data PATH"),
        (("--data", "nowhere"), "nowhere: no such file or folder; check --data."),
        (("--data", "sample", "--network", "mk_net"), "Did you mean 'mk_unet'?"),
        (("--data", "sample", "--patience", "3"), "no such option: --patience"),
        (("--data", "sample", "--set", "options.loss=bce_dice"), "No such option: 'loss'"),
        (("--data", "sample", "--set", "options.color=blue"), "Known: off, on"),
        (("--data", "sample", "--input-size", "50"), "multiple"),
    ],
)
def test_wrong_use_gets_a_sentence(arguments, sentence, tmp_path):
    out = tmp_path / "pre"
    assert sentence in sentence_of("pretrain", *arguments, "--out", out)
    assert not out.exists()


def test_a_folder_without_two_images_is_refused(images, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    said = sentence_of("pretrain", "--data", few, *SMALL, "--out", tmp_path / "pre")
    assert "not recognised as a data set (found an empty folder)" in said
    shutil.copy(next(images.iterdir()), few)
    task = Pretraining(TASK)
    with pytest.raises(UserError, match="few: has 1 image, but pre-training compares"):
        task.batch_order(task.read(str(few)), TrainConfig("medseg", "mk_unet", "t"), None)


def test_barlow_swin_is_trained_by_its_own_recipe():
    values = choices.merge(TASK, {}, {"network": "barlow_swin", "epochs": 3})
    config = TrainConfig.from_dict({**values, "variant": "base"})
    assert (config.optimizer, config.learning_rate, config.epochs) == ("adam", 1e-3, 3)
    assert config.options["multi_scale"] == "off" and config.clip_value is None
    assert TASK.objective(config).loss.name == "bce_dice"
    usual = choices.merge(TASK, {}, {"network": "mk_unet"})
    assert (usual["optimizer"], usual["options"]["multi_scale"]) == ("adamw", "fixed")
