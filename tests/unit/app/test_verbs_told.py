"""A line that a text tells to type is one that kite-hft takes: its verb is there, and so are its options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from kite_hft.app.command_page import commands

SOURCE: Final = Path("src/kite_hft")
TOLD: Final = re.compile(r"kite-hft ([a-z][a-z-]*)([^\"\n`;,()]*)")
OPTION: Final = re.compile(r"--[a-z][a-z-]*")
OPTIONS: Final = {
    words: {name for row in command.params for name in (*row.opts, *row.secondary_opts)}
    for _, words, command in commands()
}
GROUPS: Final = {words.partition(" ")[0] for words in OPTIONS if " " in words}


def wrong(text: str) -> list[str]:
    """What is told in a source text and cannot be typed."""
    found = []
    whole = re.sub(r'"\s*\n\s*f?"', "", text)  # strings that go on in the next line
    for verb, rest in TOLD.findall(whole):
        words = rest.split()
        name = f"{verb} {words[0]}" if verb in GROUPS and words and words[0].isalpha() else verb
        if name in GROUPS:
            continue
        if name not in OPTIONS:
            found.append(f"kite-hft {name}: no such verb")
            continue
        asked = {match[0] for word in words if (match := OPTION.match(word))}
        found += [f"kite-hft {name} {option}: no such option" for option in sorted(asked - OPTIONS[name])]
    return found


def test_every_line_that_is_told_can_be_typed() -> None:
    found = {str(path): wrong(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    assert {path: rows for path, rows in found.items() if rows} == {}


def test_a_line_that_cannot_be_typed_is_found() -> None:
    assert wrong('"see kite-hft instruments "\n    f"nowhere --config {x}"') == [
        "kite-hft instruments nowhere: no such verb"
    ]
    assert wrong("`kite-hft doctor --prove-it`") == ["kite-hft doctor --prove-it: no such option"]
    assert wrong("kite-hft fly") == ["kite-hft fly: no such verb"]
    assert wrong("kite-hft instruments find x; kite-hft doctor --prove-ip") == []
