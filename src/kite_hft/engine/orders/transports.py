"""Layer 5, orders process, cold: the order broker of a run and the way to it.

One host (Kite), a host for orders beside the API's with others to stand in (Upstox), a sandbox without
books, or in paper mode an exchange in this process: it speaks Kite's protocol whoever the broker is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from kite_hft.brokers.table import broker_of, sandbox_book
from kite_hft.clock import Clock
from kite_hft.layout import OrderType, Product, SegmentKind, Side, Validity
from kite_hft.memory.follow import FollowingReader
from kite_hft.net.hosts import Host, Hosts
from kite_hft.net.http import HttpSettings, HttpTransport
from kite_hft.net.sandboxed import SandboxTransport
from kite_hft.net.unreachable import shown, why_unreachable
from kite_hft.sessions import ist_text
from kite_hft.settings import Settings
from kite_hft.trading.book import Book
from kite_hft.trading.broker import (
    AUTOMATIC_BAND,
    Broker,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    TransportError,
)
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import Order

OVER_HTTP: Final = (HttpTransport, Hosts, SandboxTransport)
"""Transports that leave the process, with a token."""
REGISTERED: Final = (HttpTransport, Hosts)
"""Of these, what leads to a broker who may know this machine by a registered address."""
SANDBOX: Final = "sandbox"


class Transport(Protocol):
    """One of OVER_HTTP, or PaperTransport."""

    def submit(self, request_id: int, request: HttpRequest) -> None: ...

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]: ...

    def next_deadline_ns(self) -> int | None: ...

    def silent(self, now_ns: int) -> None: ...

    def fileno(self) -> int: ...

    def last_failure(self) -> str: ...

    def close(self) -> None: ...


class Way(NamedTuple):
    """The way to the broker. texts: further sources of order texts. resume: tell a broker that lives in this
    process of what the one before it had (the book, replayed from the journal); others need no telling."""

    transport: Transport
    texts: Sequence[Any] = ()
    resume: Callable[[Book], None] = lambda book: None


def order_broker(api: Mapping[str, Any], settings: Settings, instruments: InstrumentTable) -> Broker:
    """The adapter that the order stage takes.

    Raises:
        ValueError: an instrument that the broker cannot be told of, or a market protection that he refuses.
    """
    if api["mode"] == "paper":
        return broker_of("kite", instruments)
    sandbox = api["mode"] == SANDBOX
    broker = broker_of(settings.broker, instruments, sandbox=sandbox, algo_name=settings.upstox.algo_name)
    (least, most), asked = broker.protection_percent, settings.risk.market_protection
    if asked != AUTOMATIC_BAND and not least <= asked <= most:
        raise ValueError(
            f"risk.market_protection {asked:g}: {broker.name} takes -1 (its band) or {least:g} to {most:g}"
        )
    return broker


def make_transport(
    config: Mapping[str, Any],
    settings: Settings,
    instruments: InstrumentTable,
    broker: Broker,
    clock: Clock,
    say: Callable[[str], None],
) -> Way:
    """The way to the broker.

    Raises:
        TransportConfigError: an address that must not be used; OSError: no host can be found by its name.
    """
    api = config["api"]
    if api["mode"] == "paper":
        # A whole exchange: only who needs one loads it.
        from kite_hft.engine.orders.paper import PaperTransport

        rings = [
            FollowingReader(Path(config["shm"]), f"ticks-{c['number']}", SegmentKind.TICK_RING)
            for c in config["connections"]
        ]
        paper = PaperTransport(
            instruments, settings.simulator.cash * 100, settings.simulator.seed, clock, rings
        )
        return Way(paper, [paper.texts], paper.resume)
    headers = broker.auth_headers(api["api_key"], api["access_token"])
    # The registered static address is one: calls by the other kind are refused. Whoever has registered an
    # IPv6 address says so by bind_address.
    how = HttpSettings(bind_address=api.get("bind_address", ""), ipv4=True)
    http = _named(api, api["url"], clock, headers, how)
    if api["mode"] == SANDBOX:
        say("orders: sandbox: orders are acknowledged and never filled; no book of the broker is read")
        kept = sandbox_book(settings.simulator.cash)

        def time_text() -> str:
            return ist_text(clock.real_ns())

        def resume(book: Book) -> None:
            for order in book.live():
                if order.order_id:
                    kept.knew(order.order_id, broker.place(_request(order, instruments)), time_text())

        return Way(SandboxTransport(http, kept, clock.mono_ns, time_text), resume=resume)
    if not api["order_urls"]:
        return Way(http)
    hosts, orders_only = [], replace(how, read_connections=0)
    for url in dict.fromkeys(api["order_urls"]):
        try:
            same = url == api["url"]
            hosts.append(Host(url, http if same else HttpTransport(url, clock, headers, orders_only)))
        except OSError as error:  # its name: another host stands in
            say(f"orders: {why_unreachable(url, _key(api, url), error)}: order calls go elsewhere")
    if not hosts:
        http.close()
        named = ", ".join(shown(url, _key(api, url)) for url in api["order_urls"])
        raise OSError(f"none of the hosts for order calls can be found: {named}; check their spelling")
    return Way(Hosts(http, hosts, broker.order_paths, clock.mono_ns, say))


def _key(api: Mapping[str, Any], url: str) -> str:
    return str(api.get("url_keys", {}).get(url, ""))


def _named(
    api: Mapping[str, Any], url: str, clock: Clock, headers: Sequence[tuple[str, str]], how: HttpSettings
) -> HttpTransport:
    """Raises OSError: the host cannot be found; the message names the key and what to do."""
    try:
        return HttpTransport(url, clock, headers, how)
    except OSError as error:
        raise OSError(why_unreachable(url, _key(api, url), error)) from None


def no_answer(api: Mapping[str, Any], transport: Transport) -> str:
    """Why the order broker's books could not be read; "": nothing is known of that."""
    failure = (transport.api if isinstance(transport, Hosts) else transport).last_failure()
    url = api.get("url", "")
    return why_unreachable(url, _key(api, url), failure) if url and failure else failure


def absent_hosts(api: Mapping[str, Any], transport: Transport) -> list[str]:
    """Of the hosts for order calls those to which no connection stands, and why."""
    hosts = transport.orders if isinstance(transport, Hosts) else ()
    down = [host for host in hosts if not host.transport.takes_orders()]
    found = [(host.url, why) for host in down if (why := host.transport.last_failure())]
    return [f"{why_unreachable(url, _key(api, url), why)}: order calls go elsewhere" for url, why in found]


def _request(order: Order, instruments: InstrumentTable) -> OrderRequest:
    """What places an order as it stands now."""
    return OrderRequest(
        instruments[order.slot],
        Side(order.side),
        OrderType(order.order_type),
        Product(order.product),
        Validity.DAY,  # whatever rests there
        order.quantity,
        order.px,
        order.trigger_px,
        AUTOMATIC_BAND,
        order.tag,
    )
