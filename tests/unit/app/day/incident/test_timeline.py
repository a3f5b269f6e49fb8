"""Journal, alerts, log and calls as one line per event."""

from __future__ import annotations

from kite_hft.app.day.incident.timeline import (
    Event,
    Teller,
    alert_events,
    call_events,
    journal_events,
    log_events,
    within,
)
from kite_hft.trading.instruments import Instrument, InstrumentTable

ROW = Instrument(0, 738561, 2885, "RELIANCE", "NSE", "NSE", "EQ", 5, 1)
TABLE = InstrumentTable((ROW,))
AT = 1_795_147_200_123_456_789  # 2026-11-20 09:30:00.123 IST


def told(*records: tuple[str, dict[str, object]]) -> list[str]:
    rows = [{"kind": kind, "time_ns": AT, "data": data} for kind, data in records]
    return [event.text for event in journal_events(Teller(TABLE, {1: "kalman"}), rows)]


def test_an_order_keeps_its_names_through_its_life() -> None:
    lines = told(
        ("INTENT", {"no": 3, "strategy": 1, "slot": 0, "side": 1, "type": 2, "product": 3, "qty": 10,
                    "px": 144575, "tag": "kdt1", "ref_px": 144570}),
        ("ANSWER", {"call": "place", "no": 3, "outcome": "confirmed", "order_id": "2611"}),
        ("CALL", {"call": "cancel", "no": 3}),
        ("TRADE", {"no": 3, "trade": {"side": 1, "quantity": 4, "average_price": 1445.7, "trade_id": "7",
                                      "fill_timestamp": "2026-11-20 09:30:00"}}),
    )  # fmt: skip
    assert lines[0] == (
        "order 3 (tag kdt1) is sent by kalman: BUY 10 NSE:RELIANCE MIS LIMIT at 1445.75; last price 1445.70"
    )
    assert lines[1] == "order 3 (tag kdt1, id 2611): place: the broker confirms"
    assert lines[2].startswith("order 3 (tag kdt1, id 2611): cancel is sent")
    assert lines[3].endswith("filled BUY 4 at 1445.7, trade 7 (broker's time 2026-11-20 09:30:00)")


def test_what_was_never_sent_and_what_is_not_proved_are_said_so() -> None:
    refused, doubt = told(
        ("REFUSED", {"slot": 0, "side": 2, "qty": 1, "type": 1, "product": 3, "reason": "STALE_TICK",
                     "text": "3 s"}),
        ("ANSWER", {"call": "place", "no": 4, "outcome": "ambiguous", "why": "HTTP 504"}),
    )  # fmt: skip
    assert "never sent" in refused and "STALE_TICK: 3 s" in refused
    assert doubt == "order 4: place: no proof either way (why HTTP 504)"


def test_a_kind_without_words_of_its_own_is_shown_as_it_is() -> None:
    assert told(("GUARD", {"guard": "cooldown", "slot": 8})) == ["GUARD: guard cooldown, slot 8"]
    assert told(("EXTERNAL", {"positions": []})) == []


def test_an_interruption_of_the_order_updates_is_told() -> None:
    (line,) = told(("STATE", {"halted": "a limit", "updates_missed_s": 6.2}))
    assert line == "no order updates were heard for 6.2 s: the order book is read"


def test_lines_are_in_india_s_time_to_the_millisecond_and_in_order() -> None:
    events = [Event(AT + 10**9, "call", "b"), Event(AT, "alert", "a"), Event(AT + 9 * 10**9, "log", "c")]
    lines = [event.line() for event in within(events, (AT, AT + 10**9))]
    assert lines == ["09:30:00.123  alert    a", "09:30:01.123  call     b"]


def test_other_sources() -> None:
    (call,) = call_events([{"real_ns": str(AT), "call": "PLACE", "part": "entry", "name": "kdt1",
                            "windows": "1/10"},
                           {"real_ns": "", "call": "PLACE"}])  # fmt: skip
    assert call == Event(AT, "call", "PLACE entry kdt1 [1/10]")
    (alert,) = alert_events([{"time_ns": AT, "event": "raised", "severity": "CRITICAL", "code": "FEED_DEAD",
                              "key": "f", "text": "t"}, {"event": "cut"}])  # fmt: skip
    assert alert.text == "raised CRITICAL FEED_DEAD f: t"
    (log,) = log_events([{"time": "2026-11-20 09:30:00", "event": "connected"}, {"time": "soon"}])
    assert log.line() == "09:30:00.000  log      connected"
