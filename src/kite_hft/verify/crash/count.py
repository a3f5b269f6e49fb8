"""Layer 6, by hand and CI, cold: the recount of `verify crash`. Shares no code with what it checks.

Three witnesses: the broker (the simulator's own account of orders, trades and positions), the journals
(read here byte by byte) and what the strategy wrote down that it asked for. They must tell the same day:

- lost: an order at the broker that no journal knows; one that a journal calls confirmed and the broker
  does not know; an intent that was taken out of a queue without a record;
- doubled: one tag or one intent, several orders;
- unexplained: an order in a journal that the broker does not know, and no word why; an order that the
  strategy did not ask for; fills or positions that differ.
"""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HEADER_BYTES: Final = 64
RECORD: Final = struct.Struct("<4sIIIQqHHI")
INTENT, REFUSED, ANSWER, CALL, TRADE, RESOLVED, WAITING, WITHDRAWN = 2, 3, 4, 5, 7, 9, 12, 13
NUMBERED: Final = {INTENT, REFUSED, CALL, WAITING, WITHDRAWN}
OWN_SEQ: Final = 1 << 62
"""Numbers from here on are those of what ORDERS does by itself."""
SIDES: Final = {"BUY": 1, "SELL": 2}
TAG_LENGTH: Final = 20
ENDED: Final = {"COMPLETE", "CANCELLED", "REJECTED"}


def tags_of(order: dict[str, Any]) -> list[str]:
    """The engine's tags of an order; the broker adds words of its own (`mktp`)."""
    return [tag for tag in order["tags"] if len(tag) == TAG_LENGTH]


def records(data: bytes) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """(kind, payload) of every whole record of a journal, in order; how many bytes follow the last."""
    crc = seed = zlib.crc32(data[: HEADER_BYTES - 4])
    found: list[tuple[int, dict[str, Any]]] = []
    at = HEADER_BYTES
    while len(data) - at >= RECORD.size:
        mark, said, before, length, seq, _time, kind, _lag, _zero = RECORD.unpack_from(data, at)
        end = at + RECORD.size + length
        body = data[at + 8 : end]
        good = mark == b"\xf5KJ\xff" and end <= len(data) and zlib.crc32(body, seed) == said
        if not good or before != crc or seq != len(found) + 1:
            break
        found.append((kind, json.loads(data[at + RECORD.size : end])))
        at, crc = end, said
    return found, len(data) - at


@dataclass(slots=True)
class Journals:
    """What all journals say together."""

    intents: dict[str, dict[str, Any]] = field(default_factory=dict)  # tag -> INTENT
    of_intent: Counter[tuple[int, int]] = field(default_factory=Counter)  # (strategy, seq) -> records
    told: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))  # engine -> numbers told
    confirmed: dict[str, int] = field(default_factory=dict)  # order id -> order number
    why: dict[int, str] = field(default_factory=dict)  # order number -> why the broker may not know it
    trades: dict[str, dict[str, Any]] = field(default_factory=dict)  # trade id -> trade
    torn: int = 0
    count: int = 0

    def add(self, run: int, data: bytes) -> None:
        """One journal, of the run that the process `run` supervised."""
        found, rest = records(data)
        self.torn += rest > 0
        self.count += len(found)
        for kind, said in found:
            if kind in NUMBERED:
                self.told[run].add(int(said["seq"]))
            if kind == INTENT:
                self.intents[said["tag"]] = said
                self.of_intent[said["strategy"], said["seq"]] += 1
            elif kind == ANSWER and said["call"] == "place":
                if said["outcome"] == "confirmed":
                    self.confirmed[str(said["order_id"])] = said["no"]
                elif said["outcome"] in ("unsent", "refused"):
                    self.why[said["no"]] = said["outcome"]
            elif kind == RESOLVED and said.get("how") == "absent":
                self.why[int(said["no"])] = "absent"
            elif kind == TRADE:
                self.trades[str(said["trade"]["trade_id"])] = said["trade"] | {"no": said["no"]}


