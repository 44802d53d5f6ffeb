"""JSON and YAML from anywhere: plain values, or an error that says it is none."""

import os

import pytest

from core.documents import BadDocument, parse_json, parse_yaml, read_json, read_yaml
from core.errors import UserError

NINES = "\n".join(
    f"{name}: &{name} [{', '.join(9 * [inner])}]"
    for name, inner in zip("abcdefghi", ["1", *(f"*{n}" for n in "abcdefgh")], strict=True)
)


def test_plain_values_come_back():
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    assert parse_yaml("a: [1, 2.5, null]") == {"a": [1, 2.5, None]}
    long, digits = 10**307, 400 * "7"
    for parse in (parse_json, parse_yaml):
        assert parse(f'{{"a": [{long}, "{digits}"]}}') == {"a": [long, digits]}


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize(
    "content",
    [
        "[" * 5000,
        '{"a":' * 3000 + "1" + "}" * 3000,
        "9" * 5000,
        '{"a": [-%s]}' % ("9" * 309),
        b"\xff\xfe\x00",
        b"[\x00]",
    ],
    ids=["open brackets", "nested", "digits", "no float", "no text", "zero byte"],
)
def test_what_breaks_a_parser_is_a_bad_document(parse, content):
    with pytest.raises(BadDocument):
        parse(content)


@pytest.mark.parametrize(
    "content",
    ["2024-99-99", "a: !!python/object/apply:os.system [exit]", NINES, "0b" + "1" * 40_000],
    ids=["no date", "python", "references to references", "binary digits"],
)
def test_what_yaml_alone_can_do_is_a_bad_document(content):
    with pytest.raises(BadDocument):
        parse_yaml(content)


def test_the_line_of_a_mistake_is_told():
    with pytest.raises(BadDocument) as caught:
        parse_yaml("a: 1\nb: [2\nc: 3\n")
    assert caught.value.args[-1] == 3 or "line 3" in str(caught.value)


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: is a pipe or a device"):
        read(tmp_path / "pipe")
