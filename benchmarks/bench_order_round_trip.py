"""An order call and its answer over TLS on loopback: kiteconnect, aiohttp, pycurl, a raw socket, ours.

    python benchmarks/bench_order_round_trip.py [--rounds 5] [--quick]

One server for all (orders/far.py: Python's ssl, TLS 1.3, last core), one kept connection, one call after
the other, wall time from the call to the order id in hand; client on the first core. The same POST
/orders/regular for all. kiteconnect builds its form and reads the answer, as ours does: order to
request by brokers/kite/rest.py, net/http.py over a connection that checks certificate and host name,
answer to verdict. aiohttp, pycurl and the raw socket send bytes that were built before and read the
answer's body only. Ours spins on `poll`, as ORDERS does with performance.waits.orders: spin; and once
more asleep in epoll, as the rivals are.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Final

import kit
from kit import OURS, Row, Target
from orders.stage import HEADERS, Bench, bench, median_us

from kite_hft.brokers.kite import rest
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.net.http import HttpTransport
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.broker import Confirmed, HttpResponse, OrderRequest

PARKED: Final = "kite_hft, asleep in epoll"
RIVALS: Final = ("pycurl", "kiteconnect", "aiohttp", "raw")
WARM: Final = 20


def ours(world: Bench, n: int, *, spin: bool) -> float:
    """Median of `n` calls in us."""
    instrument = default_instruments(100, 1)[0][0]
    transport = HttpTransport(world.url, world.clock, HEADERS, context=world.context)
    asleep = select.poll()
    asleep.register(transport.fileno(), select.POLLIN)
    took: list[int] = []
    try:
        while not transport.connected():
            transport.poll()
        for number in range(-WARM, n):
            start_ns = time.monotonic_ns()
            request = OrderRequest(
                instrument, Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 1, 139_000,
                tag="abc000700000000001xy",
            )  # fmt: skip
            transport.submit(number, rest.place(request))
            while not (done := transport.poll()):
                if not spin:
                    asleep.poll(1000)
            answer = done[0][1]
            if not isinstance(answer, HttpResponse) or not isinstance(rest.parse_outcome(answer), Confirmed):
                raise RuntimeError(f"no order: {answer}")
            if number >= 0:
                took.append(time.monotonic_ns() - start_ns)
    finally:
        transport.close()
    return median_us(took)


def rival(world: Bench, name: str, n: int) -> float:
    found = kit.peer("orders", "orders_rivals.py", "around", name, world.url, world.folder / "cert.pem", n)
    if found is None:
        raise RuntimeError(f"{name} did not run")
    return float(found["median"])


def main() -> None:
    words = kit.options(__doc__, rounds=5).parse_args()
    n = 200 if words.quick else 1000
    row = Row(
        "order round trip, TLS on loopback", "us", "less",
        [Target("pycurl", at_most=1.5), Target("kiteconnect", at_most=0.1)],
    )  # fmt: skip
    with bench() as world:
        world.far.ask(n=0, gap_s=0)
        runs: dict[str, Callable[[], float]] = {
            OURS: lambda: ours(world, n, spin=True),
            PARKED: lambda: ours(world, n, spin=False),
        }
        if kit.environment("orders") is None:
            row.notes |= dict.fromkeys(RIVALS, "the environment of the rivals could not be made")
        else:
            runs |= {name: lambda name=name: rival(world, name, n) for name in RIVALS}  # type: ignore[misc]
        kit.measure(row, runs, 1 if words.quick else words.rounds)
    kit.write("order_round_trip", [row], words.json)


if __name__ == "__main__":
    main()
