"""The latches of the gate: the first reason stands, each is journalled, and only a person lets go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold
from kite_hft.trading.gate.states import States
from kite_hft.trading.order import EXTERNAL

S = 1_000_000_000


class Outbox:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.halted = ""
        self.writes = True
        self.alerts: list[tuple[str, ...]] = []
        self.cleared: list[tuple[str, ...]] = []
        self.records: list[tuple[Kind, dict[str, Any]]] = []
        self.gauges: dict[str, int] = {}
        self.kept: dict[int, Hold] | None = None
        self.keeps = 0

    def halt(self, reason: str) -> None:
        self.halted = self.halted or reason

    def go_on(self) -> None:
        self.halted = ""

    def alert(self, *words: str) -> None:
        self.alerts.append(words)

    def clear(self, *words: str) -> None:
        self.cleared.append(words)

    def journal(self, kind: Kind, data: dict[str, Any]) -> bool:
        self.records.append((kind, data))
        return self.writes

    def gauge(self, name: str, value: int) -> None:
        self.gauges[name] = value

    def keep_holds(self, holds: dict[int, Hold]) -> None:
        self.kept = dict(holds)
        self.keeps += 1

    def written(self) -> list[dict[str, Any]]:
        return [data for kind, data in self.records if kind is Kind.STATE]


def states(storm: int = 3) -> tuple[States, Outbox]:
    outbox: Any = Outbox()
    return States(outbox, storm), outbox


def test_nothing_is_latched_at_first() -> None:
    made, _ = states()
    assert made.words() == {"killed": "", "reducing": "", "held": {}}
    assert made.token_dead == "" and made.market_halted is False and made.token_ns < -(10**18)


def test_what_was_latched_comes_back() -> None:
    made, outbox = states()
    made.restore("disk", "loss", {1: Hold(HALTED, "wild"), 2: Hold(REDUCING, "rejects")})
    assert outbox.halted == "disk" and made.reducing == "loss"
    assert made.words()["held"] == {"1": "HALTED: wild", "2": "REDUCING: rejects"}
    assert [words[0] for words in outbox.alerts] == ["STRATEGY_HELD"] * 2, (
        "of the reduction one was told before"
    )
    assert outbox.kept == made.holds and outbox.keeps == 1, "one write for all"
    made, outbox = states()
    made.restore("", "")
    assert not outbox.halted and not outbox.records and not made.reducing and not made.holds


def test_the_first_reason_to_reduce_stands() -> None:
    made, outbox = states()
    made.reduce("three rejects")
    made.reduce("later")
    assert made.reducing == "three rejects" and outbox.written() == [
        {"halted": "", "reducing": "three rejects"}
    ]
    assert outbox.alerts == [("REJECT_STORM", "REDUCING: three rejects")]


def test_a_strategy_is_held_once_and_a_halt_takes_the_place_of_a_reduction() -> None:
    made, outbox = states()
    assert made.hold(7, "rejects") is True and made.hold(7, "again") is False
    assert made.holds == {7: Hold(REDUCING, "rejects")} == outbox.kept and outbox.gauges == {
        "strategies_held": 1
    }
    assert made.hold(7, "wild", HALTED) is True and made.holds[7] == Hold(HALTED, "wild")
    assert made.hold(7, "more", HALTED) is False and made.hold(7, "less", REDUCING) is False
    assert made.hold(8, "other") is True and outbox.gauges == {"strategies_held": 2}
    assert outbox.alerts[1] == ("STRATEGY_HELD", "strategy 7 is HALTED: wild", "strategy 7")
    assert outbox.written()[1] == {"halted": "", "strategy": 7, "state": HALTED, "reason": "wild"}
    for strategy, level in ((EXTERNAL, REDUCING), (7, "paused")):
        with pytest.raises(ValueError, match="cannot be held"):
            made.hold(strategy, "x", level)


def test_the_kill_latch_is_found_set_once_and_gone_once() -> None:
    made, outbox = states()
    made.unkill()
    assert not outbox.records and not outbox.cleared
    made.kill("by hand", "me", flatten=True)
    made.kill("again")
    assert made.killed == "by hand" and outbox.alerts == [("KILLED", "KILLED: by hand")]
    assert outbox.records == [
        (Kind.COMMAND, {"do": "kill", "reason": "by hand", "by": "me", "flatten": True}),
        (Kind.STATE, {"halted": "", "killed": "by hand"}),
    ]
    assert outbox.gauges == {"state_killed": 1}
    made.unkill()
    assert made.killed == "" and outbox.gauges == {"state_killed": 0}
    assert outbox.cleared == [("KILLED",)] and outbox.written()[-1] == {"halted": "", "killed": ""}
    made.kill("reason")
    assert outbox.records[-2][1] == {"do": "kill", "reason": "reason", "by": "", "flatten": False}


def latched() -> tuple[States, Outbox]:
    made, outbox = states()
    made.restore("disk", "loss", {1: Hold(HALTED, "wild"), 2: Hold(REDUCING, "rejects")})
    del outbox.records[:], outbox.alerts[:]
    return made, outbox


def test_a_person_lets_one_strategy_go_on() -> None:
    made, outbox = latched()
    assert made.resume(3) is False and not outbox.records, "it is not held"
    assert made.resume(1, "me") is True
    assert made.holds == {2: Hold(REDUCING, "rejects")} == outbox.kept and outbox.gauges == {
        "strategies_held": 1
    }
    assert (outbox.halted, made.reducing) == ("disk", "loss"), "those stand"
    was = {"halted": "disk", "reducing": "loss", "held": {"1": "HALTED: wild", "2": "REDUCING: rejects"}}
    assert outbox.records == [
        (Kind.COMMAND, {"do": "resume", "by": "me", "strategy": 1, "was": was}),
        (Kind.STATE, {"halted": "disk", "strategy": 1, "state": ""}),
    ]
    assert outbox.cleared == [("STRATEGY_HELD", "strategy 1")]


def test_a_person_lets_everything_go_on() -> None:
    made, outbox = latched()
    assert made.resume(by="me") is True
    assert made.words() == {"killed": "", "reducing": "", "held": {}} and outbox.halted == ""
    assert outbox.kept == {} and outbox.gauges == {"strategies_held": 0}
    assert outbox.written()[-1] == {"halted": "", "reducing": ""}
    assert {words[0] for words in outbox.cleared} == {"STRATEGY_HELD", "REJECT_STORM", "DAILY_LOSS"}


@pytest.mark.parametrize("strategy", [None, 1])
def test_what_cannot_be_journalled_is_not_let_go(strategy: int | None) -> None:
    made, outbox = latched()
    outbox.writes = False
    assert made.resume(strategy) is False
    assert len(made.holds) == 2 and (outbox.halted, made.reducing) == ("disk", "loss") and not outbox.cleared


ADDRESS = "IP 192.0.2.5 is not registered"


def test_a_refused_address_opens_nothing_until_the_broker_takes_it() -> None:
    made, outbox = states()
    made.accept_address()
    assert not outbox.records and outbox.cleared == [("EGRESS_REFUSED",)], "an order call may have told it"
    for _ in range(2):
        made.refuse_address(ADDRESS)
    assert made.words()["reducing"] == made.address == ADDRESS and made.reduced == "", "it is no latch"
    assert outbox.alerts == [("EGRESS_REFUSED", ADDRESS)], "told once"
    assert outbox.written() == [{"halted": "", "address": ADDRESS}]
    made.accept_address()
    assert made.words()["reducing"] == made.address == ""
    assert outbox.written()[1:] == [{"halted": "", "address": ""}] and len(outbox.cleared) == 2


def test_another_refusal_of_the_address_is_told_again() -> None:
    made, outbox = states()
    for text in (ADDRESS, "no static IP is registered"):
        made.refuse_address(text)
    assert made.reducing == made.address == "no static IP is registered" and len(outbox.alerts) == 2


def test_a_refused_address_and_the_latch_stand_for_themselves() -> None:
    made, outbox = states()
    made.reduce("loss")
    made.refuse_address(ADDRESS)
    assert made.reducing == "loss", "the first reason is told"
    assert made.resume() and (made.reducing, made.reduced, made.address) == (ADDRESS, "", ADDRESS)
    made.reduce("rejects")
    made.accept_address()
    assert made.reducing == made.reduced == "rejects", "the broker ends his own alone"
    made.restore("", "", address=ADDRESS)
    assert made.address == ADDRESS and outbox.written()[-1] == {"halted": "", "address": ADDRESS}


def change(status: OrderStatus, fill: int = 0, *, strategy: int = 1, changed: bool = True) -> Any:
    order = SimpleNamespace(strategy=strategy, status=status, message="RMS")
    return SimpleNamespace(order=order, status_changed=changed, fill_quantity=fill)


REJECTED = OrderStatus.REJECTED


def test_rejections_in_a_row_reduce() -> None:
    made, _ = states()
    for _ in range(2):
        made.ended(change(REJECTED))
    made.ended(change(REJECTED, strategy=EXTERNAL))
    made.ended(change(REJECTED, changed=False))
    made.ended(change(OrderStatus.CANCELLED))
    assert not made.reducing
    made.ended(change(REJECTED))
    assert made.reducing == "3 orders rejected in a row, the last one: RMS"
    made, _ = states(storm=1)
    made.ended(change(REJECTED))
    assert made.reducing.startswith("1 orders rejected")


@pytest.mark.parametrize(
    "between",
    [
        change(OrderStatus.OPEN), change(OrderStatus.TRIGGER_PENDING), change(OrderStatus.COMPLETE),
        change(OrderStatus.CANCELLED, 5),
    ],
)  # fmt: skip
def test_what_the_exchange_took_or_filled_ends_the_row(between: Any) -> None:
    made, _ = states()
    for found in (change(REJECTED), change(REJECTED), between, change(REJECTED), change(REJECTED)):
        made.ended(found)
    assert not made.reducing
    made.ended(change(REJECTED))
    assert made.reducing


def test_to_resume_begins_a_new_row() -> None:
    made, _ = states()
    for _ in range(2):
        made.ended(change(REJECTED))
    assert made.resume()
    for _ in range(2):
        made.ended(change(REJECTED))
    assert not made.reducing
    made.ended(change(REJECTED))
    assert made.reducing.startswith("3 orders")


def test_rejections_of_a_halted_market_say_nothing() -> None:
    made, outbox = states()
    for _ in range(2):
        made.ended(change(REJECTED))
    made.halt_market(True)
    made.halt_market(True)
    for _ in range(5):
        made.ended(change(REJECTED))
    made.halt_market(False)
    assert outbox.written() == [{"halted": "", "market_halted": True}, {"halted": "", "market_halted": False}]
    for _ in range(2):
        made.ended(change(REJECTED))
    assert not made.reducing, "the row begins anew"
    made.ended(change(REJECTED))
    assert made.reducing


def test_a_dead_token_is_news_once() -> None:
    made, outbox = states()
    assert made.lose_token("", 2, S) is True and made.token_dead == "refused"
    assert "refused" in outbox.alerts[0][1] and "2 open positions" in outbox.alerts[0][1]
    assert made.lose_token("more", 2, S) is False and made.token_dead == "refused"
    assert outbox.written() == [{"halted": "", "token_dead": "refused"}]
    made.regain_token()
    made.regain_token()
    assert made.token_dead == "" and outbox.cleared == [("TOKEN_DEAD",)]


def test_an_answer_about_the_token_before_says_nothing_of_the_new_one() -> None:
    made, _ = states()
    made.token_ns = 5 * S
    assert made.lose_token("old", 0, 5 * S - 1) is False and made.token_dead == ""
    assert made.lose_token("this", 0, 5 * S) is True and made.token_dead == "this"
