"""Every tutorial runs from top to bottom, quickly."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# For a few steps of training it is quicker to run a graph step by step than to trace it.
UNTRACED = "import tensorflow as tf; tf.config.run_functions_eagerly(True)"
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, monkeypatch):
    import jupytext
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    monkeypatch.setenv("FAST", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = jupytext.read(path)
    notebook.cells.insert(0, new_code_cell(UNTRACED))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
