"""Each act of the broker and of the exchange as a client sees it, and its row in the log, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fault_tools import wait
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from raw_ticks import Client
from sim_tools import Running, simulator

INFY, TOKEN = "NSE:INFY", 408065


@pytest.fixture
def running() -> Iterator[Running]:
    """A simulator of its own for each test: what an act changes stays."""
    arguments = ("--instruments", "6", "--rate", "20", "--packets-per-frame", "3", "--seed", "5")
    with simulator(*arguments, "--no-limits", "--latency-us", "2000") as process:
        yield process


@pytest.fixture
def kite(running: Running) -> Iterator[KiteConnect]:
    made = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    yield made
    made.reqsession.close()


def inject(running: Running, **row: Any) -> None:
    assert running.post("/_sim/inject", row) == {"injected": 1}


def order(kite: KiteConnect, side: str, quantity: int, **terms: Any) -> str:
    given = {"product": "MIS", "order_type": "MARKET", **terms}
    if given["order_type"] == "MARKET":
        given["market_protection"] = -1
    return str(kite.place_order("regular", "NSE", "INFY", side, quantity, **given))


def position(kite: KiteConnect, quantity: int) -> None:
    """Wait until so much of INFY is held."""
    wait(lambda: sum(p["quantity"] for p in kite.positions()["net"]) == quantity)


def last(kite: KiteConnect, order_id: str) -> dict[str, Any]:
    return dict(kite.order_history(order_id)[-1])


def test_rms_order_waits_for_a_position_and_closes_it(running: Running, kite: KiteConnect) -> None:
    inject(running, kind="rms_order", quantity=3)
    assert running.faults() == []
    order(kite, "BUY", 5)
    row = wait(running.faults)[0]
    given = (row["kind"], row["instrument"], row["side"], row["count"])
    assert given == ("rms_order", INFY, "SELL", 1) and 1 <= row["quantity"] <= 3
    position(kite, 5 - row["quantity"])
    theirs = last(kite, row["order_ids"][0])
    assert theirs["tag"] is None and theirs["tags"] == [] and theirs["placed_by"] != "SIM001"
    inject(running, kind="rms_order", instrument=INFY, side="BUY", quantity=7)
    position(kite, 12 - row["quantity"])
    assert len(running.faults()) == 2


def test_mis_square_off(running: Running, kite: KiteConnect) -> None:
    order(kite, "BUY", 4)
    position(kite, 4)
    low = kite.quote(INFY)[INFY]["lower_circuit_limit"]
    resting = order(kite, "BUY", 1, order_type="LIMIT", price=low)
    wait(lambda: last(kite, resting)["status"] == "OPEN")
    inject(running, kind="mis_square_off")
    position(kite, 0)
    (row,) = running.faults()
    assert (row["kind"], row["count"], len(row["order_ids"])) == ("mis_square_off", 1, 1)
    assert last(kite, row["order_ids"][0])["transaction_type"] == "SELL"
    assert last(kite, resting)["status"] == "CANCELLED"


def test_margin_reject_strikes_the_next_orders(running: Running, kite: KiteConnect) -> None:
    inject(running, kind="margin_reject", count=2)
    ids = [order(kite, "BUY", 1) for _ in range(3)]
    ends = [wait(lambda i=i: (r := last(kite, i))["status"] in ("REJECTED", "COMPLETE") and r) for i in ids]
    assert [row["status"] for row in ends] == ["REJECTED", "REJECTED", "COMPLETE"]
    assert "Insufficient funds" in ends[0]["status_message"]
    assert [(row["kind"], row["order_id"]) for row in running.faults()] == [
        ("margin_reject", order_id) for order_id in ids[:2]
    ]


def test_stops_cancelled(running: Running, kite: KiteConnect) -> None:
    low = kite.quote(INFY)[INFY]["lower_circuit_limit"]
    stop = order(kite, "SELL", 1, order_type="SL", price=low, trigger_price=low + 1)
    limit = order(kite, "BUY", 1, order_type="LIMIT", price=low)
    wait(lambda: (last(kite, stop)["status"], last(kite, limit)["status"]) == ("TRIGGER PENDING", "OPEN"))
    inject(running, kind="stops_cancelled")
    wait(lambda: last(kite, stop)["status"] == "CANCELLED")
    assert last(kite, limit)["status"] == "OPEN"
    assert [(row["kind"], row["count"]) for row in running.faults()] == [("stops_cancelled", 1)]


def test_ex_date_close_on_the_wire_and_in_the_quote(running: Running, kite: KiteConnect) -> None:
    client = Client(running.ws_url)
    client.subscribe([TOKEN])
    client.read(until=lambda: len(client.ticks) > 5)
    before = client.ticks[-1]["close"]
    inject(running, kind="ex_date_close", instrument=INFY, factor=0.5)
    client.read(until=lambda: client.ticks[-1]["close"] != before)
    after = client.ticks[-1]["close"]
    assert abs(after - before / 2) <= 5
    assert kite.quote(INFY)[INFY]["ohlc"]["close"] == after / 100
    (row,) = running.faults()
    assert (row["close_px_before"], row["close_px"], row["instrument"]) == (before, after, INFY)
    client.close()


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_circuit_lock_has_one_side_and_ends(running: Running, kite: KiteConnect, side: str) -> None:
    client = Client(running.ws_url)
    client.subscribe([TOKEN])
    limit = round(kite.quote(INFY)[INFY][f"{side}_circuit_limit"] * 100)
    inject(running, kind="circuit_lock", instrument=INFY, side=side, **{"for": 3.0})
    assert client.read(until=lambda: client.ticks and client.ticks[-1]["last"] == limit)
    tick = client.ticks[-1]
    here, there = ("bids", "asks") if side == "upper" else ("asks", "bids")
    assert tick[there] == [(0, 0, 0)] * 5 and tick[here][0][1] == limit and tick[here][0][0] > 0
    blocked = order(kite, "BUY" if side == "upper" else "SELL", 1, order_type="LIMIT", price=limit / 100)
    wait(lambda: last(kite, blocked)["status"] == "OPEN")
    client.read(0.5)  # some ticks more: nobody sells at the upper limit, nobody buys at the lower
    assert last(kite, blocked)["status"] == "OPEN"
    client.read(until=lambda: client.ticks[-1][there][0][1])
    assert client.ticks[-1]["last"] != limit
    assert [(row["kind"], row["px"], row["side"]) for row in running.faults()] == [
        ("circuit_lock", limit, side)
    ]
    client.close()


def test_market_halt_is_heartbeats_only_and_nothing_is_taken(running: Running, kite: KiteConnect) -> None:
    client = Client(running.ws_url)
    client.subscribe([TOKEN])
    client.read(until=lambda: len(client.ticks) > 5)
    inject(running, kind="market_halt", **{"for": 2.5})
    client.read(0.2)
    ticks, beats = len(client.ticks), client.heartbeats
    with pytest.raises(ex.OrderException):
        order(kite, "BUY", 1)
    client.read(1.8)
    assert len(client.ticks) == ticks and client.heartbeats > beats and client.ended is None
    client.read(until=lambda: len(client.ticks) > ticks + 5)
    wait(lambda: last(kite, order(kite, "BUY", 1))["status"] == "COMPLETE")
    assert [row["kind"] for row in running.faults()] == ["market_halt"]
    assert running.stats()["halted_ticks"] > 200
    client.close()
