"""An order, from the push of its INTENT to the return of the write call: ours, pycurl, a raw ssl socket.

    python benchmarks/bench_order.py [--broker kite|upstox] [--rounds 5] [--quick]

Two processes. The far side (orders/far.py, last core) is strategy, feed and broker in one: it stamps an
intent with CLOCK_MONOTONIC, pushes it into the queue in shared memory (writing the eventfd of a parked
ORDERS), and answers the call over TLS 1.3 on loopback. The contender (first core) takes it and sends the
broker's placement (Kite: POST /orders/regular, a form; Upstox: POST /v3/order/place, JSON); the clock is read
again when the write call has returned. Rivals send the request of the same broker. Without --broker: both.

ours       the real ORDERS stage (orders/stage.py): risk over ten open positions, throttle, egress gate,
           journal on the disk with its fsync thread beside, request, TLS, write. Nothing is left out but
           waiting for the broker's limits: the table of limits is a wide one.
raw ssl    a blocking ssl socket and one request, built before: no risk, no journal, no order.
pycurl     libcurl's multi interface, the body built before: until libcurl says that the request has left.

back to back   the next intent comes 0.5 ms after the answer to the one before; the contender spins.
10 a second    the contender sleeps: ORDERS in epoll on its eventfd, rivals in read(2) on a pipe.

Parts are medians of ours, each of its own: they need not add up. wake-up: push until taken from the
queue; risk: until judged, with a number and a tag; throttle: until let out; journal: egress gate, record,
the bytes of the request's body; write: its head, TLS and the write call.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import kit
from kit import OURS, Row, Target
from orders.stage import Bench, bench, median_us

RAW = "raw ssl, request prebuilt"
CURL = "pycurl, body prebuilt"
RIVALS = {RAW: "raw", CURL: "pycurl"}
PARTS = {
    "wake-up": "intent_to_taken",
    "risk": "taken_to_judged",
    "throttle": "throttle_wait",
    "journal": "journalled",
    "write": "written",
    "whole": "intent_to_sent",
}


def contenders(
    world: Bench, parts: Row, n: int, gap_s: float, *, spin: bool
) -> Mapping[str, Callable[[], float]]:
    """name -> one run of `n` orders, its median in us."""

    def ours() -> float:
        found = world.orders(n, gap_s, spin=spin)
        for name, histogram in PARTS.items():
            if found[histogram]:
                parts.figures.setdefault(name, []).append(median_us(found[histogram]))
        return median_us(found["intent_to_sent"])

    def rival(name: str) -> float:
        found = world.rival(RIVALS[name], n, gap_s, spin=spin)
        if found is None:
            raise RuntimeError(f"{name} did not run")
        return float(found["median"])

    return {OURS: ours, RAW: lambda: rival(RAW), CURL: lambda: rival(CURL)}


BROKERS = {"kite": "", "upstox": "upstox: "}
"""Brokers, and how their rows begin."""


def rows_of(broker: str, words: argparse.Namespace) -> list[Row]:
    """All rows of one broker."""
    name = f"{BROKERS[broker]}order, push to written"
    hot = Row(f"{name}: back to back, spinning", "us", "less", [Target(None, at_most=40)])
    cold = Row(f"{name}: 10 a second, parked", "us", "less", [Target(RAW, at_most=1.3)])
    rows = []
    many, few = (300, 15) if words.quick else (1500, 60)
    rounds = 1 if words.quick else words.rounds
    with bench(broker) as world:
        for row, n, gap_s in ((hot, many, 0.0), (cold, few, 0.1)):
            parts = Row(f"{row.name}: parts of ours", "us", "less")
            runs = contenders(world, parts, n, gap_s, spin=not gap_s)
            if kit.environment("orders") is None:
                runs = {OURS: runs[OURS]}
                row.notes |= dict.fromkeys(RIVALS, "the environment of the rivals could not be made")
            kit.measure(row, runs, rounds)
            for figures in parts.figures.values():
                del figures[0]  # of the round that does not count
            rows += [row, parts]
    return rows


def main() -> None:
    parser = kit.options(__doc__, rounds=5)
    parser.add_argument("--broker", choices=sorted(BROKERS), help="only this broker (default: one by one)")
    words = parser.parse_args()
    brokers = [words.broker] if words.broker else list(BROKERS)
    rows = [row for broker in brokers for row in rows_of(broker, words)]
    kit.write("order" if len(brokers) > 1 else f"order_{brokers[0]}", rows, words.json)


if __name__ == "__main__":
    main()
