"""Alerts by HTTP: what is sent, what is repeated, what is given up, and that nobody waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kite_hft.clock import ManualClock, SystemClock
from kite_hft.engine.alerts.sinks import posting
from kite_hft.engine.alerts.sinks.posting import RETRY_AFTER_MAX_S, STUCK_S, Posting, retry_after_s
from kite_hft.engine.alerts.sinks.sink import KEPT_S, WAITING_MAX, Outcome, Row
from kite_hft.net.post import Answer, PostError
from kite_hft.verify.alerts.receivers import BOT, CHAT, HOOK_PATH, receivers

ROW = {
    "number": 3, "event": "raised", "time": "2026-11-20 10:00:05", "code": "FEED_DEAD",
    "severity": "CRITICAL", "key": "feed-0", "text": "no frame", "advice": "Check the network.",
    "again": 0, "account": "X",
}  # fmt: skip


INFO = ROW | {"severity": "INFO"}


def outcomes(sink: Posting, n: int = 1) -> list[Outcome]:
    found: list[Outcome] = []
    deadline = time.monotonic() + 20
    while len(found) < n:
        assert time.monotonic() < deadline, found
        found += sink.poll()
        time.sleep(0.005)
    return found


def answers(*given: int | Exception) -> tuple[Callable[[Any], Answer], list[Any]]:
    """A call that gives these in turn, the last one for ever; and the rows it got."""
    left, seen = list(given), []

    def deliver(row: Any) -> Answer:
        seen.append(row)
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, Exception):
            raise now
        return Answer(now, b"")

    return deliver, seen


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("FIRST_PAUSE_S", "AGAIN_S", "BETWEEN_S"):
        monkeypatch.setattr(posting, pause, 0.001)


@pytest.mark.parametrize(
    ("given", "calls", "failure"),
    [
        ((200,), 1, ""),
        ((204,), 1, ""),
        ((503, 200), 2, ""),
        ((429, 408, 200), 3, ""),
        ((PostError("no answer within 3 s"), 200), 2, ""),
        ((500,), 3, "HTTP 500"),
        ((PostError("no connection"),), 3, "no connection"),
        ((404,), 1, "HTTP 404"),
        ((302,), 1, "HTTP 302"),
        ((ValueError("a secret"),), 1, "ValueError"),
    ],
)
def test_what_may_pass_is_tried_thrice_and_the_rest_once(
    given: tuple[int | Exception, ...], calls: int, failure: str
) -> None:
    deliver, seen = answers(*given)
    sink = Posting("webhook", deliver, SystemClock())
    sink.put(INFO)
    (outcome,) = outcomes(sink)
    assert (outcome.failure, len(seen), outcome.row["number"]) == (failure, calls, 3)
    assert sink.tally.fields() == {"delivered": not failure, "failed": bool(failure), "dropped": 0}
    sink.close()


def test_a_failing_sink_gets_one_attempt_a_row_until_it_works() -> None:
    deliver, seen = answers(500)
    sink = Posting("webhook", deliver, SystemClock())
    for _ in range(3):
        sink.put(INFO)
    assert [o.failure for o in outcomes(sink, 3)] == ["HTTP 500"] * 3 and len(seen) == 3 + 1 + 1
    sink.close()


@pytest.mark.parametrize("severity", ["WARNING", "CRITICAL"])
def test_an_alert_survives_a_network_that_is_gone_for_a_while(severity: str) -> None:
    down = PostError("no connection")
    deliver, seen = answers(*[down] * 9, 200)
    sink = Posting("webhook", deliver, SystemClock())
    sink.put(ROW | {"severity": severity})
    found = outcomes(sink, 2)
    assert [o.failure for o in found] == ["no connection", ""], "that it fails is told at once, and once"
    assert len(seen) == 10 and not sink.busy()
    assert sink.tally.fields() == {"delivered": 1, "failed": 0, "dropped": 0}
    sink.close()


def test_an_alert_is_given_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    deliver, _ = answers(500)
    clock = ManualClock(mono=1)
    sink = Posting("webhook", deliver, clock)
    sink.put(ROW)
    found = []
    while not found:
        clock.advance(10_000_000)
        found += sink.poll()
        time.sleep(0.002)
    clock.advance(round(KEPT_S * 1e9))
    assert [o.failure for o in outcomes(sink)] == ["HTTP 500"] and not sink.busy()
    assert sink.tally.fields() == {"delivered": 0, "failed": 1, "dropped": 0}
    sink.close()


def test_a_reminder_that_fails_is_not_tried_again_once_a_person_has_seen_its_alert() -> None:
    asked, go_on, calls = threading.Event(), threading.Event(), list[Row]()

    def deliver(row: Row) -> Answer:
        calls.append(row)
        asked.set()
        assert go_on.wait(20)
        return Answer(500, b"")

    sink = Posting("webhook", deliver, SystemClock())
    for again in (1, 2):
        sink.put(ROW | {"event": "reminder", "again": again})
    assert asked.wait(20)
    sink.seen(4)
    assert sink.busy()
    sink.seen(3)
    go_on.set()
    assert [outcome.failure for outcome in outcomes(sink)] == ["HTTP 500"]
    assert not sink.busy() and [row["again"] for row in calls] == [1]
    sink.close()


def test_a_row_that_a_server_never_takes_holds_up_no_other() -> None:
    def deliver(row: Any) -> Answer:
        return Answer(500 if row["number"] == 3 else 200, b"")

    sink = Posting("webhook", deliver, SystemClock())
    sink.put(ROW)
    sink.put(ROW | {"number": 4, "severity": "WARNING"})
    found = outcomes(sink, 2)
    assert ("", 4) in [(o.failure, o.row["number"]) for o in found] and sink.busy()
    sink.close()
    assert not sink.busy()


@pytest.mark.parametrize(
    "refused",
    [Answer(429, b'{"ok": false, "parameters": {"retry_after": 0.3}}'), Answer(429, b"[]", 0.3)],
)
def test_a_server_that_wants_no_call_for_a_while_gets_none(refused: Answer) -> None:
    at: list[tuple[float, int]] = []

    def deliver(row: Any) -> Answer:
        at.append((time.monotonic(), row["number"]))
        return refused if len(at) == 1 else Answer(200, b"")

    sink = Posting("telegram", deliver, SystemClock())
    sink.put(ROW | {"severity": "WARNING"})
    while not at:
        time.sleep(0.001)
    sink.put(ROW | {"number": 4})
    assert [(o.failure, o.row["number"]) for o in outcomes(sink, 2)] == [("", 4), ("", 3)]
    assert at[1][0] - at[0][0] >= 0.3 and len(at) == 3, "no call meanwhile, then the critical one"
    sink.close()


TOO_LARGE = b'{"parameters": {"retry_after": 1' + b"0" * 400 + b"}}"
"""No float holds it."""


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'{"parameters": {"retry_after": "x"}}', TOO_LARGE])
def test_how_long_to_wait_may_be_missing_and_is_bounded(body: bytes) -> None:
    assert retry_after_s(Answer(429, body)) == 0.0
    assert retry_after_s(Answer(429, body, 86_400.0)) == RETRY_AFTER_MAX_S


def test_no_answer_ends_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(answer: Answer) -> float:
        raise ArithmeticError

    monkeypatch.setattr(posting, "retry_after_s", unread)
    deliver, _ = answers(429, 200)
    sink = Posting("telegram", deliver, SystemClock())
    sink.put(ROW)
    assert [o.failure for o in outcomes(sink)] == ["ArithmeticError"]
    sink.put(ROW | {"number": 4})
    assert [o.failure for o in outcomes(sink)] == [""]
    sink.close()


def test_a_machine_that_gives_no_thread_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    deliver, seen = answers(200)
    sink = Posting("webhook", deliver, SystemClock())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        sink.put(ROW)
        (outcome,) = outcomes(sink)
    assert "gives no thread" in outcome.failure and sink.busy()
    assert [o.failure for o in outcomes(sink)] == [""] and len(seen) == 1
    sink.close()


def test_putting_never_waits_and_the_queue_is_bounded() -> None:
    gate = threading.Event()

    def deliver(row: Any) -> Answer:
        assert gate.wait(20)
        return Answer(200, b"")

    clock = ManualClock(mono=1)
    sink = Posting("webhook", deliver, clock)
    sink.put(ROW)
    while sink._under_way is None:
        time.sleep(0.001)
    for number in range(WAITING_MAX + 5):
        sink.put({**ROW, "number": number})
    assert sink.tally.dropped == 5 and sink.busy() and sink.poll() == []
    clock.advance(round(STUCK_S * 1e9) + 1)
    (stuck,) = sink.poll()
    assert "nothing came of a call" in stuck.failure and sink.poll() == []
    gate.set()
    numbers = [o.row["number"] for o in outcomes(sink, WAITING_MAX + 1)]
    assert numbers == [3, *range(5, WAITING_MAX + 5)] and not sink.busy()
    sink.close()


def test_a_webhook_and_a_bot_get_what_they_understand(tmp_path: Path) -> None:
    with receivers(tmp_path) as received:
        sinks = [
            Posting("webhook", posting.webhook(received.url + HOOK_PATH, 3.0), SystemClock()),
            Posting("telegram", posting.telegram(received.url + "/", BOT, CHAT, 3.0), SystemClock()),
        ]
        for sink in sinks:
            sink.put(ROW)
            assert [o.failure for o in outcomes(sink)] == [""]
            sink.close()
    assert received.of("webhook")[0].fields == json.loads(json.dumps(ROW))
    text = received.of("telegram")[0].fields["text"].split("\n")
    assert text == [
        "CRITICAL FEED_DEAD feed-0: no frame", "Check the network.", "X 2026-11-20 10:00:05",
        "kite-hft alerts --ack 3",
    ]  # fmt: skip
