"""The walls of the house: who may import whom, where a thing is done, what must stay light.

Floors and circles are those that `tools/house.py` draws.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from apps.catalog import APPS

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("tensorflow", "keras", "tf_keras", "numpy", "cv2", "albumentations", "scipy", "matplotlib")
SHARED = 12  # lines of logic that no two places have in common
LONGEST = 400  # lines of a file; docs/architecture.md says why for those that have more

# What is done in one place: which calls, and who may make them.
DRAWING = {
    "applyColorMap", "arrowedLine", "circle", "drawContours", "ellipse", "fillPoly", "line",
    "polylines", "putText", "rectangle", "ImageDraw.Draw", "ImageFont.load_default",
}  # fmt: skip
WALKING = {"os.walk", "os.scandir", "os.listdir", "rglob"}
WRITING = {"write_text", "write_bytes", "imwrite", "VideoWriter", "TiffWriter", "save", "savez"}
MAY_WRITE = {
    "core.files": "the one writer",
    "core.command_line.program": "opens /dev/null for a standard output that is closed",
    # They fill the temporary file, or the folder aside, that core.files gives them.
    "core.training.state": "arrays of a checkpoint",
    "core.run_folder": "Keras saves a model",
    "core.export.report_pictures": "a picture in memory",
    "core.data.images": "a picture in memory",
    "apps.super_resolution.picture_writing": "pictures in strips",
    "core.data.video_writing": "OpenCV writes a video",
    "apps.person_reid.embeddings": "arrays of an index",
    "apps.person_reid.task": "an array in memory",
    "apps.bev_localization.maps.archive": "arrays of a map",
    "apps.person_reid.simulation": "thousands of drawings, in a folder aside",
    "apps.modulation_recognition.signals.shards": "arrays of a shard",
    "apps.person_reid.data.cuhk03_mat": "thousands of crops, in a folder aside",
    # They hand on to Keras, or to the state that is written atomically.
    "core.training.callbacks": "the state of a training",
    "core.compress.distill": "the student's own save",
}


def load_house():
    spec = importlib.util.spec_from_file_location("house", ROOT / "tools/house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOUSE = load_house()
SOURCES = HOUSE.sources()
module_name = HOUSE.module_name


@cache
def calls(path: Path) -> list[tuple[str, str, ast.Call]]:
    """Return (name, `owner.name`, call) of every call in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            dotted = ast.unparse(node.func)
            found.append((dotted.rpartition(".")[2], dotted, node))
    return found


def places(names: set[str]) -> dict[str, list[str]]:
    """Return module → the calls by such names (`name`, or `owner.name`) in it."""
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        for name, dotted, _ in calls(path):
            if name in names or dotted in names:
                found.setdefault(module_name(path), []).append(dotted)
    return found


# --- who imports whom -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_stay_inside_their_walls(path):
    module = module_name(path)
    for name in HOUSE.imports(path):
        root = name.split(".")[0]
        if module.startswith("core"):
            assert root != "apps", f"{module} imports {name}: core never imports apps"
        if module.startswith("core.layers") and root not in ("core", "__future__"):
            allowed = {"keras", "tensorflow", "numpy", *sys.stdlib_module_names}
            assert root in allowed, f"{module} imports {name}"
        if module.startswith("apps.") and name.startswith("apps."):
            own = ".".join(module.split(".")[:2])
            ours = name.startswith((own, "apps.catalog")) or module == "apps.__main__"
            assert ours, f"{module} imports {name}: apps never import each other"
        if root == "tensorflow_model_optimization":
            assert module == "core.compress.toolkit", f"{module} imports {name}"
        assert root not in ("tf_keras", "torch"), f"{module} imports {name}"
        assert not name.startswith("tensorflow.keras"), f"{module} imports {name}"
        mine, theirs = HOUSE.floor(module), HOUSE.floor(name)
        if mine is not None and theirs is not None:
            assert theirs <= mine, f"{module} imports {name}, a floor above"


def test_every_part_of_core_has_its_floor():
    modules = {module_name(path) for path in SOURCES if module_name(path).startswith("core.")}
    packages = {module_name(path.parent / "__init__.py") for path in SOURCES}
    assert {m for m in modules - packages if HOUSE.floor(m) is None} == set()


def test_no_modules_import_each_other_in_a_circle():
    assert HOUSE.circles(HOUSE.graph()) == []


def test_a_long_file_has_its_reason():
    reasons = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for path in SOURCES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        named = path.relative_to(ROOT).as_posix() in reasons
        assert lines <= LONGEST or named, f"{path} has {lines} lines"