@dataclass(slots=True)
class Asked:
    """What the strategy wrote down: (engine, number) -> what it asked for, anything a replay changed too."""

    rows: dict[tuple[int, int], set[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def read(cls, path: Path) -> Asked:
        """The whole lines of the probe's file."""
        made = cls()
        for line in path.read_text().splitlines() if path.exists() else []:
            engine, seq, *what = json.loads(line)
            made.rows[engine, seq].add(tuple(what))
        return made

    def candidates(self, seq: int) -> set[tuple[Any, ...]]:
        """What any engine's strategy asked for under this number."""
        return {row for (_engine, number), rows in self.rows.items() if number == seq for row in rows}


def recount(told: dict[str, Any], runs: list[tuple[int, Path]], log: Path, cut: set[int]) -> dict[str, Any]:
    """Everything that does not agree, and the totals.

    told: the simulator's account. runs: (supervisor's pid, run folder), oldest first. cut: supervisors that
    were killed: what stood in their queues, behind all that has a record, died with the memory.
    """
    journals, asked = Journals(), Asked.read(log)
    for pid, folder in runs:
        journals.add(pid, (folder / "journal.bin").read_bytes())
    ours = [order for order in told["orders"] if tags_of(order)]
    tags = Counter(tag for order in ours for tag in tags_of(order))
    by_id = {str(order["order_id"]): order for order in told["orders"]}
    lost = [f"{tag}: at the broker, in no journal" for tag in tags if tag not in journals.intents]
    gone = journals.confirmed.keys() - by_id.keys()
    lost += [f"order {order_id}: confirmed, not at the broker" for order_id in gone]
    lost += unrecorded(asked, journals, cut)
    doubled = [f"{tag}: {n} orders" for tag, n in tags.items() if n > 1]
    doubled += [f"intent {name}: {n} records" for name, n in journals.of_intent.items() if n > 1]
    missing = [said for tag, said in journals.intents.items() if tag not in tags]
    unexplained = [
        f"order {said['no']} ({said['tag']}): journalled, not at the broker, no word why"
        for said in missing
        if said["no"] not in journals.why
    ]
    unexplained += strange(ours, journals, asked)
    unexplained += fills(told, journals)
    rows = csv_rows([folder for _pid, folder in runs])
    unexplained += rows_differ(ours, rows)
    return {
        "orders_at_broker": len(told["orders"]),
        "orders_in_journals": len(journals.intents),
        "never_reached_broker": dict(Counter(journals.why.get(said["no"], "?") for said in missing)),
        "intents_asked": len(asked.rows),
        "trades": len(told["trades"]),
        "journal_records": journals.count,
        "external_orders": len(told["orders"]) - len(ours),
        "lost": lost,
        "doubled": doubled,
        "unexplained": unexplained,
    }


def unrecorded(asked: Asked, journals: Journals, cut: set[int]) -> list[str]:
    """Intents of the strategy without a record in the journals of their engine."""
    bad = []
    for (engine, seq), rows in sorted(asked.rows.items()):
        told = journals.told[engine]
        if seq in told or (engine in cut and seq > max((n for n in told if n < OWN_SEQ), default=0)):
            continue
        bad.append(f"intent {seq} of engine {engine} {sorted(rows)}: without a record")
    return bad


def strange(orders: Iterable[dict[str, Any]], journals: Journals, asked: Asked) -> list[str]:
    """Orders at the broker that are not what was journalled, or not what was asked for."""
    bad = []
    for order in orders:
        said = journals.intents.get(tags_of(order)[0])
        if said is None:
            continue
        terms = (order["instrument_token"], SIDES[order["transaction_type"]], order["quantity"])
        if terms != (said["token"], said["side"], said["qty"]):
            bad.append(f"order {said['no']}: {terms} at the broker, {said} in the journal")
        if said["seq"] < OWN_SEQ:
            rows = asked.candidates(said["seq"])
            wished = {(token, SIDES[side], n) for kind, token, side, n in rows if kind == "place"}
            if (said["token"], said["side"], said["qty"]) not in wished:
                bad.append(f"order {said['no']} (intent {said['seq']}): the strategy asked for {wished}")
    return bad


def fills(told: dict[str, Any], journals: Journals) -> list[str]:
    """Trades and positions of the broker against the journals' trades."""
    bad = []
    known = {str(trade["trade_id"]): trade for trade in told["trades"]}
    for name in known.keys() | journals.trades.keys():
        ours, theirs = journals.trades.get(name), known.get(name)
        if ours is None or theirs is None:
            bad.append(f"trade {name}: {'not in a journal' if ours is None else 'not at the broker'}")
        elif (str(ours["order_id"]), ours["quantity"]) != (str(theirs["order_id"]), theirs["quantity"]):
            bad.append(f"trade {name}: {ours} in the journal, {theirs} at the broker")
    held: Counter[tuple[int, str]] = Counter()
    orders = {str(order["order_id"]): order for order in told["orders"]}
    for trade in journals.trades.values():
        order = orders.get(str(trade["order_id"]))
        if order is not None:
            sign = 1 if order["transaction_type"] == "BUY" else -1
            held[order["instrument_token"], order["product"]] += sign * int(trade["quantity"])
    theirs = {(p["instrument_token"], p["product"]): int(p["quantity"]) for p in told["positions"]}
    for key in held.keys() | theirs.keys():
        if held[key] != theirs.get(key, 0):
            bad.append(f"position {key}: {held[key]} by the journals, {theirs.get(key, 0)} at the broker")
    return bad


def csv_rows(folders: Iterable[Path]) -> dict[str, list[dict[str, str]]]:
    """Rows of orders.csv of all runs by tag, those of ended orders."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for folder in folders:
        with (folder / "orders.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row["status"] in ENDED:
                    found[row["tag"]].append(row)
    return found


def rows_differ(orders: Iterable[dict[str, Any]], rows: dict[str, list[dict[str, str]]]) -> list[str]:
    """Ended orders without exactly one row for people, or with another one than the broker's."""
    bad = []
    for order in orders:
        found = rows.get(tags_of(order)[0], [])
        if order["status"] not in ENDED:
            continue
        due = (order["status"], str(order["filled_quantity"]))
        if [(row["status"], row["filled"]) for row in found] != [due]:
            bad.append(f"order {order['order_id']} {due}: rows of orders.csv {found}")
    return bad
