"""Runs inputs in processes that may crash, hang or eat the memory, and goes on after each.

A worker is forked from a process that has imported what the target needs. It tells its guard which
input it is at through shared memory; the guard reads time and memory, ends the worker when a limit
is passed, and forks the next one, which goes on behind that input.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.reliability.fuzzing.cases import Case, listing, write_case
from benchmarks.reliability.fuzzing.judge import (
    ACCEPTED,
    REJECTED,
    Finding,
    Watch,
    canary,
    place_of,
    wrong_sentence,
)
from benchmarks.reliability.fuzzing.target import Target, before_step
from core.errors import CheckFailed, UserError

SECONDS = 10.0
BYTES = 2 * 2**30
_POLL = 0.02
_DUMP_WAIT = 0.3
_IDLE = 1.0  # of `SECONDS`, so much work at most means that a worker waits for something
_STARVED = 300.0  # seconds after which no busy machine is an excuse
_START = 300.0  # seconds a worker may take to begin, or to make its next input
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Result:
    """What came of one input.

    Attributes:
        index: Its number.
        outcome: "accepted", "rejected" or "finding".
        seconds: Processor time it took; of several ways to open it, the longest.
        bytes: Largest resident memory of the worker meanwhile.
        finding: What must not have happened.
        said: The first complaint.
    """

    index: int
    outcome: str
    seconds: float
    bytes: int
    finding: Finding | None = None
    said: str = ""


def run_cases(
    target: Target,
    case_of: Callable[[int], Case],
    first: int,
    stop: int,
    scratch: Path,
    report: Callable[[Result], bool],
    example: Case,
) -> None:
    """Run the inputs `first` to `stop` and report each; a report that returns True ends it.

    Each worker opens the example first, untimed: the first call of a library is slow.
    """
    at = first
    while at < stop:
        guard = _Guard(target, case_of, at, stop, scratch, example)
        ended = guard.watch(report)
        at = guard.next
        if ended:
            return
        if guard.failure is not None and report(guard.failure):
            return


class _Guard:
    """One worker and what is seen of it from outside."""

    def __init__(
        self, target: Target, case_of, first: int, stop: int, scratch: Path, example: Case
    ):
        self.next, self.failure = first, None
        self._shared = mmap.mmap(-1, 24)
        self._tell(-1)
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._log = scratch / "log"
        self._dump = scratch / "dump"
        reading, writing = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(reading)
            code = 1
            try:
                _work(target, case_of, range(first, stop), self, writing, example)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(writing)
        self._pipe = os.fdopen(reading, "rb", buffering=0)

    def _tell(self, index: int) -> None:
        self._shared[:] = struct.pack("<qdd", index, time.monotonic(), time.process_time())

    def _told(self) -> tuple[int, float, float]:
        """Return the input's number, since when, and the worker's processor time then."""
        return struct.unpack("<qdd", self._shared[:])

    def watch(self, report: Callable[[Result], bool]) -> bool:
        """Report results until the worker ends; return whether a report asked to stop."""
        buffered = b""
        while True:
            ready, _, _ = select.select([self._pipe], [], [], _POLL)
            if ready:
                part = self._pipe.read(65536)
                if not part:
                    break
                *lines, buffered = (buffered + part).split(b"\n")
                for line in lines:
                    result = _from_json(line)
                    self.next = result.index + 1
                    if report(result):
                        self._kill()
                        return True
            problem = self._passed_limit()
            if problem is not None:
                self._end(*problem)
                return False
        _, status = os.waitpid(self._pid, 0)
        self._pipe.close()
        if not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0):
            if os.WIFSIGNALED(status):
                name = signal.Signals(os.WTERMSIG(status)).name
            else:
                name = f"exit {os.WEXITSTATUS(status)}"
            self._fail("signal", f"{name} {self._last_words()}")
        return False

    def _passed_limit(self) -> tuple[str, str] | None:
        index, begun, worked = self._told()
        elapsed = time.monotonic() - begun
        if index < 0 and elapsed > _START:
            return "hang", "did not begin"
        try:
            pages = int(Path(f"/proc/{self._pid}/statm").read_bytes().split()[1])
            fields = Path(f"/proc/{self._pid}/stat").read_bytes().rpartition(b")")[2].split()
        except (OSError, IndexError):
            return None
        # The machine may be busy: time counts in which the worker worked, or waited for nothing.
        work = (int(fields[11]) + int(fields[12])) / _TICKS - worked
        waits = fields[0] == b"S" and work < _IDLE
        if index >= 0 and elapsed > SECONDS and (work > SECONDS or waits or elapsed > _STARVED):
            return "hang", f"took more than {SECONDS:g} s"
        used = pages * resource.getpagesize()
        return ("memory", f"used more than {BYTES // 2**30} GiB") if used > BYTES else None

    def _end(self, kind: str, what: str) -> None:
        os.kill(self._pid, signal.SIGUSR1)  # faulthandler writes the stack
        time.sleep(_DUMP_WAIT)
        self._kill()
        self._fail(kind, what)

    def _kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._pipe.close()

    def _fail(self, kind: str, what: str) -> None:
        index, begun, _ = self._told()
        if index < 0:
            raise RuntimeError(f"The fuzzer itself failed: {what} {self._stack()}")
        self.next = index + 1
        seconds = time.monotonic() - begun
        self.failure = Result(index, "finding", seconds, 0, Finding(kind, self._stack(), what))

    def _stack(self) -> str:
        """Return where the worker was: the innermost function of the suite, and its library's."""
        lines = self._dump.read_text().splitlines() if self._dump.is_file() else []
        frames = [line.strip() for line in lines if line.strip().startswith("File ")]
        current = next((i for i, line in enumerate(lines) if line.startswith("Current")), 0)
        frames = [line.strip() for line in lines[current:] if line.strip().startswith("File ")]
        ours = [f for f in frames if ("/core/" in f or "/apps/" in f) and "site-packages" not in f]
        shown = [_frame(one) for one in (frames[:1] + ours[:1])]
        return " < ".join(dict.fromkeys(shown)) or "no stack"

    def _last_words(self) -> str:
        if not self._log.is_file():
            return ""
        with self._log.open("rb") as stream:
            stream.seek(max(0, self._log.stat().st_size - 300))
            return " ".join(stream.read().decode("utf-8", "replace").split())


