"""Layer 0, every process, cold: what the configuration says of each broker, and what depends on which.

Sections `kite:` and `upstox:`, what their streaming modes are to each other, and the files of rules and
charges that are taken when none are named. No limit stands here: those are dated files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from kite_hft.addresses import check_address, check_source, is_inner, is_loopback
from kite_hft.configuring.models.promised import RateLimitsSection, WebsocketSection, elsewhere
from kite_hft.configuring.modes import MODES
from kite_hft.configuring.section import Section

BrokerName = Literal["kite", "upstox"]

SAME_MODE: Final[Mapping[str, Mapping[str, str]]] = {"kite": {"ltpc": "ltp"}, "upstox": {"ltp": "ltpc"}}
"""The other broker's word for the same mode."""

NEAREST_MODE: Final[Mapping[str, Mapping[str, str]]] = {
    "kite": {
        "option_greeks": "quote is the nearest; Kite sends no Greeks",
        "full_d30": "full is the nearest, with 5 levels of depth",
    },
    "upstox": {"quote": "full is the nearest: day's bar and volume, and 5 levels of depth"},
}
"""What to say where the other broker's word has no counterpart."""

FILES: Final[Mapping[str, Mapping[str, Path]]] = {
    "kite": {
        "rules": Path("rules/kite_2026-04-01.yaml"),
        "charges": Path("rules/charges_zerodha_2026-04-01.yaml"),
    },
    "upstox": {
        "rules": Path("rules/upstox_2026-04-01.yaml"),
        "charges": Path("rules/charges_upstox_2026-04-01.yaml"),
    },
}
"""Section `trading`, by the broker that gets the orders: what holds where nothing else is configured."""

CHARGED_BY: Final[Mapping[str, str]] = {"kite": "zerodha", "upstox": "upstox"}
"""`name` in a broker's file of charges."""


PROTECTION_PERCENT: Final[Mapping[str, tuple[float, float]]] = {"kite": (0.0, 100.0), "upstox": (1.0, 25.0)}
"""What risk.market_protection may be, beside -1 (the broker's own band), by order broker."""


def rules_of(broker: str, order_broker: str, rules: Path) -> Path:
    """The file with a broker's limits: `rules`, the order broker's, or the other's own beside it."""
    return rules if broker == order_broker else rules.parent / FILES[broker]["rules"].name


_BIND: Final = (
    "of this machine: every connection to the broker leaves from it, and the address that the broker has "
    "registered must be it, or stand behind it; 0.0.0.0: any IPv4 one; default: the system chooses"
)
_LOGIN: Final = "a run does not need it: `kite-hft credentials` keeps it in the vault, for `kite-hft login`"


