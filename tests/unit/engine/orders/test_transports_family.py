"""Order calls leave by one kind of address: a broker knows this machine by one, and refuses the other."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from raw_server import answer, read_request, serve
from transport_tools import Names, up

from kite_hft.brokers.table import broker_of
from kite_hft.clock import SystemClock
from kite_hft.engine.orders.transports import make_transport
from kite_hft.net.hosts import Hosts
from kite_hft.net.http import HttpTransport
from kite_hft.settings import Settings
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.instruments import InstrumentTable

URL = "http://localhost:1"
EMPTY = InstrumentTable(())


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = _has_ipv6()


@contextlib.contextmanager
def both() -> Iterator[int]:
    """A port on which 127.0.0.1 and ::1 answer, one call on each connection."""

    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(answer(b"ok", headers=b"Connection: close\r\n"))

    with serve(script) as port, serve(script, at=("::1", port)) if IPV6 else contextlib.nullcontext():
        yield port


def made(broker: str, bind: str) -> HttpTransport | Hosts:
    more = {"order_urls": [URL] if broker == "upstox" else [], "bind_address": bind}
    api = {"mode": "live", "url": URL, "api_key": "k", "access_token": "t"} | more
    settings = Settings(broker=broker)  # type: ignore[arg-type]
    way = make_transport({"api": api}, settings, EMPTY, broker_of(broker, EMPTY), SystemClock(), print)
    assert isinstance(way.transport, HttpTransport | Hosts)
    return way.transport


@pytest.mark.parametrize(
    ("broker", "bind", "kind"),
    [("kite", "", "127.0.0.1"), ("upstox", "", "127.0.0.1"), ("kite", "::1", "::1")],
)
def test_it_stays_the_same_over_all_connections(
    broker: str, bind: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bind and not IPV6:
        pytest.skip("this machine has no IPv6")
    names, left, pause = Names([]), [], threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with both() as port:
        names.ports = [port]
        transport = made(broker, bind)
        http = transport.orders[0].transport if isinstance(transport, Hosts) else transport
        for turn in range(6):
            left.append(str(up(http).near()))
            assert transport.leaves_from() == kind
            transport.submit(turn, HttpRequest("POST", "/orders/regular", b"a=1", "text/plain"))
            for _ in range(3000):
                if transport.poll():
                    break
                pause.wait(0.001)
        transport.close()
    assert left == [kind] * 6