def _frame(line: str) -> str:
    """Return "folder/file.py:12 function" of faulthandler's line."""
    file, _, rest = line.removeprefix('File "').partition('"')
    number, _, function = rest.removeprefix(", line ").partition(" in ")
    return f"{'/'.join(Path(file).parts[-3:])}:{number} {function}"


def _work(target: Target, case_of, indices: range, guard: _Guard, pipe: int, example: Case) -> None:
    """Run inputs in this process, a worker; results go through the pipe, a line each."""
    log = os.open(guard._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    dump = guard._dump.open("w")
    faulthandler.enable(dump)
    faulthandler.register(signal.SIGUSR1, dump)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    tempfile.tempdir = str(guard._scratch / "temporary")
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    os.makedirs(tempfile.tempdir)
    os.chdir(tempfile.tempdir)
    watch = Watch(guard._scratch)
    folder = guard._scratch / "example"
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(Exception):  # judged in its turn
        target.run(write_case(example, folder))
    shutil.rmtree(folder, ignore_errors=True)
    for index in indices:
        case = case_of(index)
        folder = guard._scratch / f"{index}"
        shutil.rmtree(folder, ignore_errors=True)  # of a worker that was ended
        path = write_case(case, folder)
        _reset_peak()
        result = _judged(target, index, case, folder, path, watch, guard._tell)
        line = json.dumps(asdict(result)).encode() + b"\n"
        os.write(pipe, line)
        shutil.rmtree(folder, ignore_errors=True)
        guard._tell(-1)  # what fails before the next input is opened is the fuzzer's own fault
        if os.lseek(log, 0, os.SEEK_CUR) > 2**22:
            os.ftruncate(log, 0)
            os.lseek(log, 0, os.SEEK_SET)


def _judged(
    target: Target,
    index: int,
    case: Case,
    folder: Path,
    path: Path,
    watch: Watch,
    tell: Callable[[int], None],
) -> Result:
    before = listing(folder)
    said, finding = [], None
    clock = _Clock()
    before_step[:] = [lambda: (clock.next(), tell(index))]
    tell(index)
    watch.seen, watch.active = "", True
    try:
        said = target.run(path)
    except (UserError, CheckFailed) as error:
        said = [str(error)]
    except BaseException as error:
        place = place_of(error)
        finding = Finding("exception", place, f"{type(error).__name__}: {str(error)[:300]}")
    watch.active = False
    clock.next()
    if watch.seen or canary().exists():
        canary().unlink(missing_ok=True)
        finding = Finding("executed", target.name, watch.seen or "the canary was made")
    elif finding is None and not target.writes and listing(folder) != before:
        finding = Finding("written", target.name, "the input's folder was changed")
    elif finding is None and (wrong := wrong_sentence(said, case, folder, target.named)):
        finding = Finding("sentence", wrong.partition(":")[0], wrong)
    outcome = "finding" if finding else REJECTED if said else ACCEPTED
    return Result(index, outcome, clock.longest, _peak(), finding, said[0][:300] if said else "")


class _Clock:
    """The longest of several steps."""

    def __init__(self):
        self.longest, self._begun = 0.0, time.process_time()

    def next(self) -> None:
        """End a step and begin the next."""
        now = time.process_time()
        self.longest, self._begun = max(self.longest, now - self._begun), now


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")


def _peak() -> int:
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def _from_json(line: bytes) -> Result:
    values = json.loads(line)
    found = values.pop("finding")
    return Result(**values, finding=Finding(**found) if found else None)


def in_a_fork(function: Callable[[], bytes]) -> bytes:
    """Return what a function returns when it is called in a process of its own."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as stream:
                stream.write(function())
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("A process of the fuzzer failed; its error is printed above.")
    return content