class KiteSection(Section):
    """Where Kite answers, and the session. In `mode: sim` the simulator fills all of it in."""

    api_key: str = ""
    access_token: str = Field("", repr=False, description="of today; dies at 06:00 IST")
    ws_url: str = "wss://ws.kite.trade"
    api_url: str = "https://api.kite.trade"
    bind_address: str = Field("", description=_BIND)
    rate_limits: RateLimitsSection = RateLimitsSection()
    websocket: WebsocketSection = WebsocketSection()
    api_secret: str = elsewhere("", _LOGIN, repr=False)
    user_id: str = elsewhere("", _LOGIN)
    password: str = elsewhere("", "nothing needs it: you type it at the broker's own page", repr=False)
    totp_secret: str = elsewhere("", _LOGIN, repr=False)

    def check_addresses(self) -> None:
        """Raises ValueError: an address that must not be used."""
        check_address("kite.ws_url", self.ws_url, plain="ws", encrypted="wss")
        check_address("kite.api_url", self.api_url, plain="http", encrypted="https")
        if self.bind_address:
            check_source("kite.bind_address", self.bind_address)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that a run on this broker may call."""
        return self.ws_url, self.api_url


class UpstoxSection(Section):
    """Where Upstox answers, and the session. In `mode: sim` the simulator fills all of it in."""

    api_key: str = ""
    access_token: str = Field("", repr=False, description="of today; dies at 03:30 IST")
    api_url: str = Field("https://api.upstox.com", description="books, funds, triggers; v2 and v3")
    hft_url: str = Field("https://api-hft.upstox.com", description="placing, changing and cancelling")
    failover: list[str] = Field(
        default_factory=lambda: ["https://api.upstox.com"],
        description="hosts that get these calls, in this order, while hft_url does not answer",
    )
    feed_url: str = Field(
        "https://api.upstox.com", description="gives the feeds' one-time addresses; wss://: its redirect does"
    )
    instruments_url: str = Field(
        "https://assets.upstox.com/market-quote/instruments/exchange/complete.json.gz",
        description="the day's instruments",
    )
    bind_address: str = Field("", description=_BIND)
    sandbox: bool = Field(
        False, description="with mode paper: orders go to the sandbox, which acknowledges and never fills"
    )
    sandbox_url: str = "https://api-sandbox.upstox.com"
    sandbox_token: str = Field("", repr=False, description="of the sandbox app: 30 days, orders only")
    plus: bool = Field(False, description="the account is Upstox Plus: 5 connections, mode full_d30")
    keys_counted: Literal["user", "connection"] = Field(
        "user", description="whether the limits of subscribed keys are of the user or of each connection"
    )
    algo_name: str = Field(
        "", pattern=r"^[ -~]{0,64}$", description="of an algorithm registered at the exchange (X-Algo-Name)"
    )

    def check_addresses(self) -> None:
        """Raises ValueError: an address that must not be used."""
        for key in ("api_url", "hft_url", "sandbox_url"):
            check_address(f"upstox.{key}", getattr(self, key), plain="http", encrypted="https")
        for number, url in enumerate(self.failover):
            check_address(f"upstox.failover.{number}", url, plain="http", encrypted="https")
        check_address("upstox.instruments_url", self.instruments_url, plain="http", encrypted="https")
        ws = self.feed_url.startswith("ws")
        check_address(
            "upstox.feed_url", self.feed_url, plain="ws" if ws else "http", encrypted="wss" if ws else "https"
        )
        if self.bind_address:
            check_source("upstox.bind_address", self.bind_address)
            if ":" in self.bind_address:
                raise ValueError(
                    f"upstox.bind_address: {self.bind_address!r} is an IPv6 address; Upstox takes orders "
                    "from a registered IPv4 address: write that one"
                )

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that a run on this broker may call."""
        return self.feed_url, self.api_url, self.hft_url, *self.failover, self.instruments_url


def check_source_leads(broker: str, section: KiteSection | UpstoxSection) -> None:
    """Refuse a source address that does not lead to the broker.

    Raises:
        ValueError: it is of the loopback, and a host of the broker is not; names both.
    """
    source = section.bind_address
    outside = next((url for url in section.addresses if not is_loopback(url)), "")
    if source and is_inner(source) and outside:
        raise ValueError(
            f"{broker}.bind_address: nothing but this machine is reached from {source}, and {outside} is "
            "elsewhere: write an address of a network interface, or leave it out"
        )


def mode_of(broker: str, name: str) -> str:
    """A streaming mode as the broker calls it: its own word, or the other broker's for the same.

    Raises:
        ValueError: no such mode there; names those that there are.
    """
    if name in MODES[broker]:
        return name
    if name in SAME_MODE[broker]:
        return SAME_MODE[broker][name]
    near = NEAREST_MODE[broker].get(name)
    known = ", ".join(MODES[broker])
    raise ValueError(f"{broker} has no mode {name!r}; its modes are {known}" + (f" ({near})" if near else ""))


def by_broker(data: Any) -> Any:
    """The raw configuration with the files that hold for its order broker, where it names none itself."""
    if not isinstance(data, dict) or data.get("broker", "kite") not in FILES:
        return data
    trading = data.get("trading") or {}
    given = trading.model_dump(exclude_unset=True) if isinstance(trading, BaseModel) else trading
    if not isinstance(given, dict):
        return data  # refused where the section is read
    return {**data, "trading": {**FILES[data.get("broker", "kite")], **given}}
