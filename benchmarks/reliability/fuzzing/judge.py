"""What may come of opening an input: acceptance or one sentence; all else is a finding."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.fuzzing import payloads
from benchmarks.reliability.fuzzing.cases import Case, words

ACCEPTED, REJECTED = "accepted", "rejected"
LONGEST = 1500  # characters of a sentence, its paths included

# What Python reports when something is run, reached or written; none of it belongs to reading.
_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen"),
    *("pty.spawn", "socket.connect", "socket.bind", "socket.getaddrinfo", "webbrowser.open"),
    *("pickle.find_class", "urllib.Request", "ftplib.connect", "os.kill", "code.__new__"),
    *("os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink"),
    *("shutil.rmtree", "shutil.move", "shutil.copyfile", "marshal.loads"),
)
_ON_FILES = ("os.remove", "os.rename", "os.rmdir", "os.ch", "os.link", "os.symlink", "shutil")
_OF_IMPORTS = ("code.__new__", "marshal.loads")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Finding:
    """Something that must not happen.

    Attributes:
        kind: "exception", "sentence", "executed", "written", "signal", "hang" or "memory".
        where: File and function of the suite (or the stack's end) where it happened.
        what: The exception, the sentence, the signal, ….
    """

    kind: str
    where: str
    what: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings the same."""
        what = self.what.split(":")[0] if self.kind == "exception" else ""
        return f"{self.kind} {what}".strip(), self.where


class Watch:
    """Notes what an input makes the process do; installed once in a worker.

    Args:
        scratch: The only folder that may be written to.
    """

    def __init__(self, scratch: Path):
        self._scratch, self.active, self.seen = str(scratch), False, ""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.active or self.seen:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and self._is_outside(path):
                self.seen = f"open for writing {path!r}"
        elif event in _FORBIDDEN:
            if event.startswith(_ON_FILES) and not self._is_outside(arguments[0]):
                return
            if event in _OF_IMPORTS and "importlib" in sys._getframe(1).f_code.co_filename:
                return
            if event == "pickle.find_class" and _called_by("numba"):  # its cache of kernels
                return
            self.seen = f"{event} {arguments!r}"[:300]

    def _is_outside(self, path) -> bool:
        if isinstance(path, int):
            return False
        name = os.path.abspath(os.fsdecode(path))
        return not name.startswith((self._scratch, "/dev/null", "/proc/self/"))


def _called_by(package: str) -> bool:
    """Whether code of a package is among the callers."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == package:
            return True
        frame = frame.f_back
    return False


def canary() -> Path:
    """Return the file that nobody may make."""
    return Path(os.environ[payloads.CANARY])


def wrong_sentence(said: Iterable[str], case: Case, folder: Path, named: bool) -> str:
    """Return what is wrong with the complaints about a case, or ""."""
    names = {folder.name, *words(case)}
    names |= {name.rpartition(".")[0] for name in names if "." in name.lstrip(".")}
    for sentence in said:
        if not isinstance(sentence, str) or not sentence.strip():
            return f"no sentence: {sentence!r}"
        if not sentence.isprintable():
            return f"holds line breaks or control characters: {sentence[:200]!r}"
        if len(sentence) > LONGEST + len(str(folder)):
            return f"is too long: {len(sentence)} characters, {sentence[:200]}"
        if sentence.rstrip()[-1] not in ".?)…":
            return f"does not end as a sentence: {sentence[-200:]}"
        if named and not any(name in sentence for name in names):
            return f"names no file: {sentence[:200]}"
    return ""


def place_of(error: BaseException) -> str:
    """Return where in the suite an exception came from: file, function and line."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/core/" in frame.filename or "/apps/" in frame.filename]
    ours = [frame for frame in ours if "site-packages" not in frame.filename]
    last = (ours or frames)[-1]
    name = "/".join(Path(last.filename).parts[-3:])
    return f"{name}:{last.lineno} {last.name}"
