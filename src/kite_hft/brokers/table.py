"""Layer 2, engine processes, cold: the brokers by name: the one place where a name becomes an adapter.

An adapter is imported when it is asked for: a process knows only the broker that it speaks to.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kite_hft.trading.broker import Broker, HttpRequest
from kite_hft.trading.feed_words import FeedWords
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.quote_words import QuoteWords

if TYPE_CHECKING:
    from kite_hft.brokers.charges import Executed
    from kite_hft.brokers.login import LoginWords
    from kite_hft.brokers.upstox.sandbox import SandboxBook
    from kite_hft.trading.history import Array
    from kite_hft.trading.lists.columns import Columns


class Door(NamedTuple):
    """Where a websocket is made. parse: None: `url` is the websocket's address; else a GET of `url` is
    answered by a body that `parse` takes a one-time address from (raises ValueError), and `refusal`
    says in words why another status came. headers: of the call, or of the upgrade."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    parse: Callable[[bytes], str] | None = None
    refusal: Callable[[int, bytes], str] = lambda status, body: ""
    expires_ns: int = 0


def broker_of(
    name: str, instruments: InstrumentTable, *, sandbox: bool = False, algo_name: str = ""
) -> Broker:
    """The adapter of an order broker. sandbox, algo_name: of Upstox.

    Raises:
        ValueError: an instrument that it cannot be told of.
    """
    if name == "upstox":
        from kite_hft.brokers.upstox.rest import upstox

        return upstox(instruments, sandbox, algo_name)
    from kite_hft.brokers.kite.rest import KITE

    return KITE


def login_of(name: str) -> LoginWords:
    """How a person logs in at a broker, and when tokens die there."""
    if name == "upstox":
        from kite_hft.brokers.upstox.login import UPSTOX_LOGIN

        return UPSTOX_LOGIN
    from kite_hft.brokers.kite.login import KITE_LOGIN

    return KITE_LOGIN


def sandbox_book(funds_rupees: float) -> SandboxBook:
    """What Upstox's sandbox confirmed: it can be asked for nothing itself."""
    from kite_hft.brokers.upstox.sandbox import SandboxBook

    return SandboxBook(funds_rupees)


def words_of(name: str, instruments: InstrumentTable) -> FeedWords:
    """What a feed must know of a broker's websocket."""
    if name == "upstox":
        from kite_hft.brokers.upstox.wire import upstox_words

        return upstox_words(instruments)
    from kite_hft.brokers.kite.wire import KITE_WORDS

    return KITE_WORDS


def updates_words(name: str, instruments: InstrumentTable) -> FeedWords:
    """The same of the websocket that brings order updates alone."""
    if name == "upstox":
        from kite_hft.brokers.upstox.wire import PORTFOLIO_WORDS

        return PORTFOLIO_WORDS
    return words_of(name, instruments)


def quotes_of(name: str) -> QuoteWords:
    """What a feed must know of a broker's quote calls, where prices come by HTTP."""
    if name == "upstox":
        from kite_hft.brokers.upstox.quotes import UPSTOX_QUOTES

        return UPSTOX_QUOTES
    from kite_hft.brokers.kite.quotes import KITE_QUOTES

    return KITE_QUOTES


def market_door(name: str, url: str, api_key: str, access_token: str) -> Door:
    """Where market data comes from. url: of the configuration or the simulator."""
    if name == "upstox":
        from kite_hft.brokers.upstox import doors

        return Door(*doors.market(url, access_token))
    from kite_hft.brokers.kite.wire import websocket_url

    return Door(websocket_url(url, api_key, access_token))


def updates_door(name: str, url: str, api_key: str, access_token: str) -> Door:
    """Where order updates come from. Kite sends them on every socket: one without subscriptions will do."""
    if name == "upstox":
        from kite_hft.brokers.upstox import doors

        return Door(*doors.portfolio(url, access_token))
    return market_door(name, url, api_key, access_token)


def upstox_master(
    body: bytes, where: str, wanted: Sequence[str] | None, beside: InstrumentTable | None
) -> InstrumentTable:
    """The content of Upstox's instrument file; see brokers/upstox/master.py."""
    from kite_hft.brokers.upstox.master import parse_master

    return parse_master(body, where, wanted=wanted, beside=beside)


