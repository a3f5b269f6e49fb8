"""Compares a JSON answer with the broker's official mock data: names, kinds, formats of text.

Values differ, shapes must not. Of a mock's list all rows are taken together: a name that stands in
any row is known, a kind that occurs in any row is allowed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FORMATS = {
    "stamp": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(r"\d\d:\d\d:\d\d"),
    "zoned": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0530"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "number": re.compile(r"\d+"),
}
MAP_KEY = re.compile(r"[A-Z]+:.*|\d\d-\d\d")
"""Names that are data (instruments, days of a year), not fields."""


def mock(data_dir: Path, name: str) -> Any:
    """The `data` of one official mock response."""
    return json.loads((data_dir / "kite" / name).read_text())["data"]


def kind(value: Any) -> str:
    """JSON's kinds; whole and broken numbers are one."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "text", list: "list", dict: "object", type(None): "null"}[type(value)]


def differences(
    ours: Any, theirs: list[Any], optional: frozenset[str] = frozenset(), path: str = ""
) -> list[str]:
    """What is wrong with `ours` beside the examples `theirs`; names in `optional` may be missing."""
    kinds = {kind(example) for example in theirs}
    own = kind(ours)
    if own not in kinds and kinds != {"null"} and not (own == "null" and path in optional):
        return [f"{path or 'data'}: {own}, not {' or '.join(sorted(kinds))}: {ours!r}"]
    same = [example for example in theirs if kind(example) == own]
    if own == "object":
        return _objects(ours, same, optional, path)
    if own == "list":
        return _lists(ours, same, optional, path)
    if own == "text" and ours:
        texts = [example for example in same if example]
        for name, form in FORMATS.items():
            if texts and all(form.fullmatch(text) for text in texts) and not form.fullmatch(ours):
                return [f"{path}: {ours!r} is no {name} like {texts[0]!r}"]
    return []


def _objects(ours: dict[str, Any], theirs: list[Any], optional: frozenset[str], path: str) -> list[str]:
    known = {name for example in theirs for name in example}
    if not known:
        return []
    if all(MAP_KEY.fullmatch(name) for name in known):  # any key, one shape
        values = [value for example in theirs for value in example.values()]
        return [
            fault for key, row in ours.items() for fault in differences(row, values, optional, f"{path}*")
        ]
    wrong = [f"{path}.{name}: unknown name" for name in set(ours) - known]
    wrong += [f"{path}.{name}: missing" for name in known - set(ours) if f"{path}.{name}" not in optional]
    for name in set(ours) & known:
        examples = [example[name] for example in theirs if name in example]
        wrong += differences(ours[name], examples, optional, f"{path}.{name}")
    return wrong


def _lists(ours: list[Any], theirs: list[Any], optional: frozenset[str], path: str) -> list[str]:
    examples = [item for example in theirs for item in example]
    if not examples:
        return []
    if isinstance(examples[0], list):  # rows of columns, as candles are
        wrong = [f"{path}[]: {len(row)} columns" for row in ours if len(row) != len(examples[0])]
        for row in ours[:50]:
            for i, value in enumerate(row[: len(examples[0])]):
                wrong += differences(value, [e[i] for e in examples], optional, f"{path}[{i}]")
        return wrong
    return [fault for item in ours for fault in differences(item, examples, optional, f"{path}[]")]
