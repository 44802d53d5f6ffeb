"""Every document that a test has a command print is checked against the command's schema."""

import pytest
from json_outputs import check_output
from typer.testing import CliRunner


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
