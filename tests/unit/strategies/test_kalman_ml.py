"""The two-state strategy: its rules by hand, and against the plainest way to write them."""

from __future__ import annotations

import csv
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from reference.kalman_ml import trades
from strategy_tools import Market, event, refused, unanswered

from kite_hft.layout import ORDER_EVENT, EventKind, IntentKind, OrderStatus, OrderType, Product, Reason, Side
from kite_hft.sessions import CalendarError
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.kalman_ml import KalmanMl
from kite_hft.strategies.kalman_ml_compiled import KalmanMlCompiled
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled
from kite_hft.strategies.slots import SlotFacts
from kite_hft.strategies.windows import in_order
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.order import Change, Order
from kite_hft.trading.positions import fill_units
from kite_hft.trading.records import event_kinds, order_event

OWN = {"stop_by": "strategy"}
FALL = [1000.0] * 100 + [1000 - 0.1 * i for i in range(1, 13)]
"""Down from tick 101 on: velocity below zero, and the estimate a little above the price."""
DIP = [*FALL, 999.0]
"""One price above the estimate while it still falls: the entry of the script."""
AT = len(DIP) - 1


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numba")
    folder.chmod(0o700)
    return folder


def walk(seed: int, n: int = 3000) -> list[float]:
    random = np.random.default_rng(seed)
    return (np.round((40_000 + np.cumsum(random.normal(0, 7, n))) / 5) * 5 / 100).tolist()


def run(strategy: BaseStrategy | CompiledStrategy, prices: list[float], **options) -> Market:
    """The filter begins at 1000."""
    return Market(strategy, x0=1000.0, **options).run(prices)


def actions(market: Market, prices: list[float]) -> list[tuple[int, str, float]]:
    """What the reference says of the same trades."""
    found = []
    for at, intent in zip(market.ticks, market.intents, strict=True):
        if intent["kind"] == IntentKind.PLACE:
            found.append((at, Side(int(intent["side"])).name, float(intent["signal"])))
    return found


def sides(expected: list[tuple[int, str, float]]) -> list[tuple[int, str, float]]:
    return [(at, action.rpartition(" ")[2], rel) for at, action, rel in expected]


@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize(("seed", "sign", "stop"), [(1, -1, 0.3), (2, 1, 0.3), (3, -1, 50.0), (4, -1, 0.2)])
def test_against_the_script_s_rules(cache_dir: Path, form: str, seed: int, sign: int, stop: float) -> None:
    prices = walk(seed)
    params = OWN | {"entry_sign": sign, "stop_loss": stop, "rel_width": 0.002}
    expected, rows = trades(prices, sign=sign, stop_loss=stop, width=0.002)
    strategy = KalmanMl(**params) if form == "A" else KalmanMlCompiled(**params)
    market = Market(strategy, cache_dir).run(prices, step_s=0.1)
    found = actions(market, prices)
    assert found == sides(expected) and len(found) > 20
    assert stop == 50.0 or any(action == "STOPLOSS SELL" for _, action, _ in expected)
    states = getattr(market.host, "states", None)
    window = market.strategy.window(0) if states is None else in_order(states["window"])[0]
    assert window.tolist() == [list(row) for row in rows]


@pytest.mark.data
def test_against_the_script_s_rules_on_a_recorded_option(data_dir: Path, cache_dir: Path) -> None:
    (path,) = (data_dir / "upstox_option_ticks").glob("*.csv.xz")
    with lzma.open(path, "rt", newline="") as lines:
        prices = [float(row["ltp"]) for row in csv.DictReader(lines)]
    expected, _rows = trades(prices, stop_loss=5.0)
    assert len(prices) > 13_000 and len(expected) > 100
    assert {action for _, action, _ in expected} >= {"BUY", "SELL", "STOPLOSS SELL"}
    market = Market(KalmanMlCompiled(**OWN, stop_loss=5.0), cache_dir).run(prices, step_s=0.5)
    assert actions(market, prices) == sides(expected)


