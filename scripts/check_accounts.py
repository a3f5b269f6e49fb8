#!/usr/bin/env python3
"""Recomputes a day's orders, fills, positions and cash from three witnesses, with no code of the engine.

    check_accounts.py --api URL --api-key KEY --access-token TOKEN --opening-cash RUPEES \
        [--broker kite|upstox] --run RUN_FOLDER [--run RUN_FOLDER ...]

Witnesses: the broker (its REST books, and where it is the simulator also GET /_sim/account), the
journals (read here, byte by byte) and the trades.csv files of the run folders. Several runs of one
day are added up: an engine that was killed and started again goes on with the same orders. Orders
of the account that no journal knows are somebody else's: they count in positions and cash, and may
not carry a tag of the engine. Everything is counted in whole paise.

    --trades FILE --journal FILE   single files in place of run folders; a journal may be the JSON
                                   lines of `kite-hft journal`
    --multiplier N                 rupees per point and unit, of every instrument that was traded

Prints one JSON line; exit code 1 when the witnesses disagree. Standard library only.
"""

import argparse
import csv
import json
import struct
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

TERMINAL = {"COMPLETE", "CANCELLED", "REJECTED"}
READS = {
    "kite": ("/orders", "/trades", "/portfolio/positions"),
    "upstox": (
        "/v2/order/retrieve-all",
        "/v2/order/trades/get-trades-for-day",
        "/v2/portfolio/short-term-positions",
    ),
}
UPSTOX_STATUS = {"cancelled after market order": "CANCELLED"}
STATUS_OF_NUMBER = {7: "COMPLETE", 8: "CANCELLED", 9: "REJECTED"}  # as the journal writes them
KINDS = {2: "INTENT", 3: "REFUSED", 4: "ANSWER", 6: "REPORT", 7: "TRADE", 9: "RESOLVED", 10: "EXTERNAL"}
HEADER_BYTES, RECORD = 64, struct.Struct("<4sIIIQqHHI")


def paise(text):
    """Rupees, as text or JSON number, to whole paise."""
    amount = Decimal(str(text)) * 100
    if amount != amount.to_integral_value():
        raise SystemExit(f"{text} is no whole number of paise")
    return int(amount)


def get(options, path, missing=None):
    if options.broker == "upstox":
        headers = {"Accept": "application/json", "Authorization": f"Bearer {options.access_token}"}
    else:
        headers = {"X-Kite-Version": "3", "Authorization": f"token {options.api_key}:{options.access_token}"}
    request = urllib.request.Request(options.api + path, headers=headers)
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = json.load(answer)
                return body["data"] if isinstance(body, dict) and "data" in body else body
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing is not None:
                return missing
            if error.code != 429 and error.code < 500:
                raise SystemExit(f"{path}: HTTP {error.code}: {error.read(200)!r}") from None
            time.sleep(1.1)  # reading again is harmless
        except OSError as error:
            raise SystemExit(f"{options.api}: {error}") from None
    raise SystemExit(f"{path}: refused as too many requests, or not served")


def in_kites_words(row):
    """A row of Upstox's books: products and states as Kite and the journal call them."""
    shares = row["exchange"] in ("NSE", "BSE")
    delivery = "CNC" if shares else "NRML"
    product = {"I": "MIS", "D": delivery}.get(row["product"], row["product"])
    status = str(row.get("status", ""))
    return {**row, "product": product, "status": UPSTOX_STATUS.get(status, status.upper())}


def books(options):
    """Orders, trades, net positions and cash (None: the broker's funds do not show it), in Kite's words."""
    orders, trades, positions = (get(options, path) for path in READS[options.broker])
    if options.broker == "kite":
        cash = paise(get(options, "/user/margins")["equity"]["available"]["cash"])
        return orders, trades, positions["net"], cash
    cash = get(options, "/_sim/account", missing={}).get("cash_paise")
    return (*([in_kites_words(row) for row in rows] for rows in (orders, trades, positions)), cash)


