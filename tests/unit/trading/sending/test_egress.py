"""What leaves is counted, timed and kept; what left before a start stands in the windows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.layout import IntentKind
from kite_hft.trading.book import EXTERNAL
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import ReadKind, span_ns_of
from kite_hft.trading.sending.conduct import ConductBook
from kite_hft.trading.sending.egress import Egress
from kite_hft.trading.sending.evidence import ENTRY, PLACE, READ, URGENT, Left

S = 1_000_000_000
ORDERS, ALL = RateWindow(2, 1.0), RateWindow(3, 60.0)
LIMITS = Limits("x", "2026-01-01", (ORDERS,), 100, 0.9, 25, all_windows=(ALL,))
LATE = 10**6 * S


class Outbox:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, int] = {}
        self.times: dict[str, int] = {}
        self.alerts: list[tuple[str, ...]] = []
        self.halts: list[str] = []
        self.conduct = ConductBook()

    def count(self, name: str) -> None:
        self.counts[name] += 1

    def gauge(self, name: str, value: int) -> None:
        self.gauges[name] = value

    def record(self, name: str, ns: int) -> None:
        self.times[name] = ns

    def alert(self, *words: str) -> None:
        self.alerts.append(words)

    def halt(self, reason: str) -> None:
        self.halts.append(reason)


def egress(limits: Limits = LIMITS) -> tuple[Egress, Outbox, list[Left]]:
    rows: list[Left] = []
    clock = SimpleNamespace(mono_ns=lambda: 7, real_ns=lambda: 70)
    outbox: Any = Outbox()
    ports: Any = SimpleNamespace(on_call=rows.append, clock=clock)
    return Egress(ports, limits, outbox), outbox, rows


def work(kind: IntentKind = IntentKind.PLACE, **more: Any) -> Any:
    order = {
        "tag": "t1", "order_id": "o1", "strategy": 1, "slot": 0, "created_ns": 100, "tick_recv_ns": 40,
    }  # fmt: skip
    words = {"offered_ns": 150, "let_out_ns": 300, "context": SimpleNamespace(reducing=False)}
    order |= {name: value for name, value in more.items() if name in order}
    words |= {name: value for name, value in more.items() if name not in order}
    return SimpleNamespace(kind=kind, order=SimpleNamespace(**order), **words)


def left(at_ns: int, part: str = ENTRY, call: str = PLACE) -> Left:
    return Left(at_ns, at_ns, call, part, "")


def test_before_the_first_order_call_none_has_left() -> None:
    made, _, _ = egress()
    assert made.last_order_ns == 0
    assert made.recall([left(LATE - 5, READ, "ORDERS")], [], [], LATE) == 0
    assert made.last_order_ns == 0, "a read is no order call"


def test_order_calls_of_an_earlier_process_stand_in_their_windows() -> None:
    made, outbox, rows = egress()
    lacking = [left(LATE - 2)]
    calls = [left(LATE - 3 * S), left(LATE - 2), left(LATE - 1, URGENT, "CANCEL")]
    assert made.recall(calls, lacking, ["old"], LATE) == 2, "a cancel places nothing"
    assert outbox.gauges == {"calls_today": 3} and rows == lacking
    assert made.last_order_ns == LATE - 1
    assert made.budget.urgent_free_ns == LATE - 3 * S + span_ns_of(ALL)
    assert "more than 2 calls in 1.0 s" in made.gate.refuses(LATE)
    made, _, _ = egress()
    made.recall([], [], ["old"], LATE)
    assert "a second time" in made.gate.refuses(LATE, "old") and made.gate.refuses(LATE, "new") == ""


def test_reads_of_an_earlier_process_stand_in_the_shared_windows_only() -> None:
    made, _, _ = egress()
    made.recall([left(LATE - 2, READ), left(LATE - 1, READ)], [], [], LATE)
    assert made.gate.refuses(LATE) == "", "two reads are no order calls"
    assert "more than 3 calls in 60.0 s" in made.gate.refuses_read(LATE)
    assert made.budget.read_free_ns(ReadKind.OTHER, LATE) < LATE
    made.budget.left(LATE)
    assert made.budget.urgent_free_ns == LATE - 2 + span_ns_of(ALL)


@pytest.mark.parametrize(("age_ns", "counts"), [(0, True), (-1, True), (1, False)])
def test_what_no_window_holds_any_more_is_not_counted(age_ns: int, counts: bool) -> None:
    made, outbox, _ = egress()
    at_ns = LATE - made.budget.longest_ns - age_ns
    assert made.recall([left(at_ns)], [], [], LATE) == 1 and outbox.gauges == {"calls_today": 1}
    assert made.last_order_ns == (at_ns if counts else 0)


def test_a_call_of_the_future_is_taken_as_of_now() -> None:
    made, _, _ = egress()
    made.recall([left(LATE + 5 * S)] * 2, [], [], LATE)
    assert made.last_order_ns == LATE
    assert made.gate.refuses(LATE) and not made.gate.refuses(LATE + S)


def test_an_order_call_that_left_is_timed_kept_and_counted() -> None:
    made, outbox, rows = egress()
    made.order_left(work(), 400, 450)
    assert outbox.times == {
        "throttle_wait": 150, "journalled": 100, "written": 50, "intent_to_sent": 350, "tick_to_order": 410,
    }  # fmt: skip
    assert rows == [Left(450, 70, "PLACE", ENTRY, "t1")] and outbox.counts == {"calls_today": 1}
    assert outbox.conduct.contracts[0].messages == outbox.conduct.strategies[1].messages == 1


def test_only_a_placement_is_timed_from_its_intent_and_only_from_times_that_are_known() -> None:
    made, outbox, _ = egress()
    for kind in (IntentKind.MODIFY, IntentKind.CANCEL):
        made.order_left(work(kind), 400, 450)
    assert set(outbox.times) == {"throttle_wait", "journalled", "written"}
    made.order_left(work(created_ns=0, tick_recv_ns=0), 400, 450)
    assert set(outbox.times) == {"throttle_wait", "journalled", "written"}


def test_by_what_name_and_out_of_which_part_a_call_left() -> None:
    made, _, rows = egress()
    made.order_left(work(IntentKind.MODIFY, context=SimpleNamespace(reducing=True)), 1, 2)
    made.order_left(work(IntentKind.CANCEL, context=None), 3, 4)
    made.order_left(work(IntentKind.MODIFY), 5, 6)
    assert [(row.call, row.part, row.name) for row in rows] == [
        ("MODIFY", URGENT, "o1"), ("CANCEL", URGENT, "o1"), ("MODIFY", ENTRY, "o1"),
    ]  # fmt: skip


def test_the_accounts_other_orders_are_counted_and_not_judged() -> None:
    noisy = replace(LIMITS.per_contract, messages_min=1, ratio_warn=1)
    made, outbox, rows = egress(replace(LIMITS, per_contract=noisy))
    made.order_left(work(IntentKind.CANCEL, strategy=EXTERNAL), 1, 2)
    assert len(rows) == outbox.counts["calls_today"] == 1 and not outbox.alerts
    assert not outbox.conduct.contracts and not outbox.conduct.strategies
    made.order_left(work(), 1, 2)
    assert [words[0] for words in outbox.alerts] == ["CONDUCT"] and outbox.alerts[0][2] == "contract 0"


def test_a_read_too_many_halts_and_does_not_leave() -> None:
    made, outbox, rows = egress()
    assert [made.read_refused(LATE) for _ in range(3)] == ["", "", ""] and not outbox.halts
    text = made.read_refused(LATE)
    assert "more than 3 calls in 60.0 s" in text and outbox.halts == [f"egress: a read: {text}"]
    made.read_left("POSITIONS")
    assert rows == [Left(7, 70, "POSITIONS", READ, "")] and outbox.counts == {"calls_today": 1}
