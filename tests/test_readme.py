"""The README and docs/ say what is true: generated tables, commands, flags, links."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


@cache
def commands() -> dict[str, set[str]]:
    """Return the flags of every command by what a user types: "medseg train", "doctor"."""
    from apps.__main__ import build

    found = {}
    for name, command in typer.main.get_command(build()).commands.items():
        inner = getattr(command, "commands", None) or {"": command}
        for word, one in inner.items():
            flags = {flag for p in one.params for flag in (*p.opts, *p.secondary_opts)}
            found[f"{name} {word}".strip()] = flags | {"--help"}
    return found


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_generated_tables_are_up_to_date():
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "tools/make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert module.filled(page) == page, f"{name}: run make tables"
    assert "| medseg | `mk_unet` | base | 315,566 |" in README


def test_it_shows_the_way_of_every_app():
    shown = {match.split()[0] for match in re.findall(r"^gossamer (\w+ \w+)", README, re.MULTILINE)}
    assert shown >= {name.split()[0] for name in commands() if " " in name}


def test_it_links_to_every_tutorial():
    linked = set(re.findall(r"\]\(notebooks/(\w+\.py)\)", README))
    assert linked == {path.name for path in ROOT.glob("notebooks/*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_on_a_page_exists(page):
    text = page.read_text(encoding="utf-8").replace("gossamer tone ", "gossamer medseg ")
    for app, rest in re.findall(r"^\s*\$? ?gossamer (\w+)(.*)$", text, flags=re.MULTILINE):
        name = app if app in commands() else f"{app} {rest.split()[0]}"
        assert name in commands(), f"{page.name}: gossamer {name}"
        assert flags_in(rest.partition("|")[0]) <= commands()[name], f"{page.name}: {rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_flags_named_in_a_sentence_exist(page):
    """As in `compress --method adapt` and `--float LAYER`."""
    known = set().union(*commands().values()) | {"--version"}
    by_word: dict[str, set[str]] = {}
    for name, flags in commands().items():
        by_word.setdefault(name.split()[-1], set()).update(flags)
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for span in re.findall(r"`([^`\n]+)`", text):
        if span.startswith((".venv", "make", "pytest", "benchmarks/", "tools/")):
            continue
        first = span.removeprefix("gossamer ").split()[0]
        allowed = by_word.get(first, known) if not span.startswith("--") else known
        assert flags_in(span) <= allowed, f"{page.name}: {span}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_a_page_links_to_exist(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
