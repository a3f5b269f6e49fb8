"""The keys of the models, their types in words, their defaults as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from kite_hft.configuring.keys import default_of, keys_of, known_keys, words_of
from kite_hft.settings import Settings


def test_keys_go_through_sections_and_stop_at_lists() -> None:
    found = dict(keys_of(Settings))
    assert ("kite", "rate_limits", "order_placement") in found and ("strategies",) in found
    assert not any(path[0] == "strategies" and len(path) > 1 for path in found)
    assert not any(path in found for path in (("risk",), ("kite",), ("kite", "rate_limits")))


def test_known_keys_of_a_section_of_a_list_and_of_nothing() -> None:
    assert "max_positions" in known_keys(Settings, ("risk",))
    assert "form" in known_keys(Settings, ("strategies", 0))
    assert known_keys(Settings, ("none",)) == [] and "risk" in known_keys(Settings, ())
    assert known_keys(Settings, ("account", "x")) == []


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "whole number"),
        (Literal["a", "b"] | None, "a, b"),
        (dict[str, float | int | str | bool], "text: number or whole number or text or true or false"),
        (Annotated[str, Field(min_length=1)], "text"),
        (Literal["all"] | Annotated[list[str], Field(min_length=1)], "all or list of text"),
        (Path, "path"),
    ],
)
def test_types_in_words(annotation: object, words: str) -> None:
    assert words_of(annotation) == words


def test_defaults_are_plain() -> None:
    found = dict(keys_of(Settings))
    assert default_of(found["upstox", "failover"]) == ["https://api.upstox.com"]
    assert default_of(found["trading", "calendar"]) == "calendar/india.yaml"
