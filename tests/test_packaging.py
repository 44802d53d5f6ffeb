"""The wheel holds every package and every data file of core and apps, and starts every program."""

import importlib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from setuptools.config.setupcfg import read_configuration

from apps.catalog import APPS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def options():
    """What setuptools makes of setup.cfg; its `find:` looks through the tree."""
    return read_configuration(ROOT / "setup.cfg")["options"]


def owner(path: Path, packages: list[str]) -> str | None:
    """Return the innermost package that a file lies in."""
    parts = path.relative_to(ROOT).parts[:-1]
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    return next((name for name in reversed(names) if name in packages), None)


def test_every_file_is_shipped(options):
    packages, data = options["packages"], options["package_data"]
    for path in [*(ROOT / "core").rglob("*"), *(ROOT / "apps").rglob("*")]:
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        package = owner(path, packages)
        assert package is not None, f"{path} lies in no package; add an __init__.py"
        inside = path.relative_to(ROOT.joinpath(*package.split(".")))
        if path.suffix == ".py":
            assert len(inside.parts) == 1, f"{path} lies in no package; add an __init__.py"
        else:
            patterns = [pattern for pattern in data.get(package, ()) if shipped(inside, pattern)]
            assert patterns, f"setup.cfg: package_data of {package} leaves {inside} out"


def shipped(file: Path, pattern: str) -> bool:
    """Return whether a pattern of package_data takes a file; its "*" ends at a "/"."""
    parts = pattern.split("/")
    return len(parts) == len(file.parts) and all(map(fnmatch, file.parts, parts))


def test_no_pattern_is_left_over(options):
    for package, patterns in options["package_data"].items():
        folder = ROOT.joinpath(*package.split("."))
        for pattern in patterns:
            assert any(folder.glob(pattern)), f"setup.cfg: {package} ships no {pattern}"


def test_every_app_has_its_program(options):
    scripts = dict(line.split(" = ") for line in options["entry_points"]["console_scripts"])
    wanted = {f"gossamer-{name}": f"{app.package}.cli:main" for name, app in APPS.items()}
    assert scripts == {"gossamer": "apps.__main__:main", **wanted}
    for target in scripts.values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))
