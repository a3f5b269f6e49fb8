"""Layer 5, whoever looks, cold: orders, positions and P&L of a run, read from its journal.

One way for a running engine and for one that has ended: the journal is replayed into a book of our
own (trading/recovery/replay.replay), read-only. Prices come from whoever asks: the latest tables while the
engine runs; afterwards the last prices that the run itself wrote down.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.configuring.yaml_files import SettingsError, load_yaml
from kite_hft.engine.runs.runs import NOTE, NoRun, RunNote, read_note, strategy_names
from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import JournalError, Kind, Record, scan
from kite_hft.trading.book import Book
from kite_hft.trading.costs import ChargesError, Schedule, schedule_from_mapping
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, read_csv
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.pnl import CostBook, Pnl, parts
from kite_hft.trading.positions import divide_half_even
from kite_hft.trading.records import name_of
from kite_hft.trading.recovery.replay import RecoveryError, replay
from kite_hft.units import price_text

STOPS: Final = frozenset({OrderType.SL, OrderType.SLM})

Mark = Callable[[int], int]
"""Slot -> last price in the instrument's unit; 0: none known."""


@dataclass(slots=True)
class Ledger:
    """What the journal of one run tells.

    as_of_ns: CLOCK_REALTIME of its last record. ended: the run stopped in order. marks: slot -> last
    price that the run wrote down. warnings: why this may not be all.
    """

    folder: Path
    instruments: InstrumentTable
    book: Book
    names: dict[int, str]
    costs: CostBook
    as_of_ns: int = 0
    ended: bool = False
    active: bool = False
    halted: str = ""
    reducing: str = ""
    address: str = ""  # why the broker takes no order call from this machine
    killed: str = ""
    holds: dict[int, Hold] = field(default_factory=dict)  # strategies that open nothing, by number
    warnings: list[str] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)
    recovery: dict[str, Any] = field(default_factory=dict)  # what the last start did
    address_proof: dict[str, Any] = field(default_factory=dict)  # {word, text} of the last; {}: none
    external: dict[tuple[str, ...], str] = field(default_factory=dict)  # (instrument, product) -> words
    beside: dict[tuple[int, int], int] = field(default_factory=dict)  # (slot, product) -> what others hold
    triggers: tuple[dict[str, Any], ...] = ()  # GTT records of those that may live at the broker
    times_ns: dict[int, int] = field(default_factory=dict)  # order number -> last record about it
    adopted: dict[int, str] = field(default_factory=dict)  # our number of an adopted order -> the broker's id

    def mark(self, slot: int) -> int:
        return self.marks.get(slot, 0)

    def strategy(self, number: int) -> str:
        return "EXTERNAL" if number == EXTERNAL else self.names.get(number, str(number))


def read_ledger(folder: Path, *, running: bool) -> Ledger:
    """Replay the journal of the run in `folder`.

    Raises:
        NoRun: the folder has no journal, or one that cannot be read; the message says which and why.
    """
    path = folder / "journal.bin"
    try:
        instruments = read_csv(folder / "instruments.csv")
        found = scan(path.read_bytes())
    except FileNotFoundError as error:
        why = "it is still starting" if running else "the run ended before it could trade"
        raise NoRun(f"{error.filename} is not there: {why}") from None
    except (JournalError, InstrumentError, OSError) as error:
        raise NoRun(f"{path}: {error}") from None
    book = Book(instruments)
    schedule, warnings = _schedule(read_note(folder / NOTE))
    try:
        costs = CostBook(book, instruments, schedule)
    except ChargesError as error:
        costs, warnings = CostBook(book, instruments, None), [f"net is before charges: {error}"]
    ledger = Ledger(folder, instruments, book, strategy_names(folder), costs, warnings=warnings)
    if found.tail == "corrupt":
        ledger.warnings.append(f"the journal is damaged ({found.detail}): what follows ends there")
    records = (*_continued(ledger, found.records), *found.records)
    _tell(ledger, records)
    try:
        found_in = replay(records, book, instruments, 0)
        ledger.adopted = {number: order_id for order_id, number in found_in.adopted.items()}
        ledger.beside, ledger.triggers = found_in.external, tuple(found_in.triggers.values())
    except RecoveryError as error:
        ledger.warnings.append(str(error))
    if running:
        _in_flight(ledger, records)
    else:
        ledger.marks |= reported_marks(folder, instruments)
    return ledger


