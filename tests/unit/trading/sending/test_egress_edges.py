"""Calls that wait for a connection, at the edges: of a deadline, of a place, of an exit's number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import span_ns_of
from kite_hft.trading.sending.egress import Egress
from kite_hft.trading.sending.evidence import Left

TWO = RateWindow(2, 1.0)
SPAN = span_ns_of(TWO)
LIMITS = Limits("x", "2026-01-01", (TWO,), 100, 0.9, 25)
EXIT: Any = SimpleNamespace(reducing=True)
ENTRY: Any = SimpleNamespace(reducing=False)


class Line:
    """An egress whose calls all wait for a connection, and the time."""

    def __init__(self, **more: Any) -> None:
        self.now_ns = 0
        self.rows: list[Left] = []
        self.cleared: list[tuple[str, ...]] = []
        clock = SimpleNamespace(mono_ns=lambda: self.now_ns, real_ns=lambda: self.now_ns)
        told: Any = SimpleNamespace(
            record=lambda name, ns: None, count=lambda name: None, alert=lambda *words: None, halted="",
            clear=lambda *words: self.cleared.append(words),
            conduct=SimpleNamespace(called=lambda *words: None, warnings=lambda *words: []),
        )  # fmt: skip
        ports: Any = SimpleNamespace(on_call=self.rows.append, clock=clock, transport=None, killed=lambda: "")
        self.egress = Egress(ports, LIMITS, told, **more)

    def waits(self, number: int, at_ns: int, context: Any = EXIT, order_no: int = 5) -> None:
        self.leaves(at_ns)
        self.egress.waits(number)
        order = SimpleNamespace(
            tag="t", order_id="o", strategy=1, slot=0, created_ns=0, tick_recv_ns=0, order_no=order_no,
            status=OrderStatus.OPEN,
        )  # fmt: skip
        work: Any = SimpleNamespace(
            kind=IntentKind.PLACE, order=order, offered_ns=0, let_out_ns=0, context=context, intent=None
        )
        self.egress.order_left(work, at_ns, at_ns)

    def leaves(self, at_ns: int) -> None:
        """Another order call takes a place."""
        self.now_ns = at_ns
        assert self.egress.budget.urgent_free_ns <= at_ns and not self.egress.gate.refuses(at_ns)
        self.egress.budget.left(at_ns)

    def stands(self, number: int) -> bool:
        return self.egress._held[number].stands


def test_of_a_call_that_does_not_wait_nothing_is_held_up() -> None:
    line = Line()
    assert line.egress.placed(99) is True and line.egress.stops(99) == ""


def test_the_very_first_order_waits_on_as_any_other() -> None:
    line = Line()
    line.waits(1, 10, order_no=1)
    line.now_ns = 20
    assert line.egress.waits_on(1) is True


def test_an_entry_that_has_left_ends_no_alert_of_an_exit() -> None:
    line = Line()
    line.waits(1, 10, ENTRY)
    line.waits(2, 11, EXIT, order_no=6)
    line.egress.wrote(1, 20)
    assert not line.cleared
    line.egress.wrote(2, 21)
    assert line.cleared == [("EXIT_WAITS", "exit 6")] and [row.mono_ns for row in line.rows] == [20, 21]


def test_an_exit_that_has_lost_its_place_takes_one_from_the_moment_on_that_it_is_free() -> None:
    for early, placed in ((1, False), (0, True)):
        line = Line()
        line.waits(1, 10)
        line.leaves(20)
        line.leaves(10 + SPAN)
        line.now_ns = 20 + SPAN - early
        assert line.egress.placed(1) is placed, early


def test_it_takes_none_from_an_exit_that_has_waited_as_long() -> None:
    line = Line()
    line.waits(1, 10)
    line.waits(2, 10, order_no=6)
    line.now_ns = 10 + SPAN // 2
    assert line.egress.waits_on(2) is True, "its place has moved along"
    line.leaves(10 + SPAN)
    assert line.egress.placed(1) is False and line.stands(2)


def test_what_opens_is_given_up_at_its_deadline_and_its_place_is_free() -> None:
    line = Line(entry_wait_ns=650)
    work: Any = SimpleNamespace(offered_ns=0, intent=None)
    line.leaves(10)
    line.leaves(20)
    assert line.egress.held_up(work, 10, 649) is None and line.egress.budget.urgent_free_ns > 650
    verdict = line.egress.held_up(work, 10, 650)
    assert verdict == (Reason.THROTTLE_DEADLINE, "past its deadline before it could leave")
    assert line.egress.budget.urgent_free_ns < 650 and not line.egress.gate.refuses(650)


def test_the_proof_of_the_address_does_not_leave_in_a_cool_down_that_began_while_it_waited() -> None:
    """It is a cancel, but of no order: it can be asked again later, and the rest between two is an exit's."""
    line = Line()
    line.egress.cooling = lambda now_ns: now_ns == 30
    line.waits(1, 10, None, order_no=0)
    line.waits(2, 20, None, order_no=5)
    assert not line.egress.stops(1) and line.egress.placed(1)
    line.now_ns = 30
    assert "cool-down" in line.egress.stops(1) and not line.egress.stops(2)
    line.now_ns = 31
    assert not line.egress.stops(1)
