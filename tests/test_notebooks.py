"""Every tutorial runs from top to bottom, quickly."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIRST = """
import tensorflow as tf
from core.command_line.quiet import collect_seldom
collect_seldom()
"""
# For a few steps of training it is quicker to run a graph step by step than to trace it.
UNTRACED = """
tf.config.run_functions_eagerly(True)
{}
tf.config.run_functions_eagerly(False)
"""
TRAINS = re.compile(r"\b(train|run_chain)\(")
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
    for cell in notebook.cells:
        if cell.cell_type == "code" and TRAINS.search(cell.source):
            cell.source = UNTRACED.format(cell.source)
    notebook.cells.insert(0, new_code_cell(FIRST))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
