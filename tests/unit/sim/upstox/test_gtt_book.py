"""Upstox's good-till-triggered orders: entries, the exits that follow, trails, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sim_tools import MS, NOW, SECOND, TABLE, book_of

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.upstox.api import Terms, UpstoxApi
from kite_hft.sim.upstox.gtt_book import (
    ABOVE,
    BELOW,
    ENTRY,
    IMMEDIATE,
    MULTIPLE,
    SINGLE,
    STOPLOSS,
    TARGET,
    VALID_NS,
    Gtt,
    GttBook,
    Rule,
    check_rules,
)
from kite_hft.sim.upstox.quota import NO_LIMITS
from kite_hft.sim.upstox.session import Credentials

KEYED = with_upstox_keys(TABLE)


class Bench:
    """An exchange whose equity trades at 100.00, and its GTT book."""

    def __init__(self) -> None:
        self.now = NOW
        self.volume = 1000
        self.exchange = Exchange(KEYED, 100_000_000, 1, ExchangeParams(latency_ns=(MS, MS)))
        self.api = UpstoxApi(self.exchange, Credentials("k", "s", "t"), terms=Terms(limits=NO_LIMITS))
        self.book: GttBook = self.api.gtts.book
        self.price(10_000)

    def price(self, px: int) -> None:
        """The market moves there, and a second passes."""
        self.volume += 100
        self.now += SECOND
        self.api.on_ticks(book_of(0, px, px + 5, 1000, volume=self.volume), self.now)
        self.now += SECOND
        self.api.step(self.now)

    def add(self, kind: str, *rules: Rule, side: Side = Side.BUY) -> Gtt:
        gtt = Gtt("261120", kind, KEYED[0], side, Product.MIS, 5, list(rules), self.now, self.now + VALID_NS)
        self.book.add(gtt, self.now)
        self.api.step(self.now + SECOND)
        return gtt


def fates(gtt: Gtt) -> dict[str, str]:
    return {rule.strategy: rule.status for rule in gtt.rules}


@pytest.mark.parametrize(
    ("kind", "px", "moves"), [(ABOVE, 10_200, (10_100, 10_200)), (BELOW, 9_800, (9_900, 9_700))]
)
def test_an_entry_waits_for_its_price_and_fires_once(kind: str, px: int, moves: tuple[int, ...]) -> None:
    bench = Bench()
    gtt = bench.add(SINGLE, Rule(ENTRY, kind, px))
    bench.price(moves[0])
    assert fates(gtt) == {ENTRY: "PENDING"} and not bench.exchange.orders
    bench.price(moves[1])
    bench.price(moves[1])
    assert fates(gtt) == {ENTRY: "COMPLETED"}
    (order,) = bench.exchange.orders.values()
    assert (order.request.order_type.name, order.request.px) == ("LIMIT", px)
    assert order.order_id == gtt.rules[0].order_id


@pytest.mark.parametrize(("last", "fired", "left"), [(10_400, TARGET, STOPLOSS), (9_600, STOPLOSS, TARGET)])
def test_of_two_exits_one_fires_and_the_other_ends(last: int, fired: str, left: str) -> None:
    bench = Bench()
    rules = [
        Rule(ENTRY, IMMEDIATE, 10_100),
        Rule(TARGET, IMMEDIATE, 10_400),
        Rule(STOPLOSS, IMMEDIATE, 9_600),
    ]
    gtt = bench.add(MULTIPLE, *rules)
    bench.price(10_000)
    assert fates(gtt) == {ENTRY: "COMPLETED", TARGET: "PENDING", STOPLOSS: "PENDING"}
    bench.price(last)
    assert fates(gtt) == {ENTRY: "COMPLETED", fired: "COMPLETED", left: "CANCELLED"}
    exit_order = bench.exchange.orders[str(gtt.rule(fired).order_id)]  # type: ignore[union-attr]
    assert (exit_order.request.side, exit_order.request.quantity) == (Side.SELL, 5)


def test_exits_of_a_sale_look_the_other_way() -> None:
    bench = Bench()
    rules = [Rule(ENTRY, IMMEDIATE, 9_900), Rule(TARGET, IMMEDIATE, 9_600), Rule(STOPLOSS, IMMEDIATE, 10_400)]
    gtt = bench.add(MULTIPLE, *rules, side=Side.SELL)
    bench.price(10_000)
    assert fates(gtt) == {ENTRY: "COMPLETED", TARGET: "PENDING", STOPLOSS: "PENDING"}
    bench.price(9_600)
    assert fates(gtt)[TARGET] == "COMPLETED" and fates(gtt)[STOPLOSS] == "CANCELLED"


def test_a_trailing_stop_follows_the_best_price() -> None:
    bench = Bench()
    gtt = bench.add(MULTIPLE, Rule(ENTRY, IMMEDIATE, 10_100), Rule(STOPLOSS, IMMEDIATE, 9_700, gap_px=300))
    bench.price(10_000)
    bench.price(10_500)
    assert gtt.rule(STOPLOSS).trigger_px == 10_200  # type: ignore[union-attr]
    bench.price(10_300)
    assert fates(gtt)[STOPLOSS] == "PENDING"
    bench.price(10_200)
    assert fates(gtt)[STOPLOSS] == "COMPLETED"


def test_an_entry_that_is_rejected_ends_the_rest() -> None:
    bench = Bench()
    bench.exchange.reject_next_margin(1)
    gtt = bench.add(MULTIPLE, Rule(ENTRY, IMMEDIATE, 10_100), Rule(TARGET, IMMEDIATE, 10_400))
    bench.price(10_000)
    assert fates(gtt) == {ENTRY: "FAILED", TARGET: "CANCELLED"} and "Insufficient" in gtt.rules[0].message


def test_modify_and_cancel() -> None:
    bench = Bench()
    gtt = bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_500))
    bench.book.modify(gtt.gtt_id, SINGLE, 7, [Rule(ENTRY, ABOVE, 10_300)])
    assert (gtt.quantity, gtt.rules[0].trigger_px) == (7, 10_300)
    bench.book.cancel(gtt.gtt_id)
    bench.price(10_400)
    assert fates(gtt) == {ENTRY: "CANCELLED"} and not bench.exchange.orders
    for call in (lambda: bench.book.cancel(gtt.gtt_id), lambda: bench.book.cancel("GTT-X")):
        with pytest.raises(Refusal):
            call()


def test_it_expires_after_a_year() -> None:
    bench = Bench()
    gtt = bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_300))
    bench.now += VALID_NS
    bench.price(10_400)
    assert fates(gtt) == {ENTRY: "CANCELLED"}


@pytest.mark.parametrize(
    ("kind", "rules", "code"),
    [
        ("DOUBLE", [Rule(ENTRY, ABOVE, 1)], "UDAPI1126"),
        (SINGLE, [Rule(ENTRY, ABOVE, 1), Rule(TARGET, IMMEDIATE, 1)], "UDAPI1136"),
        (MULTIPLE, [Rule(ENTRY, ABOVE, 1)], "UDAPI1137"),
        (SINGLE, [Rule(TARGET, IMMEDIATE, 1)], "UDAPI1141"),
        (MULTIPLE, [Rule(ENTRY, ABOVE, 1), Rule(ENTRY, ABOVE, 1)], "UDAPI1142"),
        (MULTIPLE, [Rule(ENTRY, ABOVE, 1), Rule(TARGET, ABOVE, 1)], "UDAPI1143"),
    ],
)
def test_rules_that_make_no_gtt(kind: str, rules: list[Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_rules(kind, rules)
    assert refused.value.error_type == code


def test_a_gap_has_a_least_size() -> None:
    bench = Bench()
    with pytest.raises(Refusal) as refused:
        bench.add(MULTIPLE, Rule(ENTRY, ABOVE, 10_300), Rule(STOPLOSS, IMMEDIATE, 9_000, gap_px=50))
    assert refused.value.error_type == "UDAPI1151"


def test_an_entry_changed_to_immediate_fires_at_any_price() -> None:
    bench = Bench()
    gtt = bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_500))
    bench.book.modify(gtt.gtt_id, SINGLE, 5, [Rule(ENTRY, IMMEDIATE, 9_800)])
    bench.price(10_000)  # neither above nor below the new price
    assert fates(gtt) == {ENTRY: "COMPLETED"}


def test_new_terms_are_all_of_them_until_the_entry_has_fired() -> None:
    bench = Bench()
    rules = [Rule(ENTRY, ABOVE, 10_500), Rule(TARGET, IMMEDIATE, 11_000), Rule(STOPLOSS, IMMEDIATE, 9_000)]
    gtt = bench.add(MULTIPLE, *rules)
    bench.book.modify(gtt.gtt_id, MULTIPLE, 5, [Rule(ENTRY, ABOVE, 10_500), Rule(TARGET, IMMEDIATE, 11_500)])
    assert {rule.strategy: rule.trigger_px for rule in gtt.rules} == {ENTRY: 10_500, TARGET: 11_500}


def test_the_list_shows_what_waits_and_a_push_tells_what_has_fired() -> None:
    bench = Bench()
    fires, stays = (
        bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_200)),
        bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_900)),
    )
    head = {"authorization": "Bearer t"}

    def listed(*query: tuple[str, str]) -> list[str]:
        answer = bench.api.handle("GET", "/v3/order/gtt", list(query), head, b"", bench.now)
        return [row["gtt_order_id"] for row in json.loads(answer.body)["data"]]

    assert listed() == [fires.gtt_id, stays.gtt_id]
    bench.api.updates.drain()
    bench.price(10_300)
    assert listed() == [stays.gtt_id] and listed(("gtt_order_id", fires.gtt_id)) == [fires.gtt_id]
    (told,) = [row for row in bench.api.updates.drain() if row["update_type"] == "gtt_order"]
    rule = told["rules"][0]
    assert told["gtt_order_id"] == fires.gtt_id and rule["status"] == "COMPLETED"
    assert rule["order_id"] in bench.exchange.orders


@pytest.mark.parametrize(
    ("kind", "quantity", "rules", "code"),
    [
        (SINGLE, 5, [Rule(STOPLOSS, IMMEDIATE, 9_800)], "UDAPI1126"),
        (MULTIPLE, 6, [Rule(STOPLOSS, IMMEDIATE, 9_800)], "UDAPI1148"),
        (MULTIPLE, 5, [Rule(STOPLOSS, BELOW, 9_800)], "UDAPI1150"),
        (MULTIPLE, 5, [Rule(STOPLOSS, IMMEDIATE, 9_800), Rule(STOPLOSS, IMMEDIATE, 9_900)], "UDAPI1142"),
        (MULTIPLE, 5, [Rule(STOPLOSS, IMMEDIATE, 8_000, gap_px=5)], "UDAPI1151"),
        (MULTIPLE, 5, [Rule(TARGET, IMMEDIATE, 10_900, gap_px=500)], "UDAPI1146"),
    ],
)
def test_an_open_gtt_refuses_and_stays_as_it_was(
    kind: str, quantity: int, rules: list[Rule], code: str
) -> None:
    bench = Bench()
    gtt = bench.add(MULTIPLE, Rule(ENTRY, IMMEDIATE, 10_100), Rule(STOPLOSS, IMMEDIATE, 9_500))
    bench.price(10_000)
    with pytest.raises(Refusal) as refused:
        bench.book.modify(gtt.gtt_id, kind, quantity, rules)
    assert refused.value.error_type == code
    stop = gtt.rule(STOPLOSS)
    assert stop is not None and (stop.trigger_px, stop.gap_px) == (9_500, 0)
    assert (gtt.quantity, len(gtt.rules)) == (5, 2)


def test_a_single_gtt_gets_no_exits_behind_its_entry() -> None:
    bench = Bench()
    gtt = bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_500), side=Side.BUY)
    with pytest.raises(Refusal) as refused:
        bench.book.modify(
            gtt.gtt_id, SINGLE, 5, [Rule(ENTRY, ABOVE, 10_500), Rule(TARGET, IMMEDIATE, 11_000)]
        )
    assert refused.value.error_type == "UDAPI1136" and len(gtt.rules) == 1


def test_an_open_gtt_takes_another_exit() -> None:
    bench = Bench()
    gtt = bench.add(MULTIPLE, Rule(ENTRY, IMMEDIATE, 10_100), Rule(STOPLOSS, IMMEDIATE, 9_500))
    bench.price(10_000)
    bench.book.modify(gtt.gtt_id, MULTIPLE, 5, [Rule(TARGET, IMMEDIATE, 10_300)])
    assert fates(gtt) == {ENTRY: "COMPLETED", STOPLOSS: "PENDING", TARGET: "PENDING"}
    bench.price(10_300)
    assert fates(gtt) == {ENTRY: "COMPLETED", STOPLOSS: "CANCELLED", TARGET: "COMPLETED"}


def test_a_gap_is_not_judged_before_the_first_price() -> None:
    bench = Bench()
    row = KEYED[1]
    assert not bench.exchange.seen[row.slot]
    rules = [Rule(ENTRY, ABOVE, 10_300), Rule(STOPLOSS, IMMEDIATE, 9_000, gap_px=50)]
    gtt = Gtt("261120", MULTIPLE, row, Side.BUY, Product.MIS, 75, rules, bench.now, bench.now + VALID_NS)
    assert bench.book.add(gtt, bench.now).startswith("GTT-CU261120")


def test_the_kill_switch_holds_what_a_trigger_fires() -> None:
    bench = Bench()
    gtt = bench.add(SINGLE, Rule(ENTRY, ABOVE, 10_200))
    headers = {"authorization": "Bearer t"}
    body = b'[{"segment": "NSE_EQ", "action": "DISABLE"}]'
    assert bench.api.handle("POST", "/v2/user/kill-switch", [], headers, body, bench.now).status == 200
    bench.api.new_token(bench.now)
    bench.price(10_300)
    assert fates(gtt) == {ENTRY: "FAILED"} and "kill switch" in gtt.rules[0].message
    assert not bench.exchange.orders
