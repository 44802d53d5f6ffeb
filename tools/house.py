"""Draw the house: which part of the code stands on which floor, and what imports what.

    .venv/bin/python tools/house.py docs/images/house.png

`tests/test_walls.py` keeps the walls that are drawn here.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# From the ground; an import goes down, or stays on its floor without going round in a circle.
FLOORS = (
    ("ground", ("core.errors", "core.files", "core.documents", "core.drawing", "core.tiling")),
    ("networks", ("core.model_card", "core.network", "core.layers", "core.checkpoints")),
    ("files of networks", ("core.tflite",)),
    ("compression", ("core.compress",)),
    ("backbones", ("core.backbones", "core.finetuning")),
    ("data", ("core.data",)),
    (
        "what an app tells",
        (
            "core.task",
            "core.task_training",
            "core.config",
            "core.schedules",
            "core.run_folder",
            "core.history",
            "core.identity",
            "core.classification",
        ),
    ),
    ("runs", ("core.engines", "core.evaluate", "core.training")),
    ("what leaves", ("core.export", "core.explain")),
    ("commands", ("core.command_line",)),
)
INK, PAPER, SHADES = "#22313f", "#ffffff", ("#dfe7ee", "#cfdae4")


def sources() -> list[Path]:
    """Return every file of core and apps."""
    return sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("apps/**/*.py")])


def module_name(path: Path) -> str:
    """Return the dotted name a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Return what a file imports anywhere, `module.name` each; for type checking only apart."""
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


def graph() -> dict[str, set[str]]:
    """Return module → the modules of the house that it imports."""
    names = {module_name(path): path for path in sources()}
    arrows: dict[str, set[str]] = {}
    for module, path in names.items():
        arrows[module] = set()
        for name in imports(path):
            while name and name not in names:
                name = name.rpartition(".")[0]
            if name and name != module:
                arrows[module].add(name)
    return arrows


def floor(module: str) -> int | None:
    """Return a module's floor in `FLOORS`; None for apps and for the packages themselves."""
    for level, (_, parts) in enumerate(FLOORS):
        if any(module == part or module.startswith(f"{part}.") for part in parts):
            return level
    return None


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle (R. Tarjan, 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(arrows[module]):
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(arrows):
        if module not in order:
            visit(module)
    return found


def rooms() -> Iterator[tuple[str, int, str]]:
    """Yield (name, floor, what it holds) of every part of core and every app."""
    lines: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for path in sources():
        room = _room(module_name(path))
        files[room] += 1
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
    for room in files:
        level = floor(room) if room.startswith("core") else len(FLOORS)
        if level is not None and room not in ("core", "apps", "apps.__main__", "apps.catalog"):
            count = f"{files[room]} files, " if files[room] > 1 else ""
            yield room, level, f"{count}{lines[room]:,} lines"


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def draw(out: Path) -> None:
    """Write the picture as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    by_floor: dict[int, list[tuple[str, str]]] = {}
    for room, level, text in rooms():
        by_floor.setdefault(level, []).append((room, text))
    figure, axes = pyplot.subplots(figsize=(11, 1.15 * len(by_floor)), dpi=110)
    titles = [title for title, _ in FLOORS] + ["apps"]
    place = {}
    for level, title in enumerate(titles):
        axes.axhspan(level, level + 1, color=SHADES[level % 2], linewidth=0)
        axes.text(0.012, level + 0.5, title, va="center", color=INK, fontsize=10)
        row = by_floor.get(level, [])
        for number, (room, text) in enumerate(row):
            x = 0.2 + 0.8 * (number + 0.5) / len(row)
            place[room] = (x, level + 0.5)
            width = min(0.19, 0.76 / len(row))
            box = FancyBboxPatch(
                (x - width / 2, level + 0.26), width, 0.48, zorder=3,
                boxstyle="round,pad=0,rounding_size=0.01", facecolor=PAPER, edgecolor=INK,
            )  # fmt: skip
            axes.add_patch(box)
            name = room.split(".")[1]
            size = min(9, 1200 * width / len(name))  # so that it stays within its room
            axes.text(x, level + 0.57, name, ha="center", va="center", fontsize=size, zorder=4)
            axes.text(x, level + 0.39, text, ha="center", va="center", fontsize=7, zorder=4)
    counts: Counter[tuple[str, str]] = Counter()
    for module, others in graph().items():
        for other in others:
            counts[_room(module), _room(other)] += 1
    for (a, b), count in counts.items():
        if a in place and b in place and a != b and b not in FLOORS[0][1]:
            (xa, ya), (xb, yb) = place[a], place[b]
            arrow = FancyArrowPatch(
                (xa, ya - 0.24), (xb, yb + 0.24), arrowstyle="-|>", mutation_scale=7, alpha=0.45,
                linewidth=0.4 + 0.25 * min(count, 8), color=INK, zorder=2,
                connectionstyle="arc3,rad=0.06",
            )  # fmt: skip
            axes.add_patch(arrow)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, len(titles))
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    figure.savefig(out)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