def logic(path: Path) -> list[tuple[int, str]]:
    """Return (line number, code) of the lines in a file's functions, without their docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: dict[int, str] = {}
    lines = ast.unparse(tree).splitlines()  # one form, without comments
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            for statement in body:
                for number in range(statement.lineno, (statement.end_lineno or 0) + 1):
                    inside[number] = lines[number - 1].strip()
    return sorted(inside.items())


def test_no_two_places_share_twelve_lines_of_logic():
    seen: dict[tuple[str, ...], str] = {}
    shared = []
    for path in SOURCES:
        code = logic(path)
        for start in range(len(code) - SHARED + 1):
            run = tuple(line for _, line in code[start : start + SHARED])
            place = f"{path.relative_to(ROOT)}:{code[start][0]}"
            if seen.setdefault(run, place) != place:
                shared.append((seen[run], place))
    assert shared == []


# --- what is done in one place --------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_only_the_command_line_prints(path):
    module = module_name(path)
    if module.startswith("core.command_line") or module.endswith((".cli", "__main__")):
        return
    printing = [call.lineno for name, _, call in calls(path) if name == "print"]
    assert printing == [], f"{path}: prints in lines {printing}"


def test_one_module_draws():
    assert places(DRAWING).keys() == {"core.drawing"}


def test_one_module_walks_through_folders():
    """The writer looks whether a folder is empty."""
    assert places(WALKING).keys() == {"core.data.folders", "core.files"}


def test_one_module_opens_files_for_writing():
    found = set(places(WRITING))
    for path in SOURCES:
        for name, _, call in calls(path):
            mode = [a.value for a in call.args[:2] if isinstance(a, ast.Constant)]
            named = [k.value for k in call.keywords if k.arg == "mode"]
            mode += [one.value for one in named if isinstance(one, ast.Constant)]
            if name == "open" and any(set(str(one)) & set("wax+") == set(str(one)) - {"b", "t"}
                                      and set(str(one)) & set("wax+") for one in mode):  # fmt: skip
                found.add(module_name(path))
    assert found == set(MAY_WRITE)


def test_one_module_shows_progress_and_one_makes_tables():
    imported = {module_name(path): HOUSE.imports(path) for path in SOURCES}
    for library, owners in (
        ("rich.progress", {"core.command_line.progress"}),
        ("rich.table", {"core.command_line.tables"}),
        ("rich", {"core.command_line.progress", "core.command_line.tables"}),
        ("tqdm", set()),
    ):
        using = {
            module for module, names in imported.items()
            if any(name == library or name.startswith(f"{library}.") for name in names)
        }  # fmt: skip
        assert using == owners, library


# --- what stays light -----------------------------------------------------------------------------


def loaded(statement: str, names: tuple[str, ...], path: str = "") -> list[str]:
    """Return which of some modules a statement loads in a fresh Python."""
    script = f"import sys; {statement}; print(*sorted(set(sys.modules) & set({names!r})))"
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "module",
    ["core", "core.command_line.shared", "apps.catalog", "apps.__main__"]
    + [f"{app.package}.cli" for app in APPS.values()],
)
def test_light_imports_stay_light(module):
    """--help answers at once because nothing heavy is imported before a command runs."""
    assert loaded(f"import {module}", HEAVY) == []


@pytest.mark.parametrize("app", APPS.values(), ids=lambda app: app.name)
def test_importing_the_task_imports_no_tensorflow(app):
    assert loaded(f"import {app.package}.task", ("tensorflow", "cv2", "torch")) == []


def test_no_module_pulls_pytorch_in(tmp_path):
    """Nor Keras 2, which tfmot would put in the place of Keras 3 in the whole process."""
    for name in ("torch", "torchvision"):  # what is not installed could not be imported
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    every = "import importlib; " + "; ".join(
        f"importlib.import_module({module_name(path)!r})"
        for path in SOURCES
        if not path.name.startswith("__main__")
    )
    unwanted = ("torch", "torchvision", "tf_keras", "tensorflow_model_optimization", "open3d")
    assert loaded(every, unwanted, str(tmp_path)) == []


def test_torch_is_not_a_dependency():
    """A gigabyte that no user of a phone's network needs must not come in by accident."""
    from importlib.metadata import PackageNotFoundError, version

    for name in ("torch", "mlflow", "albumentationsx"):
        with pytest.raises(PackageNotFoundError):
            version(name)
