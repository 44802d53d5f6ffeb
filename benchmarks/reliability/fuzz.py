"""Fuzz every reader and every file format the suite opens.

    python -m benchmarks.reliability.fuzz --out FOLDER/fuzzing.csv
    python -m benchmarks.reliability.fuzz --list

Allowed is acceptance, or one sentence that names the file. A traceback, a crash, more than 10 s,
more than 2 GiB, anything run and anything written is a finding: its input is made smaller and saved
beside the table. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.reliability.fuzzing import (
    checkpoint_targets,
    field_targets,
    file_targets,
    network_targets,
    payloads,
    reader_targets,
)
from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.minimise import minimise
from benchmarks.reliability.fuzzing.report import Tally, csv_text, markdown, save_finding
from benchmarks.reliability.fuzzing.target import Target, generate
from benchmarks.reliability.fuzzing.worker import Result, in_a_fork, run_cases

_MINIMISED = 40  # different findings of a target that are made smaller
_SHOWN = 2000  # inputs between two lines of progress


def all_targets() -> list[Target]:
    """Return every target, single files first."""
    modules = (file_targets, checkpoint_targets, field_targets, network_targets, reader_targets)
    return [target for module in modules for target in module.targets()]


def fuzz(
    target: Target, inputs: int, seed: int, scratch: Path, saved: Path, *, first: int = 0
) -> Tally:
    """Run a target's inputs and return what came of them; the examples come before the changed.

    Args:
        target: What is fuzzed.
        inputs: How many.
        seed: Decides every input.
        scratch: A folder in memory.
        saved: Where the inputs of findings are kept.
        first: Number of the first input, to repeat a part of a run.

    Raises:
        RuntimeError: When an example that was not changed is refused: the target is wrong.
    """
    _quiet_libraries()
    target.prepare()
    seeds: list[Case] = pickle.loads(in_a_fork(lambda: pickle.dumps(target.seeds())))
    tally, begun = Tally(target.name, target.summary), time.monotonic()

    def case_of(index: int) -> Case:
        if index < len(seeds):
            return seeds[index]
        return generate(target, seeds, Random(f"{seed}/{target.name}/{index}"))

    def report(result: Result) -> bool:
        if result.index < len(seeds) and result.outcome != "accepted":
            raise RuntimeError(f"{target.name}: example {result.index} is not accepted: {result}")
        tally.add(result)
        if tally.inputs % _SHOWN == 0:
            print(f"{target.name}: {tally.inputs} of {inputs}", flush=True)
        return False

    run_cases(target, case_of, first, first + inputs, scratch, report, seeds[0])
    tally.seconds = time.monotonic() - begun
    for index, finding, times in list(tally.findings.values())[:_MINIMISED]:
        case = minimise(target, case_of(index), finding, scratch, seeds[0])
        digest = hashlib.sha256(repr(finding.key).encode()).hexdigest()[:8]
        about = {"target": target.name, "input": index, "seed": seed, "times": times}
        save_finding(saved / f"{target.name}-{digest}", finding, case, about)
        print(f"FINDING {target.name} #{index} x{times}: {finding.kind} at {finding.where}: "
              f"{finding.what[:200]}", flush=True)  # fmt: skip
    return tally


def _quiet_libraries() -> None:
    from core.command_line.quiet import set_environment

    set_environment()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _job(
    targets: Sequence[Target], inputs: int, seed: int, scratch: Path, saved: Path, first: int
) -> bytes:
    """Fuzz one target in this process, a fork of its own, and return its tally."""
    (target,) = targets
    return pickle.dumps(fuzz(target, inputs, seed, scratch, saved, first=first))


def run_all(
    targets: Sequence[Target],
    inputs: int,
    seed: int,
    jobs: int,
    scratch: Path,
    saved: Path,
    out: Path,
    first: int = 0,
) -> list[dict]:
    """Fuzz targets, several at a time, and write the table after each."""
    waiting, running = list(targets), {}
    done: dict[str, dict] = {}
    failed = []
    order = [target.name for target in targets]
    while waiting or running:
        while waiting and len(running) < jobs:
            target = waiting.pop(0)
            result = scratch / f"{target.name}.tally"
            pid = os.fork()
            if not pid:
                code = 1
                try:
                    folder = scratch / target.name
                    os.environ[payloads.CANARY] = str(scratch / f"{target.name}.canary")
                    result.write_bytes(_job([target], inputs, seed, folder, saved, first))
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            running[pid] = (target, result)
        pid, status = os.wait()
        if pid not in running:
            continue
        target, result = running.pop(pid)
        shutil.rmtree(scratch / target.name, ignore_errors=True)
        if status or not result.is_file():
            failed.append(target.name)
            print(f"FAILED {target.name}", flush=True)
            continue
        row = pickle.loads(result.read_bytes()).row()
        done[target.name] = row
        print(" ".join(f"{name}={value}" for name, value in row.items() if name != "what"),
              flush=True)  # fmt: skip
        rows = [done[name] for name in order if name in done]
        out.write_text(csv_text(rows))
        out.with_suffix(".md").write_text(markdown(rows))
    if failed:
        raise SystemExit(f"These targets did not run: {', '.join(failed)}.")
    return [done[name] for name in order if name in done]


def main() -> None:
    """Parse the options, fuzz, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the targets and stop")
    parser.add_argument("--target", nargs="+", default=[], help="these (or all that begin so)")
    parser.add_argument("--inputs", type=int, default=10_000, help="of each target")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--out", type=Path, help="the table; findings are saved beside it")
    options = parser.parse_args()
    known = all_targets()
    if options.list:
        for target in known:
            print(f"{target.name:32} {target.summary}")
        return
    if options.out is None:
        parser.error("--out is needed")
    wanted = [t for t in known if not options.target or t.name.startswith(tuple(options.target))]
    if not wanted:
        parser.error(f"no such target; see --list: {options.target}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-", dir=base)))
        saved = options.out.with_name(f"{options.out.stem}-findings")
        rows = run_all(
            wanted, options.inputs, options.seed, options.jobs, scratch, saved, options.out,
            options.first,
        )  # fmt: skip
    total = sum(row["inputs"] for row in rows)
    found = sum(row["findings"] for row in rows)
    print(f"{len(rows)} targets, {total} inputs, {found} findings; the table is {options.out}")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
