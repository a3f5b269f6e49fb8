"""What Upstox's answers prove, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstox_rows import answer, problem

from kite_hft.brokers.upstox import kill_switch
from kite_hft.brokers.upstox.answers import (
    GATEWAY,
    ORDER,
    TRIGGER,
    data_of,
    parse_outcome,
    parse_trigger_outcome,
)
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    NOT_PERMITTED,
    TOKEN_DEAD,
    Ambiguous,
    Confirmed,
    HttpResponse,
    Refused,
)
from kite_hft.trading.sending.address import meaning

CLOUDFLARE = b"<!DOCTYPE html><html><title>Access denied</title>error code: 1010</html>"
LIMITED = b"<html>You are being rate limited. Error 1015</html>"


def test_confirmed_by_either_name() -> None:
    assert parse_outcome(answer({"order_ids": ["2611"]})) == Confirmed("2611")
    assert parse_outcome(answer({"order_id": "2611"})) == Confirmed("2611")
    whole = json.loads(answer({"order_ids": ["2611"]}).body) | {"metadata": {"latency": 41}}
    assert parse_outcome(HttpResponse(200, json.dumps(whole).encode())) == Confirmed("2611")
    assert parse_trigger_outcome(answer({"gtt_order_ids": ["GTT-C1"]})) == Confirmed("GTT-C1")


@pytest.mark.parametrize(
    "data", [{}, None, [], {"order_ids": []}, {"order_ids": None}, {"order_id": ""}, {"order_ids": [7]}]
)
def test_a_success_without_a_name_proves_nothing(data: Any) -> None:
    assert parse_outcome(answer(data)) == Ambiguous("HTTP 200 without an order id")


def test_more_ids_than_orders_prove_nothing() -> None:
    found = parse_outcome(answer({"order_ids": ["1", "2"]}))
    assert found == Ambiguous("HTTP 200 with 2 order ids: 1, 2")


@pytest.mark.parametrize("body", [b"", LIMITED, problem(429, ("UDAPI10005", "Too Many Request Sent")).body])
def test_the_rate_limiter_refuses_with_any_body(body: bytes) -> None:
    found = parse_outcome(HttpResponse(429, body))
    assert isinstance(found, Refused) and found.http_status == 429


def test_its_code_counts_under_another_status_too() -> None:
    found = parse_outcome(problem(403, ("UDAPI10005", "Too many")))
    assert isinstance(found, Refused) and found.http_status == 429
    assert isinstance(parse_outcome(problem(503, ("UDAPI10005", "Too many"))), Ambiguous)


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (HttpResponse(400, b""), "HTTP 400 with an empty body"),
        (HttpResponse(403, CLOUDFLARE), "error 1010"),
        (HttpResponse(401, b"<html>"), "HTTP 401 with a page of the gateway"),
        (HttpResponse(502, b"<html>Bad gateway"), "HTTP 502 with a page of the gateway"),
        (HttpResponse(200, b"<html>fine"), "HTTP 200 without an order id"),
        (HttpResponse(302, b""), "HTTP 302 with an empty body"),
        (HttpResponse(403, b'{"status":"success"}'), "no answer of the API"),
        (HttpResponse(500, b"oops"), "no answer of the API"),
        (problem(500, ("UDAPI100050", "Invalid token")), "HTTP 500 UDAPI100050"),
        (problem(503, ("UDAPI1052", "Quantity zero")), "HTTP 503 UDAPI1052"),
        (problem(408, ("UDAPI1052", "Quantity zero")), "HTTP 408"),
        (problem(400, ("UDAPI100500", "Something went wrong")), "HTTP 400 UDAPI100500"),
        (problem(400, ("UDAPI100057", "market is closed")), "UDAPI100057"),
        (problem(404, ("UDAPI100060", "Resource not Found.")), "HTTP 404 UDAPI100060"),
        (problem(405, ("UDAPI10000", "This request is not supported")), "HTTP 405 UDAPI10000"),
        (problem(400, ("UDAPI1052", "Order request timed out")), "timed out"),
        (problem(401, ("UDAPI9999", "Request timed out")), "timed out"),
        (problem(400, ("UDAPI1052", "Please check your order book")), "your order book"),
        (problem(400, ("UDAPI1052", "Quantity zero"), ("UDAPI9999", "?")), "UDAPI9999"),
        (problem(400), "HTTP 400"),
        (problem(403), "HTTP 403"),
        (HttpResponse(400, b'{"status":"error","errors":["?"]}'), "HTTP 400"),
        (HttpResponse(400, b'{"status":"error","errors":7}'), "HTTP 400"),
    ],
)
def test_no_proof_is_ambiguous(response: HttpResponse, says: str) -> None:
    found = parse_outcome(response)
    assert isinstance(found, Ambiguous) and says in found.why
    assert isinstance(parse_trigger_outcome(response), Ambiguous)


@pytest.mark.parametrize("parse", [parse_outcome, parse_trigger_outcome])
def test_a_catch_all_proves_nothing_and_names_what_may_lie_behind_it(parse: Any) -> None:
    """What the kill switch refuses comes so, and so does much else: a person looks, nobody guesses."""
    look = "kite-hft kill-switch --status"
    for status in (400, 403):
        found = parse(
            problem(status, ("UDAPI100500", "Trading in this segment is disabled by the kill switch."))
        )
        assert isinstance(found, Ambiguous) and look in found.why and "kill switch among them" in found.why
    for others in (
        problem(500, ("UDAPI100500", "Something went wrong")),
        problem(400, ("UDAPI100500", "The request timed out")),
        problem(400, ("UDAPI100057", "market is closed")),
        HttpResponse(400, b""),
    ):
        found = parse(others)
        assert isinstance(found, Ambiguous) and look not in found.why


@pytest.mark.parametrize(
    ("code", "status", "word", "fix"),
    [
        ("UDAPI1154", 403, NOT_PERMITTED, "register the IPv4 address"),
        ("UDAPI100074", 423, "UDAPI100074", "05:30 to 24:00 IST"),
        ("UDAPI100072", 423, "UDAPI100072", "05:30 to 24:00 IST"),
        ("UDAPI100050", 401, TOKEN_DEAD, "log in again"),
        ("UDAPI100067", 401, TOKEN_DEAD, "may only read"),
        ("UDAPI1156", 400, NOT_PERMITTED, "upstox.algo_name"),
        ("UDAPI1161", 400, "UDAPI1161", "no MCX orders"),
        ("UDAPI1158", 400, "UDAPI1158", "risk.market_protection"),
        ("UDAPI100011", 400, "UDAPI100011", "load it again"),
        ("UDAPI1052", 400, "UDAPI1052", "UDAPI1052: it"),
        ("UDAPI100010", 404, NO_SUCH_ORDER, "UDAPI100010: it"),
        ("UDAPI100040", 400, NO_SUCH_ORDER, "UDAPI100040: it"),
        ("UDAPI100041", 400, NO_SUCH_ORDER, "UDAPI100041: it"),
    ],
)
def test_refusals_say_cause_and_fix(code: str, status: int, word: str, fix: str) -> None:
    found = parse_outcome(problem(status, (code, "it")))
    assert isinstance(found, Refused)
    assert (found.error_type, found.http_status) == (word, status)
    assert found.message.startswith(f"{code}: it") and fix in found.message


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (404, "UDAPI100010", "allowed"),
        (404, "UDAPI100060", "unknown"),  # no such path: nobody has looked at the address
        (405, "UDAPI10000", "unknown"),
        (403, "UDAPI1154", "address"),
        (401, "UDAPI100050", "token"),
    ],
)
def test_what_the_cancel_of_an_impossible_order_proves(status: int, code: str, word: str) -> None:
    text = "No static IP has been configured" if word == "address" else "it"
    assert meaning(parse_outcome(problem(status, (code, text)))).word == word


def test_either_spelling_of_a_code_will_do() -> None:
    for name in ("errorCode", "error_code"):
        body = {"status": "error", "errors": [{name: "UDAPI1052", "message": "zero"}]}
        found = parse_outcome(HttpResponse(400, json.dumps(body).encode()))
        assert found == Refused("UDAPI1052", "UDAPI1052: zero", 400)


def test_an_unknown_401_of_the_api_is_a_dead_token() -> None:
    found = parse_outcome(problem(401, ("UDAPI100099x", "who")))
    assert isinstance(found, Refused) and found.error_type == TOKEN_DEAD
    assert "log in again" in found.message


def test_codes_mean_what_they_mean_to_their_call() -> None:
    """GTT's and the kill switch's codes are no proof about an order, nor the other way round."""
    assert isinstance(parse_outcome(problem(400, ("UDAPI1136", "one rule"))), Ambiguous)
    assert isinstance(parse_trigger_outcome(problem(400, ("UDAPI1136", "one rule"))), Refused)
    assert isinstance(parse_trigger_outcome(problem(404, ("UDAPI100010", "none"))), Ambiguous)
    assert isinstance(parse_outcome(problem(400, ("UDAPI1184", "open positions"))), Ambiguous)
    assert "close every open position" in kill_switch.parse_change(problem(400, ("UDAPI1184", "open"))).why
    assert set(GATEWAY) < set(ORDER) and set(GATEWAY) < set(TRIGGER)


@given(st.integers(100, 599), st.binary(max_size=60))
def test_garbage_never_refuses_but_by_429(status: int, body: bytes) -> None:
    found = parse_outcome(HttpResponse(status, body))
    assert isinstance(found, Ambiguous) or (status == 429 and isinstance(found, Refused))


@given(
    st.integers(500, 599),
    st.lists(st.tuples(st.sampled_from(sorted(ORDER)), st.text(max_size=9)), max_size=3),
)
def test_a_server_error_never_proves(status: int, errors: list[tuple[str, str]]) -> None:
    assert isinstance(parse_outcome(problem(status, *errors)), Ambiguous)
    assert isinstance(parse_trigger_outcome(problem(status, *errors)), Ambiguous)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"status":"error","data":[]}', b'{"data":[]}'])
def test_reads_need_a_success(body: bytes) -> None:
    with pytest.raises(AnswerError, match="no success envelope"):
        data_of(body)
