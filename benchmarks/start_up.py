"""How long the command line takes to answer, against an empty Python, in turns.

.venv/bin/python benchmarks/start_up.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "gossamer --help": ["-m", "apps", "--help"],
    "gossamer medseg --help": ["-m", "apps", "medseg", "--help"],
    "gossamer apps": ["-m", "apps", "apps"],
    "import apps.catalog": ["-c", "import apps.catalog"],
}


def main() -> None:
    from core.export.benchmark import compare

    def run(arguments):
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    found = compare({name: run(arguments) for name, arguments in COMMANDS.items()}, rounds=15)
    for name, result in found.items():
        print(f"{name:24s} {result.timing.median_ms:6.0f} ms ({1 / result.ratio:.1f}x empty)")


if __name__ == "__main__":
    main()
