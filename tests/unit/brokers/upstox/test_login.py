"""Upstox's logins: by code, by approval, and where each kind of token ends."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kite_hft.brokers.login import LoginError, Person, TokenRefused
from kite_hft.brokers.table import login_of
from kite_hft.brokers.upstox.login import (
    SANDBOX_NS,
    UPSTOX_LOGIN,
    approval_request,
    code_of,
    login_of_notice,
    login_url,
    logout_request,
    parse_approval,
    parse_logout,
    parse_profile,
    parse_session,
    session_request,
    token_end_ns,
    typed_end_ns,
)
from kite_hft.sessions import ist_text

S = 1_000_000_000
NOW_NS = 1_795_150_800 * S  # 2026-11-20 10:30 IST
HOST = "http://127.0.0.1:1"
BACK = "http://127.0.0.1:8765/back"


def jwt(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJ0.{body}.sig"


def refusal(code: str, message: str = "no") -> bytes:
    row = {"errorCode": code, "message": message, "error_code": code}
    return json.dumps({"status": "error", "errors": [row]}).encode()


def session(token: str, **more: Any) -> bytes:
    return json.dumps({"access_token": token, "user_id": "ABC123", "user_name": "A B", **more}).encode()


def test_the_page_gets_the_registered_address_letter_for_letter() -> None:
    url = urlsplit(login_url("key1", BACK, "s1"))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://api.upstox.com/v2/login/authorization/dialog"
    assert dict(parse_qsl(url.query)) == {
        "response_type": "code", "client_id": "key1", "redirect_uri": BACK, "state": "s1",
    }  # fmt: skip
    assert login_of("upstox") is UPSTOX_LOGIN


def test_the_code_out_of_what_is_pasted() -> None:
    assert code_of(f"{BACK}?code=c0de&state=s1", "s1") == "c0de" and code_of("c0de", "s1") == "c0de"
    for wrong, why in (
        (f"{BACK}?code=c0de", "not the answer to this login"),
        (f"{BACK}?error=access_denied&error_description=User+said+no&state=s1", "access_denied User said no"),
        (login_url("key1", BACK, "s1"), "address of the login page"),
        (f"{BACK}?request_token=x", "no code in that"),
    ):
        with pytest.raises(LoginError, match=why):
            code_of(wrong, "s1")


def test_the_exchange_is_a_form() -> None:
    call = session_request(HOST, "key1", "sec=ret", "c0de", BACK)
    assert (call.method, call.url) == ("POST", f"{HOST}/v2/login/authorization/token")
    assert dict(parse_qsl(call.body.decode())) == {
        "code": "c0de", "client_id": "key1", "client_secret": "sec=ret", "redirect_uri": BACK,
        "grant_type": "authorization_code",
    }  # fmt: skip


def test_a_session_ends_at_half_past_three_or_when_its_token_says() -> None:
    plain = parse_session(200, session("plain-token-1"), NOW_NS)
    assert ist_text(plain.until_real_ns) == "2026-11-21 03:30:00" and plain.clock_ahead_s is None
    exp, iat = NOW_NS // S + 3600, NOW_NS // S - 40
    told = parse_session(200, session(jwt(exp=exp, iat=iat)), NOW_NS)
    assert told.until_real_ns == exp * S and told.clock_ahead_s == 40
    later = parse_session(200, session(jwt(exp=NOW_NS // S + 10**6)), NOW_NS)
    assert later.until_real_ns == token_end_ns(NOW_NS), "no day's token outlives the day"
    assert UPSTOX_LOGIN.end_ns("plain", NOW_NS) == token_end_ns(NOW_NS)
    assert UPSTOX_LOGIN.end_ns(jwt(exp=exp), NOW_NS) == exp * S


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("UDAPI100057", "good once"),
        ("UDAPI100068", "letter for letter"),
        ("UDAPI100069", "API key or the API secret is wrong"),
        ("UDAPI100073", "one app of a user is active"),
        ("UDAPI1157", "app has expired"),
        ("UDAPI9999", "UDAPI9999"),
    ],
)
def test_refusals_in_words(code: str, why: str) -> None:
    with pytest.raises(LoginError, match=why):
        parse_session(401, refusal(code), NOW_NS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"{}"),
        (200, b'{"access_token": null, "user_id": "A"}'),
        (500, b"<html>"),
        (200, b"[1]"),
    ],
)
def test_an_answer_that_is_none_is_no_login(status: int, body: bytes) -> None:
    with pytest.raises(LoginError):
        parse_session(status, body, NOW_NS)


def test_the_profile_says_whose_and_a_dead_token_is_told() -> None:
    body = json.dumps({"status": "success", "data": {"user_id": "ABC123", "user_name": "A B"}}).encode()
    assert parse_profile(200, body) == Person("ABC123", "A B")
    for code in ("UDAPI100050", "UDAPI100067"):
        with pytest.raises(TokenRefused):
            parse_profile(401, refusal(code))
    with pytest.raises(TokenRefused):
        parse_profile(401, b"")
    with pytest.raises(LoginError) as told:
        parse_profile(403, refusal("UDAPI1154", "No static IP has been configured"))
    assert not isinstance(told.value, TokenRefused)
    parse_logout(200, b'{"status":"success","data":true}')
    with pytest.raises(LoginError):
        parse_logout(500, b"")
    assert logout_request(HOST, "key1", "tok").method == "DELETE"


def test_a_login_by_approval() -> None:
    call = approval_request(HOST, "ke/y", "s")
    assert call.url == f"{HOST}/v3/login/auth/token/request/ke%2Fy" and json.loads(call.body) == {
        "client_secret": "s"
    }
    data = {"authorization_expiry": str(NOW_NS // 10**6 + 5000), "notifier_url": "https://me.example/hook"}
    found = parse_approval(200, json.dumps({"status": "success", "data": data}).encode(), NOW_NS)
    assert found == (NOW_NS + 5 * S, "https://me.example/hook")
    with pytest.raises(LoginError, match="register one"):
        parse_approval(400, refusal("UDAPI1123"), NOW_NS)


def test_only_a_notice_for_our_app_is_a_login() -> None:
    notice = {
        "client_id": "key1", "user_id": "ABC123", "access_token": "plain-token-1", "token_type": "Bearer",
        "expires_at": str((NOW_NS + 60 * S) // 10**6), "issued_at": "1", "message_type": "access_token",
    }  # fmt: skip
    got = login_of_notice(json.dumps(notice).encode(), "key1", NOW_NS)
    assert (got.access_token, got.user_id, got.until_real_ns) == ("plain-token-1", "ABC123", NOW_NS + 60 * S)
    for change in ({"client_id": "key2"}, {"message_type": "order"}, {"access_token": 7}, {"user_id": ""}):
        with pytest.raises(LoginError):
            login_of_notice(json.dumps(notice | change).encode(), "key1", NOW_NS)
    with pytest.raises(LoginError):
        login_of_notice(b"\xff", "key1", NOW_NS)


def test_typed_tokens_end_as_they_say_or_a_life_after_they_were_made() -> None:
    assert typed_end_ns("plain-token-1", NOW_NS, SANDBOX_NS) == NOW_NS + 30 * 86_400 * S
    assert typed_end_ns(jwt(exp=NOW_NS // S + 7), NOW_NS, SANDBOX_NS) == NOW_NS + 7 * S
