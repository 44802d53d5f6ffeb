"""The programs as users start them."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import apps.__main__ as gossamer
from apps.catalog import APPS, SYSTEMS
from core.command_line.doctor import Finding

COMMANDS = [
    "train",
    "import",
    "evaluate",
    "predict",
    "export",
    "verify",
    "benchmark",
    "report",
    "models",
    "data",
    "demo",
]


def call(*arguments: str):
    return CliRunner().invoke(gossamer.build(), list(arguments), prog_name="gossamer")


def test_help_loads_nothing_heavy():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['gossamer', 'medseg', '--help']\n"
        "try:\n"
        "    runpy.run_module('apps', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "heavy = ('tensorflow', 'keras', 'numpy', 'cv2', 'PIL', 'yaml', 'pydantic', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stderr == "[]\n"
    assert all(command in child.stdout for command in COMMANDS)


def test_no_help_of_any_command_loads_anything_heavy():
    """How long they take is measured by benchmarks/start_up.py."""
    code = (
        "import sys, contextlib, io, typer\n"
        "from apps.__main__ import build\n"
        "program = typer.main.get_command(build())\n"
        "for name, command in program.commands.items():\n"
        "    for word in [None, *getattr(command, 'commands', {})]:\n"
        "        words = [name, *([word] if word else []), '--help']\n"
        "        shown = io.StringIO()\n"
        "        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):\n"
        "            program(words, prog_name='gossamer')\n"
        "        assert 'Usage: ' in shown.getvalue(), words\n"
        "heavy = ('tensorflow', 'keras', 'numpy', 'cv2', 'PIL', 'yaml', 'pydantic', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"


@pytest.mark.parametrize("app", APPS.values(), ids=lambda app: app.name)
def test_every_app_has_the_shared_commands(app):
    import importlib

    program = importlib.import_module(f"{app.package}.cli").app
    result = CliRunner().invoke(program, ["--help"], prog_name="x")
    assert result.exit_code == 0
    assert all(f" {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command):
    result = CliRunner().invoke(
        gossamer.build(), ["medseg", command, "--help"], prog_name="gossamer"
    )
    assert result.exit_code == 0
    assert f"Usage: gossamer medseg {command}" in result.stdout
    assert "--json" in result.stdout


def test_three_ways_to_start_are_one_program():
    from apps.medical_segmentation import cli

    inner = CliRunner().invoke(cli.app, ["evalute"], prog_name="gossamer-medseg")
    outer = call("medseg", "evalute")
    module = subprocess.run(
        [sys.executable, "-m", "apps.medical_segmentation", "evalute"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = "Error: No such command: 'evalute'. Did you mean 'evaluate'?\n"
    assert [inner.stderr, outer.stderr, module.stderr] == [said] * 3
    assert [inner.exit_code, outer.exit_code, module.returncode] == [2] * 3


def test_app_names_have_near_misses():
    result = call("medsge", "train")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: No such command: 'medsge'. Did you mean 'medseg'?\n"
    assert "gossamer medseg train" in call("train").stderr


def test_apps_lists_the_catalog():
    found = json.loads(call("apps", "--json").stdout)
    assert found["apps"][0] == {
        "app": "medseg",
        "command": "gossamer medseg",
        "summary": "medical image segmentation (2-D, 3-D)",
        "networks": ["mk_unet", "barlow_swin", "lightm_unet"],
    }
    listed = [name for row in found["apps"] for name in row["networks"]]
    assert sorted(listed + found["backbones"]) == sorted(SYSTEMS)
    shown = call("apps").stdout
    (line,) = (line for line in shown.splitlines() if "gossamer aqua" in line)
    assert line.split()[-2:] == ["the", "backbones"]  # it has no networks of its own
    assert "gossamer medseg" in shown and ", ".join(found["backbones"]) in shown


@pytest.mark.parametrize("status, code", [("ok", 0), ("warning", 0), ("missing", 1)])
def test_doctor_fails_when_something_required_is_missing(monkeypatch, status, code):
    findings = [Finding("Python", "ok", "3.11"), Finding("keras", status, "none", "pip install it")]
    monkeypatch.setattr("core.command_line.doctor.examine", lambda: findings)
    table = call("doctor")
    assert table.exit_code == code
    assert "keras: pip install it" in table.stdout
    found = json.loads(call("doctor", "--json").stdout)
    assert found["passed"] is (code == 0)
    assert found["findings"][1]["advice"] == "pip install it"


def test_version():
    result = call("--version")
    assert result.exit_code == 0
    assert "gossamer-keras" in result.stdout and "tensorflow 2." in result.stdout


@pytest.mark.parametrize(
    "closed, code", [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("| true", None)]
)
def test_a_closed_output_is_no_fault(closed, code):
    command = f"{sys.executable} -m apps apps {closed}"
    child = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert child.stderr == ""
    assert code is None or child.returncode == code
