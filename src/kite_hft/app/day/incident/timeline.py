"""Layer 6, by hand, cold: a run as one line per event, in India's time: for people, and for a broker. Pure.

Out of the journal (what the engine decided, sent and was told), the alerts, the log, and the calls that left
(evidence.csv). An order stands in each of its lines by our number, our tag and, as soon as there is one, the
broker's id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.sessions import ist_midnight_ns, ist_text, seconds_of_day
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.records import name_of
from kite_hft.units import NS_PER_S, price_text

Data = Mapping[str, Any]


class Event(NamedTuple):
    """One line. source: journal, alert, log or call."""

    time_ns: int
    source: str
    text: str

    def line(self) -> str:
        """`03:07:16.590  journal  order 1 ...`."""
        milliseconds = self.time_ns // 1_000_000 % 1000
        return f"{ist_text(self.time_ns)[11:]}.{milliseconds:03d}  {self.source:<7}  {self.text}"


@dataclass(slots=True)
class Teller:
    """Journal records as words. ids: our number -> the broker's id, tags: -> our tag, as far as told."""

    instruments: InstrumentTable
    strategies: Mapping[int, str] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    tags: dict[int, str] = field(default_factory=dict)

    def tell(self, kind: str, data: Data) -> str:
        """One record; "": nothing to say of it."""
        told = TELLERS.get(kind)
        return told(self, data) if told is not None else f"{kind}: {_plain(data)}"

    def order(self, data: Data) -> str:
        """`order 3 (tag kdt.., id 2611..)`."""
        number = data.get("no")
        if not isinstance(number, int):
            return "an order"
        if "about" in data:
            return "beside orders"
        names = [f"tag {self.tags[number]}"] if number in self.tags else []
        names += [f"id {self.ids[number]}"] if number in self.ids else []
        return f"order {number}" + (f" ({', '.join(names)})" if names else "")

    def instrument(self, data: Data) -> str:
        row = self.row(data)
        return row.key if row is not None else f"token {data.get('token', '?')}"

    def row(self, data: Data) -> Instrument | None:
        """By slot, else by token."""
        slot = data.get("slot")
        if isinstance(slot, int) and 0 <= slot < len(self.instruments):
            return self.instruments[slot]
        return self.instruments.by_token.get(int(data.get("token") or 0))

    def terms(self, data: Data) -> str:
        """`BUY 150 NSE:RELIANCE MIS MARKET at 1445.75 trigger 1440.00`."""
        row = self.row(data)
        scale = row.scale if row is not None else 100
        kind = name_of(OrderType, int(data.get("type") or data.get("order_type") or 0))
        words = [
            name_of(Side, int(data.get("side") or 0)), str(data.get("qty", data.get("quantity", ""))),
            self.instrument(data), name_of(Product, int(data.get("product") or 0)), kind,
        ]  # fmt: skip
        if data.get("px"):
            words.append(f"at {price_text(int(data['px']), scale)}")
        if data.get("trigger_px"):
            words.append(f"trigger {price_text(int(data['trigger_px']), scale)}")
        return " ".join(words)

    def strategy(self, data: Data) -> str:
        number = int(data.get("strategy") or 0)
        return self.strategies.get(number, f"strategy {number}")

    # The kinds

    def start(self, data: Data) -> str:
        again = ", after a restart of the order process" if data.get("restarted") else ""
        before = f", goes on from {', '.join(data['continues'])}" if data.get("continues") else ""
        return f"order process starts: broker {data.get('broker')}{again}{before}"

    def intent(self, data: Data) -> str:
        if data.get("tag"):
            self.tags[int(data["no"])] = str(data["tag"])
        row, px = self.row(data), int(data.get("ref_px") or 0)
        judged = f"; last price {price_text(px, row.scale)}" if row is not None and px else ""
        return f"{self.order(data)} is sent by {self.strategy(data)}: {self.terms(data)}{judged}"

    def refused(self, data: Data) -> str:
        words = self.terms(data) if data.get("slot") is not None else ""
        return f"refused by our own gate, never sent: {words} ({data.get('reason')}: {data.get('text')})"

    def answer(self, data: Data) -> str:
        if data.get("order_id") and isinstance(data.get("no"), int):
            self.ids[int(data["no"])] = str(data["order_id"])
        words = {"confirmed": "the broker confirms", "refused": "the broker refuses",
                 "ambiguous": "no proof either way"}  # fmt: skip
        outcome = str(data.get("outcome"))
        rest = {
            k: v for k, v in data.items() if k not in ("no", "strategy", "outcome", "terms", "was", "call")
        }
        rest.pop("order_id", None)
        said = f" ({_plain(rest)})" if rest else ""
        return f"{self.order(data)}: {data.get('call')}: {words.get(outcome, outcome)}{said}"

    def call(self, data: Data) -> str:
        rest = {k: v for k, v in data.items() if k not in ("no", "call", "strategy")}
        return f"{self.order(data)}: {data.get('call')} is sent ({_plain(rest)})"

    def report(self, data: Data) -> str:
        row = dict(data.get("report") or data)
        if row.get("order_id") and isinstance(data.get("no"), int):
            self.ids[int(data["no"])] = str(row["order_id"])
        filled = f", filled {row.get('filled_quantity')}/{row.get('quantity')}"
        said = f": {row['message']}" if row.get("message") else ""
        status = row.get("status_text") or OrderStatus(int(row.get("status") or 0)).name
        stamp = row.get("exchange_timestamp") or row.get("order_timestamp")
        return f"{self.order(data)}: the broker reports {status}{filled}{said}{_at(stamp)}"

    def trade(self, data: Data) -> str:
        row = dict(data.get("trade") or data)
        side = name_of(Side, int(row.get("side") or 0))
        return (
            f"{self.order(data)}: filled {side} {row.get('quantity')} at {row.get('average_price')}, trade "
            f"{row.get('trade_id')}{_at(row.get('fill_timestamp'))}"
        )

    def state(self, data: Data) -> str:
        if "strategy" in data:
            return f"{self.strategy(data)} is {data.get('state') or 'let go'}: {data.get('reason', '')}"
        if "updates_missed_s" in data:
            return f"no order updates were heard for {data['updates_missed_s']} s: the order book is read"
        words = [
            f"{name.upper()}: {data[name]}" for name in ("killed", "halted", "reducing") if data.get(name)
        ]
        words += [name for name in ("active", "stopping", "market_halted") if data.get(name)]
        return f"the engine is {', '.join(words) or 'told: ' + _plain(data)}"

    def external(self, data: Data) -> str:
        rows = list(data.get("positions") or ())
        return f"beside our orders the account holds {'; '.join(map(str, rows))}" if rows else ""

    def waiting(self, data: Data) -> str:
        intent = dict(data.get("intent") or {})
        return f"waits for its turn, by {self.strategy(data)}: {self.terms(intent)}"

    def alert(self, data: Data) -> str:
        return f"told: {data.get('code')} {data.get('key') or ''}: {data.get('text')}".replace(" :", ":")

    def command(self, data: Data) -> str:
        if data.get("do") == "strategies":
            return f"the strategies' code: {_plain(data.get('strategies') or {})}"
        rest = {k: v for k, v in data.items() if k not in ("do", "by")}
        return f"a person: {data.get('do')} by {data.get('by') or 'nobody named'} ({_plain(rest)})"

    def end(self, data: Data) -> str:
        held = [f"{p['instrument']} {p['product']} {p['quantity']:+d}" for p in data.get("positions") or ()]
        orders = len(data.get("orders") or ())
        return f"orderly end: {orders} orders may still work, held: {', '.join(held) or 'nothing'}"

    def resolved(self, data: Data) -> str:
        rest = {k: v for k, v in data.items() if k not in ("no", "strategy")}
        return f"{self.order(data)}: its fate is known now ({_plain(rest)})"

    def nothing(self, data: Data) -> str:
        return ""


