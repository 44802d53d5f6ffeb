"""The README says what is true: its generated table, its commands, its picture."""

import importlib.util
import re
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_of_systems_is_the_catalogs():
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "tools/make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.filled(README) == README
    assert "| medseg | `mk_unet` | base | 315,566 |" in README


def test_every_command_and_flag_it_shows_exists():
    from apps.__main__ import build

    program = typer.main.get_command(build())
    app = program.commands["medseg"]
    lines = re.findall(r"^gossamer medseg (\w+) (.*)$", README, flags=re.MULTILINE)
    assert len(lines) >= 8
    for name, rest in lines:
        flags = {flag for parameter in app.commands[name].params for flag in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= flags, name


def test_files_it_links_to_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
