import io
import subprocess
import sys

from rich.console import Console

from core.command_line.progress import track


def test_loading_the_libraries_says_nothing_and_later_messages_are_heard():
    code = (
        "import os\n"
        "from core.command_line.quiet import load_litert, load_tensorflow, tiny_tflite\n"
        "load_tensorflow()\n"
        "load_litert()\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "Interpreter(model_content=tiny_tflite()).allocate_tensors()\n"
        "os.write(2, b'a real message')\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (child.stdout, child.stderr) == ("", "a real message")


def test_a_bar_is_shown_on_a_terminal_only():
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
        with track(3, "evaluating", console) as advance:
            advance(2)
            advance(1)
        shown = console.file.getvalue()
        assert ("evaluating" in shown and "3/3" in shown) if terminal else shown == ""
