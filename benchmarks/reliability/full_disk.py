"""Fill the disk under commands, make it read-only, close it to them: what do they say and leave?

    .venv/bin/python -m benchmarks.reliability.full_disk [--command train ...]
        --out benchmarks/results/reliability_disk.csv

Each command that writes works on a small tmpfs of its own: first with room enough, then with a
share of the room it was seen to need, so that the disk is full at different moments; then on a
read-only one, and without the right to write there. Half of the cases write over an earlier
result. Counted are

- told: exit code 2 (what a user has to mend) and one sentence that names a file or folder on that
  disk and the reason; or the whole result, where the room was enough after all; or, from evaluate,
  the scores and the same sentence about where they could not be kept;
- intact: no half-written file under its final name, an earlier result whole, nothing of the
  user's lost;
- clean: no temporary file is left behind by the failure;
- goes on: with room again, the command ends with the undisturbed result (train and compress with
  --resume where they reached something). Where not a byte of the folder has changed, this is what
  was measured undisturbed, and is not run again.

Needs root, to mount the tmpfs and to give its rights up.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import leavings
from benchmarks.reliability.processes import Running, run
from benchmarks.reliability.scenarios import Commands, Scenario, go_on
from benchmarks.reliability.setting import Setting
from benchmarks.reliability.tables import finish, marks, write_rows
from benchmarks.reliability.workplace import option_parser, workplace

COMMANDS = ("train", "compress", "export", "predict", "report", "evaluate", "import_", "prepare",
            "upscale", "extract", "index", "search", "simulate")  # fmt: skip
CHECKS = ("told", "intact", "clean", "goes_on")
SHARES = (0.0, 0.3, 0.6, 0.9, 0.99)
AMPLE = 256 << 20  # bytes
PAGE = 4096
NOBODY = 65534  # user and group, who owns a closed folder
_CAPABILITIES = struct.pack("Ii", 0x20080522, 0)  # version 3 of the interface, this process
REASONS = {
    "full": ("the disk is full", "are free"),
    "read-only": ("the file system is read-only",),
    "closed": ("permission denied",),
}


@dataclass(frozen=True)
class Trial:
    """One disturbed run and what came of it."""

    command: str
    case: str
    disk: str
    code: int
    told: bool
    intact: bool
    clean: bool
    goes_on: bool
    said: str
    problem: str


class Disk:
    """A tmpfs at a folder.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={AMPLE},mode=755", "tmpfs", str(folder))

    def change(self, size: int = AMPLE, *, writable: bool = True) -> None:
        """Give it another size in bytes, or let nothing be written any more."""
        rights = "rw" if writable else "ro"
        _mount("-o", f"remount,{rights},size={max(PAGE, size)}", str(self.folder))

    def used(self) -> int:
        """Return the bytes that are taken."""
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """Yield a disk that is taken away in the end with all it holds."""
    disk = Disk(folder)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"Needs root and the right to mount a tmpfs ({done.stderr.strip()}).")


class Room(Setting):
    """A setting that knows how much of the disk the undisturbed command takes.

    Attributes:
        base, most: The bytes taken before, and the most in between.
    """

    def __init__(self, scenario: Scenario, work: Path, disk: Disk):
        self.disk = disk
        super().__init__(scenario, work)

    def undisturbed(self) -> None:
        """Run the command to its end and see how much it takes."""
        self.base = self.most = self.disk.used()
        running, outcome = Running(self.scenario.begin, self.log), None
        while outcome is None:
            outcome = running.wait(0.002)
            self.most = max(self.most, self.disk.used())
        if outcome.code:
            raise SystemExit(f"{self.scenario.name}: {outcome.errors[-1000:]}")
        if self.most == self.base:  # what lay beside the earlier files was too short to be seen
            self.most += max(path.stat().st_size for path in leavings.files_of(self.scenario.out))

    def sizes(self) -> dict[int, float]:
        """Return sizes of the disk in bytes → the share of the room needed that they leave."""
        needed = self.most - self.base
        sizes: dict[int, float] = {}
        for share in SHARES:
            sizes.setdefault(self.base + round(share * needed / PAGE) * PAGE, share)
        return sizes


