"""Layer 0, supervisor, cold: what a value should have been, in words that a trader reads.

pydantic tells one error for each kind of value that a key takes; here they become one sentence.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

WORDS: Final[Mapping[str, str]] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number that is not infinite",
    "string_type": "text",
    "list_type": "a list, as [a, b]",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "dict_type": "names with values below it, indented",
    "model_type": "keys with values below it, indented",
    "model_attributes_type": "keys with values below it, indented",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of {ge} or more",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of {le} or less",
}
"""Kind of error -> what was expected, with pydantic's own context."""
PATTERNS: Final[Mapping[str, str]] = {
    r"^[A-Za-z0-9_]{1,32}$": "1 to 32 letters, digits or _",
    r"^[A-Za-z0-9_.-]{1,32}$": "1 to 32 letters, digits, _ . or -",
    r"^[ -~]{0,64}$": "at most 64 plain characters",
}
_TAG: Final = re.compile(r".*\[.*\]|bool|int|float|str|(function|nullable|constrained)-.*")
"""How pydantic names one of several kinds of values in the place of an error."""


def kinds_together(errors: Sequence[Any]) -> list[list[Any]]:
    """The errors by the key that they are about, each with all kinds that it takes."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for error in errors:
        place = tuple(error["loc"])
        while len(place) > 1 and isinstance(place[-1], str) and _TAG.fullmatch(place[-1]):
            place = place[:-1]
        found.setdefault(place, []).append({**error, "loc": place})
    return list(found.values())


def expectation(errors: Sequence[Any], *, hidden: bool) -> str:
    """`expected 'spin' or 'park'; did you mean 'park'?`; "": pydantic's own message says it better.

    errors: all of one key. hidden: no part of the value is shown.
    """
    wanted, choices = [], list[str]()
    for error in errors:
        kind, facts = error["type"], error.get("ctx", {})
        if kind == "literal_error":
            wanted.append(str(facts["expected"]))
            choices += re.findall(r"'([^']*)'", str(facts["expected"]))
        elif kind == "string_pattern_mismatch":
            wanted.append(PATTERNS.get(facts["pattern"], f"text of the form {facts['pattern']}"))
        elif kind in WORDS:
            wanted.append(WORDS[kind].format(**{name: _plain(fact) for name, fact in facts.items()}))
        else:
            return ""
    value = errors[0]["input"]
    text = "expected " + " or ".join(dict.fromkeys(wanted))
    if isinstance(value, str) and (near := difflib.get_close_matches(value, choices, n=1, cutoff=0.6)):
        return f"{text}; did you mean {near[0]!r}?"
    scalar = isinstance(value, bool | int | float) or hasattr(value, "isoformat")
    if scalar and any(error["type"] == "string_type" for error in errors):
        return f"{text}: put it in quotes, or YAML takes it for something else"
    short = isinstance(value, str) and len(value) < 40 and value.isprintable() and not hidden
    if short and any(error["type"] == "list_type" for error in errors):
        return f"{text}: here [{value}]"
    return text


def _plain(fact: Any) -> str:
    return f"{fact:g}" if isinstance(fact, float) else str(fact)
