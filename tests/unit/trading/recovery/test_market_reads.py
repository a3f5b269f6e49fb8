"""Circuit limits and holdings: asked for in time, kept with their age, unknown until read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, S, World, filled, limits, ok

from kite_hft.brokers.kite import market
from kite_hft.brokers.kite.answers import AnswerError
from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import IntentKind, Product, Side
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, RateWindow, TransportError
from kite_hft.trading.gate.facts import Holding
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.polling import PollPace
from kite_hft.trading.ports import OrdersConfig

BANDS = {f"NSE:SHARE{slot}": {"lower_circuit_limit": 90.0, "upper_circuit_limit": 110.0} for slot in (0, 1)}


class Reading:
    """A world whose broker answers quotes and holdings, too."""

    def __init__(self, adapter: Broker = KITE, **config: Any) -> None:
        self.bands: Any = dict(BANDS)
        self.holdings: Any = []
        self.fails: dict[str, Any] = {}
        self.asked: list[str] = []
        self.left_ns: list[int] = []
        words: dict[str, Any] = {"market_read_s": 60.0} | config
        rules = words.pop("rules", limits())
        config_ = OrdersConfig(rules, RiskLimits(max_order_value=1e6), **words)
        self.world = World(config=config_, adapter=adapter)
        self.world.broker.on_read = self._read

    def _read(self, request: HttpRequest) -> HttpResponse | TransportError:
        path = request.path.partition("?")[0]
        self.asked.append(request.path)
        self.left_ns.append(self.world.clock.mono_ns())
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
    world.run(4.0)
    assert world.stage.gate.facts.band(0)[:2] == (9000, 11_000)  # type: ignore[misc]
    assert world.stage.gate.facts.holding(0) == Holding(0)  # type: ignore[misc]


@pytest.mark.parametrize("answer", [HttpResponse(503, b""), HttpResponse(400, b"{}")])
def test_what_fails_for_long_is_asked_ever_more_seldom(answer: Any) -> None:
    """Half an hour of an outage takes no more calls than two half hours without one."""
    reading = Reading()
    reading.fails = {"/quote": answer, "/portfolio/holdings": answer}
    reading.start()
    reading.world.run(1800.0, step_s=0.25)
    assert 30 <= reading.count("/quote") <= 40 and 30 <= reading.count("/portfolio/holdings") <= 40
    reading.fails = {}
    reading.world.run(60.0, step_s=0.25)
    band = reading.world.stage.gate.facts.band(0)
    assert band is not None and band[:2] == (9000, 11_000)
    reading.fails = {"/quote": answer}
    before = reading.count("/quote")
    reading.world.run(60.0 + 5.0, step_s=0.25)
    assert reading.count("/quote") - before >= 3, "a new failure is asked again soon"


def test_one_too_many_waits_out_the_cool_down() -> None:
    reading = Reading()
    reading.fails = {"/quote": HttpResponse(429, b""), "/portfolio/holdings": HttpResponse(429, b"")}
    reading.start()
    reading.world.run(6.5)
    assert (reading.count("/quote"), reading.count("/portfolio/holdings")) == (1, 1)
    reading.world.run(2.0)
    assert (reading.count("/quote"), reading.count("/portfolio/holdings")) == (2, 2)


def test_where_quotes_count_with_the_books_they_take_their_places() -> None:
    """Sixty reads in two minutes are allowed, quotes among them: what only the time asks for yields."""
    narrow = RateWindow(calls=60, window_s=120.0)
    rules = replace(limits(), other_windows=(narrow,), quote_windows=(), quotes_are_reads=True)
    books = []
    for market_read_s in (4.0, 600.0):
        reading = Reading(rules=rules, market_read_s=market_read_s).start()
        reading.world.run(600.0, step_s=0.25)
        most = max(sum(at <= other < at + 120 * S for other in reading.left_ns) for at in reading.left_ns)
        assert most <= 60, "all that was read counts"
        books.append(sum(path in ("/orders", "/trades", "/portfolio/positions") for path in reading.asked))
        if market_read_s == 4.0:
            assert reading.count("/quote") >= 100
    assert books[0] < books[1] / 2, books


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


# A broker who counts what open sales have still to sell as used


def shares(quantity: int, used: int) -> list[dict[str, Any]]:
    words = {"opening_quantity": quantity, "realised_quantity": quantity, "authorised_quantity": quantity}
    return [row("SHARE0", **words, used_quantity=used)]


def blocked(quantity: int, sell: int, *, with_open: bool = True) -> Reading:
    """So many are held, a sale of some of them rests, and the holdings were read since."""
    reading = Reading(replace(KITE, used_with_open=with_open))
    reading.holdings = shares(quantity, 0)
    world = reading.start().world
    world.send(1, side=Side.SELL, product=Product.CNC, qty=sell)
    world.run(2.0)
    assert world.status(1) in WORKING
    reading.holdings = shares(quantity, sell)
    read_again(reading)
    return reading


def read_again(reading: Reading) -> None:
    reading.world.stage._market.wanted()
    reading.world.run(1.0)


def sale(reading: Reading, seq: int, qty: int) -> bool:
    """It is sent; else it was refused for what is held."""
    reading.world.send(seq, side=Side.SELL, product=Product.CNC, qty=qty)
    sent = reading.world.stage.book.by_strategy(1, seq) is not None
    assert sent or reading.world.reason(seq) == "NO_HOLDINGS"
    return sent


def test_a_resting_sale_is_not_counted_twice_where_the_broker_counts_it_too() -> None:
    reading = blocked(40, 40)
    world = reading.world
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX + 20, qty=0, order_type=0)
    assert world.order(1).px == PX + 20
    assert not sale(reading, 3, 1)
    assert world.stage.gate.facts.holding(0) == Holding(40, 0, 0, 40)  # type: ignore[misc]


def test_what_is_left_beside_a_resting_sale_may_be_sold() -> None:
    reading = blocked(100, 40)
    assert not sale(reading, 2, 61) and sale(reading, 3, 60)


def test_what_others_have_open_or_sold_stays_used() -> None:
    reading = blocked(100, 40)
    reading.holdings = shares(100, 55)
    read_again(reading)
    assert not sale(reading, 2, 46) and sale(reading, 3, 45)


def test_a_resting_sale_that_fills_stays_counted_once() -> None:
    reading = blocked(100, 40)
    filled(reading.world, 40)
    assert not sale(reading, 2, 61)
    read_again(reading)
    assert not sale(reading, 3, 61) and sale(reading, 4, 60)


@pytest.mark.parametrize(
    ("used", "cancelled", "free"),
    [
        (40, False, 60),  # he tells of 15 sold and 25 open
        (90, False, 10),  # and of 50 that a person has sold
        (65, True, 35),  # of 25 that were cancelled he tells no more: he may still, and that is not known
    ],
)
def test_what_fills_or_ends_between_asking_and_answer_stays_right(
    used: int, cancelled: bool, free: int
) -> None:
    reading = blocked(100, 40)
    world, reads = reading.world, reading.world.stage._market
    asked: list[Any] = []
    reads.wanted()
    reads._in_flight.clear()
    reads.send(world.clock.mono, world.stage.desk.egress, lambda aside, request: asked.append(aside))
    filled(world, 15)
    if cancelled:
        world.send(7, kind=IntentKind.CANCEL, target_seq=1)
        world.update(world.row() | {"status": "CANCELLED", "pending_quantity": 0, "cancelled_quantity": 25})
        assert world.status(1) not in WORKING
    (aside,) = [aside for aside in asked if aside.name == "HOLDINGS"]
    aside.answered(ok(shares(100, used)), world.clock.mono)
    assert not sale(reading, 8, free + 1) and sale(reading, 9, free)


def test_a_broker_who_counts_sales_alone_is_believed_as_he_is() -> None:
    reading = blocked(100, 40, with_open=False)  # 40 that a person has sold
    assert not sale(reading, 2, 21) and sale(reading, 3, 20)


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
