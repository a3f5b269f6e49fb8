"""What somebody pastes after a login, and when clocks show an hour."""

from __future__ import annotations

import datetime as dt

import pytest

from kite_hft.brokers.login import (
    Login,
    LoginError,
    bare_code,
    fields_of,
    next_time_of_day_ns,
    page_host,
    plain_token,
    require_state,
    said,
)

S = 1_000_000_000
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("http://127.0.0.1:8765/back?a=1&b=%20x", {"a": "1", "b": " x"}),
        ("  'https://h/?a=1#frag'  ", {"a": "1"}),
        ("127.0.0.1:8765/?a=1", {"a": "1"}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("http://127.0.0.1/", {}),
        ("abcDEF123", "abcDEF123"),
        ("<abcDEF123>", "abcDEF123"),
    ],
)
def test_an_address_or_a_bare_code(text: str, fields: object) -> None:
    assert fields_of(text, "code") == fields


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing was given"),
        ("'' ", "nothing was given"),
        ("two words", "neither an address nor a bare code"),
        ("http://h/?a=1&a=2", "stands twice"),
        ("http://[h/?a=1", "cannot be read"),
        ("?" + "&".join(f"k{n}=1" for n in range(60)), "cannot be read"),
    ],
)
def test_what_is_neither_is_refused(text: str, why: str) -> None:
    with pytest.raises(LoginError, match=why):
        fields_of(text, "code")


def test_the_state_is_ours_or_nothing_is_taken() -> None:
    require_state({"state": "s1"}, "s1")
    require_state({}, "")  # none was sent
    for fields in ({}, {"state": ""}, {"state": "s2"}, {"state": "ü"}):
        with pytest.raises(LoginError, match="not the answer to this login"):
            require_state(fields, "s1")


def test_the_code_is_taken_or_it_is_said_what_was_pasted() -> None:
    assert bare_code({"code": "a-b_c.~1"}, "code", ()) == "a-b_c.~1"
    with pytest.raises(LoginError, match="address of the login page"):
        bare_code({"client_id": "k"}, "code", ("client_id",))
    for fields in ({}, {"code": ""}, {"code": "a b"}, {"code": "a\n"}):
        with pytest.raises(LoginError, match="no code in that address"):
            bare_code(fields, "code", ("client_id",))


def test_the_next_hour_is_strictly_after_now() -> None:
    six = round(dt.datetime(2026, 11, 20, 6, tzinfo=IST).timestamp()) * S
    ask = 6 * 3600
    assert next_time_of_day_ns(six - 1, ask, 19_800) == six
    assert next_time_of_day_ns(six, ask, 19_800) == six + 86_400 * S
    assert next_time_of_day_ns(six + 1, ask, 19_800) == six + 86_400 * S
    assert next_time_of_day_ns(six - 86_400 * S, ask, 19_800) == six


def test_a_login_page_is_the_brokers_own_but_beside_a_loopback_api() -> None:
    assert page_host("https://api.kite.trade", "https://kite.zerodha.com") == "https://kite.zerodha.com"
    assert page_host("http://127.0.0.1:8000/", "https://kite.zerodha.com") == "http://127.0.0.1:8000"


def test_a_typed_token_is_one_word_and_no_repr_shows_one() -> None:
    assert plain_token(" abc.DEF-12345\n") == "abc.DEF-12345"
    for bad in ("", "short", "two words here", "naïve-token", "x" * 5000):
        with pytest.raises(LoginError) as refused:
            plain_token(bad)
        assert not bad or bad not in str(refused.value)
    assert "s3cret" not in repr(Login("s3crettoken", "AB1234", "A", 1))


def test_what_a_broker_says_is_shown_in_one_plain_line() -> None:
    assert said("a\n  b\tc") == "a b c" and said(None) == "" and len(said("x" * 999)) == 200
    assert said("bell\x07") == ""
