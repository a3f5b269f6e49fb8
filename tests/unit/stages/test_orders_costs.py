"""Charges in the order stage: rows for people, counters, report; a broker's own order; a restart."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from orders_world import PX, World, filled, limits

from kite_hft.layout import COUNTERS, Product, Side
from kite_hft.settings import load_yaml
from kite_hft.trading.costs import schedule_from_mapping
from kite_hft.trading.ports import OrdersConfig

SCHEDULE = schedule_from_mapping(
    load_yaml(Path("config/rules/charges_zerodha_2026-04-01.yaml")), dt.date(2026, 11, 20)
)
CONFIG = OrdersConfig(limits(), charges=SCHEDULE)
NAMES = COUNTERS["orders"]


def cost(world: World, side: Side, value: int) -> int:
    share = world.stage.book._instruments[0]
    return SCHEDULE.charges(share, Product.MIS, side, value).total_paise


def gauges(world: World) -> dict[str, int]:
    world.run(0.2)
    names = (
        "gross_pnl_paise",
        "charges_paise",
        "net_pnl_paise",
        "realised_pnl_paise",
        "unrealised_pnl_paise",
    )
    return {name.removesuffix("_paise"): world.counters.values[NAMES.index(name)] for name in names}


def held(world: World, quantity: int = 10) -> World:
    world.start()
    world.send(1, qty=quantity)
    world.row()["placed_by"] = "ME"
    filled(world, quantity)
    return world


def rms(world: World, quantity: int, placed_by: str) -> None:
    """A complete order of somebody else, said by an update."""
    row: dict[str, Any] = world.row(0) | {
        "order_id": "9001", "status": "COMPLETE", "quantity": quantity, "filled_quantity": quantity,
        "pending_quantity": 0, "transaction_type": "SELL", "order_type": "MARKET", "average_price": 99.0,
        "price": 0, "tag": None, "tags": [], "placed_by": placed_by,
    }  # fmt: skip
    world.broker.rows["9001"] = row
    world.update(row)


def test_a_fill_is_charged_in_every_place() -> None:
    world = World(config=CONFIG).start()
    world.send(1, qty=10)
    filled(world, 4)
    filled(world, 10)
    whole = cost(world, Side.BUY, 10 * PX)
    parts = [row["charges"] for row in world.trade_rows]
    first = cost(world, Side.BUY, 4 * PX)
    assert parts == [f"{first / 100:.2f}", f"{(whole - first) / 100:.2f}"]
    assert world.order_rows[-1]["charges"] == f"{whole / 100:.2f}"
    found = gauges(world)
    assert found["charges"] == whole > 0
    assert found["net_pnl"] == found["gross_pnl"] - whole
    assert found["gross_pnl"] == found["realised_pnl"] + found["unrealised_pnl"]
    report = world.stage.report()["pnl_paise"]
    assert (report["charges"], report["net"]) == (whole, report["gross"] - whole)
    (row,) = world.stage.report()["positions"]
    assert {name: row[f"{name}_paise"] for name in ("gross", "charges", "net", "realised", "unrealised")} == {
        name: report[name] for name in ("gross", "charges", "net", "realised", "unrealised")
    }
    assert report["by_strategy"]["1"]["charges"] == report["by_product"]["MIS"]["charges"] == whole


def test_the_brokers_square_off_costs_his_fee() -> None:
    world = held(World(config=CONFIG))
    rms(world, 10, "RMS")
    assert world.quantity() == 0
    expected = cost(world, Side.BUY, 10 * PX) + cost(world, Side.SELL, 99_000) + 5_900
    assert gauges(world)["charges"] == expected
    assert gauges(world)["realised_pnl"] == 99_000 - 10 * PX
    fresh = World(
        config=CONFIG, broker=world.broker, clock=world.clock, journal=world.journal,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert gauges(fresh)["charges"] == expected


def test_a_person_closing_it_costs_the_order_only() -> None:
    world = held(World(config=CONFIG))
    rms(world, 10, "ME")
    assert world.quantity() == 0
    assert gauges(world)["charges"] == cost(world, Side.BUY, 10 * PX) + cost(world, Side.SELL, 99_000)


def test_after_a_restart_a_fill_costs_only_what_it_adds() -> None:
    world = World(config=CONFIG).start()
    world.send(1, qty=10)
    filled(world, 4)
    fresh = World(
        config=CONFIG, broker=world.broker, clock=world.clock, journal=world.journal,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    rows = len(fresh.trade_rows)
    filled(fresh, 10)
    more = cost(world, Side.BUY, 10 * PX) - cost(world, Side.BUY, 4 * PX)
    assert fresh.trade_rows[rows:][-1]["charges"] == f"{more / 100:.2f}"
    assert gauges(fresh)["charges"] == cost(world, Side.BUY, 10 * PX)
