"""`--json`: one document, on standard output, of the form that its schema says.

`tests/conftest.py` checks every document that any test has a command print.
"""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import typer
from json_outputs import check_output, validator

from apps.catalog import APPS
from core.command_line.schemas import schema_name, schemas

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ["", *(app.package for app in APPS.values())]


def commands():
    """Yield (package, what a user types, command) of every command of the suite."""
    from apps.__main__ import build

    for name, command in typer.main.get_command(build()).commands.items():
        for word, one in getattr(command, "commands", {"": command}).items():
            yield APPS[name].package if name in APPS else "", f"{name} {word}".strip(), one


@pytest.mark.parametrize(
    "package, command", [pytest.param(p, c, id=name) for p, name, c in commands()]
)
def test_every_command_prints_json_of_a_schema(package, command):
    assert any("--json" in parameter.opts for parameter in command.params)
    assert schema_name(command) in schemas(package)


def test_no_schema_is_left_over():
    used = {(package, schema_name(command)) for package, _, command in commands()}
    for package in PACKAGES:
        names = {name for p, name in used if not package or p == package}
        own = set(schemas(package)) - (set(schemas()) if package else set())
        assert own - {"common", "scores"} <= names, package


def inner(schema):
    """Yield every schema in a schema."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from inner(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from inner(value)


@pytest.mark.parametrize("package", PACKAGES)
def test_schemas_are_schemas_and_say_what_every_key_means(package):
    for name, schema in schemas(package).items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:gossamer:{name}" and schema["title"] == name
        for part in inner(schema):
            keys = part.get("properties", {}) if part.get("type") == "object" else {}
            for key, value in keys.items():
                assert value.get("description") or "$ref" in value or value == {}, f"{name}: {key}"
                assert value.get("unit") or not key.endswith(("_ms", "_bytes")), f"{name}: {key}"
            if keys and "$defs" not in part and part.get("title") is None and name != "scores":
                assert part["additionalProperties"] is False, f"{name}: {list(keys)}"


def test_a_document_that_differs_is_noticed():
    """The check itself: it would notice a key too many, a wrong type and a bare NaN."""
    from core.command_line.shared import bind

    program = bind("toy", "a toy", "small_task:TASK")
    page = {"run": "runs/a", "report": "runs/a/report.html"}
    check_output(program, ["report", "--json"], json.dumps(page))
    for wrong in ({**page, "more": 1}, {"run": "runs/a"}, {**page, "run": None}):
        with pytest.raises(AssertionError, match="report --json differs from its schema"):
            check_output(program, ["report", "--json"], json.dumps(wrong))
    with pytest.raises(AssertionError, match="NaN is not JSON"):
        check_output(program, ["report", "--json"], '{"run": NaN}')


def test_metrics_are_those_an_app_says():
    check = validator("apps.super_resolution", "evaluate")
    document = {
        "source": "run", "data": "sample", "format": "folder", "split": "test", "samples": 1,
        "metrics": {"psnr": None}, "protocol": "", "per_sample": [{"id": "a", "psnr": 31.5}],
    }  # fmt: skip
    assert check.is_valid(document)
    assert not check.is_valid({**document, "metrics": {"psnr": 31.5, "bicubic psnr": 30.1}})


def test_an_error_prints_no_document(toy, toy_run, tmp_path):
    for arguments in (
        ["evaluate", tmp_path / "nowhere"],
        ["evaluate", toy_run, "--dta", "sample"],
        ["report", tmp_path],
        ["verify", tmp_path / "nowhere.tflite"],
    ):
        result = toy(*arguments, "--json")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


@pytest.mark.slow
def test_standard_output_holds_the_document_alone(toy_data):
    """Progress, defaults and the chatter of libraries go to standard error."""
    code = (
        "import sys; sys.path.insert(0, 'tests/core/command_line')\n"
        "from core.command_line.shared import bind\n"
        "bind('toy', 'a toy', 'small_task:TASK')(sys.argv[1:])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, "data", str(toy_data), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(child.stdout)["samples"] == 11
