"""The walls of the house: who may import whom, who may print, what must stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("apps/**/*.py")])
HEAVY = ("tensorflow", "keras", "tf_keras", "numpy", "cv2", "albumentations", "scipy", "matplotlib")

# Floors of core, from the ground; an import goes down or stays on its floor.
FLOORS = (
    ("core.errors", "core.files"),
    ("core.model_card", "core.network", "core.layers", "core.checkpoints"),
    ("core.compress",),
    ("core.data",),
    ("core.task", "core.run_folder", "core.training.config"),
    ("core.engines", "core.evaluate", "core.training"),
    ("core.export", "core.explain"),
    ("core.command_line",),
)
# An engine checks a file before the interpreter sees it, and reads its card; the analysis of
# kernels reads files too.
LOOKING_UP = {
    ("core.engines", "core.export.inspect"),
    ("core.engines", "core.export.metadata"),
    ("core.compress.analysis", "core.export"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Return the modules a file imports anywhere, type checking apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def floor(module: str) -> int | None:
    for level in range(len(FLOORS) - 1, -1, -1):
        if any(module == name or module.startswith(f"{name}.") for name in FLOORS[level]):
            exact = [n for names in FLOORS for n in names if module.startswith(n)]
            longest = max(exact, key=len)
            return next(i for i, names in enumerate(FLOORS) if longest in names)
    return None


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_stay_inside_their_walls(path):
    module = module_name(path)
    for name in imports(path):
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
        mine, theirs = floor(module), floor(name)
        if mine is not None and theirs is not None:
            looked_up = any(module == a and name.startswith(b) for a, b in LOOKING_UP)
            assert theirs <= mine or looked_up, f"{module} imports {name}, a floor above"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_only_the_command_line_prints(path):
    module = module_name(path)
    if module.startswith("core.command_line") or module.endswith((".cli", "__main__")):
        return
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    printing = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert printing == [], f"{path}: prints in lines {printing}"


@pytest.mark.parametrize(
    "statement",
    ["import apps.catalog", "import apps.__main__", "import apps.medical_segmentation.cli"],
)
def test_light_imports_stay_light(statement):
    """--help answers at once because nothing heavy is imported before a command runs."""
    script = f"import sys; {statement}; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_the_task_imports_no_tensorflow():
    script = (
        "import sys; import apps.medical_segmentation.task; "
        "print('tensorflow' in sys.modules, 'cv2' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "False"]


def test_torch_is_not_a_dependency():
    """A gigabyte that no user of a phone's network needs must not come in by accident."""
    from importlib.metadata import PackageNotFoundError, version

    for name in ("torch", "mlflow", "albumentationsx"):
        with pytest.raises(PackageNotFoundError):
            version(name)
