"""Kite's login: its page, the exchange, what refusals mean, when tokens end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from kite_hft.brokers.kite.login import (
    KITE_LOGIN,
    code_of,
    login_url,
    logout_request,
    parse_logout,
    parse_profile,
    parse_session,
    profile_request,
    session_request,
    token_end_ns,
)
from kite_hft.brokers.login import LoginError, Person, TokenRefused
from kite_hft.brokers.table import login_of
from kite_hft.sessions import ist_text

S = 1_000_000_000
NOW_NS = 1_795_150_800 * S  # 2026-11-20 10:30 IST
HOST = "http://127.0.0.1:1"


def refusal(message: str, kind: str = "TokenException") -> bytes:
    return json.dumps({"status": "error", "message": message, "error_type": kind}).encode()


def test_the_page_gets_key_and_state() -> None:
    url = urlsplit(login_url("key1", "http://127.0.0.1:8765/", "st/1 x"))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://kite.zerodha.com/connect/login"
    fields = dict(parse_qsl(url.query))
    assert fields.pop("redirect_params") == "state=st%2F1+x" and fields == {"v": "3", "api_key": "key1"}
    assert "redirect_params" not in login_url("key1", "", "")
    assert login_of("kite") is KITE_LOGIN and KITE_LOGIN.page(HOST) == HOST


def test_the_request_token_out_of_what_is_pasted() -> None:
    back = "http://127.0.0.1/?action=login&type=login&status=success&request_token=rt1&state=s1"
    assert code_of(back, "s1") == "rt1" and code_of("rt1", "s1") == "rt1" and code_of(back, "") == "rt1"
    for wrong, why in (
        (back.replace("s1", "s2"), "not the answer to this login"),
        (back.replace("&state=s1", ""), "not the answer to this login"),
        ("http://127.0.0.1/?status=cancelled&message=Denied", "Kite ended the login: Denied"),
        (login_url("key1", "", "s1"), "address of the login page"),
        ("http://127.0.0.1/?code=abc", "no request_token"),
    ):
        with pytest.raises(LoginError, match=why):
            code_of(wrong, "s1")


def test_the_exchange_is_a_form_with_the_checksum() -> None:
    call = session_request(HOST, "key1", "secret1", "rt1", "")
    assert (call.method, call.url) == ("POST", f"{HOST}/session/token")
    assert dict(call.headers)["X-Kite-Version"] == "3"
    form = dict(parse_qsl(call.body.decode()))
    wanted = hashlib.sha256(b"key1rt1secret1").hexdigest()
    assert form == {"api_key": "key1", "request_token": "rt1", "checksum": wanted}
    assert "secret1" not in call.body.decode()


@pytest.mark.data
def test_the_brokers_own_answers_are_read(data_dir: Path) -> None:
    found = parse_session(200, (data_dir / "kite/generate_session.json").read_bytes(), NOW_NS)
    assert (found.access_token, found.user_id, found.user_name) == ("XXXXXX", "XX0000", "Kite Connect")
    assert found.until_real_ns == token_end_ns(NOW_NS)
    told_s = 1_609_497_914  # 2021-01-01 16:15:14 IST
    assert found.clock_ahead_s == NOW_NS // S - told_s
    person = parse_profile(200, (data_dir / "kite/profile.json").read_bytes())
    assert person == Person("AB1234", "AxAx Bxx")
    parse_logout(200, (data_dir / "kite/session_logout.json").read_bytes())


@pytest.mark.parametrize(
    ("message", "kind", "why"),
    [
        ("Invalid `checksum`.", "TokenException", "API secret is not that of this API key"),
        ("Token is invalid or has expired.", "TokenException", "used before or is too old"),
        ("Invalid `request_token`", "InputException", "used before or is too old"),
        ("Invalid `api_key`.", "TokenException", "no app with this API key"),
        ("Too many requests", "NetworkException", "refuses the login with HTTP 403: Too many requests"),
    ],
)
def test_refusals_of_the_exchange_in_words(message: str, kind: str, why: str) -> None:
    with pytest.raises(LoginError, match=why):
        parse_session(403, refusal(message, kind), NOW_NS)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b'{"status":"success","data":null}', b'{"status":"success","data":{}}',
        b'{"status":"success","data":{"access_token":"","user_id":"A"}}',
        b'{"status":"success","data":{"access_token":7,"user_id":"A"}}',
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_no_login(body: bytes) -> None:
    for status in (200, 502):
        with pytest.raises(LoginError):
            parse_session(status, body, NOW_NS)


def test_a_dead_token_is_told_apart_from_other_troubles() -> None:
    for message in ("Incorrect `api_key` or `access_token`.", "Token is invalid or has expired."):
        with pytest.raises(TokenRefused):
            parse_profile(403, refusal(message))
        with pytest.raises(TokenRefused):
            parse_logout(403, refusal(message))
    for status, body in ((503, b"<html>"), (429, refusal("Too many requests", "NetworkException"))):
        with pytest.raises(LoginError) as told:
            parse_profile(status, body)
        assert not isinstance(told.value, TokenRefused)


def test_who_asks_shows_the_token_to_the_broker_alone() -> None:
    call = profile_request(HOST, "key1", "tok1")
    assert call.url == f"{HOST}/user/profile" and ("Authorization", "token key1:tok1") in call.headers
    out = logout_request(HOST, "key1", "tok&1")
    assert out.method == "DELETE" and parse_qs(urlsplit(out.url).query)["access_token"] == ["tok&1"]


def test_tokens_end_at_six_in_india() -> None:
    end_ns = token_end_ns(NOW_NS)
    assert ist_text(end_ns) == "2026-11-21 06:00:00" and token_end_ns(end_ns - 1) == end_ns
    assert KITE_LOGIN.end_ns("any", NOW_NS) == end_ns


def test_a_login_time_that_is_none_tells_nothing_of_the_clock() -> None:
    data: dict[str, Any] = {"access_token": "t", "user_id": "A", "login_time": "soon"}
    body = json.dumps({"status": "success", "data": data}).encode()
    assert parse_session(200, body, NOW_NS).clock_ahead_s is None
