"""Layer 6, by hand, cold: the account's raw books, from the broker or from a running engine's shelf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kite_hft.app.day.account import AccountView, Reader, named
from kite_hft.app.day.asking import Asking, NoAnswer
from kite_hft.app.day.brokers import NOTHING, is_own
from kite_hft.app.day.opening import Opened
from kite_hft.brokers.table import broker_of
from kite_hft.engine.orders.books import take_book
from kite_hft.engine.orders.market_facts import rules_of_day
from kite_hft.engine.plan.session import Access, configured
from kite_hft.engine.runs.runs import RunNote
from kite_hft.engine.watchdog.books import KITE
from kite_hft.engine.watchdog.books_upstox import reading_of
from kite_hft.engine.watchdog.plan import called_by, market_offset_ns, plain_facts
from kite_hft.engine.watchdog.process import facts_of
from kite_hft.sessions import CalendarError
from kite_hft.settings import SettingsError
from kite_hft.trading.broker import Broker
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, read_csv

SHELVED: Final = ("positions", "orders", "triggers", "trades")
NOT_SHELVED: Final = ("funds and holdings are read by the engine, and not kept",)


def account_access(opened: Opened) -> Access | None:
    """The broker that has the account of the run; None: nobody whom we could ask (paper, own simulator)."""
    settings = opened.settings
    access = configured(settings, settings.broker)
    if settings.mode == "paper" or is_own(settings, access) or not access.access_token:
        return None
    return access


def bodies_of(asking: Asking, broker: Broker) -> dict[str, bytes]:
    """Every book of the account, as it came.

    Raises:
        NoAnswer: one was not given.
    """
    reads = {
        "positions": broker.positions,
        "orders": broker.order_book,
        "trades": broker.trade_book,
        "triggers": broker.triggers,
        "holdings": broker.holdings,
        "margins": broker.margins,
    }
    found = {}
    for name, read in reads.items():
        answer = asking.call(read())
        if answer.status != 200:
            said = asking.words(answer.body[:200].decode(errors="replace"))
            raise NoAnswer(f"{name}: {asking.access.broker} answers with HTTP {answer.status}: {said}")
        found[name] = answer.body
    return found


def shelved(note: RunNote) -> dict[str, bytes]:
    """What a running engine keeps of the books."""
    rows = {name: take_book(Path(note.shm), name, -1) for name in SHELVED}
    return {name: book.body for name, book in rows.items() if book is not None}


def read_account(opened: Opened, note: RunNote | None) -> AccountView:
    """The account as it stands. note: of an engine that runs on it."""
    access, settings = account_access(opened), opened.settings
    if access is not None:
        with Asking(access, broker_of(access.broker, NOTHING)) as asking:
            try:
                bodies = bodies_of(asking, asking.broker)
            except NoAnswer as error:
                return AccountView(access.broker, error=str(error))
            return reader_of(opened, bodies, access.broker).view(bodies, f"{access.broker}, now")
    if note is not None:
        bodies = shelved(note)
        speaks = "kite" if settings.mode == "paper" else settings.broker
        if not bodies:
            return AccountView(notes=("the running engine keeps no books yet",))
        reader = reader_of(opened, bodies, speaks, run_instruments(note))
        return reader.view(bodies, "the running engine's books", NOT_SHELVED)
    access = configured(settings, settings.broker)
    if settings.mode != "paper" and not is_own(settings, access):
        return AccountView(
            notes=(f"not read: there is no token of {access.broker}; log in, then look again",)
        )
    return AccountView()


def run_instruments(note: RunNote) -> InstrumentTable:
    """The instruments of a run; empty when they cannot be read."""
    try:
        return read_csv(Path(note.folder) / "instruments.csv")
    except (InstrumentError, OSError):
        return NOTHING


def held_instruments(opened: Opened, bodies: Mapping[str, bytes]) -> InstrumentTable:
    """Instruments that the books speak of, with their terms; those in no list of the day are left out."""
    if opened.masters is None:
        return NOTHING
    rows: dict[int, None] = {}
    for name in sorted(named(bodies), key=str):
        try:
            rows[opened.masters.row_of(name)] = None
        except InstrumentError:
            continue
    return opened.masters.joined(list(rows)).table if rows else NOTHING


def reader_of(
    opened: Opened, bodies: Mapping[str, bytes], speaks: str, table: InstrumentTable | None = None
) -> Reader:
    """How these bodies are read. speaks: whose protocol they are in."""
    settings, now_ns = opened.settings, opened.now_ns
    table = held_instruments(opened, bodies) if table is None else table
    offset_ns = market_offset_ns(settings, now_ns)
    try:
        rules = rules_of_day(settings, opened.day)
        plain = plain_facts(settings, table, rules, opened.day, always_open=offset_ns is None)
    except (SettingsError, CalendarError):
        plain = {"phases": [], "cas": [], "others": [], "square_offs": [], "settling": []}
    reading = reading_of(called_by(table)) if speaks == "upstox" else KITE
    return Reader(
        reading,
        broker_of(speaks, table),
        facts_of(plain | {"closing_ns": 0}),
        now_ns + (offset_ns or 0),
        settings.risk.ddpi,
        settings.risk.btst,
        tells_authorised=speaks == "kite",
    )
