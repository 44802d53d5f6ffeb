"""Data sets of empty files: an index opens none."""

from pathlib import Path


def lay(root: Path, *names: str) -> Path:
    """Make empty files: an index opens none."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def pairs(index):
    """Return {id: (image name, mask names)}."""
    return {s.id: (s.inputs[0].name, *(target.name for target in s.targets)) for s in index.samples}
