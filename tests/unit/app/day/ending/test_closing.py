"""The day's books of several runs: what the account held besides, and the files of the day."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import pytest
from gtt_tools import Gtts, entry
from orders_world import S, World, filled, instruments

from kite_hft.app.day.ending.books import Books
from kite_hft.app.day.ending.closing import executed, export, read_day, reconcile
from kite_hft.engine.runs.runs import RunNote, announce
from kite_hft.layout import Product
from kite_hft.memory.journal import Header
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.broker import PositionReport
from kite_hft.trading.instruments import write_csv
from kite_hft.trading.intents import Tags

DAY = dt.date(2026, 11, 20)


def written(account: Path, name: str, world: World) -> None:
    folder = account / DAY.isoformat() / name
    folder.mkdir(parents=True)
    write_csv(instruments(), folder / "instruments.csv")
    with (folder / "journal.bin").open("wb") as file:
        writer = JournalWriter(file.fileno(), header=Header(1, 2, 3))
        for record in world.journal.records:
            writer.append(record.kind, record.time_ns, record.payload)
            writer.sync()
    note = RunNote(
        "kite", "X", "sim", name, str(folder), str(folder), "", 1, 1, 1, strategies={"1": "mine"},
        charges="none.yaml", day=DAY.isoformat(),
    )  # fmt: skip
    announce(note)


def two_runs(account: Path) -> World:
    """Beside 75 shares that somebody holds, a first run bought 10; a second, which does not go on with it and
    takes all 85 for what the account holds, placed an order that rests. Returns that.
    """
    first = World()
    first.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
         "quantity": 75, "average_price": 90.0},
    ]  # fmt: skip
    first.start()
    first.send(1)
    filled(first, 10)
    first.run(1.0)
    first.stage.close()
    first.clock.advance(S)
    second = World(broker=first.broker, clock=first.clock, tags=Tags("abc", 8)).start()
    second.send(1, slot=1)
    second.run(1.0)
    second.stage.close()
    written(account, "100000", first)
    written(account, "110000", second)
    return second


@pytest.mark.parametrize(("held", "same"), [(85, True), (10, False), (75, False)])
def test_what_the_account_holds_besides_counts(tmp_path: Path, held: int, same: bool) -> None:
    two_runs(tmp_path)
    day = read_day(tmp_path, DAY, running=False)
    assert day is not None and not day.last.book.orders[1].filled and len(day.runs) == 2
    row = PositionReport("NSE", "SHARE0", 1000 * 256 + 1, Product.MIS, held, 100.0, 0, 0, 0.0, 0.0)
    out = reconcile(day, Books(positions=[row]), [])
    assert bool(out.differences) is not same and out.positions == 1, out.differences


def test_the_files_of_the_day_have_the_orders_of_all_runs(tmp_path: Path) -> None:
    two_runs(tmp_path)
    day = read_day(tmp_path, DAY, running=False)
    assert day is not None
    folder, names = export(tmp_path, day, None, tmp_path / "metadata", None)
    assert "orders.csv" in names
    rows = list(csv.DictReader((folder / "orders.csv").read_text("utf-8").splitlines()))
    assert [(row["instrument"], row["filled"]) for row in rows] == [("NSE:SHARE0", "10"), ("NSE:SHARE1", "0")]


def test_what_a_trigger_placed_stands_once_in_a_day_of_two_runs(tmp_path: Path) -> None:
    """The broker gives it no tag. The second run goes on with the first, in which it filled."""
    first = World().start()
    gtts = Gtts(first)
    entry(first)
    order_id = gtts.fire(100)
    first.update(first.broker.rows[order_id])
    first.run(4.0)
    filled(first, 10)
    first.run(1.0)
    first.stage.close()
    second = World(
        broker=first.broker, clock=first.clock, history=list(first.journal.records), tags=Tags("abc", 8),
        more={"continues": ("100000",)},
    ).start()  # fmt: skip
    second.stage.close()
    written(tmp_path, "100000", first)
    written(tmp_path, "110000", second)
    day = read_day(tmp_path, DAY, running=False)
    assert day is not None and [len(run.book.orders) for run in day.runs] == [1, 1]
    assert [done.order_id for done, _ in executed(day)] == [order_id]
    folder, _ = export(tmp_path, day, None, tmp_path / "metadata", None)
    (row,) = csv.DictReader((folder / "orders.csv").read_text("utf-8").splitlines())
    assert (row["instrument"], row["filled"]) == ("NSE:SHARE0", "10")
