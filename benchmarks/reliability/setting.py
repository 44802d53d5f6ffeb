"""A scenario with all that is needed to try it again and again and to judge what it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.reliability import leavings
from benchmarks.reliability.processes import in_child
from benchmarks.reliability.scenarios import MINE, Scenario, expect, exporting, plainly


class Setting:
    """What lay in a scenario's folder before, and what the undisturbed command leaves.

    Args:
        scenario: What is tried.
        work: A folder for logs and for a copy of the earlier result.

    Attributes:
        earlier: The copy of the earlier result, or None for a new folder.
        before, after: What the folder says before and after (`leavings.contents`).
        log: Where the commands' standard error goes.
    """

    def __init__(self, scenario: Scenario, work: Path):
        self.scenario, self.log = scenario, work / "log" / "errors"
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
        self.undisturbed()
        self.after = self.contents()
        self._marks = leavings.fingerprint(*scenario.sources)

    def undisturbed(self) -> None:
        """Run the command to its end in the folder as it was before."""
        plainly(*self.scenario.begin)  # a process of its own, as users start it

    def lay(self) -> None:
        """Put the output folder into the state before the command."""
        shutil.rmtree(self.scenario.out, ignore_errors=True)
        self.scenario.out.parent.mkdir(parents=True, exist_ok=True)
        if self.earlier is not None:
            shutil.copytree(self.earlier, self.scenario.out)

    def contents(self) -> dict[str, str]:
        """Return what the output folder says now."""
        return in_child(leavings.contents, self.scenario.out) if self.scenario.out.is_dir() else {}

    def harm(self) -> list[str]:
        """Return what should not be: files half-written or lost, or changed though only read."""
        out, found = self.scenario.out, []
        if out.is_dir():
            found += in_child(leavings.broken, out)
            if self.scenario.trains:
                found += filter(None, [in_child(leavings.run_problem, out)])
        found += in_child(_lost, self)
        if leavings.fingerprint(*self.scenario.sources) != self._marks:
            found.append("what the command only reads was changed")
        for name, text in MINE.items() if self.earlier else ():
            if not (out / name).is_file() or (out / name).read_text() != text:
                found.append(f"a file of the user is gone: {name}")
        return found

    def differing(self) -> list[str]:
        """Return the files in which the folder differs from that of the undisturbed command."""
        return differences(self.contents(), self.after)


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names whose values differ, or that only one has."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def _lost(setting: Setting) -> list[str]:
    """Return the files of an earlier result that are gone before the new one stands."""
    from core.training.state import BEFORE, STATE

    if setting.earlier is None:
        return []
    out, lost = setting.scenario.out, []
    now = leavings.contents(out) if out.is_dir() else {}
    for path in leavings.files_of(setting.earlier):
        name = path.relative_to(setting.earlier)
        place = out / name
        owner = next((p for p in place.parents if (p / BEFORE).is_dir()), out)
        places = (place, owner / BEFORE / place.relative_to(owner))
        if any(p.is_file() and p.read_bytes() == path.read_bytes() for p in places):
            continue
        if setting.scenario.trains:  # the new run may have reached something
            run = next((p for p in place.parents if (p / "config.yaml").is_file()), out)
            if name.name == "chain.json" or (run / STATE).is_file():
                continue
        elif now.get(str(name)) == setting.after.get(str(name)):
            continue
        lost.append(f"lost: {name}")
    return lost
