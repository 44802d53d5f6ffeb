"""For all tests: their order, memory, and a schema for every document a command prints."""

import gc
import re
import sys

import pytest
from json_outputs import check_output
from typer.testing import CliRunner

from core.command_line.quiet import collect_seldom, load_tensorflow

# Files whose tests share only what belongs to the first parameter: a network, a notebook.
BY_PARAMETER = ("test_contract.py", "test_notebooks.py")


def pytest_collection_modifyitems(items):
    """Take the files of slow tests first, so that two workers end at about the same time.

    First of all those in parts, and each part as one, since what it shares is kept no longer.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    parts: dict[str, int] = {}
    for item in items:
        parts.setdefault(shared_part(item.nodeid), len(parts))

    def order(item):
        whole = item.path.name not in BY_PARAMETER
        return (item.path not in slow, whole, 0 if whole else parts[shared_part(item.nodeid)])

    items.sort(key=order)


def shared_part(test: str) -> str:
    """Return what one worker takes as a whole: a test's file, or a network's tests of it."""
    file, _, rest = test.partition("::")
    if not file.endswith(BY_PARAMETER):
        return file
    return f"{file}[{re.split('[]-]', rest.partition('[')[2])[0]}]"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let workers share a run by parts, where pytest-xdist would by files."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByParts(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return shared_part(nodeid)

    return ByParts(config, log)


@pytest.fixture(scope="session", autouse=True)
def tensorflow_is_loaded():
    load_tensorflow()
    collect_seldom()  # which that does where no test file loaded it before


@pytest.fixture(scope="module", autouse=True)
def graphs_are_freed():
    """Let go of the last file's networks, which refer to each other in circles.

    What is left then, TensorFlow keeps: looking through it again and again, as it grew, took a
    fifth of the suite's time.
    """
    sys.modules["keras"].backend.clear_session(free_memory=False)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def documents_fit_their_schemas():
    invoke = CliRunner.invoke

    def checked(self, app, args=None, **named):
        result = invoke(self, app, args, **named)
        if args is not None and not isinstance(args, str) and "--json" in args:
            check_output(app, list(args), result.stdout)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CliRunner, "invoke", checked)
        yield
