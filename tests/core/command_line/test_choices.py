import pytest
import small_task

from core.command_line import choices
from core.command_line.options import parse_names, parse_settings, parse_size, parse_threads
from core.config import TrainConfig
from core.data.index import first_samples
from core.errors import UserError

TASK = small_task.TASK


def config_file(tmp_path, content: str):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    return path


def test_flags_come_before_the_file_and_the_file_before_the_defaults(tmp_path):
    path = config_file(tmp_path, "epochs: 7\nbatch: 5\noptions: {loss: weighted}\n")
    flags = choices.flag_values(TASK, {"epochs": 9, "seed": None}, {"options.scales": "fixed"})
    values = choices.merge(TASK, choices.file_values(path, "toy"), flags)
    assert values["epochs"] == 9  # flag
    assert values["batch"] == 5  # file
    assert values["learning_rate"] == 0.05  # the task
    assert "seed" not in values  # TrainConfig's own
    assert values["options"] == {"loss": "weighted", "scales": "fixed"}
    assert (values["app"], values["network"]) == ("toy", "small")


def test_quick_yields_to_flags_only():
    values = choices.merge(TASK, {"epochs": 50}, {}, quick=True)
    assert (values["epochs"], values["steps_per_epoch"]) == (1, 2)
    assert choices.merge(TASK, {}, {"epochs": 3}, quick=True)["epochs"] == 3


@pytest.mark.parametrize("network", [["small"], {"small": 1}, 3, "smal"])
def test_a_network_that_is_none_is_refused_whatever_the_file_calls_it(network):
    with pytest.raises(UserError, match=r"(?i)no such network"):
        choices.merge(TASK, {"network": network}, {})


def test_clip_norm_replaces_the_default_clip_value():
    assert choices.merge(TASK, {}, {"clip_norm": 1.0})["clip_value"] is None
    both = choices.merge(TASK, {}, {"clip_norm": 1.0, "clip_value": 2.0, "variant": "base"})
    with pytest.raises(UserError, match="choose one of them"):
        TrainConfig.from_dict(both)


def test_the_config_of_a_run_can_be_repeated(tmp_path):
    path = config_file(tmp_path, "format_version: 1\nconfig: {app: toy, epochs: 4}\nsource: train")
    assert choices.file_values(path, "toy") == {"epochs": 4}


@pytest.mark.parametrize(
    "content, said",
    [
        ("epoch: 3", "no such key: 'epoch'. Did you mean 'epochs'?"),
        ("app: reid", "is a config of another app, not of 'toy'"),
        ("options: [1]", "options must hold 'key: value' lines"),
    ],
)
def test_wrong_config_files(tmp_path, content, said):
    path = config_file(tmp_path, content)
    with pytest.raises(UserError) as error:
        choices.file_values(path, "toy")
    assert said in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"epoch": 3}, "--set: no such key: 'epoch'. Did you mean 'epochs'?"),
        ({"loss": "plain"}, "--set: no such key: 'loss'. Did you mean 'options.loss'?"),
        ({"options.los": 1}, "No such option: 'los'. Did you mean 'loss'?"),
        ({"options.loss": "plan"}, "Option 'loss' is 'plan'. Did you mean 'plain'?"),
        ({"epochs": 3}, "epochs is chosen by its own option and by --set; pass one of them."),
        ({"network": "smal"}, "No such network: 'smal'. Did you mean 'small'?"),
    ],
)
def test_wrong_settings(settings, said):
    with pytest.raises(UserError) as error:
        choices.merge(TASK, {}, choices.flag_values(TASK, {"epochs": 2}, settings))
    assert str(error.value) == said


def test_yaml_truth_values_become_the_words_that_are_allowed():
    values = choices.merge(TASK, {"options": {"scales": False}}, {})
    assert values["options"]["scales"] == "off"


def test_settings_are_read_as_yaml():
    given = ["a=1e-4", "b=3", "c=off", "d=[1, 2]", "e=text", "f=null", "g=x=y"]
    assert parse_settings(given) == {
        "a": 1e-4,
        "b": 3,
        "c": False,
        "d": [1, 2],
        "e": "text",
        "f": None,
        "g": "x=y",
    }
    for wrong, said in ((["a"], "write --set key=value"), (["a=1", "a=2"], "is given twice")):
        with pytest.raises(UserError, match=said):
            parse_settings(wrong)


def test_sizes_names_and_threads():
    for written in ("256,192", "256x192", "256 192", "256, 192"):
        assert parse_size(written) == (256, 192)
    assert parse_size("64") == (64,)  # all sides, however many the network's input has
    assert parse_size("64x32x16") == (64, 32, 16)
    assert parse_size(None) is None
    assert parse_names("a, b") == ("a", "b")
    assert parse_threads(None) == (1, None)
    assert parse_threads("1,4") == (1, 4)
    for function, wrong in (
        (parse_size, "big"),
        (parse_size, "9" * 5000),
        (parse_names, "a,,b"),
        (parse_threads, "0"),
    ):
        with pytest.raises(UserError, match="is '"):
            function(wrong)


def test_classes_follow_the_labels_unless_given(toy_data):
    index = small_task.read(toy_data)
    assert choices.complete({}, {}, index, TASK)["classes"] == 1
    assert choices.complete({"labels": ("a", "b", "c")}, {}, index, TASK)["classes"] == 3
    given = {"classes": 2}
    assert choices.complete(given, given, index, TASK)["classes"] == 2


def test_defaults_are_said_in_a_line_without_what_was_chosen():
    config = TrainConfig("toy", "small", "base", epochs=7, batch=3)
    line = choices.filled_in(config, {"epochs": 7, "seed": 1}, small_task.card("base"))
    assert line == (
        "Defaults: network small, variant base, input size 16x16, channels 3, classes 1, batch 3, "
        "learning rate 0.001, precision float32."
    )


def test_few_samples_keeps_some_of_each_split(toy_data):
    assert first_samples(small_task.read(toy_data), 2).counts() == {
        "train": 2,
        "val": 2,
        "test": 2,
    }


def test_a_preset_comes_before_the_recipe_and_yields_to_file_and_flags():
    task = small_task.SmallTask()
    task.presets = {"published": {"epochs": 7, "batch": 3, "format": "auto-paper"}}
    assert choices.merge(task, {}, {}, preset="published")["epochs"] == 7
    chosen = choices.merge(task, {"batch": 4}, {"epochs": 9}, preset="published")
    assert (chosen["epochs"], chosen["batch"], chosen["format"]) == (9, 4, "auto-paper")
    with pytest.raises(UserError, match=r"No such preset: 'publishd'\. Did you mean 'published'"):
        choices.merge(task, {}, {}, preset="publishd")


def test_what_is_chosen_otherwise_than_the_preset_does_is_told():
    task = small_task.SmallTask()
    options = {"loss": "ce", "rate": 1}
    task.presets = {"published": {"epochs": 7, "format": "auto-paper", "options": options}}
    flags = {"format": "shards", "epochs": 7, "options": {"loss": "dice"}}
    said = choices.replaced(task, "published", {"batch": 4}, flags)
    assert said == (
        "Preset published: format shards in place of auto-paper, options.loss dice in place of ce."
    )
    assert choices.replaced(task, None, {}, flags) == ""
    assert choices.replaced(task, "published", {}, {"epochs": 7}) == ""