def test_the_sign_is_a_key() -> None:
    """With -1 it buys above the estimate, with 1 below it, both while the velocity is below zero."""
    above = run(KalmanMl(**OWN), DIP)
    below = run(KalmanMl(**OWN, entry_sign=1), FALL)
    assert above.intents[0]["signal"] < 0 < below.intents[0]["signal"]
    assert (above.ticks[0], below.ticks[0]) == (AT, 100)
    assert above.strategy.window(0)[-1, 1] < 0


@pytest.mark.parametrize("kind", [KalmanMl, KalmanMlCompiled])
@pytest.mark.parametrize(("warmup", "first"), [(100, 99), (115, 114), (0, 9)])  # 0: a whole window still
def test_no_trade_before_the_warm_up(cache_dir: Path, kind: type, warmup: int, first: int) -> None:
    prices = [1000 - 0.002 * i * i for i in range(130)]  # the estimate stays behind all the time
    strategy = kind(**OWN, entry_sign=1, warmup=warmup)
    assert run(strategy, prices, cache_dir=cache_dir).ticks[0] == first


def test_the_stop_is_asked_of_the_order_process_once() -> None:
    market = run(KalmanMl(quantity=30), [*DIP, 998.9, 998.8])
    entry, stop = market.intents
    assert (entry["qty"], entry["side"]) == (30, Side.BUY)
    assert stop["kind"] == IntentKind.EXITS and stop["product"] == Product.MIS
    assert stop["trigger_px"] == 94_900 and stop["trigger_px"] % 5 == 0  # 999.00 - 50
    # It was hit there: the strategy hears of it, knows that it is flat, and may buy again.
    market.position = 0
    sold = {"strategy_seq": 2**62 + 1, "side": Side.SELL, "fill_qty": 30, "fill_px": 94_600}
    market.tell(event(stop, EventKind.COMPLETE, OrderStatus.COMPLETE, 0, **sold))
    market.tell(event(stop, EventKind.COMPLETE, OrderStatus.COMPLETE, 0))
    market.run([998.8] * 100, second=200.0).run(DIP[90:], second=400.0)
    assert [name for _, name, _ in market.made()][:4] == ["BUY", "EXITS", "BUY", "EXITS"]
    assert market.intents[3]["strategy_seq"] == 4


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_refused_stop_is_watched_by_the_strategy(cache_dir: Path, form: str) -> None:
    strategy = KalmanMl() if form == "A" else KalmanMlCompiled()
    market = run(strategy, [*DIP, 998.9, 960.0, 949.0, 940.0], cache_dir=cache_dir, answers={2: refused})
    assert [name for _, name, _ in market.made()] == ["BUY", "EXITS", "SELL"]
    sale = market.intents[2]
    assert sale["flags"] == 1 and sale["ref_px"] == 94_900 and sale["order_type"] == OrderType.MARKET


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_refused_stop_has_no_number_any_more(cache_dir: Path, form: str) -> None:
    """The queue had no room: the number is used again, for an order."""
    strategy = KalmanMl() if form == "A" else KalmanMlCompiled()
    market = run(strategy, [*DIP, 998.9], cache_dir=cache_dir, answers={2: refused})
    number = strategy.stop_number(0) if form == "A" else int(market.host.states["stop_seq"][0])
    assert number == 0


@pytest.mark.parametrize("kind", [KalmanMl, KalmanMlCompiled, KalmanSimple, KalmanSimpleCompiled])
def test_after_a_restart_it_waits_for_its_own_order_and_not_for_the_engine_s(
    cache_dir: Path, kind: type
) -> None:
    """A SNAPSHOT of each working order is told then, the stop at the exchange among them."""
    for number, waits in ((2**62 + 3, False), (7, True)):
        market = run(kind(), [1000.0], cache_dir=cache_dir)
        row = np.zeros(1, ORDER_EVENT)
        row["strategy"], row["product"], row["strategy_seq"] = 1, Product.MIS, number
        row["kind"], row["status"], row["side"] = EventKind.SNAPSHOT, OrderStatus.TRIGGER_PENDING, Side.SELL
        market.tell(row)
        market.run([1000.0], second=1.0)
        states = getattr(market.host, "states", None)
        found = market.strategy._slots[0].order_id if states is None else int(states["order_seq"][0])
        assert found == (number if waits else 0)


