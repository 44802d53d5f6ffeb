"""What both benchmarks take on their command line, and the folder they work in."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reliability.processes import fresh_folder, preload
from benchmarks.reliability.scenarios import make


def option_parser(summary: str, commands: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of the common options."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--command", nargs="+", choices=commands, default=commands)
    parser.add_argument("--case", default="", help="only 'new' folders or 'over' earlier results")
    parser.add_argument("--work", help="folder for the trials (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="take the runs in --work as they are")
    parser.add_argument("--out", type=Path, required=True, help="CSV file, a row a trial")
    return parser


@contextmanager
def workplace(options: argparse.Namespace) -> Iterator[Path]:
    """Yield a folder that holds in `made` what commands work from, all imports done.

    A temporary one is removed after a run that came to its end.
    """
    work = Path(options.work or tempfile.mkdtemp(prefix="reliability."))
    work.mkdir(parents=True, exist_ok=True)
    preload()
    if not options.keep:
        make(fresh_folder(work / "made"))
    yield work
    if not options.work:
        shutil.rmtree(work)
