"""Orders, positions and P&L out of a journal, as the order stage itself knew them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from gtt_tools import Gtts, entry
from orders_world import PX, S, World, filled, instruments

from kite_hft.engine.runs.ledger import Ledger, order_rows, pnl, position_rows, protecting, read_ledger
from kite_hft.engine.runs.runs import NoRun, RunNote, announce
from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Header, Kind, Record
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.instruments import write_csv
from kite_hft.trading.pnl import account

CHARGES = Path("config/rules/charges_zerodha_2026-04-01.yaml")


def written(folder: Path, records: list[Record], charges: str = CHARGES.name) -> Path:
    """A run folder with these records as its journal, and a note."""
    folder.mkdir(parents=True)
    write_csv(instruments(), folder / "instruments.csv")
    with (folder / "journal.bin").open("wb") as file:
        writer = JournalWriter(file.fileno(), header=Header(1, 2, 3))
        for record in records:
            writer.append(record.kind, record.time_ns, record.payload)
            writer.sync()
    (folder / CHARGES.name).write_text(CHARGES.read_text())
    note = RunNote(
        "kite", "X", "sim", folder.name, str(folder), str(folder), "", 1, 1, 1,
        strategies={"1": "mine", "2": "other"}, charges=charges, day="2026-11-20",
    )  # fmt: skip
    announce(note)
    return folder


def traded() -> World:
    """Strategy 1 bought 10 and 5 of 20, one order rests, one was rejected."""
    world = World().start()
    world.send(1)
    row = world.row()
    world.update(row | {"filled_quantity": 10, "average_price": 100.0, "status": "COMPLETE"})
    world.send(2, slot=1, qty=20)
    row = world.row()
    world.update(row | {"filled_quantity": 5, "average_price": 99.5})
    world.send(3, px=PX - 100)
    world.run(1)
    return world


def ledger_of(tmp_path: Path, world: World, *, running: bool = False) -> Ledger:
    return read_ledger(written(tmp_path / "2026-11-20/100000", world.journal.records), running=running)


def test_orders_are_as_the_stage_knew_them(tmp_path: Path) -> None:
    world = traded()
    ledger = ledger_of(tmp_path, world)
    rows = {row["order_no"]: row for row in order_rows(ledger, every=True)}
    known = world.stage.book.orders
    assert set(rows) == set(known)
    for number, order in known.items():
        assert rows[number]["status"] == order.status.name and rows[number]["filled"] == order.filled
        assert rows[number]["order_id"] == order.order_id and rows[number]["strategy"] == "mine"
    working = {row["order_no"] for row in order_rows(ledger, every=False)}
    assert working == {order.order_no for order in world.stage.book.live()} and len(working) == 2
    assert ledger.as_of_ns == world.journal.records[-1].time_ns and not ledger.ended


@pytest.mark.parametrize(
    ("legs", "protected"),
    [({"px": PX - 95, "trigger_px": PX - 100}, 10), ({"px": PX + 200, "trigger_px": PX + 200}, 0)],
)
def test_a_trigger_at_the_broker_is_a_stop_where_it_waits_on_the_losing_side(
    legs: dict[str, int], protected: int, tmp_path: Path
) -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    entry(world, 2, side=Side.SELL, **legs)
    world.run(1.0)
    assert len(gtts.rows) == 1
    ledger = ledger_of(tmp_path, world)
    assert [row["protected"] for row in position_rows(ledger, lambda slot: PX, every=False)] == [protected]
    assert [row["protected"] for row in position_rows(ledger, lambda slot: 0, every=False)] == [0]


def test_positions_and_money_are_as_the_stage_knew_them(tmp_path: Path) -> None:
    world = traded()
    ledger = ledger_of(tmp_path, world)
    rows = position_rows(ledger, lambda slot: PX + 100, every=False)
    assert {row["instrument"]: row["quantity"] for row in rows} == {
        instruments()[p.slot].key: p.quantity for p in world.stage.book.positions.values() if p.quantity
    }
    total = pnl(ledger, lambda slot: PX + 100)["total"]
    stage = world.stage
    theirs = account(stage.book, stage.book._instruments, stage.costs, lambda slot: PX + 100)
    assert total["gross"] == theirs.gross
    assert total["charges"] > 0 and total["net"] == total["gross"] - total["charges"]
    assert sum(row["net_paise"] for row in rows) == total["net"]
    assert pnl(ledger, lambda slot: PX + 100, "other")["total"]["charges"] == 0
    assert pnl(ledger, lambda slot: PX + 100)["by_strategy"] == {"mine": total}


def test_an_order_under_way_is_ambiguous_only_when_nobody_waits_for_it(tmp_path: Path) -> None:
    world = World().start()
    world.broker.on_call = lambda request: None
    world.send(1)
    for running, status in ((True, OrderStatus.SENT), (False, OrderStatus.AMBIGUOUS)):
        folder = written(tmp_path / f"{running}/100000", world.journal.records)
        (row,) = order_rows(read_ledger(folder, running=running), every=False)
        assert row["status"] == status.name


def test_a_stop_protects_as_much_as_it_would_close(tmp_path: Path) -> None:
    world = traded()
    ledger = ledger_of(tmp_path, world)
    order = next(o for o in ledger.book.live() if o.slot == 0)
    position = next(p for p in ledger.book.positions.values() if p.slot == 0)
    assert protecting(ledger, 0, position.product, position.quantity) == 0
    order.order_type, order.side, order.quantity = OrderType.SL, Side.SELL, 4
    assert protecting(ledger, 0, position.product, position.quantity) == 4
    order.quantity = 400
    assert protecting(ledger, 0, position.product, position.quantity) == position.quantity
    assert protecting(ledger, 0, position.product, -position.quantity) == 0


def test_prices_come_from_the_report_and_else_from_what_was_traded(tmp_path: Path) -> None:
    folder = written(tmp_path / "2026-11-20/100000", traded().journal.records)
    assert read_ledger(folder, running=False).mark(0) > 0
    key = instruments()[0].key
    (folder / "report.json").write_text(json.dumps({"positions": [{"instrument": key, "last_px": 4242}]}))
    assert read_ledger(folder, running=False).mark(0) == 4242
    (folder / "report.json").write_text("{")
    assert read_ledger(folder, running=False).mark(0) not in (0, 4242)


def test_the_run_that_this_one_continues_counts_too(tmp_path: Path) -> None:
    world = traded()
    written(tmp_path / "2026-11-20/100000", world.journal.records)
    start = world.journal.records[0]
    data = start.data() | {"continues": ["100000"]}
    record = dataclasses.replace(start, payload=json.dumps(data).encode())
    folder = written(tmp_path / "2026-11-20/110000", [record])
    ledger = read_ledger(folder, running=False)
    assert len(ledger.book.orders) == len(world.stage.book.orders) and not ledger.warnings
    data["continues"] = ["090000"]
    folder = written(
        tmp_path / "2026-11-20/120000", [dataclasses.replace(start, payload=json.dumps(data).encode())]
    )
    assert "run 090000, which this one continues" in read_ledger(folder, running=False).warnings[0]


def test_its_first_start_names_them_whatever_stands_before_and_after_it(tmp_path: Path) -> None:
    """An alert of the start itself comes before it; a process that follows writes one that names none."""
    world = traded()
    written(tmp_path / "2026-11-20/100000", world.journal.records)
    start = world.journal.records[0]

    def said(kind: Kind, **more: object) -> Record:
        return dataclasses.replace(start, kind=kind, payload=json.dumps(start.data() | more).encode())

    alert = said(Kind.ALERT, code="DISK_LOW", key="", text="x", severity=2)
    first, second = said(Kind.START, continues=["100000"]), said(Kind.START, restarted=True, continues=[])
    for number, records in enumerate(([alert, first], [first, second], [alert, first, second])):
        ledger = read_ledger(written(tmp_path / f"2026-11-20/11000{number}", records), running=False)
        assert set(ledger.book.orders) == set(world.stage.book.orders) and not ledger.warnings, number
    alone = read_ledger(written(tmp_path / "2026-11-20/120000", [alert]), running=False)
    assert not alone.book.orders and not alone.warnings, "it died before it went on from any"


def test_a_torn_tail_is_nothing_and_damage_is_said(tmp_path: Path) -> None:
    folder = written(tmp_path / "2026-11-20/100000", traded().journal.records)
    path = folder / "journal.bin"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x05\x00")
    assert not read_ledger(folder, running=False).warnings
    path.write_bytes(whole[:400] + b"\xff" + whole[401:])
    assert "the journal is damaged" in read_ledger(folder, running=False).warnings[0]
    path.write_bytes(b"nothing")
    with pytest.raises(NoRun, match="journal"):
        read_ledger(folder, running=False)
    path.unlink()
    with pytest.raises(NoRun, match="before it could trade"):
        read_ledger(folder, running=False)


def test_without_charges_it_says_so(tmp_path: Path) -> None:
    folder = written(tmp_path / "2026-11-20/100000", traded().journal.records, charges="none.yaml")
    ledger = read_ledger(folder, running=False)
    assert "net is before charges" in ledger.warnings[0]
    assert pnl(ledger, ledger.mark)["total"]["charges"] == 0


def test_what_the_account_holds_beyond_the_run_is_said_until_it_is_gone(tmp_path: Path) -> None:
    world = traded()
    start = world.journal.records[0]

    def external(*lines: str) -> Record:
        return Record(1, Kind.EXTERNAL, 5 * S, json.dumps({"positions": lines}).encode())

    records = [start, external("NSE:A 50 MIS: held", "NSE:B -3 CNC: held"), external("NSE:A 0 MIS: held")]
    ledger = read_ledger(written(tmp_path / "2026-11-20/100000", records), running=False)
    assert list(ledger.external.values()) == ["NSE:B -3 CNC: held"]


@pytest.mark.parametrize("alone", [False, True])
def test_what_was_latched_when_a_run_ended_in_order_is_no_more(tmp_path: Path, alone: bool) -> None:
    world = traded()
    world.stage.states.reduce("too many rejections")
    world.stage.states.refuse_address("IP 1.2.3.4")
    world.stage.halt("by hand", world.clock.mono)
    world.stage.states.hold(1, "losses")
    world.stage.halt("by hand", world.clock.mono)
    latched = read_ledger(written(tmp_path / "2026-11-20/090000", world.journal.records), running=True)
    assert (latched.halted, latched.reducing) == ("by hand", "too many rejections")
    if alone:
        world.do("alone")
    world.stage.close()
    ledger = read_ledger(written(tmp_path / "2026-11-20/100000", world.journal.records), running=False)
    assert bool(ledger.halted) is alone and bool(ledger.reducing) is alone and not ledger.address
    assert list(ledger.holds) == [1], "a strategy stays held"
