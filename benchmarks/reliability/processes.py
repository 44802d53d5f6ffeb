"""Commands of the suite as child processes that can be killed.

A child is forked from a process that has imported everything but never started TensorFlow's
runtime, so its life is the command's own work: the seconds of importing TensorFlow are left out,
and nothing but the imports is shared. Everything that needs TensorFlow, looking at what was left
behind too, therefore happens in children (`in_child`).
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pkgutil
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600.0  # seconds a command may take before it counts as hanging
PACKAGES = ("core", "apps.super_resolution", "apps.medical_segmentation", "apps.person_reid")
_LIBRARIES = ("tensorflow", "keras", "tensorboard", "ai_edge_litert.interpreter", "h5py", "cv2")
_FAULTS = ("Traceback (most recent call last)", "Unexpected ")


def preload() -> None:
    """Import all that commands need, and nothing that starts TensorFlow's runtime."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    for name in _LIBRARIES:
        importlib.import_module(name)
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    from core.compress.toolkit import module

    for name in ("pruning_schedule", "pruning_impl"):
        module(f"sparsity.keras.{name}")


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code; negative is the signal that ended it.
        seconds: How long it ran.
        errors: What it wrote on standard error.
    """

    code: int
    seconds: float
    errors: str

    @property
    def sentences(self) -> list[str]:
        """What it complained about."""
        labels = ("Error: ", "Failed: ", "Stopped: ")
        return [line for line in self.errors.splitlines() if line.startswith(labels)]

    @property
    def fault(self) -> str:
        """What a user should never see: a traceback, a hang, a refusal without a sentence."""
        for mark in _FAULTS:
            if mark in self.errors:
                line = next(x for x in reversed(self.errors.splitlines()) if x.strip())
                return f"unexpected: {line[:300]}"
        if self.code < 0 or self.code not in (0, 1, 2):
            return f"ended with {self.code}"
        if self.code and len(self.sentences) != 1:
            return f"{len(self.sentences)} sentences at exit code {self.code}: {self.sentences[:3]}"
        return ""


class Running:
    """A command that was started.

    Args:
        arguments: What follows `gossamer`.
        log: Where its standard error goes; standard output goes beside it.
        before: Called in the child before the command.
    """

    def __init__(
        self, arguments: Sequence[str], log: Path, before: Callable[[], None] | None = None
    ):
        self._log, self._began = log, time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _child(arguments, log, before)

    def kill(self) -> None:
        """End the command and all its processes at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # before it had its own group
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = LIMIT) -> Outcome | None:
        """Return how it ended, or None when it still runs after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            left = end - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(0.002, left))
        spent = time.monotonic() - self._began
        errors = self._log.read_text(encoding="utf-8", errors="replace")
        return Outcome(os.waitstatus_to_exitcode(status), spent, errors)


def run(
    arguments: Sequence[str],
    log: Path,
    *,
    before: Callable[[], None] | None = None,
    limit: float = LIMIT,
) -> Outcome:
    """Run a command to its end; one that takes longer than `limit` seconds is killed."""
    running = Running(arguments, log, before)
    outcome = running.wait(limit)
    if outcome is None:
        running.kill()
        outcome = running.wait()
    assert outcome is not None
    return outcome


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a forked child, so that this process stays as it is."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            sender.send((function(*arguments), ""))
        except Exception as error:
            sender.send((None, f"{function.__name__}: {type(error).__name__}: {error}"))

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        found, failure = receiver.recv()
    except EOFError:
        found, failure = None, f"{function.__name__}: its process died"
    finally:
        process.join()
    if failure:
        raise RuntimeError(failure)
    return found


def fresh_folder(path: Path) -> Path:
    """Return an empty folder in place of whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _child(arguments: Sequence[str], log: Path, before: Callable[[], None] | None) -> None:
    code = 99
    try:
        os.setsid()
        log.parent.mkdir(parents=True, exist_ok=True)
        for number, name in ((1, log.with_suffix(".out")), (2, log)):
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, number)
            os.close(handle)
        if before is not None:
            before()
        from apps.__main__ import build

        build()(args=list(arguments), prog_name="gossamer")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
