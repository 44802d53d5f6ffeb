"""How every command of the suite starts and ends: one place for errors, exit codes and Ctrl-C.

0 done, 1 a check did not hold or some of several inputs failed, 2 wrong use or something the user
has to mend, 130 stopped by the keyboard, 141 the reader of the output has gone. A failure is one
sentence on standard error; `GOSSAMER_TRACEBACK=1` adds the traceback. docs/json.md says the same.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from core.command_line.quiet import set_environment
from core.command_line.tables import complain
from core.errors import CheckFailed, UserError, near_miss

if TYPE_CHECKING:
    from core.task import Task

# Options that take several numbers, as in `--input-size 256 192`.
_SEVERAL = ("--input-size", "--threads")
_STOPPED = "stopped"
_PYDANTIC = {"valid integer": "pass a whole number", "valid number": "pass a number"}


@dataclass(frozen=True)
class Binding:
    """The app that the shared commands of a program work for.

    Attributes:
        name: The app's name on the command line.
        task: Where its task stands, as "module:attribute"; imported when a command needs it.
    """

    name: str
    task: str

    def load(self) -> Task:
        """Return the task."""
        set_environment()
        module, attribute = self.task.split(":")
        return getattr(importlib.import_module(module), attribute)


class Command(TyperCommand):
    """A command that takes `--option 1 2` and says how to go on after Ctrl-C."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, after joining several numbers behind one option to one value."""
        return super().parse_args(ctx, join_numbers(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(file=sys.stderr)
            complain(ctx.meta.get(_STOPPED, "by the keyboard."), label="Stopped")
            raise typer.Exit(130) from None


class Group(TyperGroup):
    """A program or an app's group of commands; as a program it handles every error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; without any argument show the help."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any):
        """Return `--help` with a default that Typer need not convert (it would load pydantic)."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Parse the command line, which may print the help."""
        with _while_it_is_read():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen."""
        with _while_it_is_read():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help: groups (the apps) first."""
        return sorted(self.commands, key=lambda name: not isinstance(self.commands[name], Group))

    def resolve_command(self, ctx: Any, args: list[str]):
        """Return the command that `args` names, or say which one may be meant."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            owners = [g for g, c in self.commands.items() if name in getattr(c, "commands", {})]
            if owners:
                hint = f" It is a command of an app: {ctx.command_path} {owners[0]} {name}"
            else:
                hint = near_miss(name, self.commands)
            raise UserError(f"No such command: '{name}'.{hint}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program and exit with its code; no exception leaves it."""
        set_environment()
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # of libraries, to programmers
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # started with a closed one (>&-)
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (open to the end)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a terminal of another encoding is no error
                stream.reconfigure(errors="replace")
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:
            try:
                code = report(error)
            except BrokenPipeError:
                code = _leave_silently()
        sys.exit(code or 0)


def new_app(summary: str) -> typer.Typer:
    """Return an empty Typer app with the suite's behaviour."""
    return typer.Typer(
        cls=Group,
        help=summary,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def task_of(ctx: typer.Context) -> Task:
    """Return the task the running command is bound to."""
    return ctx.obj.load()


def program_name(ctx: typer.Context) -> str:
    """Return what the user typed before the command: "gossamer medseg"."""
    return "" if ctx.parent is None else ctx.parent.command_path


def when_stopped(ctx: typer.Context, sentence: str) -> None:
    """Set what is said after Ctrl-C."""
    ctx.meta[_STOPPED] = sentence


@contextmanager
def _while_it_is_read() -> Iterator[None]:
    """End the program when the reader of its output, such as `head`, has enough."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(_leave_silently()) from None
    except SystemExit as stop:  # by which Rich, that prints the help, says the same
        if isinstance(stop.__context__, BrokenPipeError):
            raise typer.Exit(_leave_silently()) from None
        raise


def _leave_silently() -> int:
    """Send what is still to be printed to nowhere; return what a shell says of a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return 141


def join_numbers(args: Sequence[str]) -> list[str]:
    """Return arguments in which several numbers behind one option are one: "256,192"."""
    joined, rest = [], list(args)
    while rest:
        joined.append(rest.pop(0))
        if joined[-1] == "--":
            break
        if joined[-1] in _SEVERAL:
            numbers = []
            while rest and rest[0].isdecimal():
                numbers.append(rest.pop(0))
            if numbers:
                joined.append(",".join(numbers))
    return joined + rest


def report(error: Exception) -> int:
    """Print an exception as one sentence on standard error and return the exit code."""
    if os.environ.get("GOSSAMER_TRACEBACK") and not isinstance(error, typer.TyperException):
        traceback.print_exception(error)
    if isinstance(error, CheckFailed):
        complain(str(error), label="Failed")
        return 1
    complain(sentence(error))
    return 2


def sentence(error: Exception) -> str:
    """Return what an exception says to a user."""
    if isinstance(error, UserError | CheckFailed):
        return str(error)
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or "Insufficient memory" in str(error)  # OpenCV's
    ):
        return "The memory is used up; use a smaller --batch or --input-size."
    if isinstance(error, ModuleNotFoundError):
        return f"The package '{error.name}' is not installed; 'gossamer doctor' says what to do."
    if isinstance(error, OSError) and error.errno is not None:
        return _disk(error)
    first = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
    return (
        f"Unexpected {type(error).__name__}: {first[:300]} (this is a fault of the program, not "
        "yours; run the command again with GOSSAMER_TRACEBACK=1 for details to report)."
    )


def _disk(error: OSError) -> str:
    """Return a sentence about a file that could not be read or written."""
    advice = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "the disk quota is used up; free some space",
        errno.EROFS: "the file system is read-only; choose another output folder",
        errno.EACCES: "permission denied; check who may read and write it",
        errno.EPERM: "permission denied; check who may read and write it",
        errno.ENOENT: "no such file or folder; check the path",
        errno.EMFILE: "too many open files; raise the limit (ulimit -n) or use fewer --workers",
    }.get(error.errno or 0, (error.strerror or "input/output error").lower())
    return f"{error.filename or 'A file'}: {advice}."


def _usage(error: typer.TyperException) -> str:
    """Return the sentence of a wrong option, argument or value."""
    ctx = getattr(error, "ctx", None)
    name = getattr(error, "option_name", None)
    message = error.format_message()
    if ctx is None:
        return message
    if message.startswith("No such option"):
        known = [o for p in ctx.command.params for o in p.opts if o.startswith("--")]
        close = difflib.get_close_matches(name, [*known, "--help"], n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]}?" if close else f"See: {ctx.command_path} --help"
        return f"no such option: {name}. {hint}"
    cause = error.__cause__
    if cause is not None and hasattr(cause, "errors"):
        wrong = cause.errors()[0]
        if "ge" in wrong.get("ctx", {}):
            shown = getattr(getattr(error, "param", None), "opts", [name])[0]
            return f"{shown} is {wrong['input']}; it must be {wrong['ctx']['ge']} or more."
    for part, advice in _PYDANTIC.items():
        if part in message:
            message = f"{message.split(': ')[0]}: {advice}"
    return f"{' '.join(message.split()).rstrip('.')}. See: {ctx.command_path} --help"
