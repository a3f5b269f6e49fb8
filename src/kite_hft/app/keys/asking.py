"""Layer 6, by hand, cold: how a verb gets values: from prompts of a terminal, or lines of standard input.

Never from arguments: those stand in the process list and in the shell's history.
"""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.password import NoPassword, as_bytes, require_good

STDIN_CHARACTERS_MAX: Final = 1 << 20
MASTER: Final = "master_password"
NEW_MASTER: Final = "new_master_password"
OLD_MASTER: Final = "old_master_password"
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]{0,39})=")


@dataclass(frozen=True, slots=True)
class Asking:
    """lines: NAME=VALUE as standard input gave them; None: a person sits at a terminal. unread: its other
    lines, by number: one of them may hold a secret."""

    lines: Mapping[str, str] | None = None
    unread: tuple[str, ...] = ()

    @property
    def person(self) -> bool:
        return self.lines is None

    def ask(self, name: str, text: str, *, hidden: bool = True) -> str:
        """A value without the blanks around it; "": none was given."""
        if self.lines is not None:
            return self.lines.get(name, "").strip()
        return (getpass.getpass(f"{text}: ") if hidden else input(f"{text}: ")).strip()

    def password(self, text: str, *, name: str = MASTER) -> Callable[[], str]:
        """Asks for a master password that there is."""
        if self.lines is not None:
            held = self.lines.get(name, "")
            return lambda: held
        return lambda: getpass.getpass(f"{text} (not shown): ")

    def new_password(self, text: str, *, name: str = MASTER) -> Callable[[], str]:
        """Asks for a new one, twice where a person types it.

        The callable raises NoPassword: too short, or the two differ.
        """
        if self.lines is not None:
            return self.password(text, name=name)

        def twice() -> str:
            first = getpass.getpass(f"{text} (not shown): ")
            if not first:
                return ""
            require_good(as_bytes(first))
            if getpass.getpass("once more: ") != first:
                raise NoPassword("the two were not the same; nothing was changed")
            return first

        return twice


def asking(value_of: str = "") -> Asking:
    """Prompts on a terminal, else all lines of standard input. value_of: a first line without a name is
    the value of this one.

    Raises:
        VaultError: standard input is no text, far too much of it, or gives a name twice.
    """
    if sys.stdin.isatty():
        return Asking()
    try:
        text = sys.stdin.read(STDIN_CHARACTERS_MAX + 1)
    except UnicodeDecodeError:
        raise VaultError("standard input is no text; lines NAME=VALUE are expected") from None
    if len(text) > STDIN_CHARACTERS_MAX:
        raise VaultError("standard input holds too much; lines NAME=VALUE are expected")
    lines = literal_lines(text)
    if value_of and value_of not in lines:
        named = tuple(f"{name}=" for name in (MASTER, NEW_MASTER, OLD_MASTER))
        bare = (line.strip() for line in text.splitlines() if not line.startswith(named))
        lines[value_of] = next((line for line in bare if line), "")
    return Asking(lines, () if value_of else tuple(unread_lines(text)))


def unread_lines(text: str) -> list[str]:
    """The lines that say something and are no NAME=VALUE, without what they say."""
    return [
        f"line {number} of standard input is no NAME=VALUE (without blanks before the =)"
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#") and _LINE.match(line) is None
    ]


def literal_lines(text: str) -> dict[str, str]:
    """NAME=VALUE of each line; the value is taken as it stands: quotes and # may be parts of a password.

    Raises:
        VaultError: a name stands twice: which of the two is meant is not known.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if (m := _LINE.match(line)) is None:
            continue
        if m.group(1) in found:
            raise VaultError(f"standard input gives {m.group(1)} twice: keep one of the lines")
        found[m.group(1)] = line[m.end() :]
    return found
