"""The one error a user is meant to read.

Everything a user can mend (a wrong file, flag or folder) is raised as `UserError`: one sentence
that names the file, what is wrong and what to do. The command line prints it and exits with 2.
`CheckFailed` is for a command that ran well and found that something does not hold: exit 1.
"""

import difflib
from collections.abc import Iterable
from os import PathLike

_LONGEST = 1200  # characters; a file may hold a key or a name as long as it likes


class _Sentence(Exception):
    """An error that is read by people.

    Args:
        sentence: One line; what a terminal would obey or choke on is escaped, and the middle of
            what is too long is left out, as parts of it come from files.
        lines: More lines, for a table of what is wrong.
    """

    def __init__(self, sentence: str, *lines: str):
        super().__init__(readable(sentence), *map(readable, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class UserError(_Sentence):
    """A mistake the user can mend; the message is one sentence: file, what is wrong, what to do."""


class NotWritten(UserError):
    """The disk refuses a file, and would refuse the next one too: no loop goes on after it."""


class CheckFailed(_Sentence):
    """A check ran and its bound was missed (a verification, a training that diverged)."""


def readable(text: str) -> str:
    """Return a text as one line that any terminal and any file can hold."""
    text = _shortened(text)
    if text.isprintable():
        return text
    escaped = (one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return _shortened("".join(escaped))


def _shortened(text: str) -> str:
    kept = _LONGEST // 3
    return text if len(text) <= _LONGEST else f"{text[: 2 * kept]} … {text[-kept:]}"


def near_miss(word: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest of `choices`, or " Known: …" with all of them."""
    choices = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(word), choices, n=1)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(choices)}." if choices else ""


def no_such(kind: str, name: str, known: Iterable[str], *, where: str = "") -> UserError:
    """Return the error of a name that means nothing: "No such network: 'unt'. Did you mean …".

    Args:
        kind: What it was taken for: "network", "key".
        name: As the user wrote it.
        known: The names there are.
        where: A file or an option to blame: "--set: no such key: …".
    """
    start = f"{where}: no" if where else "No"
    return UserError(f"{start} such {kind}: '{name}'.{near_miss(name, known)}")


def one_of(value: str, choices: Iterable[str], what: str) -> str:
    """Return `value` if it is among `choices`, or raise: "--precision is 'int9'. Did you mean …".

    Args:
        value: What was chosen.
        choices: What can be chosen.
        what: What was being chosen: an option, a key.
    """
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{what} is '{value}'.{near_miss(str(value), choices)}")
    return value


def not_found(
    path: str | PathLike, kind: str = "file or folder", advice: str = "check the path"
) -> UserError:
    """Return the error of a path where there is nothing."""
    return UserError(f"{path}: no such {kind}; {advice}.")
