"""End commands with SIGKILL at random moments and look at what they leave behind.

    .venv/bin/python -m benchmarks.reliability.killer [--command train ...] [--kills 25] [--seed 0]
        [--moments clock|changes] --out benchmarks/results/reliability_killer.csv

Each command (train, compress, export, predict) runs on sample data, first undisturbed, then again
and again: it is killed with its whole process group, what is left is examined, and the command is
given once more. Half of the runs write into a new folder, half over an earlier result with
--overwrite. Counted are

- usable: every file under its final name is whole, the run folder opens or says in one sentence
  what is missing, nothing of the user's is lost (data, the run it works from, files of his own in
  the output folder, an earlier result until the new one stands), and the next command goes on or
  says in one sentence what to do;
- exact: the end equals the undisturbed run's (weights, optimiser, history, TFLite and pictures to
  the last bit);
- clean: no temporary file and no run that was set aside is left at the end.

`--moments clock` draws the moment uniformly over the command's run after the imports; `changes`
draws a change of the disk instead (creating, renaming, removing a file) and kills before it, the
most unkind moments there are; with `--kills 0` it takes every change once.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.reliability import leavings
from benchmarks.reliability.moments import Changes
from benchmarks.reliability.processes import Running, fresh_folder, in_child, preload, run
from benchmarks.reliability.scenarios import (
    MINE,
    Commands,
    Scenario,
    expect,
    exporting,
    go_on,
    make,
    plainly,
)

COMMANDS = ("train", "compress", "export", "predict")


@dataclass(frozen=True)
class Trial:
    """One kill and what came of it."""

    command: str
    case: str
    moment: str
    seconds: float
    usable: bool
    exact: bool
    clean: bool
    left: str
    answer: str
    problem: str


class Reference:
    """The undisturbed run of a scenario.

    Args:
        scenario: What is run.
        work: Where logs and the earlier result are kept.

    Attributes:
        earlier: A copy of the earlier result, or None.
        before, after: What the folder says before and after the run.
        seconds: How long a forked run takes.
        changes: How many changes of the disk it makes.
    """

    def __init__(self, scenario: Scenario, work: Path):
        self.scenario, self.log = scenario, work / "log"
        self.earlier: Path | None = None
        self.before: dict[str, str] = {}
        if scenario.earlier:
            shutil.rmtree(scenario.out, ignore_errors=True)
            expect(scenario.earlier, self.log)
            if scenario.trains:  # the files that a user made of it stay with it
                expect(exporting(scenario.out, "float32"), self.log)
            for name, text in MINE.items():
                (scenario.out / name).write_text(text)
            self.earlier = work / "earlier"
            shutil.rmtree(self.earlier, ignore_errors=True)
            shutil.move(scenario.out, self.earlier)
            self.before = in_child(leavings.contents, self.earlier)
        self.lay()
        plainly(*scenario.begin)  # a process of its own, as users start it
        self.after = in_child(leavings.contents, scenario.out)
        times = []
        for _ in range(3):
            self.lay()
            watched = Changes(scenario.out, work / "tally")
            times.append(expect(scenario.begin, self.log, before=watched.watch).seconds)
            differing = _differences(in_child(leavings.contents, scenario.out), self.after)
            if differing:
                raise SystemExit(f"{scenario.name}: two undisturbed runs differ: {differing}")
        self.seconds, self.changes = statistics.median(times), watched.count()

    def lay(self) -> None:
        """Put the output folder into the state before the command."""
        shutil.rmtree(self.scenario.out, ignore_errors=True)
        self.scenario.out.parent.mkdir(parents=True, exist_ok=True)
        if self.earlier is not None:
            shutil.copytree(self.earlier, self.scenario.out)


def killed_by_clock(reference: Reference, rng: random.Random) -> tuple[str, float]:
    """Start the command, kill it at a random moment; return the moment in words, and seconds.

    A run that was quicker than its moment is started again with another one.
    """
    while True:
        reference.lay()
        seconds = rng.uniform(0, reference.seconds)
        running = Running(reference.scenario.begin, reference.log)
        if running.wait(seconds) is None:
            running.kill()
            outcome = running.wait()
            assert outcome is not None
            if outcome.code == -9:
                return f"{seconds / reference.seconds:.0%} of its time", seconds


def killed_at_change(reference: Reference, work: Path, number: int) -> tuple[str, float] | None:
    """Start the command and let it die before its n-th change of the disk."""
    reference.lay()
    watched = Changes(reference.scenario.out, work / "tally", number)
    outcome = run(reference.scenario.begin, reference.log, before=watched.watch)
    if outcome.code != -9:
        return None
    return f"change {number} of {reference.changes}", outcome.seconds


def examine(reference: Reference, marks: str, moment: str, seconds: float) -> Trial:
    """Look at what a kill left, give the command again and compare the end."""
    scenario, problems = reference.scenario, []
    out = scenario.out
    left = in_child(leavings.contents, out) if out.is_dir() else {}
    files = [name for name in left if not Path(name).name.startswith(".")]
    problems += in_child(leavings.broken, out)
    if scenario.trains and out.is_dir():
        problems += [said for said in [in_child(leavings.run_problem, out)] if said]
    problems += in_child(lost_files, reference)
    standing = {name: left[name] for name in files}
    untouched = bool(scenario.earlier) and standing == reference.before
    outcome, answer = go_on(scenario, reference.log, untouched=untouched)
    if outcome.fault or outcome.code:
        problems.append(outcome.fault or outcome.sentences[0])
    usable = not problems
    end = in_child(leavings.contents, out) if out.is_dir() else {}
    differing = _differences(end, reference.after)
    exact = not differing and not outcome.code
    if differing:
        problems.append(f"differs: {', '.join(differing[:6])}")
    remains = leavings.unfinished(out)
    if remains:
        problems.append(f"left over: {', '.join(remains[:6])}")
    if leavings.fingerprint(*scenario.sources) != marks:
        problems.append("the data or the run it works from was changed")
    own = [n for n, text in MINE.items() if scenario.earlier and _text(out / n) != text]
    if own:
        problems.append(f"lost files of the user: {', '.join(own)}")
    return Trial(
        command=scenario.name,
        case=scenario.case,
        moment=moment,
        seconds=round(seconds, 2),
        usable=usable and not own,
        exact=exact,
        clean=not remains,
        left=f"{len(files)} files",
        answer=answer,
        problem="; ".join(problems),
    )


def lost_files(reference: Reference) -> list[str]:
    """Return the files of an earlier result that are gone before the new one stands."""
    from core.run_folder import RunFolder
    from core.training.state import BEFORE, STATE

    scenario = reference.scenario
    if reference.earlier is None:
        return []
    lost = []
    for path in leavings.files_of(reference.earlier):
        name = path.relative_to(reference.earlier)
        if "tensorboard" in name.parts:
            continue
        place = scenario.out / name
        folder = next((p for p in place.parents if (p / BEFORE).is_dir()), scenario.out)
        places = [place, folder / BEFORE / place.relative_to(folder)]
        if any(p.is_file() and p.read_bytes() == path.read_bytes() for p in places):
            continue
        if scenario.trains:
            owner = next(p for p in place.parents if (p / "config.yaml").is_file() or p == place)
            if name.name == "chain.json" or ((owner / STATE).is_file() and RunFolder(owner)):
                continue  # the new run has reached something
            lost.append(f"lost: {name}")
        elif leavings.contents(scenario.out).get(str(name)) != reference.after.get(str(name)):
            lost.append(f"neither the earlier nor the new: {name}")
    return lost


def main() -> None:
    """Run the trials, write a row for each and print the sums."""
    options = _options()
    work = Path(options.work or tempfile.mkdtemp(prefix="killer."))
    for name in ("trial", "log"):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / "trial").mkdir(parents=True)
    preload()
    if not options.keep:
        make(fresh_folder(work / "made"))
    trials: list[Trial] = []
    for command in options.command:
        rng = random.Random(f"{options.seed} {command}")
        offered = getattr(Commands(work / "made", work / "trial" / command), command)()
        cases = [case for case in offered if options.case in case.case]
        shares = [len(range(n, options.kills, len(cases))) for n in range(len(cases))]
        for scenario, share in zip(cases, shares, strict=True):
            reference = Reference(scenario, work)
            marks = leavings.fingerprint(*scenario.sources)
            print(f"{scenario.name}, {scenario.case}: {reference.seconds:.1f} s, "
                  f"{reference.changes} changes of the disk", flush=True)  # fmt: skip
            numbers = range(1, reference.changes + 1)
            if options.moments == "changes" and options.kills:
                numbers = sorted(rng.sample(numbers, min(share, len(numbers))))
            for turn in numbers if options.moments == "changes" else range(share):
                if options.moments == "clock":
                    killed = killed_by_clock(reference, rng)
                else:
                    killed = killed_at_change(reference, work, turn)
                if killed is None:
                    continue
                trials.append(examine(reference, marks, *killed))
                _show(trials[-1])
                _write(options.out, trials)
    for command in dict.fromkeys(trial.command for trial in trials):
        mine = [trial for trial in trials if trial.command == command]
        sums = {n: sum(getattr(t, n) for t in mine) for n in ("usable", "exact", "clean")}
        print(command, *(f"{name} {value}/{len(mine)}" for name, value in sums.items()), sep="  ")
    if not options.work:
        shutil.rmtree(work)
    if not all(trial.usable and trial.exact and trial.clean for trial in trials):
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--command", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--kills", type=int, default=25, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", choices=("clock", "changes"), default="clock")
    parser.add_argument("--case", default="", help="only 'new' folders or 'over' earlier results")
    parser.add_argument("--work", help="folder for the trials (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="take the runs in --work as they are")
    parser.add_argument("--out", type=Path, required=True, help="CSV file, a row a kill")
    return parser.parse_args()


def _differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _show(trial: Trial) -> None:
    marks = " ".join(f"{n}:{'yes' if getattr(trial, n) else 'NO'}"
                     for n in ("usable", "exact", "clean"))  # fmt: skip
    print(f"  {trial.moment:>18}  {marks}  [{trial.answer}] {trial.problem}", flush=True)


def _write(path: Path, trials: Sequence[Trial]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(asdict(trials[0])))
        writer.writeheader()
        writer.writerows(asdict(trial) for trial in trials)


if __name__ == "__main__":
    main()
