#!/usr/bin/env python3
"""Recomputes a run's orders, positions and cash from three witnesses, with no code of the engine.

    kite-hft journal <run folder>/journal.bin > journal.jsonl
    check_accounts.py --api URL --api-key KEY --access-token TOKEN --trades <run folder>/trades.csv \
        --journal journal.jsonl --opening-cash RUPEES

Witnesses: the broker's REST API (a simulator that still runs), trades.csv, and the journal's dump.
Everything is counted in whole paise. Prints one JSON line; exit code 1 when the witnesses disagree.
Standard library only.
"""

import argparse
import csv
import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from decimal import Decimal

TERMINAL = {"COMPLETE", "CANCELLED", "REJECTED"}
STATUS_OF_NUMBER = {7: "COMPLETE", 8: "CANCELLED", 9: "REJECTED"}  # as the journal writes them


def paise(text):
    """Rupees, as text or JSON number, to whole paise."""
    amount = Decimal(str(text)) * 100
    if amount != amount.to_integral_value():
        raise SystemExit(f"{text} is no whole number of paise")
    return int(amount)


def get(options, path):
    request = urllib.request.Request(
        options.api + path,
        headers={"X-Kite-Version": "3", "Authorization": f"token {options.api_key}:{options.access_token}"},
    )
    for _ in range(5):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise SystemExit(f"{path}: HTTP {error.code}: {error.read(200)!r}") from None
            time.sleep(1.1)  # reading again is harmless
        except OSError as error:
            raise SystemExit(f"{options.api}: {error}") from None
    raise SystemExit(f"{path}: refused as too many requests")


def from_broker(options):
    orders = get(options, "/orders")
    trades = get(options, "/trades")
    filled, positions, cash = Counter(), Counter(), paise(options.opening_cash)
    for trade in trades:
        sign = 1 if trade["transaction_type"] == "BUY" else -1
        filled[trade["order_id"]] += trade["quantity"]
        positions[f"{trade['exchange']}:{trade['tradingsymbol']}", trade["product"]] += (
            sign * trade["quantity"]
        )
        cash -= sign * paise(trade["average_price"]) * trade["quantity"] * options.multiplier
    told = {
        (f"{row['exchange']}:{row['tradingsymbol']}", row["product"]): row["quantity"]
        for row in get(options, "/portfolio/positions")["net"]
    }
    return {
        "orders": {row["order_id"]: (row["status"], row["filled_quantity"]) for row in orders},
        "filled": +filled,
        "positions": {key: n for key, n in positions.items() if n},
        "positions_told": {key: n for key, n in told.items() if n},
        "cash": cash,
        "cash_told": paise(get(options, "/user/margins")["equity"]["available"]["cash"]),
    }


def from_trades_csv(options):
    filled, positions, cash = Counter(), Counter(), paise(options.opening_cash)
    with open(options.trades, newline="") as file:
        for row in csv.DictReader(file):
            sign, quantity = (1 if row["side"] == "BUY" else -1), int(row["quantity"])
            filled[row["order_id"]] += quantity
            positions[row["instrument"], row["product"]] += sign * quantity
            cash -= sign * paise(row["value"])
    return {"filled": +filled, "positions": {k: n for k, n in positions.items() if n}, "cash": cash}


def from_journal(options):
    sent, id_of, last = set(), {}, defaultdict(dict)
    with open(options.journal) as file:
        for line in file:
            record = json.loads(line)
            data = record.get("data", {})
            if record["kind"] == "INTENT":
                sent.add(data["no"])
            elif record["kind"] == "ANSWER" and data.get("call") == "place" and data.get("order_id"):
                id_of[data["no"]] = data["order_id"]
            elif record["kind"] == "REPORT":
                report = data["report"]
                id_of.setdefault(data["no"], report["order_id"])
                last[report["order_id"]] = report
    return {
        "sent": len(sent),
        "ids": set(id_of.values()),
        "orders": {
            order_id: (STATUS_OF_NUMBER.get(report["status"], ""), report["filled_quantity"])
            for order_id, report in last.items()
        },
    }


def compare(broker, trades, journal):
    """Every disagreement, in words."""
    wrong = []
    pairs = [
        ("fills by order: broker's trades, trades.csv", broker["filled"], trades["filled"]),
        ("positions: broker's trades, trades.csv", broker["positions"], trades["positions"]),
        ("positions: broker's trades, broker's positions", broker["positions"], broker["positions_told"]),
        ("cash: broker's trades, trades.csv", broker["cash"], trades["cash"]),
        ("cash: broker's trades, broker's margins", broker["cash"], broker["cash_told"]),
        ("order ids: broker's book, journal", set(broker["orders"]), journal["ids"]),
        ("orders: broker's book, intents in the journal", len(broker["orders"]), journal["sent"]),
    ]
    wrong += [f"{what}: {a} is not {b}" for what, a, b in pairs if a != b]
    for order_id, (status, filled) in broker["orders"].items():
        if status not in TERMINAL:
            continue
        if journal["orders"].get(order_id) != (status, filled):
            wrong.append(f"{order_id}: broker {status} {filled}, journal {journal['orders'].get(order_id)}")
    return wrong


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--api", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--access-token", required=True)
    parser.add_argument("--trades", required=True, help="trades.csv of the run")
    parser.add_argument("--journal", required=True, help="dump of the run's journal")
    parser.add_argument("--opening-cash", required=True, help="rupees")
    parser.add_argument("--multiplier", type=int, default=1, help="of every instrument that was traded")
    options = parser.parse_args()
    broker, trades, journal = from_broker(options), from_trades_csv(options), from_journal(options)
    wrong = compare(broker, trades, journal)
    result = {
        "orders": len(broker["orders"]),
        "filled_orders": len(broker["filled"]),
        "open_positions": len(broker["positions"]),
        "cash_paise": broker["cash"],
        "disagreements": wrong,
    }
    print(json.dumps(result))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