TELLERS: Final[Mapping[str, Callable[[Teller, Data], str]]] = {
    "START": Teller.start, "INTENT": Teller.intent, "REFUSED": Teller.refused, "ANSWER": Teller.answer,
    "CALL": Teller.call, "REPORT": Teller.report, "TRADE": Teller.trade, "STATE": Teller.state,
    "EXTERNAL": Teller.external, "WAITING": Teller.waiting, "ALERT": Teller.alert, "COMMAND": Teller.command,
    "END": Teller.end, "RESOLVED": Teller.resolved, "HEADER": Teller.nothing,
}  # fmt: skip


def journal_events(teller: Teller, records: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Records as memory/journal.dump gives them. All are read, since later ones name earlier ones."""
    found = []
    for record in records:
        text = teller.tell(str(record["kind"]), record.get("data") or {})
        if text and "time_ns" in record:
            found.append(Event(int(record["time_ns"]), "journal", text))
    return found


def call_events(rows: Iterable[Mapping[str, str]]) -> list[Event]:
    """Rows of evidence.csv: every call that left for the broker."""
    found = []
    for row in rows:
        try:
            time_ns = int(row["real_ns"])
        except (KeyError, ValueError, TypeError):
            continue
        name = f" {row['name']}" if row.get("name") else ""
        windows = f" [{row['windows']}]" if row.get("windows") and row["call"] != "BEGIN" else ""
        found.append(Event(time_ns, "call", f"{row['call']} {row.get('part') or ''}{name}{windows}".strip()))
    return found


def alert_events(rows: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Lines of alerts.jsonl."""
    found = []
    for row in rows:
        if isinstance(row.get("time_ns"), int):
            name = " ".join(str(row.get(key) or "") for key in ("event", "severity", "code", "key")).strip()
            found.append(Event(row["time_ns"], "alert", f"{name}: {row.get('text', '')}"))
    return found


def log_events(rows: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Lines of engine.log, whose times have whole seconds."""
    found = []
    for row in rows:
        try:
            day, clock = str(row["time"]).split(" ")
            time_ns = ist_midnight_ns(dt.date.fromisoformat(day)) + seconds_of_day(clock) * NS_PER_S
        except (KeyError, ValueError):
            continue
        found.append(Event(time_ns, "log", str(row.get("event"))))
    return found


def within(events: Iterable[Event], span: tuple[int, int] | None) -> list[Event]:
    """In the order of time; span: only events in it (epoch ns)."""
    kept = [event for event in events if span is None or span[0] <= event.time_ns <= span[1]]
    return sorted(kept, key=lambda event: event.time_ns)


def _plain(data: Data) -> str:
    return ", ".join(f"{key} {value}" for key, value in data.items() if value not in (None, "", 0, [], {}))


def _at(stamp: object) -> str:
    return f" (broker's time {stamp})" if stamp else ""
