"""Sentences for people: one line that any terminal can show."""

import pytest

from core.errors import UserError, near_miss, no_such, one_of


@pytest.mark.parametrize(
    "found, shown",
    [
        ("two\nlines", r"two\nlines"),
        ("bell\x07", r"bell\x07"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("half \udc8c", r"half \udc8c"),
        ("ümläut 写真", "ümläut 写真"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(found, shown):
    assert str(UserError(f"{found}: is no file.")) == f"{shown}: is no file."


def test_the_middle_of_what_is_too_long_is_left_out():
    sentence = str(UserError(f"config.yaml: '{'9' * 100_000}' is no number; give one."))
    assert len(sentence) < 1300
    assert sentence.startswith("config.yaml: '999") and sentence.endswith("is no number; give one.")


def test_names_that_are_no_text_are_no_names():
    assert "Known: prune, cluster." in str(no_such("method", {"a": 1}, ("prune", "cluster")))
    assert near_miss("pruen", ("prune", "cluster")) == " Did you mean 'prune'?"
    with pytest.raises(UserError, match=r"--io is 'int9'\. Did you mean 'int8'\?"):
        one_of("int9", ("float32", "int8"), "--io")
