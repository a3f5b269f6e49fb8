"""The account's kill switch: thrown at the simulated broker, whose clock and answers are in our hand."""

from __future__ import annotations

from typing import Any

import pytest
from upstox_bench import ELEVEN, EQUITY, HOUR, Bench, order

from kite_hft.app.day.asking import NoAnswer
from kite_hft.app.steer.switching import (
    READS,
    REFUSED,
    SHOWN,
    UNKNOWN,
    CannotAsk,
    end_token,
    judged,
    open_now,
    segments_of,
    throw,
    whose,
)
from kite_hft.brokers.login import TokenRefused
from kite_hft.brokers.upstox.kill_switch import Change, Segment
from kite_hft.engine.plan.session import Access
from kite_hft.trading.broker import HttpRequest, HttpResponse

SWITCH = "/v2/user/kill-switch"
STOP = {"NSE_EQ": True, "NSE_FO": True}
ON, OFF = Segment(active=False, shut=True), Segment(active=True, shut=False)


class Caller:
    """Asks the bench by a token. before, after: answers of a change that are lost, undone or done; answers:
    given instead of the bench's, first come first served."""

    def __init__(self, bench: Bench, token: str = "token") -> None:
        self.bench, self.token = bench, token
        self.access = Access("upstox", "", "http://127.0.0.1:1", "key", token)
        self.before = self.after = False
        self.answers: list[HttpResponse] = []
        self.asked: list[tuple[str, str]] = []

    def call(self, request: HttpRequest) -> HttpResponse:
        self.asked.append((request.method, request.path))
        changing = request.method == "POST" and request.path == SWITCH
        if changing and self.before:
            raise NoAnswer("nothing answers")
        target, _, _ = request.path.partition("?")
        headers = {"authorization": f"Bearer {self.token}"}
        found = self.bench.api.handle(
            request.method, target, [], headers, request.body, self.bench.now, "127.0.0.1"
        )
        if changing and self.after:
            raise NoAnswer("timed out")
        if self.answers:
            return self.answers.pop(0)
        return HttpResponse(found.status, found.body)

    def words(self, text: str) -> str:
        return text


def thrown(caller: Caller, wanted: dict[str, bool] | None = None) -> Any:
    paused: list[float] = []
    found = throw(caller, wanted or STOP, paused.append)
    assert sum(row == ("POST", SWITCH) for row in caller.asked) == 1, "a change is sent once"
    return found


def test_on_refuses_orders_and_off_waits_for_twelve_hours() -> None:
    bench = Bench(ELEVEN)
    caller = Caller(bench)
    assert whose(caller).user_id == "SIM001"
    assert segments_of(caller)["NSE_EQ"] == OFF
    found = thrown(caller)
    assert (found.word, found.token_lives) == (SHOWN, False), found
    assert found.segments["NSE_EQ"] == found.segments["NSE_FO"] == ON and found.segments["BSE_EQ"] == OFF
    with pytest.raises(TokenRefused):
        segments_of(caller)
    caller = Caller(bench, bench.api.new_token(bench.now))
    assert segments_of(caller)["NSE_EQ"] == ON
    assert bench.code("POST", "/v3/order/place", order(), token=caller.token) == (400, "UDAPI100500")
    found = thrown(caller, {"NSE_EQ": False})
    assert found.word == REFUSED and "12 hours" in found.why and found.segments["NSE_EQ"] == ON
    bench.now += 12 * HOUR
    caller = Caller(bench, bench.api.new_token(bench.now))
    found = thrown(caller, {"NSE_EQ": False})
    assert (found.word, found.token_lives) == (SHOWN, True) and found.segments["NSE_FO"] == ON
    assert bench.ask("POST", "/v3/order/place", order(), token=caller.token)[0] == 200


def test_a_lost_answer_is_never_taken_for_done() -> None:
    caller = Caller(Bench(ELEVEN))
    caller.after = True
    found = thrown(caller)
    assert found.word == UNKNOWN and found.token_lives is False
    assert "timed out" in found.why and "cannot be read" in found.why
    caller = Caller(Bench(ELEVEN))
    caller.before = True
    found = thrown(caller)
    assert (found.word, found.token_lives, found.segments["NSE_EQ"]) == (UNKNOWN, True, OFF)
    assert len(caller.asked) == 1 + READS, "it may still come: looked at again before it is told"


def test_an_open_position_is_a_refusal_with_its_fix() -> None:
    bench = Bench(ELEVEN)
    bench.place(price=101.0)
    bench.place()
    bench.pass_time()
    caller = Caller(bench)
    held = open_now(caller)
    assert held.positions == (("NSE_EQ", "SBIN +5"),) and held.orders == (EQUITY.split("|")[0],)
    found = thrown(caller)
    assert found.word == REFUSED and "kite-hft kill --flatten" in found.why and found.token_lives is True


def test_answers_that_tell_nothing() -> None:
    caller = Caller(Bench(ELEVEN))
    page = HttpResponse(502, b"<html>")
    caller.answers = [page, HttpResponse(200, b"{}"), page]
    for _ in range(2):
        with pytest.raises(CannotAsk):
            segments_of(caller)
    with pytest.raises(CannotAsk):
        open_now(caller)
    with pytest.raises(TokenRefused):
        segments_of(Caller(Bench(ELEVEN), "wrong"))
    caller.answers = [HttpResponse(200, b'{"status": "success"}'), *[page] * READS]
    found = thrown(caller)
    assert found.word == UNKNOWN and "502" in found.why


def test_the_session_is_ended_where_the_switch_has_left_it() -> None:
    caller = Caller(Bench(ELEVEN))
    caller.answers = [HttpResponse(500, b"")]
    assert end_token(caller)
    assert end_token(caller) == "" and end_token(caller) == ""
    assert ("DELETE", "/v2/logout") in caller.asked


@pytest.mark.parametrize(
    ("done", "told", "read", "lives", "word"),
    [
        (True, ON, ON, True, SHOWN),
        (None, None, ON, True, SHOWN),  # whatever came of the call: the broker shows it
        (False, None, ON, True, SHOWN),
        (True, ON, OFF, True, UNKNOWN),
        (False, None, OFF, True, REFUSED),
        (None, None, OFF, True, UNKNOWN),
        (True, ON, None, False, SHOWN),  # the token has ended with it
        (True, ON, None, None, UNKNOWN),  # no answer to the read: it could have told
        (True, OFF, None, False, UNKNOWN),
        (True, None, None, False, UNKNOWN),
        (None, None, None, False, UNKNOWN),
        (False, None, None, None, REFUSED),
    ],
)
def test_what_is_proven(
    done: bool | None, told: Segment | None, read: Segment | None, lives: bool | None, word: str
) -> None:
    rows = {"NSE_EQ": told} if told else {}
    seen = {"NSE_EQ": read} if read else None
    assert judged({"NSE_EQ": True}, Change(done, "why"), rows, seen, lives).word == word
