"""When tokens end."""

from __future__ import annotations

import base64
import json

import pytest

from kite_hft.engine.keys.ends import put_value, told_by_token, until_ns, until_text
from kite_hft.units import NS_PER_S

END_S = 1_795_393_800  # 2026-11-23 06:00 in India
TEXT = "2026-11-23T06:00:00+05:30"


def web_token(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{body}.c2ln"


def test_text_and_nanoseconds_are_the_same_moment() -> None:
    assert until_text(END_S * NS_PER_S) == TEXT
    for text in (TEXT, "2026-11-23T06:00:00", "2026-11-23T00:30:00+00:00"):
        assert until_ns({"access_token_until": text}, "access_token") == END_S * NS_PER_S
    for values in ({}, {"access_token_until": "soon"}, {"other_until": TEXT}):
        assert until_ns(values, "access_token") is None


@pytest.mark.parametrize(
    "token",
    [
        "abc",
        "a.b.c",
        "a.b",
        web_token([1]),
        web_token({}),
        web_token({"exp": None}),
        web_token({"exp": 1e300}),
    ],
)
def test_a_token_that_does_not_say(token: str) -> None:
    assert told_by_token(token) == ""


def test_a_new_token_has_its_own_end() -> None:
    values = {"access_token": "old", "access_token_until": "2020-01-01T06:00:00+05:30"}
    put_value(values, "access_token", "new")
    assert values == {"access_token": "new"}
    put_value(values, "access_token", web_token({"exp": END_S}))
    assert values["access_token_until"] == TEXT
    put_value(values, "api_key", web_token({"exp": END_S}))
    assert "api_key_until" not in values
