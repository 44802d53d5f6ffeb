"""For all tests: their order, memory, and a schema for every document a command prints."""

import gc
import sys

import pytest
from json_outputs import check_output
from typer.testing import CliRunner

from core.command_line.quiet import collect_seldom, load_tensorflow


def pytest_collection_modifyitems(items):
    """Take the files of slow tests first, so that two workers end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def tensorflow_is_loaded():
    load_tensorflow()
    collect_seldom()  # which that does where no test file loaded it before


@pytest.fixture(scope="module", autouse=True)
def graphs_are_freed():
    """Let go of the last file's networks, which refer to each other in circles."""
    sys.modules["keras"].backend.clear_session()
    gc.collect()


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
