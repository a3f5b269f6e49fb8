"""Layer 6, by hand, cold: how a verb answers: lines for people, or with --json one object and nothing else.

With --json standard output has exactly one JSON object, also when the verb refuses: `{"ok": false, "error":
TEXT, "exit_code": N}`. What is said on the way goes to standard error then. Loads little.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

NOT_SO: Final = 1
"""Exit code: the thing asked for is not so, or was refused."""
USAGE: Final = 2
"""Exit code: command line or configuration."""
NOT_READY: Final = 3
"""Exit code: machine, session or list is not ready; try again when it is."""
FAILED: Final = 4
"""Exit code: a process failed, or this program has a fault."""
INTERRUPTED: Final = 130
"""Exit code: Ctrl-C."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text; keys are stable.")]


@dataclass(slots=True)
class _Answer:
    """How the running verb answers, and whether it has. refused: it has said why it does not."""

    as_json: bool = False
    told: bool = False
    refused: bool = False


_now: Final = _Answer()


def begin(words: Sequence[str] = ()) -> None:
    """A verb begins, with these words of the command line behind it; without any: it is over."""
    options = words[: words.index("--")] if "--" in words else words
    _now.as_json, _now.told, _now.refused = "--json" in options, False, False


def wanted() -> bool:
    """Whether the running verb answers with an object."""
    return _now.as_json


def print_json(data: Mapping[str, Any]) -> None:
    """The one JSON object on standard output."""
    print(json.dumps(data, indent=2, ensure_ascii=False), flush=True)
    _now.told = True


def say(text: str) -> None:
    """A line for people: on standard output, or beside it when that is for the object."""
    print(text, file=sys.stderr if _now.as_json else sys.stdout, flush=True)


def refuse(verb: str, text: object, code: int) -> typer.Exit:
    """What is wrong: a line on standard error, and the object where none was given. Raise the result."""
    print(f"kite-hft {verb}: {text}", file=sys.stderr)
    _now.refused = True
    return exit_with(str(text), code)


def broken_off() -> None:
    """Ctrl-C: said once, on a line of its own behind the prompt that nobody has answered."""
    if not _now.refused:
        print("\n" * sys.stderr.isatty() + "kite-hft: broken off", file=sys.stderr)
    exit_with("broken off", INTERRUPTED)


def exit_with(text: str, code: int, **more: Any) -> typer.Exit:
    """The same, where the line has been said already."""
    if _now.as_json and not _now.told:
        print_json({"ok": False, "error": text, "exit_code": code, **more})
    return typer.Exit(code)