def from_broker(options):
    orders, trades, net, cash_told = books(options)
    filled, positions, cash = Counter(), Counter(), paise(options.opening_cash)
    for trade in trades:
        sign = 1 if trade["transaction_type"] == "BUY" else -1
        filled[trade["order_id"]] += trade["quantity"]
        positions[f"{trade['exchange']}:{trade['tradingsymbol']}", trade["product"]] += (
            sign * trade["quantity"]
        )
        cash -= sign * paise(trade["average_price"]) * trade["quantity"] * options.multiplier
    told = Counter()
    for row in net:
        told[f"{row['exchange']}:{row['tradingsymbol']}", row["product"]] += row["quantity"]
    return {
        "orders": {row["order_id"]: (row["status"], row["filled_quantity"]) for row in orders},
        "tags": {row["order_id"]: [row.get("tag"), *(row.get("tags") or [])] for row in orders},
        "filled": +filled,
        "positions": {key: n for key, n in positions.items() if n},
        "positions_told": {key: n for key, n in told.items() if n},
        "cash": cash,
        "cash_told": cash if cash_told is None else cash_told,
    }


def from_trades_csv(paths, ours):
    """Fills of orders as accounted; rows of orders that are not ours close positions for us."""
    filled, positions, cash, closed, unknown = Counter(), Counter(), 0, Counter(), set()
    for path in paths:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                sign, quantity = (1 if row["side"] == "BUY" else -1), int(row["quantity"])
                key = row["instrument"], row["product"]
                if row["order_id"] not in ours:
                    closed[key] += sign * quantity
                    if row["order_no"] != "0":  # accounted as our own order
                        unknown.add(row["order_id"])
                    continue
                filled[row["order_id"]] += quantity
                positions[key] += sign * quantity
                cash -= sign * paise(row["value"])
    return {
        "filled": +filled,
        "positions": {k: n for k, n in positions.items() if n},
        "cash": cash,
        "closed": {k: n for k, n in closed.items() if n},
        "unknown": sorted(unknown),
    }


def records(path):
    """(kind, payload) of a journal: the engine's file, or its dump as JSON lines."""
    data = Path(path).read_bytes()
    if not data.startswith(b"KHFTJRN1"):
        for line in data.splitlines():
            record = json.loads(line)
            yield record["kind"], record.get("data", {})
        return
    seed = before = zlib.crc32(data[: HEADER_BYTES - 4])
    at, number = HEADER_BYTES, 0
    while at + RECORD.size <= len(data):
        _mark, told, follows, length, seq, _time, kind, _lag, _zero = RECORD.unpack_from(data, at)
        end = at + RECORD.size + length
        whole = end <= len(data) and zlib.crc32(data[at + 8 : end], seed) == told
        if not whole or follows != before or seq != number + 1:
            return  # a torn tail: what a crash leaves
        yield KINDS.get(kind, str(kind)), json.loads(data[at + RECORD.size : end])
        at, before, number = end, told, seq


def from_journals(paths):
    """What the engine says it sent and learned. Numbers of orders go on over the runs of a day."""
    tag_of, id_of, last, denied, absent = {}, {}, defaultdict(dict), set(), set()
    for path in paths:
        for kind, data in records(path):
            if kind == "INTENT":
                tag_of[data["no"], data["tag"]] = data["tag"]
            elif kind == "ANSWER" and data.get("call") == "place":
                if data.get("order_id"):
                    id_of[data["no"]] = data["order_id"]
                elif data["outcome"] in ("refused", "unsent"):
                    denied.add(data["no"])
            elif kind == "RESOLVED" and data.get("how") == "absent":
                absent.add(data["no"])
            elif kind == "REPORT":
                report = data["report"]
                id_of.setdefault(data["no"], report["order_id"])
                last[report["order_id"]] = report
    numbers = [number for number, _tag in tag_of]
    return {
        "intents": len(tag_of),
        "numbers_used_twice": sorted(n for n, count in Counter(numbers).items() if count > 1),
        "nothing_came_of_it": {n for n in denied | absent if n not in id_of},
        "tags": set(tag_of.values()),
        "ids": set(id_of.values()),
        "orders": {
            order_id: (STATUS_OF_NUMBER.get(report["status"], ""), report["filled_quantity"])
            for order_id, report in last.items()
        },
    }


