"""Reading what people and programs wrote as text: JSON and YAML, whatever is in the file.

A document comes back as plain values, or one error says that it is none. Nothing in it is ever run,
and none is so nested, repeated or long that reading it, or naming what it holds, would not end.
"""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

from core.files import refuse_special

_MOST_YAML = 2**18  # bytes; the reader in Python takes a second for 100 kB
_MOST_BITS = 1023  # of a whole number; a longer one is no float either
_MANY_DIGITS = re.compile(r"[0-9]{308}")  # about as many decimals
_MOST_VALUES = 100_000  # of a YAML document, values that are referred to again counted again


class BadDocument(ValueError):
    """A text that is no document; `line` is where, from 1, or 0 where that is not known."""

    def __init__(self, problem: str, line: int = 0):
        super().__init__(problem)
        self.line = line


def parse_json(content: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        BadDocument: For anything else, also for one nested without end.
    """
    try:
        if isinstance(content, bytes):
            content = content.decode("utf-8-sig")
        # A function for numbers slows all of them, so that it is left out where none is long.
        whole = _whole_number if _MANY_DIGITS.search(content) else None
        value = json.loads(content, parse_int=whole)
        if "\\ud" in content.lower():  # half a character, which no file can hold
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadDocument(str(error), getattr(error, "lineno", 0)) from error
    return value


def parse_yaml(content: str | bytes) -> Any:
    """Return the value of a YAML text, of plain values only: no tag makes an object.

    Raises:
        BadDocument: For anything else, also for one that is nested, repeated or long without end.
    """
    import yaml

    if len(content) > _MOST_YAML:
        raise BadDocument(f"it is longer than {_MOST_YAML // 1024} kB")
    try:
        if isinstance(content, bytes):
            content = content.decode("utf-8-sig")
        value = yaml.safe_load(content)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise BadDocument(str(error), line) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadDocument(str(error)) from error  # of values such as the date 2024-99-99
    except RecursionError as error:
        raise BadDocument("it is nested without end") from error
    _refuse_endless(value)
    return value


def read_json(path: str | os.PathLike) -> Any:
    """Return the value of a JSON file.

    Raises:
        BadDocument: When the file is damaged.
        OSError: When it cannot be read.
        UserError: For a pipe or device.
    """
    return parse_json(_content(path))


def read_yaml(path: str | os.PathLike) -> Any:
    """Return the value of a YAML file; raises as `read_json`."""
    return parse_yaml(_content(path))


def _content(path: str | os.PathLike) -> bytes:
    refuse_special(path)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise BadDocument("the disk does not give its content") from error


def _refuse_endless(value: Any) -> None:
    """Raise for what cannot be written out: nine references to nine to nine …, and long numbers."""
    pending, seen = [value], 0
    while pending:
        one = pending.pop()
        if isinstance(one, int):
            _refuse_long(one)
        inside = [*one, *one.values()] if isinstance(one, dict) else one
        if isinstance(inside, list | tuple | set):
            seen += len(inside)
            if seen > _MOST_VALUES:
                raise BadDocument("it refers to itself without end")
            pending += inside


def _whole_number(digits: str) -> int:
    number = int(digits)
    _refuse_long(number)
    return number


def _refuse_long(number: int) -> None:
    if number.bit_length() > _MOST_BITS:
        raise BadDocument("it holds a number of too many digits")
