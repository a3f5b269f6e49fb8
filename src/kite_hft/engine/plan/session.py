"""Layer 5, supervisor, cold: where the brokers are for this run, and the keys for them.

A run has an order broker and one or two data brokers; often all are one. `mode: sim` starts the simulators
beside the engine and takes addresses and session from their ready lines; `paper` reads the real feed
while orders go to an exchange inside ORDERS, so that process gets no token and no address (or to
Upstox's sandbox, with the sandbox's own token); `live` speaks to the broker itself, after what
engine/confirming.py asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kite_hft.addresses import is_loopback
from kite_hft.engine.plan.simulator import Simulator, start_simulator
from kite_hft.net.http import fetch
from kite_hft.net.source import why_not_ours
from kite_hft.settings import Settings

SANDBOX = "sandbox"


class SessionError(Exception):
    """The run has no usable broker session; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Access:
    """One broker of a run: addresses and keys. `repr` shows no secret.

    feed_url: where its websockets begin. order_urls: hosts of order calls in the order in which they are
    tried; empty: api_url alone. sandbox: only order calls exist there, and they answer alone. bind_address:
    of this machine, where every connection leaves from; "": the system chooses.
    """

    broker: str
    feed_url: str
    api_url: str
    api_key: str
    access_token: str
    order_urls: tuple[str, ...] = ()
    instruments_url: str = ""
    algo_name: str = ""
    sandbox: bool = False
    bind_address: str = ""

    def __repr__(self) -> str:
        return f"Access(broker={self.broker!r}, feed_url={self.feed_url!r}, api_url={self.api_url!r})"

    def feed_config(self) -> dict[str, Any]:
        """What a process gets that keeps a websocket of this broker."""
        return {
            "broker": self.broker,
            "url": self.feed_url,
            "api_key": self.api_key,
            "access_token": self.access_token,
            "url_key": "kite.ws_url" if self.broker == "kite" else "upstox.feed_url",
            "bind_address": self.bind_address,
        }

    def quotes_config(self) -> dict[str, Any]:
        """What it gets beside that where it asks for prices by HTTP: the host, for quotes alone."""
        return {"quotes_url": self.api_url, "quotes_key": self.key_of(self.api_url)}

    def key_of(self, url: str) -> str:
        """The key of the configuration that an address for calls stands under."""
        if self.broker == "kite":
            return "kite.api_url"
        if url == self.api_url:
            return "upstox.sandbox_url" if self.sandbox else "upstox.api_url"
        return "upstox.hft_url" if url == self.order_urls[0] else "upstox.failover"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that the run may call at this broker."""
        return tuple(url for url in (self.feed_url, self.api_url, *self.order_urls) if url)


@dataclass(frozen=True, slots=True)
class Session:
    """Whom a run speaks to. data: of one broker, or of two, the order broker first."""

    mode: str
    orders: Access
    data: tuple[Access, ...]
    simulators: tuple[Simulator, ...] = ()
    fills: Mapping[str, Any] = field(default_factory=dict)  # by which rules a simulated exchange fills

    def api_config(self) -> dict[str, Any]:
        """What ORDERS gets: in paper mode no token and no host, or those of the sandbox."""
        access = self.orders
        if self.mode == "paper" and not access.sandbox:
            return {"mode": self.mode}
        return {
            "mode": SANDBOX if access.sandbox else self.mode,
            "url": access.api_url,
            "order_urls": list(access.order_urls),
            "api_key": access.api_key,
            "access_token": access.access_token,
            "algo_name": access.algo_name,
            "bind_address": access.bind_address,
            "url_keys": {url: access.key_of(url) for url in (access.api_url, *access.order_urls)},
        }

    def data_of(self, broker: str) -> Access:
        """The data broker of this name."""
        return next(access for access in self.data if access.broker == broker)

    @property
    def own_simulator(self) -> bool:
        """The brokers live only as long as this run."""
        return bool(self.simulators)

    @property
    def brokers(self) -> tuple[str, ...]:
        """By name, the order broker first."""
        return tuple(dict.fromkeys(access.broker for access in (self.orders, *self.data)))

    def secrets(self) -> tuple[str, ...]:
        """What no text may hold."""
        found = {word for a in (self.orders, *self.data) for word in (a.api_key, a.access_token)}
        return tuple(found - {""})

    def renewed(self, broker: str, access_token: str) -> Session:
        """The same with another token of one broker; a sandbox keeps its own."""

        def with_token(access: Access) -> Access:
            ours = access.broker == broker and not access.sandbox
            return replace(access, access_token=access_token) if ours else access

        return replace(self, orders=with_token(self.orders), data=tuple(map(with_token, self.data)))

    def other_login(self, broker: str, api_key: str, api_url: str) -> bool:
        """Whether a login with this key at this address is known to be another one than the run's. "" is not
        compared, nor is a key that the run was not told.
        """
        ours = [a for a in (self.orders, *self.data) if a.broker == broker and not a.sandbox]
        keys, urls = {a.api_key for a in ours}, {a.api_url.rstrip("/") for a in ours}
        return bool((api_key and keys - {"", api_key}) or (api_url and urls - {"", api_url.rstrip("/")}))

    def ended(self) -> bool:
        return any(simulator.process.poll() is not None for simulator in self.simulators)

    def ended_well(self) -> bool:
        """The simulators that ended did so by themselves and in order."""
        codes = [simulator.process.poll() for simulator in self.simulators]
        return any(code is not None for code in codes) and not any(codes)

    def close(self) -> None:
        for simulator in self.simulators:
            simulator.stop()


def configured(settings: Settings, broker: str) -> Access:
    """A broker as the configuration has it."""
    if broker == "kite":
        kite = settings.kite
        return Access(
            "kite", kite.ws_url, kite.api_url, kite.api_key, kite.access_token,
            bind_address=kite.bind_address,
        )  # fmt: skip
    upstox = settings.upstox
    return Access(
        "upstox",
        upstox.feed_url,
        upstox.api_url,
        upstox.api_key,
        upstox.access_token,
        (upstox.hft_url, *upstox.failover),
        upstox.instruments_url,
        upstox.algo_name,
        bind_address=upstox.bind_address,
    )


def sandboxed(settings: Settings, access: Access) -> Access:
    """The order broker as its sandbox: one host, and a token that is good for nothing else."""
    upstox = settings.upstox
    return replace(
        access,
        api_url=upstox.sandbox_url,
        access_token=upstox.sandbox_token,
        order_urls=(),
        sandbox=True,
    )


def open_session(settings: Settings, say: Callable[[str], None]) -> Session:
    """Make the session of a run.

    Raises:
        SessionError, SimulatorFailed: see the classes.
    """
    require_sources(settings)
    simulators: list[Simulator] = []
    found: dict[str, Access] = {}
    try:
        for broker in settings.brokers:
            access = configured(settings, broker)
            if settings.mode == "sim" and not access.access_token:
                simulators.append(_simulator(settings, broker))
                access = _simulated(access, simulators[-1])
                which = f" of {broker}" if len(settings.brokers) > 1 else ""
                say(f"simulator{which} listens on {simulators[-1].ws_url} and {simulators[-1].api_url}")
            elif settings.mode == "sim" and not all(map(is_loopback, access.addresses)):
                raise SessionError(
                    f"mode sim talks to loopback addresses only; set mode, or leave {broker}.* out"
                )
            found[broker] = access
        data = tuple(found[broker] for broker in settings.data_brokers)
        orders = found[settings.broker]
        if settings.upstox.sandbox:
            orders = sandboxed(settings, orders)
            if settings.mode == "sim":
                simulators.append(start_simulator(settings.simulator, "upstox", ["--sandbox"], waits=False))
                own = simulators[-1]
                orders = replace(orders, api_url=own.api_url, access_token=own.access_token)
                say(f"simulator of the sandbox listens on {own.api_url}")
        if settings.mode != "sim":
            _require_keys(settings, orders, data)
    except BaseException:
        for simulator in simulators:
            simulator.stop()
        raise
    fills = fill_parameters(orders.api_url) if settings.mode == "sim" and not orders.sandbox else {}
    return Session(settings.mode, orders, data, tuple(simulators), fills)


def require_sources(settings: Settings) -> None:
    """Source addresses of the run's brokers must be this machine's.

    Raises:
        SessionError: one is not; names the key, and how to see those that are.
    """
    for broker in settings.brokers:
        source = configured(settings, broker).bind_address
        if why := why_not_ours(source):
            raise SessionError(
                f"{broker}.bind_address {source}: {why}: `ip -brief address` shows its own. Write the "
                "one that the broker has registered (or that stands behind it), or leave the key out"
            )


def _require_keys(settings: Settings, orders: Access, data: tuple[Access, ...]) -> None:
    """Keys of the data brokers, in mode live of the order broker, too."""
    used = {access.broker: access for access in data}
    if settings.mode == "live":
        used[orders.broker] = orders
    missing = [
        f"{access.broker}.{key}"
        for access in used.values()
        for key in ("api_key", "access_token")
        if not getattr(access, key) and (access.broker == "kite" or key == "access_token")
    ]
    if orders.sandbox and not orders.access_token:
        missing.append("upstox.sandbox_token")
    if missing:
        raise SessionError(
            f"mode {settings.mode} needs {' and '.join(missing)}: `kite-hft credentials` keeps keys in the "
            "vault, `kite-hft login` gets the day's token"
        )


def _simulator(settings: Settings, broker: str) -> Simulator:
    """The simulator of a broker. One that is not subscribed to (it only takes orders, or is asked for prices)
    has a market that runs at once."""
    more = ["--plus"] if broker == "upstox" and settings.upstox.plus else []
    if broker == "upstox" and settings.upstox.algo_name:
        more += ["--algo-name", settings.upstox.algo_name]
    waits = broker in settings.data_brokers and not settings.datafeed.is_polled
    return start_simulator(settings.simulator, broker, more, waits=waits)


def _simulated(access: Access, simulator: Simulator) -> Access:
    """A broker whose every host is the simulator."""
    upstox = access.broker == "upstox"
    inner = "" if ":" in access.bind_address else access.bind_address  # it listens on 127.0.0.1 alone
    return replace(
        access,
        feed_url=simulator.api_url if upstox else simulator.ws_url,
        api_url=simulator.api_url,
        api_key=simulator.api_key,
        access_token=simulator.access_token,
        order_urls=(simulator.api_url,) if upstox else (),
        instruments_url=f"{simulator.api_url}{SIMULATED_MASTER}" if upstox else "",
        bind_address=inner,
    )


SIMULATED_MASTER = "/market-quote/instruments/exchange/complete.json.gz"
"""Where a simulator serves what assets.upstox.com does."""


def fill_parameters(api_url: str) -> dict[str, Any]:
    """By which rules the simulator fills orders, for the report; {} where another server answers."""
    try:
        status, body = fetch(f"{api_url}/_sim/stats", timeout_s=5.0)
        found = json.loads(body).get("parameters", {}) if status == 200 else {}
    except (OSError, ValueError, AttributeError):
        return {}
    return dict(found) if isinstance(found, dict) else {}
