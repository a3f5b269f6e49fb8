"""Circuit limits and holdings: asked for in time, kept with their age, unknown until read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from orders_world import PX, S, World, filled, limits, ok

from kite_hft.brokers.kite import market
from kite_hft.brokers.kite.answers import AnswerError
from kite_hft.layout import Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.facts import Holding
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.polling import PollPace
from kite_hft.trading.ports import OrdersConfig

BANDS = {f"NSE:SHARE{slot}": {"lower_circuit_limit": 90.0, "upper_circuit_limit": 110.0} for slot in (0, 1)}


class Reading:
    """A world whose broker answers quotes and holdings, too."""

    def __init__(self, **config: Any) -> None:
        self.bands: Any = dict(BANDS)
        self.holdings: Any = []
        self.fails: dict[str, Any] = {}
        self.asked: list[str] = []
        words: dict[str, Any] = {"market_read_s": 60.0} | config
        self.world = World(config=OrdersConfig(limits(), RiskLimits(max_order_value=1e6), **words))
        self.world.broker.on_read = self._read

    def _read(self, request: HttpRequest) -> HttpResponse | TransportError:
        path = request.path.partition("?")[0]
        self.asked.append(request.path)
        if path in self.fails:
            found: HttpResponse | TransportError = self.fails[path]
            return found
        if path == "/quote":
            return ok(self.bands)
        if path == "/portfolio/holdings":
            return ok(self.holdings)
        return self.world.broker.read(request)

    def start(self) -> Reading:
        self.world.start()
        return self

    def count(self, path: str) -> int:
        return sum(asked.partition("?")[0] == path for asked in self.asked)


def row(symbol: str, **more: Any) -> dict[str, Any]:
    base = {"exchange": "NSE", "tradingsymbol": symbol, "opening_quantity": 10, "realised_quantity": 10,
            "t1_quantity": 0, "used_quantity": 0, "authorised_quantity": 0}  # fmt: skip
    return base | more


def test_limits_are_read_at_the_start_and_every_minute() -> None:
    reading = Reading().start()
    world = reading.world
    quotes = [asked for asked in reading.asked if asked.startswith("/quote?")]
    assert quotes == ["/quote?i=NSE:SHARE0&i=NSE:SHARE1&i=NFO:SHARE3&i=NFO:SHARE4"], "indices have none"
    low, high, age_ns = world.stage.gate.facts.band(0)  # type: ignore[misc]
    assert (low, high) == (9000, 11_000) and 0 <= age_ns <= 3 * S
    world.send(1, px=PX + 500)
    assert world.status(1) in WORKING
    world.run(56.5, step_s=0.5)
    assert reading.count("/quote") == 1
    world.run(2.0)
    assert reading.count("/quote") == 2 and reading.count("/portfolio/holdings") == 2
    assert world.stage.gate.facts.band(0)[2] < 3 * S  # type: ignore[misc]


def test_beside_a_feed_that_asks_for_quotes_they_are_read_in_turn_alone() -> None:
    pace = PollPace(1_250_000_000, 10_500_000_000, 1_500_000_000)
    reading = Reading(quote_pace=pace, market_read_s=1.0).start()
    asked_at: list[int] = []
    before = reading._read

    def read(request: HttpRequest) -> HttpResponse | TransportError:
        if request.path.startswith("/quote?"):
            asked_at.append(reading.world.clock.mono_ns())
        return before(request)

    reading.world.broker.on_read = read
    reading.world.run(65.0, step_s=0.05)
    assert 5 <= len(asked_at) <= 7, asked_at  # one in a turn, though they are due every second
    phases = [at % pace.every_ns / 1e9 for at in asked_at]
    assert all(9.0 <= phase <= 9.35 for phase in phases), phases  # on their way to the broker for a moment


def test_what_is_not_known_opens_nothing_and_closes() -> None:
    reading = Reading()
    reading.bands = {"NSE:SHARE0": {"lower_circuit_limit": 0, "upper_circuit_limit": 0}, "NSE:X": {}}
    world = reading.start().world
    world.send(1)
    assert world.reason(1) == "CIRCUIT"
    world.stage.book.position_of(1, 0, Product.MIS).quantity = 10
    world.send(2, side=Side.SELL)
    assert world.status(2) in WORKING


@pytest.mark.parametrize(
    "failure", [HttpResponse(503, b""), HttpResponse(200, b"no json"), TransportError("timed out", sent=True)]
)
def test_a_failed_read_is_asked_again_soon(failure: Any) -> None:
    reading = Reading()
    reading.fails = {"/quote": failure, "/portfolio/holdings": failure}
    world = reading.start().world
    assert world.stage.gate.facts.band(0) == (0, 0, -1)  # type: ignore[misc]
    assert world.stage.gate.facts.holding(0) is None  # type: ignore[misc]
    first = reading.count("/quote")
    assert 1 <= first <= 3, "not without a rest"
    reading.fails = {}
    world.run(2.5)
    assert world.stage.gate.facts.band(0)[:2] == (9000, 11_000)  # type: ignore[misc]
    assert world.stage.gate.facts.holding(0) == Holding(0)  # type: ignore[misc]


def test_old_limits_grow_old() -> None:
    reading = Reading().start()
    reading.fails = {"/quote": TransportError("gone", sent=True)}
    reading.world.run(182, step_s=0.5)
    reading.world.send(1)
    assert reading.world.reason(1) == "CIRCUIT"


def test_sales_of_holdings_are_held_to_what_was_read() -> None:
    reading = Reading()
    reading.holdings = [row("SHARE0", authorised_quantity=10), row("SHARE1"), row("ELSEWHERE")]
    world = reading.start().world
    world.send(1, side=Side.SELL, product=Product.CNC, qty=11)
    assert world.reason(1) == "NO_HOLDINGS"
    world.send(2, side=Side.SELL, product=Product.CNC, qty=10)
    assert world.status(2) in WORKING
    world.send(3, side=Side.SELL, product=Product.CNC, slot=1)
    assert world.reason(3) == "NO_HOLDINGS", "not authorised"
    reading.holdings = [row("SHARE1", authorised_quantity=10)]
    world.stage._market.wanted()
    world.run(1.0)
    world.send(4, side=Side.SELL, product=Product.CNC, slot=1)
    assert world.status(4) in WORKING


def test_what_we_sell_after_others_have_sold_comes_on_top() -> None:
    """Of 100 others have sold 60 when it is read, then we sell 30: 10 are left, also once he tells of all."""
    reading = Reading()
    words = {"opening_quantity": 100, "realised_quantity": 100, "authorised_quantity": 100}
    reading.holdings = [row("SHARE0", **words, used_quantity=60)]
    world = reading.start().world
    world.send(1, side=Side.SELL, product=Product.CNC, qty=30)
    filled(world, 30)
    world.send(2, side=Side.SELL, product=Product.CNC, qty=11)
    assert world.reason(2) == "NO_HOLDINGS"
    reading.holdings = [row("SHARE0", **words, used_quantity=90)]
    world.stage._market.wanted()
    world.run(1.0)
    assert world.stage.gate.facts.holding(0) == Holding(100, 0, 90, 100, 30)  # type: ignore[misc]
    world.send(3, side=Side.SELL, product=Product.CNC, qty=11)
    assert world.reason(3) == "NO_HOLDINGS"
    world.send(4, side=Side.SELL, product=Product.CNC, qty=10)
    assert world.status(4) in WORKING


def test_what_we_sell_while_the_holdings_are_read_comes_on_top_of_what_they_tell() -> None:
    reading = Reading()
    words = {"opening_quantity": 100, "realised_quantity": 100, "authorised_quantity": 100}
    reading.holdings = [row("SHARE0", **words, used_quantity=60)]
    world = reading.start().world
    asked: list[Any] = []
    reads = world.stage._market
    reads.wanted()
    reads._in_flight.clear()
    reads.send(world.clock.mono, world.stage.desk.egress, lambda aside, request: asked.append(aside))
    world.send(1, side=Side.SELL, product=Product.CNC, qty=30)
    filled(world, 30)
    (aside,) = [aside for aside in asked if aside.name == "HOLDINGS"]
    aside.answered(ok(reading.holdings), world.clock.mono)
    assert world.stage.gate.facts.holding(0) == Holding(100, 0, 60, 100, 0)  # type: ignore[misc]
    world.send(2, side=Side.SELL, product=Product.CNC, qty=11)
    assert world.reason(2) == "NO_HOLDINGS"


def test_a_ddpi_authorises_all_that_is_settled() -> None:
    reading = Reading(ddpi=True)
    reading.holdings = [row("SHARE0", t1_quantity=5)]
    reading.start()
    assert reading.world.stage.gate.facts.holding(0) == Holding(10, 5, 0, 15)  # type: ignore[misc]


def test_nothing_is_read_unless_it_is_wished() -> None:
    reading = Reading(market_read_s=None).start()
    assert reading.count("/quote") == reading.count("/portfolio/holdings") == 0
    assert reading.world.stage.gate.facts.band is None


def test_a_dead_token_reads_nothing() -> None:
    reading = Reading().start()
    before = reading.count("/quote")
    reading.world.stage.states.token_dead = "gone"
    reading.world.run(70, step_s=0.5)
    assert reading.count("/quote") == before


def body(data: Any) -> bytes:
    return json.dumps({"status": "success", "data": data}).encode()


def test_quotes_of_kite() -> None:
    assert market.quotes(["NSE:M&M", "NSE:A B"]).path == "/quote?i=NSE:M%26M&i=NSE:A%20B"
    with pytest.raises(ValueError, match="501"):
        market.quotes([f"NSE:S{n}" for n in range(501)])
    shown = {"lower_circuit_limit": 0.05, "upper_circuit_limit": 84.1234567}
    found = market.parse_bands(
        body({"CDS:X": shown, "NSE:Y": shown, "NSE:Z": 7}), {"CDS:X": 10**7, "NSE:Z": 100}
    )
    assert found == {"CDS:X": (500_000, 841_234_567)}
    odd = [{"lower_circuit_limit": 5, "upper_circuit_limit": 4}, {"lower_circuit_limit": "x"}, {},
           {"lower_circuit_limit": 1e300, "upper_circuit_limit": 1e301}, None]  # fmt: skip
    for value in odd:
        assert market.parse_bands(body({"NSE:A": value}), {"NSE:A": 100}) == {}
    with pytest.raises(AnswerError):
        market.parse_bands(body([1]), {})


def test_holdings_of_kite() -> None:
    sold = row(
        "A", opening_quantity=10, realised_quantity=6, used_quantity=4, t1_quantity=3, authorised_quantity=9
    )
    (found,) = market.parse_holdings(body([sold]))
    assert tuple(found) == ("NSE:A", 10, 3, 4, 9)
    (found,) = market.parse_holdings(body([row("A", opening_quantity=13, t1_quantity=3)]))
    assert found.settled == 10, "what came in over night may hold what is not delivered"
    for bad in ([{"exchange": "NSE"}], [row("A", opening_quantity="x")], 7):
        with pytest.raises(AnswerError):
            market.parse_holdings(body(bad))