def compare(broker, trades, journal):
    """Every disagreement, in words."""
    ours = journal["ids"] & set(broker["orders"])
    strange = set(broker["orders"]) - journal["ids"]
    filled = {order_id: n for order_id, n in broker["filled"].items() if order_id in ours}
    pairs = [
        ("fills by order: broker's trades, trades.csv", filled, dict(trades["filled"])),
        ("positions: broker's trades, broker's positions", broker["positions"], broker["positions_told"]),
        ("cash: broker's trades, broker's margins", broker["cash"], broker["cash_told"]),
        ("order ids: in the journal and not at the broker", journal["ids"] - ours, set()),
        (
            "orders: of ours at the broker, intents that something came of",
            len(ours),
            journal["intents"] - len(journal["nothing_came_of_it"]),
        ),
        ("orders: of ours in trades.csv and in no journal", trades["unknown"], []),
        ("order numbers used twice", journal["numbers_used_twice"], []),
    ]
    if not strange:
        pairs += [
            ("positions: broker's trades, trades.csv", broker["positions"], trades["positions"]),
            ("cash: broker's trades, trades.csv", broker["cash"], broker["opening"] + trades["cash"]),
        ]
    wrong = [f"{what}: {a} is not {b}" for what, a, b in pairs if a != b]
    for order_id in sorted(ours):
        status, count = broker["orders"][order_id]
        if status in TERMINAL and count and journal["orders"].get(order_id) != (status, count):
            wrong.append(f"{order_id}: broker {status} {count}, journal {journal['orders'].get(order_id)}")
    for order_id in sorted(strange):
        if doubled := journal["tags"] & {tag for tag in broker["tags"][order_id] if tag}:
            wrong.append(f"{order_id}: not in the journal, with the engine's tag {sorted(doubled)}")
    seen = Counter(t for tags in broker["tags"].values() for t in set(tags) if t in journal["tags"])
    wrong += [f"tag {tag} stands on {n} orders: sent twice" for tag, n in seen.items() if n > 1]
    return wrong


def from_simulator(options, broker):
    """What the simulator's own account says beside its books; {}: the broker is none."""
    told = get(options, "/_sim/account", missing={})
    wrong = []
    if told:
        rows = told["orders"]
        if options.broker == "upstox":
            rows = [in_kites_words(row) for row in rows]
        orders = {row["order_id"]: (row["status"], row["filled_quantity"]) for row in rows}
        if orders != broker["orders"]:
            wrong.append("orders: the simulator's account and its GET /orders differ")
        if told["cash_paise"] != broker["cash_told"]:
            wrong.append(f"cash: the simulator's account {told['cash_paise']}, {broker['cash_told']}")
    return wrong


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broker", choices=sorted(READS), default="kite")
    parser.add_argument("--api", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--access-token", required=True)
    parser.add_argument("--run", action="append", default=[], help="run folder; once for each run of the day")
    parser.add_argument("--trades", action="append", default=[], help="a trades.csv")
    parser.add_argument("--journal", action="append", default=[], help="a journal.bin, or its dump")
    parser.add_argument("--opening-cash", required=True, help="rupees")
    parser.add_argument("--multiplier", type=int, default=1, help="of every instrument that was traded")
    options = parser.parse_args()
    trades_paths = [*options.trades, *(f"{run}/trades.csv" for run in options.run)]
    journals = [*options.journal, *(f"{run}/journal.bin" for run in options.run)]
    if not trades_paths or not journals:
        parser.error("name at least one --run, or --trades and --journal")
    journal = from_journals(journals)
    broker = from_broker(options) | {"opening": paise(options.opening_cash)}
    trades = from_trades_csv(trades_paths, journal["ids"])
    wrong = compare(broker, trades, journal) + from_simulator(options, broker)
    result = {
        "runs": len(journals),
        "orders": len(broker["orders"]),
        "external_orders": len(set(broker["orders"]) - journal["ids"]),
        "filled_orders": len(broker["filled"]),
        "open_positions": len(broker["positions"]),
        "cash_paise": broker["cash"],
        "closed_for_us": {" ".join(key): n for key, n in trades["closed"].items()},
        "disagreements": wrong,
    }
    print(json.dumps(result))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
