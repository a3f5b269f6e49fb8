"""Layer 6, by hand, cold: the tables of docs/commands.md.

`python -m kite_hft.app.command_page docs/commands.md` writes them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kite_hft.app.lazily import load
from kite_hft.app.verbs import VERBS

BEGIN: Final = "<!-- verbs: begin (python -m kite_hft.app.command_page docs/commands.md) -->"
END: Final = "<!-- verbs: end -->"
CODES: Final = re.compile(r"Exit codes: (.*?)(?:\n\n|$)", re.DOTALL)


def commands() -> Iterator[tuple[str, str, Any]]:
    """(panel, words as they are typed, command) of every verb, and of every verb of a group."""
    for verb in VERBS:
        yield from _leaves(verb.panel, verb.name, load(verb))


def _leaves(panel: str, words: str, command: Any) -> Iterator[tuple[str, str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield panel, words, command
        return
    for name, one in inner.items():
        yield from _leaves(panel, f"{words} {name}", one)


def exit_codes(command: Any) -> dict[int, str]:
    """What a verb's help says of its exit codes.

    Raises:
        ValueError: it says nothing, or not in the order of the numbers.
    """
    found = CODES.search(command.help or "")
    if found is None:
        raise ValueError(f"{command.name}: its help has no line 'Exit codes: 0 ...'")
    parts = re.split(r"(?:^|, )(\d+) ", found[1].rstrip("."))[1:]
    rows = {int(code): " ".join(text.split()) for code, text in zip(parts[::2], parts[1::2], strict=True)}
    if list(rows) != sorted(rows):
        raise ValueError(f"{command.name}: exit codes out of order: {found[1]}")
    return rows


def tables() -> str:
    """A table of each panel."""
    lines: list[str] = []
    panels = dict.fromkeys(verb.panel for verb in VERBS)
    rows = list(commands())
    for panel in panels:
        lines += [f"### {panel}", "", "| `kite-hft ...` | what it does | exit codes |", "|---|---|---|"]
        for of, words, command in rows:
            if of == panel:
                codes = "; ".join(f"{code} {text}" for code, text in exit_codes(command).items())
                line = command.help.split("\n\n")[0].rstrip(".")
                lines.append(f"| `{words}` | {line} | {codes} |".replace("|`", "| `"))
        lines.append("")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with today's tables.

    Raises:
        ValueError: it has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(written(Path(name).read_text("utf-8")), "utf-8")
