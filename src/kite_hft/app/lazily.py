"""Layer 6, by hand, cold: a command whose verbs are files that load when they are called.

`kite-hft --help`, completion of a verb's name, and every other verb load nothing of a verb but its name and
one line. Loads little.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from kite_hft.app.answering import FAILED, INTERRUPTED, NOT_READY, NOT_SO, USAGE, begin, broken_off, exit_with
from kite_hft.app.output import Unwritten, give_up_output, lost_output
from kite_hft.loading import loading

MARKUP: Final = "rich"
WrongLine: Final = typer.BadParameter.__mro__[2]
"""What typer raises of a command line; BadParameter is one kind of it."""


class Verb(NamedTuple):
    """name: as it is typed. place: MODULE:FUNCTION (or a Typer with verbs of its own) below kite_hft.app.
    line: what it does, the first sentence of its help."""

    name: str
    place: str
    line: str
    panel: str = ""


def load(verb: Verb) -> Any:
    """The verb's own command."""
    module, _, name = verb.place.partition(":")
    with loading():
        found = getattr(import_module(f"kite_hft.app.{module}"), name)
    if isinstance(found, typer.Typer):
        join_all(found)
        command: Any = get_command(found)
    else:
        alone = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
        alone.command(verb.name, help=joined(found.__doc__ or ""))(found)
        command = get_command(alone)
    command.name, command.rich_help_panel = verb.name, verb.panel
    return command


def join_all(group: typer.Typer) -> None:
    """The same for the verbs of a group."""
    for row in group.registered_commands:
        row.help = joined(row.help or getattr(row.callback, "__doc__", "") or "")


def joined(text: str) -> str:
    """Help as paragraphs that wrap where the terminal does, not where the source does.

    A paragraph with an indented line or a list keeps its lines.
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if _has_form(p) else " ".join(p.split("\n")) for p in paragraphs)


def _has_form(paragraph: str) -> bool:
    return any(line.startswith((" ", "- ", "* ")) for line in paragraph.split("\n"))


def run_to_end(main: Callable[[], Any]) -> int:
    """Run a command; its exit code. What goes wrong is said as text, and with --json as the object.

    A reader that has seen enough (`| head`) is no failure; an answer that could not be written is one.
    """
    code = 0
    try:
        code = _ended(main)
        sys.stdout.flush()
    except (BrokenPipeError, Unwritten):
        give_up_output()
    if why := lost_output():
        give_up_output()
        print(f"kite-hft: the answer could not be written to standard output: {why}", file=sys.stderr)
        return NOT_READY
    return code


def _ended(main: Callable[[], Any]) -> int:
    try:
        code = main()
        if code == INTERRUPTED:
            broken_off()
    except typer.Abort as abort:  # at a prompt: Ctrl-C, a "no", or nobody is there to answer
        pressed = isinstance(abort.__context__, KeyboardInterrupt)
        code = _unsaid("broken off; nothing was done", INTERRUPTED if pressed else NOT_SO)
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        code = 0  # so end typer and rich when the reader has left
    except (BrokenPipeError, Unwritten):
        raise
    except Exception as error:
        found: Any = error
        if isinstance(error, WrongLine):  # what is wrong with the command line
            from typer.rich_utils import rich_format_error  # only now: it loads much

            rich_format_error(found)
            return exit_with(found.format_message(), USAGE).exit_code
        if os.environ.get("KITE_DEBUG"):
            traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        code = _unsaid(f"a fault of this program: {text} (KITE_DEBUG=1 shows where)", FAILED)
    return code if isinstance(code, int) else 0


def _unsaid(text: str, code: int) -> int:
    print(f"kite-hft: {text}", file=sys.stderr)
    return exit_with(text, code).exit_code


def group_of(table: tuple[Verb, ...], read: Callable[[Verb], Any] = load) -> type[TyperGroup]:
    """A class of commands whose verbs are those of the table."""

    class Verbs(TyperGroup):
        """Shows the table; the verb that is called is loaded."""

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands.update(
                {v.name: TyperCommand(v.name, help=v.line, rich_help_panel=v.panel) for v in table}
            )

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            begin(args)
            name, command, rest = super().resolve_command(ctx, args)
            verb = next((row for row in table if row.name == name), None)
            return name, command if verb is None else read(verb), rest

        def main(
            self,
            args: Sequence[str] | None = None,
            prog_name: str | None = None,
            complete_var: str | None = None,
            standalone_mode: bool = True,
            windows_expand_args: bool = True,
            **extra: Any,
        ) -> Any:
            inner = super().main

            def run() -> Any:
                return inner(args, prog_name, complete_var, False, windows_expand_args, **extra)

            if not standalone_mode:
                return run()
            try:
                sys.exit(run_to_end(run))
            finally:
                begin()

    return Verbs
