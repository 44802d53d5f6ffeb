"""The one error a user is meant to read.

Everything a user can mend (a wrong file, flag or folder) is raised as `UserError`: one sentence
that names the file, what is wrong and what to do. The command line prints it and exits with 2.
`CheckFailed` is for a command that ran well and found that something does not hold: exit 1.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend; the message is one sentence: file, what is wrong, what to do."""


class CheckFailed(Exception):
    """A check ran and its bound was missed (a verification, a training that diverged)."""


def near_miss(word: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest of `choices`, or " Known: …" with all of them."""
    choices = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(word), choices, n=1)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(choices)}." if choices else ""
