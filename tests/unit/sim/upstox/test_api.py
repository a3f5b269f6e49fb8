"""UpstoxApi without sockets: tokens, envelopes, service hours, states of orders, hours of the market."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sim_tools import NOW, SECOND, book_of
from upstox_bench import COMMODITY, DAY, ELEVEN, EQUITY, HOUR, INDEX, KEYED, OPTION, Bench, change, order
from upstox_sim import frame_dict

from kite_hft.brokers.upstox.account import parse_holdings
from kite_hft.brokers.upstox.keys import Names
from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.upstox.order_rows import STATUSES
from kite_hft.trading.instruments import Instrument, InstrumentTable

FEED = "/v3/feed/market-data-feed/authorize"


def test_paths_methods_and_tokens() -> None:
    bench = Bench()
    assert bench.code("GET", "/v2/nothing") == (404, "UDAPI100060")
    assert bench.code("PATCH", "/v3/order/place") == (405, "UDAPI10000")
    assert bench.code("GET", "/v2/order/retrieve-all", token="other") == (401, "UDAPI100050")
    assert bench.ask("GET", "/v2/market/status/NSE", token="")[0] == 200  # public
    error = bench.ask("GET", "/v2/nothing")[1]["errors"][0]
    assert error["error_code"] == error["errorCode"] and set(error) == {
        "errorCode", "message", "propertyPath", "invalidValue", "error_code", "property_path",
        "invalid_value",
    }  # fmt: skip


def test_the_token_dies_at_half_past_three() -> None:
    bench = Bench(ELEVEN)
    assert bench.ask("GET", "/v2/user/profile")[0] == 200
    bench.now = DAY + 27 * HOUR + HOUR // 2 - 1
    assert bench.ask("GET", "/v2/user/profile")[0] == 200
    bench.now += 1
    assert bench.code("GET", "/v2/user/profile") == (401, "UDAPI100050")
    token = bench.api.new_token(bench.now)
    assert bench.ask("GET", "/v2/user/profile", token=token)[0] == 200


def test_a_sandbox_token_lives_for_thirty_days() -> None:
    bench = Bench(ELEVEN, sandbox=True)
    assert bench.ask("POST", "/v3/order/place", order())[0] == 200
    bench.now += 30 * 24 * HOUR - 1
    assert bench.ask("POST", "/v3/order/place", order())[0] == 200
    bench.now += 1
    assert bench.code("POST", "/v3/order/place", order()) == (401, "UDAPI100050")


def test_the_analytics_token_reads_for_longer_than_a_day_and_does_nothing_else() -> None:
    bench = Bench(ELEVEN)
    token = bench.api.app(bench.now)["analytics_token"]
    assert bench.ask("GET", "/v2/user/profile", token=token)[0] == 200
    assert bench.ask("GET", "/v2/order/retrieve-all", token=token)[0] == 200
    for method, path in (("POST", "/v3/order/place"), ("DELETE", "/v2/logout"), ("PUT", "/v2/user/ip")):
        assert bench.code(method, path, {}, token=token) == (401, "UDAPI100067")
    bench.now = DAY + 28 * HOUR
    assert bench.code("GET", "/v2/user/profile") == (401, "UDAPI100050")
    assert bench.ask("GET", "/v2/user/profile", token=token)[0] == 200
    uri = bench.ask("GET", FEED, token=token)[1]["data"]["authorized_redirect_uri"]
    door = bench.api.doors.admit(uri.removeprefix(bench.api.doors.ws_url), {}, (), bench.now)
    assert door.status == 101 and bench.api.authorised(*door.credentials)


def test_the_analytics_token_reads_the_account_from_a_registered_address_alone() -> None:
    bench = Bench(allowed_ips=("10.0.0.9",))
    token = bench.api.app(bench.now)["analytics_token"]
    assert bench.code("GET", "/v2/order/retrieve-all", token=token) == (403, "UDAPI1154")
    assert bench.ask("GET", FEED, token=token)[0] == 200


def test_order_calls_with_a_token_from_before_a_change_of_addresses_name_the_address() -> None:
    bench = Bench()
    assert bench.ask("PUT", "/v2/user/ip", {"primary_ip": "127.0.0.1"})[0] == 200
    assert bench.code("POST", "/v3/order/place", order()) == (403, "UDAPI1154")
    assert bench.code("GET", "/v2/order/retrieve-all") == (401, "UDAPI100050")


def test_partial_fills_are_open_with_something_filled() -> None:
    bench = Bench()
    order_id = bench.place(quantity=60, price=100.25)
    bench.pass_time()
    (row,) = bench.data("GET", "/v2/order/retrieve-all")
    assert (row["status"], row["filled_quantity"], row["pending_quantity"]) == ("open", 50, 10)
    assert bench.words(order_id)[:4] == [
        "put order req received", "validation pending", "open pending", "open",
    ]  # fmt: skip
    updates = bench.api.updates.drain()
    told = [u["status"] for u in updates if u["update_type"] == "order"]
    assert told == bench.words(order_id) and bench.api.updates.drain() == []
    assert [u["filled_quantity"] for u in updates if u["update_type"] == "order"][-5:] == [10, 20, 30, 40, 50]
    assert [u["quantity"] for u in updates if u["update_type"] == "position"] == [50]


def test_every_word_of_the_seventeen_is_reached() -> None:
    seen: set[str] = set()
    bench = Bench()
    done = bench.place(price=101.0)
    stop = bench.place(order_type="SL", trigger_price=105.0, price=106.0)
    poor = bench.place(quantity=100_000_000)
    bench.pass_time()
    bench.ask("PUT", "/v3/order/modify", change(stop, price=106.5, order_type="SL", trigger_price=105.5))
    bench.pass_time()
    bench.ask("PUT", "/v3/order/modify", change(stop, quantity=100_000_000, price=106.5, order_type="SL",
                                                trigger_price=105.5))  # fmt: skip
    bench.pass_time()
    raced = bench.place(price=99.95)
    bench.pass_time()
    bench.ask("DELETE", f"/v3/order/cancel?order_id={raced}")
    bench.exchange.on_ticks(book_of(0, 9_900, 9_905, 10, volume=5000), bench.now)
    bench.pass_time()
    bench.ask("DELETE", f"/v3/order/cancel?order_id={stop}")
    bench.pass_time()
    for order_id in (done, stop, poor, raced):
        seen.update(bench.words(order_id))
    assert bench.words(done)[-1] == "complete" and bench.words(poor)[-1] == "rejected"
    assert bench.words(raced)[-2:] == ["not cancelled", "complete"]
    assert bench.words(stop)[-1] == "cancelled" and "not modified" in bench.words(stop)
    night = Bench(DAY + 20 * HOUR, "exchange")
    late = night.place()
    assert night.data("GET", f"/v2/order/details?order_id={late}")["is_amo"] is True
    night.ask("PUT", "/v3/order/modify", change(late))
    night.ask("DELETE", f"/v3/order/cancel?order_id={late}")
    seen.update(night.words(late))
    assert night.words(late)[-1] == "cancelled after market order"
    assert seen == STATUSES and len(seen) == 17


def test_service_hours() -> None:
    night = Bench(DAY + 3 * HOUR, "exchange")
    assert night.code("POST", "/v3/order/place", order()) == (423, "UDAPI100074")
    assert night.code("PUT", "/v3/order/modify", change("1")) == (423, "UDAPI100074")
    assert night.code("DELETE", "/v3/order/cancel?order_id=1") == (423, "UDAPI100074")
    assert night.code("GET", "/v3/user/get-funds-and-margin") == (423, "UDAPI100072")
    night.now = DAY + 5 * HOUR + HOUR // 2
    assert night.ask("GET", "/v3/user/get-funds-and-margin", token=night.api.new_token(night.now))[0] == 200


CAS = InstrumentTable(
    (
        KEYED[0],
        Instrument(1, 41_000 * 256 + 2, 41_000, "SBINFUT", "NFO", "NFO-FUT", "FUT", 5, 750, name="SBIN",
                   expiry="2026-11-24", multiplier=1, freeze_quantity=7500, upstox_key="NSE_FO|41000"),
    )
)  # fmt: skip
"""A share whose future makes it one of the closing auction, and the future."""
STOP = {"order_type": "SL", "price": 106.0, "trigger_price": 105.0}


@pytest.mark.parametrize(
    ("hour", "changed", "became"),
    [
        (8.5, {}, "amo"),
        (9.05, {}, "regular"),  # pre-open
        (9.05, STOP, "rejected"),
        (9.2, {}, "rejected"),  # between pre-open and open
        (11, STOP, "regular"),
        (15.3, {}, "rejected"),  # before the closing auction
        (15.4, {}, "regular"),
        (15.4, STOP, "rejected"),
        (15.45, {"order_type": "MARKET", "price": 0.0}, "rejected"),  # its second part
        (15.45, {}, "regular"),
        (15.6, {}, "amo"),
        (20, STOP, "amo"),
    ],
)
def test_what_becomes_of_an_order_by_the_hour(hour: float, changed: dict[str, Any], became: str) -> None:
    """After-market orders are of the time outside the session: a stop in the closing auction is none of
    the next morning. What the exchange refuses was received first."""
    bench = Bench(DAY + int(hour * HOUR), "exchange", CAS)
    order_id = bench.place(**changed)
    bench.pass_time()
    row = bench.data("GET", f"/v2/order/details?order_id={order_id}")
    assert row["is_amo"] is (became == "amo") and (row["variety"] == "AMO") is row["is_amo"]
    assert (row["status"] == "rejected") is (became == "rejected")
    if became == "rejected":
        assert "put order req received" in bench.words(order_id) and "closed" in row["status_message"]


def test_derivatives_trade_on_until_twenty_to_four() -> None:
    late = Bench(DAY + int(15.65 * HOUR), "exchange", CAS)
    share, future = ({"instrument_token": row.upstox_key} for row in CAS)
    assert late.data("GET", f"/v2/order/details?order_id={late.place(**share)}")["is_amo"] is True
    order_id = late.place(**future, quantity=750)
    assert late.data("GET", f"/v2/order/details?order_id={order_id}")["is_amo"] is False
    assert (
        Bench(DAY + int(15.7 * HOUR), "exchange", CAS).api.segments.status("NSE_FO", DAY + int(15.7 * HOUR))
        == 3
    )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/v3/order/place", {}), ("PUT", "/v2/order/modify", {}), ("DELETE", "/v3/order/cancel", None),
     ("POST", "/v2/order/multi/place", []), ("DELETE", "/v2/order/multi/cancel", None),
     ("POST", "/v2/order/positions/exit", {}), ("POST", "/v3/order/gtt/place", {}),
     ("PUT", "/v3/order/gtt/modify", {}), ("DELETE", "/v3/order/gtt/cancel", {})],
)  # fmt: skip
def test_address_algorithm_and_hours_come_before_the_body(method: str, path: str, body: Any) -> None:
    assert Bench(DAY + 3 * HOUR, "exchange").code(method, path, body) == (423, "UDAPI100074")
    bench = Bench(allowed_ips=["10.0.0.1"])
    assert bench.code(method, path, body) == (403, "UDAPI1154")
    assert bench.code(method, path, body, remote="10.0.0.1")[0] in (400, 404)
    named = Bench(algo_name="ours")
    assert named.code(method, path, body, algo="theirs") == (400, "UDAPI1156")
    assert named.code(method, path, body, algo="ours")[1] != "UDAPI1156"
    assert Bench().code(method, path, body, algo="ours") == (400, "UDAPI1156")  # none is registered


@pytest.mark.parametrize(
    ("terms", "algo", "most"),
    [({}, "", 10), ({"algo_name": "ours"}, "ours", 50), ({"algo_name": "ours"}, "", 10)],
)
def test_a_registered_algorithm_may_place_fifty_a_second_in_its_name(
    terms: dict[str, str], algo: str, most: int
) -> None:
    bench = Bench(limits=None, **terms)
    passed = [bench.ask("POST", "/v3/order/place", order(), algo=algo)[0] for _ in range(most + 1)]
    assert passed == [200] * most + [429]


def test_brokerage_of_an_option_is_flat_and_that_of_shares_in_the_day_a_share_of_the_value() -> None:
    bench = Bench()
    for key, quantity, rupees in ((OPTION, 75, 20.0), (EQUITY, 10, 1.0), (EQUITY, 10_000, 20.0)):
        query = f"instrument_token={key}&quantity={quantity}&product=I&transaction_type=BUY&price=100"
        charges = bench.data("GET", f"/v2/charges/brokerage?{query}")["charges"]
        assert charges["brokerage"] == pytest.approx(rupees), key


def test_slices_are_all_received_and_the_money_fails_later() -> None:
    bench = Bench()
    bench.exchange.on_ticks(book_of(1, 10_000, 10_005, 10), bench.now)
    wanted = order(instrument_token=OPTION, quantity=1800 * 25, price=100.0, slice=True)
    ids = bench.data("POST", "/v3/order/place", wanted)["order_ids"]
    bench.pass_time()
    book = {row["order_id"]: row for row in bench.data("GET", "/v2/order/retrieve-all")}
    assert list(book) == ids and len(ids) == 25 and {row["quantity"] for row in book.values()} == {1800}
    assert {row["status"] for row in book.values()} == {"open", "rejected"}
    assert bench.code("POST", "/v3/order/place", wanted | {"quantity": 1800 * 25 + 75}) == (400, "UDAPI1118")


def test_an_address_of_a_feed_dies_with_the_token_that_asked_for_it() -> None:
    bench = Bench()
    uri = bench.data("GET", "/v3/feed/market-data-feed/authorize")["authorized_redirect_uri"]
    bench.api.kill_token(bench.now)
    bench.api.new_token(bench.now)
    door = bench.api.doors.admit(uri.removeprefix(bench.api.doors.ws_url), {}, (), bench.now)
    assert door.status == 403


@pytest.mark.parametrize(
    ("key", "code"),
    [(INDEX, "UDAPI100011"), (COMMODITY, "UDAPI1161"), ("NSE_EQ|SBIN", "UDAPI100011"), (None, "UDAPI1026")],
)
def test_instruments_that_take_no_order(key: str | None, code: str) -> None:
    assert Bench().code("POST", "/v3/order/place", order(instrument_token=key)) == (400, code)


def test_stops_at_market_in_options_are_refused_in_the_general_words() -> None:
    wanted = order(instrument_token=OPTION, order_type="SL-M", price=0, trigger_price=5.0, quantity=75)
    assert Bench().code("POST", "/v3/order/place", wanted) == (400, "UDAPI100500")
    assert Bench().code("POST", "/v3/order/place", order(instrument_token=OPTION)) == (400, "UDAPI100036")


def test_the_kill_switch() -> None:
    bench = Bench()
    waiting = bench.place()
    bench.pass_time()
    stop = [{"segment": "NSE_EQ", "action": "DISABLE"}]
    held = Bench()
    held.place(price=101.0)
    held.pass_time()
    assert held.code("POST", "/v2/user/kill-switch", stop) == (400, "UDAPI1184")
    assert (
        bench.code("POST", "/v2/user/kill-switch", [{"segment": "X", "action": "DISABLE"}])[1] == "UDAPI1181"
    )
    assert (
        bench.code("POST", "/v2/user/kill-switch", [{"segment": "NSE_EQ", "action": "?"}])[1] == "UDAPI1188"
    )
    rows = bench.data("POST", "/v2/user/kill-switch", stop)
    assert [r["segment_status"] for r in rows if r["segment"] == "NSE_EQ"] == ["INACTIVE"]
    assert bench.code("GET", "/v2/user/kill-switch")[0] == 401  # the token is gone
    token = bench.api.new_token(bench.now)
    bench.pass_time()
    assert bench.exchange.orders[waiting].now.status == "CANCELLED"
    assert bench.code("POST", "/v3/order/place", order(), token=token) == (400, "UDAPI100500")
    start = [{"segment": "NSE_EQ", "action": "ENABLE"}]
    assert bench.code("POST", "/v2/user/kill-switch", start, token=token)[1] == "UDAPI1185"
    bench.now += 12 * HOUR
    assert bench.ask("POST", "/v2/user/kill-switch", start, token=bench.api.new_token(bench.now))[0] == 200


def test_the_feed_tells_the_phases_of_the_day() -> None:
    bench = Bench(DAY + 9 * HOUR, "exchange")
    told = []
    for second in range(0, 9 * 3600, 30):
        bench.now = DAY + 9 * HOUR + second * SECOND
        for frame in bench.api.segments.news(bench.now):
            info = frame_dict(frame)["marketInfo"]
            told.append((second / 3600 + 9, info["segmentStatus"]["NSE_EQ"], info["segmentStatus"]["NSE_FO"],
                         info.get("casMarketStatus", {}).get("NSE_EQ", {}).get("status")))  # fmt: skip
    words = [row[1] for row in told]
    assert words[0].startswith("PRE_OPEN")
    assert "NORMAL_OPEN" in words and words[-1] == "NORMAL_CLOSE"
    assert next(row[3] for row in told if row[3]) == "CTS_CLOSE"
    assert {row[3] for row in told} == {None, "CTS_CLOSE", "CAS_LM_START", "CAS_M_STOP", "CAS_STOP"}
    opened = frame_dict(Bench(ELEVEN, "exchange").api.segments.frame(ELEVEN))["marketInfo"]["segmentStatus"]
    assert set(opened.values()) <= {"NORMAL_OPEN", "NORMAL_CLOSE"} and opened["NSE_INDEX"] == "NORMAL_OPEN"
    assert Bench().api.segments.news(NOW) == ()


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"order_type": None}, "UDAPI1004"), ({"order_type": "X"}, "UDAPI1056"), ({"validity": ""}, "UDAPI1007"),
     ({"price": 0}, "UDAPI1008"), ({"price": -1}, "UDAPI100036"), ({"quantity": 1.5}, "UDAPI100036"),
     ({"order_type": "SL"}, "UDAPI1031"), ({"order_type": "MARKET"}, "UDAPI1030"),
     ({"order_type": "MARKET", "price": 0, "market_protection": 0}, "UDAPI1158")],
)  # fmt: skip
def test_the_sandbox_looks_at_what_it_is_sent(changed: dict[str, Any], code: str) -> None:
    bench = Bench(sandbox=True)
    assert bench.data("PUT", "/v3/order/modify", change("1")) == {"order_id": "1"}
    assert bench.code("PUT", "/v3/order/modify", change("1", **changed)) == (400, code)


def test_holdings_count_all_shares_also_those_on_their_way() -> None:
    bench = Bench()
    row = KEYED[0]
    bench.exchange.account.holdings[row.slot] = Holding(row, 40, 10, 9_000, None)
    (shown,) = bench.data("GET", "/v2/portfolio/long-term-holdings")
    assert (shown["quantity"], shown["t1_quantity"]) == (50, 10)
    answer = json.dumps({"status": "success", "data": [shown]}).encode()
    (held,) = parse_holdings(Names(KEYED), answer)
    assert (held.settled, held.t1) == (40, 10)


def test_holdings_count_open_sales_as_used() -> None:
    bench = Bench()
    row = KEYED[0]
    bench.exchange.account.holdings[row.slot] = Holding(row, 40, 0, 9_000, None)
    used = "cnc_used_quantity"
    placed = bench.place(transaction_type="SELL", product="D", quantity=30, price=110.0)
    bench.pass_time()
    (shown,) = bench.data("GET", "/v2/portfolio/long-term-holdings")
    assert shown[used] == 30
    bench.place(transaction_type="SELL", product="D", quantity=5, price=100.0)
    bench.pass_time()
    (shown,) = bench.data("GET", "/v2/portfolio/long-term-holdings")
    assert shown[used] == 35, "sold, and open"
    bench.data("DELETE", f"/v3/order/cancel?order_id={placed}")
    bench.pass_time()
    (shown,) = bench.data("GET", "/v2/portfolio/long-term-holdings")
    assert shown[used] == 5


@pytest.mark.parametrize(
    ("key", "protection", "answer"),
    [(EQUITY, None, 200), (EQUITY, -1, 200), (EQUITY, 25, 200), (EQUITY, 26, "UDAPI1176"),
     (EQUITY, 0.5, "UDAPI1177"), (EQUITY, -2, "UDAPI1177"), (EQUITY, "5", "UDAPI100036"),
     (COMMODITY, None, "UDAPI1161"), (INDEX, None, "UDAPI100011")],
)  # fmt: skip
def test_what_a_gtt_takes(key: str, protection: Any, answer: Any) -> None:
    rule = {"strategy": "ENTRY", "trigger_type": "BELOW", "trigger_price": 90.0}
    body = {"type": "SINGLE", "quantity": 1, "product": "D", "instrument_token": key,
            "transaction_type": "BUY", "rules": [rule | {"market_protection": protection}]}  # fmt: skip
    status, told = Bench().ask("POST", "/v3/order/gtt/place", body)
    assert answer == (200 if status == 200 else told["errors"][0]["error_code"])
