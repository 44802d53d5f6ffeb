"""What a target is: something the suite opens, real examples of it, and a way to open them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.contents import mutate_content
from benchmarks.reliability.fuzzing.layout_mutations import mutate_layout
from core.errors import CheckFailed, UserError

Outcome = list[str]  # what was complained about; nothing where all was accepted


@dataclass(frozen=True)
class Target:
    """Something the suite opens.

    Attributes:
        name: For `--target` and the table.
        summary: What is fuzzed, in a few words.
        seeds: Returns real examples, each of which must be accepted; called in a process of its
            own.
        run: Opens a path and returns what was complained about; a `UserError` is a complaint too.
            Any other exception is a finding.
        prepare: Imports what `run` needs, once, in the process that the workers are forked from.
        layout: Share of the inputs in which files and folders are changed, not contents.
        focus: Files, as a regular expression, whose contents are changed before all others.
        writes: Whether `run` may write into the folder that it is given.
        named: Whether a complaint must name a file of the input.
    """

    name: str
    summary: str
    seeds: Callable[[], list[Case]]
    run: Callable[[Path], Outcome]
    prepare: Callable[[], None] = field(default=lambda: None)
    layout: float = 0.04
    focus: str = ""
    writes: bool = False
    named: bool = True


def generate(target: Target, seeds: list[Case], rng: Random) -> Case:
    """Return one input: a seed with changed contents, a changed layout, or both."""
    case = rng.choice(seeds)
    donors = [content for content in rng.choice(seeds).entries.values() if type(content) is bytes]
    chance = rng.random()
    if chance < target.layout:
        case = mutate_layout(case, rng)
    if chance > target.layout or rng.random() < 0.2:
        for _ in range(rng.choice((1, 1, 1, 2))):
            if case.files():
                case = mutate_content(case, rng, donors, target.focus)
    return case


# Called before each step of a target that opens its input in several ways: limits of time are for
# one way.
before_step: list[Callable[[], None]] = []


def complaints(steps: Iterable[Callable[[], object]]) -> Outcome:
    """Run steps one by one, however the others end, and return what was complained about."""
    found: Outcome = []
    for step in steps:
        for call in before_step:
            call()
        try:
            step()
        except (UserError, CheckFailed) as error:
            found.append(str(error))
    return found