class UpstoxKeys(NamedTuple):
    """What Upstox streams to an account. room(modes, keys): instruments on one connection, and connections,
    for that many keys in these modes. check(connections): mode -> slots of each; raises ValueError."""

    room: Callable[[Collection[str], int], tuple[int, int]]
    check: Callable[[Sequence[Mapping[str, Collection[int]]]], None]


def upstox_keys(extras: Mapping[str, float], *, plus: bool, per_user: bool) -> UpstoxKeys:
    """The limits of keys by mode, from `extras` of the rules file. Raises ValueError: one is missing."""
    from kite_hft.brokers.upstox.subscriptions import check_subscriptions, feed_limits

    limits = feed_limits(extras, plus=plus, per_user=per_user)

    def room(modes: Collection[str], keys: int) -> tuple[int, int]:
        caps = limits.mixed if len(modes) > 1 else limits.alone
        least = min((caps[mode] for mode in modes), default=keys)
        return max(1, keys if per_user else least), limits.connections

    return UpstoxKeys(room, lambda connections: check_subscriptions(connections, limits))


class HistoryCalls(NamedTuple):
    """A broker's daily candles. days(instrument, first, last): both in it. today: the day under way, where
    `days` has only those that are over; None: it has that one, too. parse: DAY[n], oldest first; raises
    AnswerError. refusal: what a refusal says, in words."""

    days: Callable[[Instrument, dt.date, dt.date], HttpRequest]
    today: Callable[[Instrument], HttpRequest] | None
    parse: Callable[[bytes], Array]
    refusal: Callable[[bytes], str]
    headers: Callable[[str, str], list[tuple[str, str]]]


def history_of(name: str) -> HistoryCalls:
    """How a broker is asked for daily candles."""
    if name == "upstox":
        from kite_hft.brokers.upstox import candles as upstox
        from kite_hft.brokers.upstox.calls import auth_headers as bearer

        headers = functools.partial(bearer, "")
        return HistoryCalls(upstox.days, upstox.today, upstox.parse, upstox.refusal, headers)
    from kite_hft.brokers.kite import candles as kite
    from kite_hft.brokers.kite.rest import auth_headers

    return HistoryCalls(kite.days, None, kite.parse, kite.refusal, auth_headers)


def master_columns(name: str, body: bytes, where: str) -> Columns:
    """The content of a broker's instrument file as columns; see brokers/*/master*.py."""
    if name == "upstox":
        from kite_hft.brokers.upstox.master_columns import parse_columns
    else:
        from kite_hft.brokers.kite.master import parse_columns
    return parse_columns(body, where)


def master_rebuilt(name: str) -> str:
    """HH:MM:SS IST from which on a broker's instrument file is the day's."""
    if name == "upstox":
        from kite_hft.brokers.upstox.master_columns import REBUILT
    else:
        from kite_hft.brokers.kite.master import REBUILT
    return REBUILT


class LastPrices(NamedTuple):
    """How a broker is asked for last prices (rupees by token) before anything is subscribed."""

    keys_max: int
    headers: Callable[[str, str], list[tuple[str, str]]]
    path: Callable[[Sequence[Instrument]], str]
    parse: Callable[[bytes, Sequence[Instrument]], dict[int, float]]


def last_prices(name: str) -> LastPrices:
    """See brokers/*/last_prices.py."""
    if name == "upstox":
        from kite_hft.brokers.upstox import last_prices as upstox

        return LastPrices(upstox.KEYS_MAX, upstox.headers, upstox.path, upstox.parse)
    from kite_hft.brokers.kite import last_prices as kite

    return LastPrices(kite.KEYS_MAX, kite.headers, kite.path, kite.parse)


class ChargesCalls(NamedTuple):
    """A broker's calculator. requests: calls for orders that were filled. parse: paise of each order of a
    call; raises AnswerError."""

    requests: Callable[[Sequence[Executed]], list[HttpRequest]]
    parse: Callable[[bytes], list[int]]


def charges_of(name: str) -> ChargesCalls:
    """What a broker says that orders cost."""
    if name == "upstox":
        from kite_hft.brokers.upstox import charges as upstox

        return ChargesCalls(upstox.requests, upstox.parse)
    from kite_hft.brokers.kite import charges as kite

    return ChargesCalls(kite.requests, kite.parse)
