"""What leaves is counted, timed and kept; what left before a start stands in the windows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.order import EXTERNAL
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
        self.halted = ""
        self.cleared: list[tuple[str, ...]] = []

    def clear(self, *words: str) -> None:
        self.cleared.append(words)

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


def egress(
    limits: Limits = LIMITS, now: list[int] | None = None, **more: Any
) -> tuple[Egress, Outbox, list[Left]]:
    rows: list[Left] = []
    time = now or [7]
    clock = SimpleNamespace(mono_ns=lambda: time[-1], real_ns=lambda: 70)
    outbox: Any = Outbox()
    ports: Any = SimpleNamespace(on_call=rows.append, clock=clock, transport=None, killed=lambda: "")
    return Egress(ports, limits, outbox, **more), outbox, rows


def work(kind: IntentKind = IntentKind.PLACE, **more: Any) -> Any:
    order = {
        "tag": "t1", "order_id": "o1", "strategy": 1, "slot": 0, "created_ns": 100, "tick_recv_ns": 40,
        "order_no": 5, "status": OrderStatus.OPEN,
    }  # fmt: skip
    words = {"offered_ns": 150, "let_out_ns": 300, "context": SimpleNamespace(reducing=False), "intent": None}
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


def test_a_read_stands_where_it_was_written() -> None:
    """However long ago it was decided: at the budget and at the second count."""
    now = [LATE + S]
    made, _, rows = egress(now=now)
    assert not made.read_refused(LATE)
    made.budget.read_left(LATE, ReadKind.OTHER)
    made.read_left("ORDERS")
    assert rows[0].mono_ns == LATE + S
    for _ in range(2):
        assert not made.gate.refuses(LATE + S)
        made.budget.left(LATE + S)
        made.order_left(work(), LATE + S, LATE + S)
    assert made.budget.urgent_free_ns == LATE + S + span_ns_of(ALL)
    assert "60.0 s" in made.gate.refuses_read(LATE + 60 * S) and not made.gate.refuses_read(LATE + 61 * S)


def test_a_call_that_waits_in_the_transport_keeps_its_place_and_stands_where_it_was_written() -> None:
    made, _, rows = egress(replace(LIMITS, order_windows=(RateWindow(1, 1.0),), all_windows=()))
    span_ns = span_ns_of(RateWindow(1, 1.0))
    assert not made.gate.refuses(5)
    made.budget.left(5)
    made.waits(3)
    made.order_left(work(), 6, 7)
    assert not rows and made.budget.urgent_free_ns == 7 + span_ns
    made.wrote(3, 1000)
    assert made.budget.urgent_free_ns == 1000 + span_ns
    assert made.gate.refuses(S + 999) and not made.gate.refuses(S + 1000)
    assert rows == [Left(1000, 70, "PLACE", ENTRY, "t1")]
    made.order_left(work(), 8, 9)
    assert len(rows) == 2, "the next one did not wait"
    made.wrote(3, 2000)
    made.wrote(99, 2000)
    assert len(rows) == 2, "of others nothing is known"


def test_a_read_that_waits_moves_in_its_own_windows_too() -> None:
    shared, own = RateWindow(3, 1.0, reads=1), RateWindow(1, 2.0)
    made, _, rows = egress(replace(LIMITS, order_windows=(), all_windows=(shared,), other_windows=(own,)))
    assert not made.read_refused(5)
    made.budget.read_left(5, ReadKind.OTHER)
    made.waits(4)
    made.read_left("ORDERS")
    assert not rows and made.budget.read_free_ns(ReadKind.OTHER, 7) == 7 + span_ns_of(own)
    made.wrote(4, 500)
    assert made.budget.read_free_ns(ReadKind.OTHER, 500) == 500 + span_ns_of(own)
    made.budget.left(600)
    made.budget.left(700)
    assert made.budget.urgent_free_ns == 500 + span_ns_of(shared)
    assert rows == [Left(500, 70, "ORDERS", READ, "")]


def test_one_that_never_leaves_keeps_its_place_and_its_row() -> None:
    made, _, rows = egress()
    assert not made.gate.refuses(5)
    made.budget.left(5)
    made.waits(3)
    made.order_left(work(), 6, 7)
    made.wrote(3, None)
    assert rows == [Left(7, 70, "PLACE", ENTRY, "t1")]


@pytest.mark.parametrize("status", [OrderStatus.COMPLETE, OrderStatus.CANCELLED, OrderStatus.REJECTED])
def test_a_cancel_of_an_order_that_has_ended_meanwhile_is_dropped_and_gives_its_place_back(
    status: OrderStatus,
) -> None:
    made, outbox, rows = egress(replace(LIMITS, order_windows=(RateWindow(1, 1.0),), all_windows=()))
    cancel = work(IntentKind.CANCEL, context=None)
    assert not made.gate.refuses(7)
    made.budget.left(7)
    made.waits(3)
    made.order_left(cancel, 6, 7)
    assert made.stops(3) == "" and made.budget.urgent_free_ns > 7
    cancel.order.status = status
    assert made.placed(3) and "ended" in made.stops(3)
    made.wrote(3, None)
    assert made.budget.urgent_free_ns < 7 and not made.gate.refuses(8), "its place is free"
    assert not rows and ("EXIT_WAITS", "the cancel of 5") in outbox.cleared


def test_what_may_not_leave_after_a_wait() -> None:
    now = [7]
    made, outbox, _ = egress(now=now)
    for number, more in ((1, {}), (2, {"context": SimpleNamespace(reducing=True)})):
        made.budget.left(5)
        made.waits(number)
        made.order_left(work(**more), 6, 7)
    assert made.stops(1) == made.stops(2) == made.stops(99) == ""
    outbox.halted = "by hand"
    assert made.stops(1) == "by hand" and made.stops(2) == ""
    made._ports.killed = lambda: "enough"  # type: ignore[misc]
    assert made.stops(1) == "killed: enough" and made.stops(2) == ""
    made._ports.killed, outbox.halted = lambda: "", ""  # type: ignore[misc]
    now.append(6 + span_ns_of(ORDERS))
    assert made.stops(1) == made.stops(2) == ""
    now.append(7 + span_ns_of(ORDERS))
    assert "place" in made.stops(1), "another call may have that place"
    assert made.placed(2) and made.stops(2) == "", "an exit takes another place"
    assert made._held[2].row.mono_ns == now[-1]


def test_of_calls_that_wait_cancels_exits_and_what_protects_go_first() -> None:
    made, _, _ = egress()
    exit_, cancel = {"context": SimpleNamespace(reducing=True)}, {"context": None, "kind": IntentKind.CANCEL}
    for number, more in ((1, {}), (2, exit_), (3, cancel)):
        made.waits(number)
        made.order_left(work(**more), 6, 7)
    for number, kind in ((4, ReadKind.RELIEF), (5, ReadKind.OTHER)):
        made.waits(number)
        made.budget.read_left(7, kind)
        made.read_left("GTT")
    assert [number for number in range(1, 7) if made.urgent(number)] == [2, 3, 4]


def test_an_entry_that_waits_for_a_connection_does_not_leave_past_its_deadline() -> None:
    """Its own, or by when one has to leave that was offered then; an exit has none."""
    now = [7]
    made, _, _ = egress(now=now, entry_wait_ns=500)
    soon = SimpleNamespace(deadline_ns=400)
    exit_ = {"context": SimpleNamespace(reducing=True), "intent": soon}
    for number, more in ((1, {"intent": soon}), (2, {"intent": SimpleNamespace(deadline_ns=0)}), (3, exit_)):
        made.waits(number)
        made.order_left(work(**more), 6, 7)
    for at_ns, stopped in ((399, []), (400, [1]), (649, [1]), (650, [1, 2])):
        now.append(at_ns)
        assert [n for n in (1, 2, 3) if "deadline" in made.stops(n)] == stopped, at_ns


def test_what_has_waited_is_judged_once_more() -> None:
    asked: list[tuple[bool, bool, int]] = []

    def doubt(call: Any, opens: bool, waited: bool, now_ns: int) -> tuple[Reason, str] | None:
        asked.append((opens, waited, now_ns))
        return (Reason.REDUCING, "a loss") if len(asked) == 2 else None

    made, _, _ = egress(now=[9], doubt=doubt)
    for number, more in ((1, {}), (2, {"context": SimpleNamespace(reducing=True)})):
        made.waits(number)
        made.order_left(work(**more), 6, 7)
    assert [made.stops(1), made.stops(1), made.stops(2)] == ["", "a loss", ""]
    assert asked == [(True, True, 9), (True, True, 9), (False, True, 9)], "an exit by what binds exits"
    made.cooling = lambda now_ns: now_ns == 9
    assert "cool-down" in made.stops(1) and not made.stops(2)


def test_a_trigger_that_opens_does_not_leave_either_once_the_account_is_killed() -> None:
    made, outbox, _ = egress()
    calls = ((1, "GTT", ReadKind.OTHER), (2, "GTT", ReadKind.RELIEF), (3, "ORDERS", ReadKind.OTHER))
    for number, name, kind in calls:
        made.waits(number)
        made.budget.read_left(7, kind)
        made.read_left(name)
    assert not any(made.stops(number) for number in (1, 2, 3))
    made._ports.killed = lambda: "enough"  # type: ignore[misc]
    assert [made.stops(number) for number in (1, 2, 3)] == ["killed: enough", "", ""]
    made._ports.killed, outbox.halted = lambda: "", "by hand"  # type: ignore[misc]
    assert [made.stops(number) for number in (1, 2, 3)] == ["by hand", "", ""]


def test_exits_and_cancels_wait_on_and_their_places_move_along() -> None:
    now = [S]
    made, outbox, rows = egress(replace(LIMITS, order_windows=(RateWindow(3, 1.0),), all_windows=()), now=now)
    exit_, cancel = {"context": SimpleNamespace(reducing=True)}, {"context": None, "kind": IntentKind.CANCEL}
    nobodys = cancel | {"order_no": 0}
    for number, more in ((1, {}), (2, exit_), (3, cancel)):
        assert not made.gate.refuses(S)
        made.budget.left(S)
        made.waits(number)
        made.order_left(work(**more), S, S)
    made.waits(4)
    made.order_left(work(**nobodys), S, S)
    span_ns = span_ns_of(RateWindow(3, 1.0))
    for at_ns in range(S + S // 2, 6 * S, S // 2):
        now.append(at_ns)
        assert [made.waits_on(number) for number in (1, 2, 3, 4, 99)] == [False, True, True, False, False]
        assert made.budget.urgent_free_ns <= at_ns or at_ns == S + S // 2, "one place is free in the end"
        made.budget.left(at_ns)
        assert made.budget.urgent_free_ns > at_ns, "two others are theirs"
        made.budget.moved(at_ns, None)
    codes = {(code, key) for code, _, key in outbox.alerts}
    assert codes == {("EXIT_WAITS", "exit 5"), ("EXIT_WAITS", "the cancel of 5")}
    assert "exit 5 has waited 0.5 s for a connection" in outbox.alerts[0][1]
    made.wrote(2, 6 * S)
    made.wrote(3, None)
    assert set(outbox.cleared) == {("EXIT_WAITS", "exit 5"), ("EXIT_WAITS", "the cancel of 5")}
    assert [row.mono_ns for row in rows] == [6 * S, now[-1]]
    assert made.gate._both[0][2][-1] == 6 * S and made.budget.urgent_free_ns <= 6 * S + span_ns


def test_an_exit_without_a_place_takes_a_free_one_then_that_of_what_opens_then_that_of_the_newest_exit() -> (
    None
):
    now = [7]
    window = RateWindow(4, 1.0)
    made, outbox, _ = egress(replace(LIMITS, order_windows=(window,), all_windows=()), now=now)
    exit_ = {"context": SimpleNamespace(reducing=True)}

    def waits(number: int, at_ns: int, **more: Any) -> None:
        now.append(at_ns)
        assert not made.gate.refuses(at_ns)
        made.budget.left(at_ns)
        made.waits(number)
        made.order_left(work(**more), at_ns, at_ns)

    for number in (1, 2, 3):
        waits(number, 10 + number, **exit_)
    late_ns = 20 + span_ns_of(window)
    waits(4, late_ns, **exit_)
    waits(5, late_ns + 1)
    waits(6, late_ns + 2, **exit_)
    assert made.placed(1), "three of four places are taken"
    assert made._held[1].row.mono_ns == late_ns + 2 and all(made._held[n].stands for n in (4, 5, 6))
    assert made.placed(2) and not made._held[5].stands
    assert "gone to an exit" in made.stops(5) and made.stops(2) == ""
    assert made.placed(3) and not made._held[6].stands and made._held[4].stands
    assert not made.placed(6) and made._held[4].stands, "nor does it take one from an older exit"
    assert sum(each.stands for each in made._held.values()) == 4 and not outbox.halts
    assert made.budget.urgent_free_ns > late_ns + 2, "nobody has made a place more"


def test_an_exit_with_another_place_counts_once_in_the_long_windows() -> None:
    now = [7]
    made, outbox, _ = egress(now=now)
    assert not made.gate.refuses(7)
    made.budget.left(7)
    made.waits(1)
    made.order_left(work(context=SimpleNamespace(reducing=True)), 7, 7)
    now.append(8 + span_ns_of(ORDERS))
    assert made.placed(1) and made._held[1].row.mono_ns == now[-1]
    now.append(now[-1] + 2 * span_ns_of(ORDERS))
    for _ in range(ALL.calls - 1):
        assert made.budget.urgent_free_ns <= now[-1] and not made.gate.refuses(now[-1])
        made.budget.left(now[-1])
    assert made.budget.urgent_free_ns > now[-1] and made.gate.refuses(now[-1]) and not outbox.halts
