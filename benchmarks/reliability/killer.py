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
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import leavings
from benchmarks.reliability.moments import Changes
from benchmarks.reliability.processes import Running, fresh_folder, run
from benchmarks.reliability.scenarios import Commands, Scenario, expect, go_on
from benchmarks.reliability.setting import Setting
from benchmarks.reliability.tables import finish, marks, write_rows
from benchmarks.reliability.workplace import option_parser, workplace

COMMANDS = ("train", "compress", "export", "predict")
CHECKS = ("usable", "exact", "clean")


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
    left: int
    answer: str
    problem: str


class Reference(Setting):
    """The undisturbed run of a scenario.

    Attributes:
        seconds: How long a forked run takes.
        changes: How many changes of the disk it makes.
    """

    def __init__(self, scenario: Scenario, work: Path):
        super().__init__(scenario, work)
        times = []
        for _ in range(2):
            self.lay()
            watched = Changes(scenario.out, work / "tally")
            times.append(expect(scenario.begin, self.log, before=watched.watch).seconds)
            if self.differing():
                what = ", ".join(self.differing())
                raise SystemExit(f"{scenario.name}: two undisturbed runs differ in {what}")
        self.seconds, self.changes = min(times), watched.count()


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


def examine(reference: Reference, moment: str, seconds: float) -> Trial:
    """Look at what a kill left, give the command again and compare the end."""
    scenario = reference.scenario
    left = reference.contents()
    finished = {name: what for name, what in left.items() if not Path(name).name.startswith(".")}
    problems = reference.harm()
    untouched = bool(scenario.earlier) and finished == reference.before
    outcome, answer = go_on(scenario, reference.log, untouched=untouched)
    if outcome.fault or outcome.code:
        problems.append(outcome.fault or outcome.sentences[0])
    problems += [said for said in reference.harm() if said not in problems]
    usable = not problems
    differing, remains = reference.differing(), leavings.unfinished(scenario.out)
    problems += [f"differs: {name}" for name in differing]
    problems += [f"left over: {name}" for name in remains]
    return Trial(
        command=scenario.name,
        case=scenario.case,
        moment=moment,
        seconds=round(seconds, 2),
        usable=usable,
        exact=not differing,
        clean=not remains,
        left=len(finished),
        answer=answer.replace(str(scenario.out), "OUT"),
        problem="; ".join(problems[:8]).replace(str(scenario.out), "OUT"),
    )


def main() -> None:
    """Run the trials, write a row for each and print the sums."""
    options = _options()
    trials: list[Trial] = []
    with workplace(options) as work:
        fresh_folder(work / "trial")
        for command in options.command:
            rng = random.Random(f"{options.seed} {command}")
            offered = getattr(Commands(work / "made", work / "trial" / command), command)()
            cases = [case for case in offered if options.case in case.case]
            shares = [len(range(n, options.kills, len(cases))) for n in range(len(cases))]
            for scenario, share in zip(cases, shares, strict=True):
                reference = Reference(scenario, work)
                print(f"{scenario.name}, {scenario.case}: {reference.seconds:.1f} s, "
                      f"{reference.changes} changes of the disk", flush=True)  # fmt: skip
                for trial in _trials(reference, work, rng, share, options):
                    trials.append(trial)
                    print(f"  {trial.moment:>18}  {marks(trial, CHECKS)}  "
                          f"[{trial.answer}] {trial.problem}", flush=True)  # fmt: skip
                    write_rows(options.out, trials)
    finish(trials, CHECKS)


def _trials(
    reference: Reference, work: Path, rng: random.Random, share: int, options: argparse.Namespace
) -> Iterator[Trial]:
    """Yield the trials of a scenario: so many moments of the clock, or changes of the disk."""
    if options.moments == "clock":
        for _ in range(share):
            yield examine(reference, *killed_by_clock(reference, rng))
        return
    numbers = range(1, reference.changes + 1)
    chosen = sorted(rng.sample(numbers, min(share, len(numbers)))) if options.kills else numbers
    for number in chosen:
        killed = killed_at_change(reference, work, number)
        if killed is not None:
            yield examine(reference, *killed)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__.split("\n")[0], COMMANDS)
    parser.add_argument("--kills", type=int, default=25, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", choices=("clock", "changes"), default="clock")
    return parser.parse_args()


if __name__ == "__main__":
    main()
