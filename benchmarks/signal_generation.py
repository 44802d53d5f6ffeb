"""How many frames of 128 samples does the generator make in a second on one core?

    .venv/bin/python benchmarks/signal_generation.py

Every class with its full channel, whole blocks as a data set is made of; frames over the processor
time of this process, the median of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=500, help="of each class and round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    from apps.modulation_recognition.signals.generator import generate
    from apps.modulation_recognition.signals.parameters import Recipe

    for name, recipe in (
        ("radioml2016, as released", Recipe()),
        ("radioml2016, AM-SSB corrected", Recipe(amssb="corrected")),
        ("radioml2016, one channel for all", Recipe(independent_channels=False)),
        ("rml22", Recipe("rml22")),
    ):
        rates = {}
        for kind in recipe.set.classes:
            seconds = []
            for number in range(options.rounds + 1):
                start = time.process_time()
                for _ in generate(recipe, options.frames, classes=[kind], snrs=[number]):
                    pass
                seconds.append(time.process_time() - start)
            rates[kind] = options.frames / float(np.median(seconds[1:]))  # the first one imports
        mean = len(rates) / sum(1 / rate for rate in rates.values())
        slowest = min(rates, key=rates.__getitem__)
        print(f"{name:33s} {mean:6.0f} frames/s, slowest {slowest} with {rates[slowest]:.0f}")


if __name__ == "__main__":
    main()