def _continued(ledger: Ledger, records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Records of the runs of the day that this one continues, as its first START names them."""
    start = next((record.data() for record in records if record.kind is Kind.START), {})
    earlier: tuple[Record, ...] = ()
    for name in start.get("continues", ()):
        try:
            earlier += scan((ledger.folder.parent / str(name) / "journal.bin").read_bytes()).records
        except (JournalError, OSError) as error:
            ledger.warnings.append(f"run {name}, which this one continues, cannot be read: {error}")
    return earlier


def _schedule(note: RunNote | None) -> tuple[Schedule | None, list[str]]:
    """The charges of the run's day, from the copy in its folder; else a warning."""
    if note is None or not note.charges:
        return None, ["net is before charges: the run does not say which apply"]
    path = Path(note.folder) / note.charges
    try:
        return schedule_from_mapping(load_yaml(path), dt.date.fromisoformat(note.day)), []
    except (SettingsError, ChargesError, ValueError) as error:
        return None, [f"net is before charges: {path}: {error}"]


def _tell(ledger: Ledger, records: tuple[Record, ...]) -> None:
    """Times, states and prices that stand in the records besides the book."""
    for record in records:
        data = record.data()
        ledger.as_of_ns = record.time_ns
        ledger.ended = record.kind is Kind.END
        if record.kind is Kind.EXTERNAL:
            _external(ledger, data.get("positions", ()))
        elif record.kind is Kind.STATE:
            ledger.active = bool(data.get("active", ledger.active))
            ledger.recovery = data.get("recovery", ledger.recovery)
            ledger.halted = str(data.get("halted", ledger.halted) or "")
            ledger.reducing = str(data.get("reducing", ledger.reducing) or "")
            ledger.address = str(data.get("address", ledger.address) or "")
            ledger.killed = str(data.get("killed", ledger.killed) or "")
            if "strategy" in data:
                ledger.holds.pop(data["strategy"], None)
                if data["state"]:
                    ledger.holds[data["strategy"]] = Hold(data["state"], data["reason"])
        elif record.kind is Kind.END:  # as replay has it: the next start begins without
            ledger.address = ""
            if not data.get("alone"):
                ledger.halted = ledger.reducing = ""
        elif record.kind is Kind.ANSWER and "proof" in data:
            ledger.address_proof = {"word": data["proof"], "text": data.get("text", "")}
        number = data.get("no")
        if isinstance(number, int):
            ledger.times_ns[number] = record.time_ns
        if record.kind is Kind.INTENT and data.get("ref_px"):
            ledger.marks[data["slot"]] = data["ref_px"]
        elif record.kind is Kind.TRADE:
            instrument = ledger.instruments.by_token.get(data["trade"]["token"])
            if instrument is not None:
                ledger.marks[instrument.slot] = round(data["trade"]["average_price"] * instrument.scale)


def _external(ledger: Ledger, lines: Iterable[str]) -> None:
    """What the account holds beyond the run's own orders: "NSE:X 50 MIS: why", 0 when it is gone."""
    for line in lines:
        words = line.partition(": ")[0].split()
        name = tuple(word for word in words if not word.lstrip("-").isdecimal())
        ledger.external.pop(name, None)
        if "0" not in words:
            ledger.external[name] = line


def _in_flight(ledger: Ledger, records: tuple[Record, ...]) -> None:
    """Replay calls what is under way ambiguous; while the engine runs it is simply under way."""
    lost = {
        data.get("no")
        for record in records
        if record.kind is Kind.ANSWER and (data := record.data()).get("outcome") == "ambiguous"
    }
    for order in ledger.book.live():
        if order.status is OrderStatus.AMBIGUOUS and order.order_no not in lost:
            order.status = OrderStatus.SENT


def reported_marks(folder: Path, instruments: InstrumentTable) -> dict[int, int]:
    """Last prices of the positions in the run's report."""
    try:
        rows = json.loads((folder / "report.json").read_text("utf-8"))["positions"]
        found = {row["instrument"]: int(row.get("last_px", 0)) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {instruments.by_key[key].slot: px for key, px in found.items() if key in instruments.by_key and px}


def order_rows(ledger: Ledger, *, every: bool) -> list[dict[str, Any]]:
    """Orders, oldest first: those that may still fill, or all. Prices are rupees as exact text."""
    orders = ledger.book.orders.values() if every else ledger.book.live()
    return [order_row(ledger, order) for order in sorted(orders, key=lambda o: o.order_no)]


def order_row(ledger: Ledger, order: Order) -> dict[str, Any]:
    """One order as people read it."""
    instrument = ledger.instruments[order.slot]
    average = divide_half_even(order.filled_units, order.filled) if order.filled else 0
    return {
        "order_no": order.order_no,
        "order_id": order.order_id,
        "tag": order.tag,
        "strategy": ledger.strategy(order.strategy),
        "instrument": instrument.key,
        "side": name_of(Side, order.side),
        "type": name_of(OrderType, order.order_type),
        "product": name_of(Product, order.product),
        "quantity": order.quantity,
        "filled": order.filled,
        "pending": order.pending,
        "price": price_text(order.px, instrument.scale) if order.px else None,
        "trigger_price": price_text(order.trigger_px, instrument.scale) if order.trigger_px else None,
        "average_price": price_text(average, instrument.scale) if order.filled else None,
        "status": order.status.name,
        "opening": order.opening,
        "message": order.message,
        "sent_ns": order.sent_real_ns,
        "changed_ns": ledger.times_ns.get(order.order_no, order.sent_real_ns),
    }


def protecting(ledger: Ledger, slot: int, product: int, quantity: int, px: int = 0) -> int:
    """How much of a position stops at the broker would close, triggers among them: those that wait on the
    losing side of `px`, the last price; 0: it is not known, and no trigger counts.
    """
    side = Side.SELL if quantity > 0 else Side.BUY
    held = sum(
        order.pending
        for order in ledger.book.live()
        if (order.slot, order.product, order.side) == (slot, product, side) and order.order_type in STOPS
    )
    for trigger in ledger.triggers:
        stands = trigger.get("id") and trigger.get("do") != "delete"
        if px and stands and (trigger["slot"], trigger["product"]) == (slot, product):
            stops = (row[1] for row in trigger["legs"]
                     if row[0] == side and (row[3] < px if side is Side.SELL else row[3] > px))  # fmt: skip
            held += max(stops, default=0)
    return min(held, abs(quantity))


def position_rows(ledger: Ledger, mark: Mark, *, every: bool) -> list[dict[str, Any]]:
    """Open positions, or all that traded; by instrument. Money in paise, prices as exact text.

    A position that the account held before the run has no P&L of the run: None.
    """
    earned = {
        (position.strategy, position.slot, position.product): part
        for position, part in parts(ledger.book, ledger.instruments, ledger.costs, mark)
    }
    rows = []
    for position in sorted(ledger.book.positions.values(), key=lambda p: (p.slot, p.strategy, p.product)):
        held = position.quantity
        if not held and not (every and position.fills):
            continue
        instrument = ledger.instruments[position.slot]
        px = mark(position.slot)
        average = divide_half_even(position.cost_units * (1 if held > 0 else -1), abs(held)) if held else 0
        part = earned.get((position.strategy, position.slot, position.product))
        rows.append(
            {
                "instrument": instrument.key,
                "strategy": ledger.strategy(position.strategy),
                "product": name_of(Product, position.product),
                "quantity": held,
                "average_price": price_text(average, instrument.scale) if held else None,
                "last_price": price_text(px, instrument.scale) if px else None,
                "protected": protecting(ledger, position.slot, position.product, held, px),
                **paise(part),
            }
        )
    return rows


def paise(part: Pnl | None) -> dict[str, int | None]:
    """realised_paise, unrealised_paise, gross_paise, charges_paise, net_paise; None: no P&L of this run."""
    words = ("realised", "unrealised", "gross", "charges", "net")
    found = part.as_dict() if part is not None else {}
    return {f"{word}_paise": found.get(word) for word in words}


def pnl(ledger: Ledger, mark: Mark, strategy: str | None = None) -> dict[str, Any]:
    """Profit and loss: the total, by strategy and by product (names), each as gross, charges, net,
    realised, unrealised in paise. `strategy`: only of that one."""
    total, strategies, products = Pnl(), dict[str, Pnl](), dict[str, Pnl]()
    for position, part in parts(ledger.book, ledger.instruments, ledger.costs, mark):
        name = ledger.strategy(position.strategy)
        if strategy in (None, name):
            total.add(part)
            strategies.setdefault(name, Pnl()).add(part)
            products.setdefault(name_of(Product, position.product), Pnl()).add(part)
    return {
        "total": total.as_dict(),
        "by_strategy": {name: part.as_dict() for name, part in sorted(strategies.items())},
        "by_product": {name: part.as_dict() for name, part in sorted(products.items())},
    }
