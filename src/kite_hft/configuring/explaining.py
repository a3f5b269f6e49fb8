"""Layer 0, supervisor, cold: what is wrong with a configuration: file, line, cause, nearest key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from kite_hft.configuring.expecting import expectation, kinds_together
from kite_hft.configuring.keys import is_secret, keys_of, known_keys
from kite_hft.configuring.layers import Key, Origin, origin_of
from kite_hft.configuring.models.promised import extra_of

CLOSE: Final = 0.85
FAR: Final = 0.5
"""How alike two names are, of 1."""
SHOWN: Final = 3
SHOWN_MAX: Final = 50
"""Of a file with more than so many faults nobody reads the rest: it is none of ours."""


def explain_all(
    model: type[BaseModel], path: str, origins: Mapping[Key, Origin], errors: Sequence[Any]
) -> list[str]:
    """Validation errors as `file, line: key: cause; fix`, or `variable NAME: ...`, one for each key.

    path: the file, for what stands nowhere.
    """
    rows = kinds_together(errors)
    said = [_explain(model, path, origins, row) for row in rows[:SHOWN_MAX]]
    return [*said, f"{path}: and {len(rows) - SHOWN_MAX:,} more"] if len(rows) > SHOWN_MAX else said


def _explain(model: type[BaseModel], path: str, origins: Mapping[Key, Origin], errors: Sequence[Any]) -> str:
    error = errors[0]
    where: Key = tuple(error["loc"])
    key = ".".join(str(part) for part in where)
    # without the value, or what stands where a section should
    hidden = is_secret(where) or isinstance(error["input"], dict) or bool(known_keys(model, where))
    message = expectation(errors, hidden=hidden) or error["msg"].removeprefix("Value error, ")
    words = (message.partition(": ")[0], message.partition(" ")[0])
    named: Key = next((k for word in words if (k := tuple(word.split("."))) in origins), ())
    # a rule over several sections says which key it means
    deeper = origins.get(named) if named[: len(where)] == where else None
    origin = deeper or origin_of(origins, where)
    head = path if origin is None else head_of(origin)
    if origin is not None and origin.name:
        message += f" (written as {origin.name})"
    if error["type"] == "extra_forbidden":
        return f"{head}: unknown key {key!r}; {_hint(model, where)}"
    if key and hidden:
        return f"{head}: {key}: {message}"
    return f"{head}: {key}: {message} (found {error['input']!r})" if key else f"{head}: {message}"


def _hint(model: type[BaseModel], where: Key) -> str:
    """Of an unknown key: the nearest one there, or the section in which there is one of that name."""
    name, known = str(where[-1]), known_keys(model, where[:-1])
    if near := difflib.get_close_matches(name, known, n=1, cutoff=CLOSE):
        return f"did you mean {near[0]!r}?"
    places = [".".join(path) for path, field in keys_of(model) if path[-1] == name and not extra_of(field)]
    if places:
        return f"it stands elsewhere: {' or '.join(places[:SHOWN])}"
    if near := difflib.get_close_matches(name, known, n=1, cutoff=FAR):
        return f"did you mean {near[0]!r}?"
    return f"known here: {', '.join(known)}"


def head_of(origin: Origin) -> str:
    """As an error begins."""
    return f"variable {origin.source}" if origin.is_variable else origin.head()
