"""Layer 6, by hand, cold: all keys of the configuration as a Markdown table and as JSON schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from kite_hft.configuring.keys import default_of, keys_of, words_of
from kite_hft.configuring.models.market import StrategySection
from kite_hft.configuring.models.promised import ALIAS, NOTE, UNCHECKED, extra_of
from kite_hft.configuring.profiles import PROFILES
from kite_hft.settings import Settings

BEGIN: Final = "<!-- keys: begin (kite-hft config schema --into docs/configuration.md) -->"
END: Final = "<!-- keys: end -->"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, for editors."""
    return {"$schema": DIALECT, "title": "kite_hft configuration", **Settings.model_json_schema()}


def markdown() -> str:
    """All keys by section: name, type, default, what it says."""
    groups: dict[str, list[str]] = {}
    rows = [(path, field, "") for path, field in keys_of(Settings)]
    rows += [(("strategies", name), field, "each: ") for name, field in StrategySection.model_fields.items()]
    for path, field, prefix in rows:
        if path == ("strategies",):
            continue
        section, key = path[0] if len(path) > 1 else "", ".".join(path[1:] or path)
        default = "required" if field.is_required() else _code(default_of(field))
        words = f"{prefix}{field.description or ''}".strip()
        extra = extra_of(field)
        if ALIAS in extra:
            default = ""
        if NOTE in extra:
            idle = "refused in mode live: nothing acts by it" if UNCHECKED in extra else "does nothing here"
            words = f"*{idle}: {extra[NOTE]}*"
        groups.setdefault(section, []).append(
            f"| `{key}` | {_cell(words_of(field.annotation))} | {_cell(default)} | {_cell(words)} |"
        )
    parts = []
    for section, lines in groups.items():
        title = f"### `{section}`" if section else "### Without a section"
        parts.append("\n".join([title, "", "| key | type | default | |", "|---|---|---|---|", *lines]))
    return "\n\n".join([*parts, _profiles()]) + "\n"


def _profiles() -> str:
    lines = ["### Profiles", "", "| profile | sets |", "|---|---|"]
    for name, data in PROFILES.items():
        keys = [f"`{s}.{k}: {_plain(v)}`" for s, rows in data.items() for k, v in rows.items()]
        lines.append(f"| `{name}` | {', '.join(keys)} |")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _code(value: Any) -> str:
    return "" if value in ("", None) or value == [] or value == {} else f"`{_plain(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_table(text: str) -> str:
    """A page with the table of today between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def write_into(page: Path) -> None:
    """Put the table of today into a page.

    Raises:
        OSError, ValueError: it cannot be read or written, or has no place for it.
    """
    page.write_text(with_table(page.read_text("utf-8")), "utf-8")