def test_a_stop_in_percent_and_without_one() -> None:
    percent = run(KalmanMl(stop_loss=1.0, stop_loss_unit="percent"), [*DIP, 998.9])
    assert percent.intents[1]["trigger_px"] == math.floor(99_900 * 0.99 / 5) * 5
    none = run(KalmanMl(stop_loss=0), [*DIP, 998.9, 500.0])
    assert [name for _, name, _ in none.made()] == ["BUY"]
    deep = run(KalmanMl(stop_loss=2000.0), [*DIP, 998.9])
    assert [name for _, name, _ in deep.made()] == ["BUY"], "a stop below zero is none"


def test_the_average_price_of_a_purchase_in_parts_counts() -> None:
    def parts(intent: np.void, position: int) -> list[np.ndarray]:
        one = event(intent, EventKind.FILL, OrderStatus.OPEN, 10, fill_qty=10, fill_px=99_900)
        two = event(intent, EventKind.COMPLETE, OrderStatus.COMPLETE, 30, fill_qty=20, fill_px=99_930)
        return [one, two]

    market = run(KalmanMl(quantity=30), [*DIP, 998.9], answers={1: parts})
    assert market.intents[1]["trigger_px"] == 94_920  # (10 x 999.00 + 20 x 999.30) / 30 - 50


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_fill_that_is_told_before_the_call_is_answered_counts(cache_dir: Path, form: str) -> None:
    """As the engine tells it: the broker's push is quicker than his answer, beginning and end are one."""
    row = Instrument(0, 256, 1, "X", "NSE", "NSE", "EQ", 5, 1)

    def at_once(intent: np.void, position: int) -> list[np.ndarray]:
        words = {name: int(intent[name]) for name in ("strategy", "slot", "side", "product", "flags")}
        order = Order(
            order_no=1, strategy_seq=int(intent["strategy_seq"]), order_type=int(intent["order_type"]),
            validity=1, quantity=30, px=0, trigger_px=0, tag="t", status=OrderStatus.COMPLETE, filled=30,
            filled_units=fill_units(999.5, 30, 100), **words,
        )  # fmt: skip
        change = Change(order, OrderStatus.SENT, 30, order.filled_units)
        told = [order_event(kind, change, Reason.NONE, 30, row, 1) for kind in event_kinds(change)]
        assert [EventKind(int(one["kind"][0])).name for one in told] == ["ACCEPTED", "FILL", "COMPLETE"]
        return told

    strategy = KalmanMl(quantity=30) if form == "A" else KalmanMlCompiled(quantity=30)
    market = run(strategy, [*DIP, 998.9], cache_dir=cache_dir, answers={1: at_once})
    assert market.intents[1]["trigger_px"] == 94_950, "50 rupees below what was paid, not the last price"


def test_the_day_ends_flat() -> None:
    """15:29, 22,440 s after the open; a share of the closing auction is sold at 15:00 instead."""
    plain = run(KalmanMl(**OWN), DIP).run([998.8] * 5, second=22_437)
    assert plain.made() == [(AT, "BUY", 1), (AT + 4, "SELL", 1)]
    assert plain.intents[1]["flags"] == 1 and plain.intents[1]["order_type"] == OrderType.MARKET
    facts = SlotFacts(np.array([100.0]), np.array([5]), np.array([54_900]), np.array([54_000]))
    auction = run(KalmanMl(**OWN), DIP, facts=facts).run([998.8] * 5, second=20_697)
    assert auction.made() == [(AT, "BUY", 1), (AT + 4, "SELL", 1)]
    never = run(KalmanMl(**OWN, flatten_at=""), DIP, facts=facts).run([998.8] * 5, second=22_437)
    assert never.made() == [(AT, "BUY", 1)]
    late = Market(KalmanMl(**OWN)).run(DIP, second=22_440)
    assert late.made() == []


