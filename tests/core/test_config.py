import pytest
import yaml

from core.config import TrainConfig, read_config_file
from core.errors import UserError

NEEDED = {"app": "medseg", "network": "mk_unet", "variant": "t"}


def make(**choices) -> TrainConfig:
    return TrainConfig.from_dict({**NEEDED, **choices}, source="c.yaml")


def test_survives_yaml():
    config = make(
        input_size=[64, 96], labels=["a", "b"], clip_norm=1.0, options={"loss": "dice", "n": 2}
    )
    again = TrainConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict())))
    assert again == config
    assert again.input_size == (64, 96)


def test_a_value_its_field_cannot_have_names_the_file():
    with pytest.raises(UserError, match=r"^c\.yaml: batch is 0; it must be 1 or more\.$"):
        make(batch=0)
    with pytest.raises(UserError, match=r"^Config: batch is 0"):  # of the command line
        TrainConfig.from_dict({**NEEDED, "batch": 0})


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("learning_rate", "1e-4", 1e-4),  # YAML reads 1e-4 without a dot as text
        ("learning_rate", 1, 1.0),
        ("epochs", "12", 12),
        ("epochs", 12.0, 12),
        ("input_size", 96, (96,)),  # of all sides, however many the network's input has
        ("input_size", [8, 16, 24], (8, 16, 24)),
        ("labels", "polyp", ("polyp",)),
        ("patience", None, None),
        ("data", 7, "7"),
    ],
)
def test_values_are_brought_to_their_type(name, value, expected):
    found = getattr(make(**{name: value}), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "choices, message",
    [
        ({"learning_rat": 1}, "c.yaml: no such key: 'learning_rat'. Did you mean 'learning_rate'?"),
        ({"epochs": "ten"}, "c.yaml: epochs is 'ten'; it must be a whole number"),
        ({"epochs": 2.5}, "c.yaml: epochs is 2.5; it must be a whole number"),
        ({"epochs": True}, "c.yaml: epochs is True; it must be a whole number"),
        ({"batch": 1e300}, "c.yaml: batch is 1e+300; it must be a whole number (of at most 2^32)."),
        ({"seed": 2**32}, "c.yaml: seed is 4294967296; it must be a whole number (of at most"),
        ({"weight_decay": "nan"}, "c.yaml: weight_decay is nan; it must be 0 or more."),
        ({"cache": "maybe"}, "c.yaml: cache is 'maybe'; it must be true or false."),
        ({"options": 5}, "c.yaml: options is 5; it must be 'key: value' lines."),
        ({"epochs": None}, "c.yaml: epochs has no value."),
        ({"ema": "off"}, "c.yaml: ema is 'off'; it must be a number or null."),
        ({"data": ["a", "b"]}, "c.yaml: data is ['a', 'b']; it must be text."),
        ({"input_size": "large"}, "c.yaml: input_size is 'large'; it must be its sides, as in ["),
        ({"input_size": [8, 1.5]}, "c.yaml: input_size is [8, 1.5]; it must be its sides, as in ["),
        (
            {"input_size": True},
            "c.yaml: input_size is True; it must be its sides, as in [",
        ),
        ({"input_size": [8, 0]}, "c.yaml: input_size is 8x0; sides must be 1 to 65536."),
        ({"input_size": [10**7]}, "c.yaml: input_size is 10000000; sides must be 1 to 65536."),
        ({"input_size": []}, "c.yaml: input_size is empty; sides must be 1 to 65536."),
        ({"epochs": 0}, "c.yaml: epochs is 0; it must be 1 or more."),
        ({"seed": -1}, "c.yaml: seed is -1; it must be 0 or more."),
        ({"learning_rate": 0.0}, "c.yaml: learning_rate is 0.0; it must be a positive number."),
        ({"learning_rate": "nan"}, "c.yaml: learning_rate is nan; it must be a positive number."),
        ({"channels": 0}, "c.yaml: channels is 0; it must be 1 or more."),
        ({"ema": 1.0}, "c.yaml: ema is 1.0; it must lie between 0 and 1."),
        ({"optimizer": "adam2"}, "c.yaml: optimizer is 'adam2'. Did you mean 'adam'?"),
        ({"schedule": "cosin"}, "c.yaml: schedule is 'cosin'. Did you mean 'cosine'?"),
        ({"clip_value": 1, "clip_norm": 1}, "clip_value and clip_norm are both set"),
    ],
)
def test_mistakes_are_explained(choices, message):
    with pytest.raises(UserError) as error:
        make(**choices)
    assert message in str(error.value)


def test_names_what_is_missing():
    with pytest.raises(UserError, match="lacks variant"):
        TrainConfig.from_dict({"app": "a", "network": "n"})


@pytest.mark.parametrize(
    "text, message",
    [("epochs: [1\nbatch: 2\n", "not valid YAML near line 2"), ("just words", "'key: value'")],
)
def test_config_file_mistakes(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_config_file(path)


def test_missing_config_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        read_config_file(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content, message",
    [(b"\xff\xfe\x00", "is not a text file"), (None, r"cannot be read \(is a directory\)")],
)
def test_a_config_that_is_no_text(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_config_file(path)