def attempt(setting: Room, kind: str, size: int, label: str) -> Trial:
    """Run the command on a disturbed disk, look at what it leaves, and go on with room again."""
    scenario, disk = setting.scenario, setting.disk
    setting.lay()
    before = _state(scenario.out)
    disk.change(size, writable=kind != "read-only")
    if kind == "closed":
        for path in (disk.folder, *disk.folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    outcome = run(scenario.begin, setting.log, before=_powerless if kind == "closed" else None)
    disk.change()
    notes = [line for line in outcome.errors.splitlines() if line.startswith("Not kept")]
    said = " | ".join([*outcome.sentences, *notes])
    problems = [outcome.fault] if outcome.fault else []
    explained = any(reason in said for reason in REASONS[kind]) and str(disk.folder) in said
    if outcome.code == 0 and not notes:
        told = not setting.differing()
        problems += [f"differs: {name}" for name in setting.differing()]
    else:
        told = not outcome.fault and explained and outcome.code == (0 if notes else 2)
        if kind != "full" and _state(scenario.out) != before:
            problems.append("changed what may not be written")
        if not told:
            problems.append("the sentence does not tell")
    harm, remains = setting.harm(), leavings.unfinished(scenario.out)
    problems += harm + [f"left over: {name}" for name in remains]
    goes_on = True
    if _state(scenario.out) != before and (outcome.code or notes):
        untouched = setting.contents() == setting.before
        final, answer = go_on(scenario, setting.log, untouched=untouched)
        differing = setting.differing()
        goes_on = not (differing or final.code or final.fault)
        problems += [f"differs after going on ({answer}): {name}" for name in differing]
        if final.code or final.fault:
            problems.append(f"does not go on: {answer} {final.fault}")
    return Trial(
        command=scenario.name,
        case=scenario.case,
        disk=label,
        code=outcome.code,
        told=told,
        intact=not harm,
        clean=not remains,
        goes_on=goes_on,
        said=said.replace(str(disk.folder), "DISK"),
        problem="; ".join(problems[:8]).replace(str(disk.folder), "DISK"),
    )


def _state(folder: Path) -> str:
    return leavings.fingerprint(folder) if folder.exists() else ""


def _powerless() -> None:
    """Give up root's power over files of others, in the child."""
    if ctypes.CDLL(None).capset(_CAPABILITIES, bytes(24)):
        raise SystemExit("The rights of root could not be given up.")


def cases(command: str, made: Path, disk: Path, chosen: str) -> list[Scenario]:
    """Return the scenarios of a command with their folder on the disk."""
    found = getattr(Commands(made, disk / "out"), command)()
    return [scenario for scenario in found if chosen in scenario.case]


def main() -> None:
    """Run the trials, write a row for each and print the sums."""
    options = option_parser(__doc__.split("\n")[0], COMMANDS).parse_args()
    if os.geteuid() != 0:
        raise SystemExit("Needs root, to mount a tmpfs and to give its rights up.")
    trials: list[Trial] = []
    with workplace(options) as work, mounted(work / "disk") as disk:
        for command in options.command:
            for scenario in cases(command, work / "made", disk.folder, options.case):
                disk.change()
                setting = Room(scenario, work, disk)
                print(f"{scenario.name}, {scenario.case}: takes up to "
                      f"{setting.most - setting.base} bytes beside {setting.base}",
                      flush=True)  # fmt: skip
                sizes = setting.sizes()
                jobs = [("full", size, f"room for {share:.0%}") for size, share in sizes.items()]
                jobs += [(kind, AMPLE, kind) for kind in ("read-only", "closed")]
                for kind, size, label in jobs:
                    trials.append(attempt(setting, kind, size, label))
                    print(f"  {label:>13} {trials[-1].code} {marks(trials[-1], CHECKS)}  "
                          f"{trials[-1].said}  {trials[-1].problem}", flush=True)  # fmt: skip
                    write_rows(options.out, trials)
    finish(trials, CHECKS)


if __name__ == "__main__":
    main()
