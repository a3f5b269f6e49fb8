"""Sources over one another: sections by key, lists whole, and where each value is from."""

from __future__ import annotations

import pytest

from kite_hft.configuring.layers import (
    Key,
    Layer,
    LayerError,
    Origin,
    file_layer,
    merged,
    origin_of,
    profile_layer,
    renamed,
    value_at,
)

BASE = file_layer(
    "a.yaml",
    {"risk": {"max": 1, "min": 2}, "list": [1, 2]},
    {("risk",): 1, ("risk", "max"): 2, ("risk", "min"): 3, ("list",): 4, ("list", 0): 4, ("list", 1): 4},
)
OVER = file_layer(
    "a.live.yaml",
    {"risk": {"max": 9}, "list": [3], "new": {"x": None}},
    {("risk",): 1, ("risk", "max"): 2, ("list",): 3, ("list", 0): 3, ("new",): 4, ("new", "x"): 5},
)


def test_the_last_one_counts_key_by_key_and_lists_whole() -> None:
    found = merged([BASE, OVER])
    assert found.data == {"risk": {"max": 9, "min": 2}, "list": [3], "new": {"x": None}}
    assert str(found.origins["risk", "max"]) == "a.live.yaml:2"
    assert str(found.origins["risk", "min"]) == "a.yaml:3"
    assert ("list", 1) not in found.origins and str(found.origins["list", 0]) == "a.live.yaml:3"
    assert BASE.data["risk"] == {"max": 1, "min": 2}  # the sources stay as they are


def test_a_profile_stands_below_a_file() -> None:
    found = merged([profile_layer("lean", {"risk": {"max": 5, "other": 6}}), BASE])
    assert found.data["risk"] == {"max": 1, "other": 6, "min": 2}
    assert str(found.origins["risk", "other"]) == "profile lean"
    assert not found.origins["risk", "other"].is_variable


def test_another_name_becomes_the_key_and_keeps_its_place() -> None:
    aliases: dict[Key, Key] = {("risk", "max"): ("limits", "most")}
    found = renamed(BASE, aliases)
    assert found.data["limits"] == {"most": 1} and "max" not in found.data["risk"]
    assert str(found.origins["limits", "most"]) == "a.yaml:2 (risk.max)"
    assert BASE.data["risk"]["max"] == 1


def test_both_names_in_one_source_are_refused_and_in_two_the_later_counts() -> None:
    aliases: dict[Key, Key] = {("risk", "max"): ("risk", "min")}
    with pytest.raises(LayerError, match=r"a\.yaml, line 2: risk\.max is another name of risk\.min"):
        renamed(BASE, aliases)
    both = [
        renamed(BASE, {("risk", "max"): ("risk", "most")}),
        renamed(OVER, {("risk", "max"): ("risk", "most")}),
    ]
    assert merged(both).data["risk"]["most"] == 9


def test_the_origin_of_what_has_none_is_its_sections() -> None:
    origins = merged([BASE]).origins
    assert origin_of(origins, ("risk", "unknown")) == Origin("a.yaml", 1)
    assert origin_of(origins, ("nothing",)) is None


def test_a_value_by_its_key() -> None:
    assert value_at(BASE.data, ("risk", "max")) == 1
    assert value_at(BASE.data, ("risk", "max", "deeper")) is None
    assert value_at(BASE.data, ("none",)) is None


def test_variables_are_told_from_files() -> None:
    assert Origin("KITE_X").is_variable and Origin("KITE_X in .env").is_variable
    assert not Origin("a.yaml", 3).is_variable
    assert Layer("x", {}).origins == {}