def test_at_the_end_a_working_order_is_cancelled_first() -> None:
    market = run(KalmanMl(**OWN), DIP, answers={1: unanswered}).run([998.8] * 2, second=22_441)
    assert [(i["kind"], i["target_seq"]) for i in market.intents] == [(1, 0), (3, 1)]


def test_after_a_refusal_it_waits_by_the_time_of_ticks() -> None:
    # Falling further, with a price above the estimate at every second tick: entries would be many.
    prices = [*FALL] + [998.8 - 0.1 * i + (0.3 if i % 2 else 0.0) for i in range(60)]
    freely = run(KalmanMl(**OWN), prices, answers={n: refused for n in range(1, 40)})
    gaps = np.diff(freely.ticks)
    assert len(gaps) and gaps.min() >= 6  # one tick begins the pause, five seconds at a tick a second
    hasty = run(KalmanMl(**OWN, retry_s=0), prices, answers={n: refused for n in range(1, 90)})
    assert len(hasty.ticks) > len(freely.ticks)


def test_a_model_judges_entries() -> None:
    class Told(KalmanMl):
        told: tuple[float, ...] = ()

        def rejected(self, tick, chance):
            self.told += (chance,)

    seen = []
    strategy = Told(**OWN)
    strategy.model = lambda window: seen.append(window.copy()) or 0.62
    assert run(strategy, DIP).intents == [] and strategy.told == (0.62,)
    assert seen[0].shape == (10, 3) and seen[0][-1].tolist() == strategy.window(0)[-1].tolist()
    strategy = Told(**OWN)
    strategy.model = lambda window: 0.63
    assert len(run(strategy, DIP).intents) == 1
    strategy = Told(**OWN)
    strategy.model = lambda window: math.nan
    assert run(strategy, DIP).intents == [], "a model that does not know lets nothing pass"


def test_it_goes_on_from_what_it_saved() -> None:
    first = run(KalmanMl(), [*DIP, 998.9])
    second = KalmanMl()
    second.restore(first.strategy.save())
    assert second.window(0).tolist() == first.strategy.window(0).tolist()
    assert second.paid(0) == 99_900 and second.stop_number(0) == 2


def test_a_new_session_begins_with_a_fresh_filter_and_window() -> None:
    market = run(KalmanMl(**OWN, entry_sign=1), FALL)
    count = len(market.intents)
    market.compute.start_session(0, 2**62 // 10**9 * 10**9)
    assert len(market.strategy.window(0)) == 0
    market.run(DIP[-50:], second=86_400.0)
    assert len(market.intents) == count, "warm-up once more"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"ml.require": True}, "there is no model"),
        ({"ml.threshold": 1.5}, "probability"),
        ({"entry_sign": 0}, "entry_sign 0: -1 or 1"),
        ({"stop_loss_unit": "points"}, "rupees or percent"),
        ({"stop_loss": 100, "stop_loss_unit": "percent"}, "below 100"),
        ({"stop_loss": -1}, "stop_loss"),
        ({"epsilon": 0.001}, "half of rel_width"),
        ({"quantity": 0}, "quantity >= 1"),
        ({"order_type": "ICEBERG"}, "MARKET or LIMIT"),
        ({"stop_by": "nobody"}, "engine or strategy"),
    ],
)
@pytest.mark.parametrize("kind", [KalmanMl, KalmanMlCompiled])
def test_parameters_that_cannot_be(kind: type, params: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(**params)


@pytest.mark.parametrize(
    ("params", "error"),
    [({"flatten_at": "25:00"}, CalendarError), ({"product": "XYZ"}, KeyError), ({"width": 1}, TypeError)],
)
def test_words_that_are_none(params: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        KalmanMl(**params)
