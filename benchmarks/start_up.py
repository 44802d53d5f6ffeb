"""How long the command line takes to answer: `--help` of every command, and light imports.

    .venv/bin/python benchmarks/start_up.py [--rounds 5]

Each is a fresh Python; they are started in turns, beside an empty one. The exit code is 1 when one
takes longer than it may: 0.5 s for a help, 0.2 s more than an empty Python for `import core`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

HELP_MS, IMPORT_MS = 500, 200
EMPTY = "python -c pass"
IMPORTS = ("import core", "import apps.catalog")


def command_lines() -> dict[str, list[str]]:
    """Return arguments of Python by what a user types, of every command of every app."""
    import typer

    from apps.__main__ import build

    program = typer.main.get_command(build())
    words: list[list[str]] = [[]]
    for name, command in program.commands.items():
        words += [[name], *([name, inner] for inner in getattr(command, "commands", {}))]
    return {" ".join(["gossamer", *one, "--help"]): ["-m", "apps", *one, "--help"] for one in words}


def main() -> None:
    from core.export.benchmark import compare

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lines = {EMPTY: ["-c", "pass"], **{line: ["-c", line] for line in IMPORTS}, **command_lines()}

    def run(arguments: list[str]):
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT)

    found = compare({name: run(arguments) for name, arguments in lines.items()}, rounds=rounds)
    times = {name: result.timing.median_ms for name, result in found.items()}
    for name, time in sorted(times.items(), key=lambda item: -item[1]):
        print(f"{name:40s} {time:6.0f} ms")
    helps = [name for name in times if name.endswith("--help")]
    slowest = max(helps, key=times.__getitem__)
    core = times["import core"] - times[EMPTY]
    print(
        f"\n{len(helps)} helps, the slowest {slowest} {times[slowest]:.0f} ms (may take {HELP_MS})"
    )
    print(f"import core {core:.0f} ms more than an empty Python (may take {IMPORT_MS})")
    if times[slowest] > HELP_MS or core > IMPORT_MS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
