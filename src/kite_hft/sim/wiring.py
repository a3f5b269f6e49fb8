"""Layer 4, simulator, cold: source, exchange, API, hub and faults of one simulated broker, wired.

`options`: what the command line gave (see __main__.py).
"""

from __future__ import annotations

import argparse
import datetime as dt
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import numpy as np

from kite_hft.addresses import is_loopback
from kite_hft.sessions import ist_date
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.opening import default_holdings
from kite_hft.sim.exchange.rules import ExchangeParams, Latency
from kite_hft.sim.faults.acts import check
from kite_hft.sim.faults.injector import InjectionLog
from kite_hft.sim.faults.schedule import Faults, load_faults
from kite_hft.sim.kite import session as kite_session
from kite_hft.sim.kite.api import KiteApi
from kite_hft.sim.kite.quota import UNLIMITED
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.replay import open_replay
from kite_hft.sim.market.source import Source, Ticks, UntilSource
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.face import Face
from kite_hft.sim.server.hub import Hub
from kite_hft.sim.server.kite_server import kite_face
from kite_hft.sim.server.server import Server
from kite_hft.sim.server.upstox_server import upstox_face
from kite_hft.sim.upstox import session as upstox_session
from kite_hft.sim.upstox.api import Terms, UpstoxApi
from kite_hft.sim.upstox.frames import Feeds
from kite_hft.sim.upstox.hours import Segments
from kite_hft.sim.upstox.order_forms import PROTECTION_MAX, TAG_MAX
from kite_hft.sim.upstox.orders import SLICES_MAX
from kite_hft.sim.upstox.quota import NO_LIMITS
from kite_hft.sim.upstox.recorded import open_recorded
from kite_hft.sim.upstox.rows import NS_PER_MS, FeedRows
from kite_hft.sim.upstox.stream import NORMAL_LIMITS, PLUS_LIMITS, FeedStyle, Shares

UPSTOX: Final = "upstox"


class Keys(Protocol):
    """What a client needs to come in."""

    api_key: str
    access_token: str


Made = tuple[Face, Callable[[Ticks, int], None], Keys]


def build(options: argparse.Namespace) -> tuple[Server, Keys]:
    """Source, exchange, API, hub and faults, wired.

    Raises:
        ReplayError: the recorded data cannot be read. FaultError: the fault file cannot be used.
        SettingsError: a rules file cannot be used. OSError: the fault log cannot be written.
    """
    market = make_market(options)
    source, speed, opening = market.source, market.speed, market.opening
    params = make_params(options)
    own_clock = options.hours == "exchange" and options.exchange_time
    offset = (options.exchange_time or time.time_ns()) if own_clock else time.time_ns()
    offset -= time.monotonic_ns()
    known = None if opening is None or options.no_holdings else opening["close_px"]
    holdings, auctions = default_holdings(source.instruments, known)
    exchange = Exchange(
        source.instruments, options.cash * 100, options.seed, params,
        opening_holdings=holdings, auctions=auctions,
    )  # fmt: skip
    if opening is not None:
        exchange.on_ticks(opening, time.monotonic_ns() + offset)
    if options.broker == UPSTOX:
        rows = _feed_rows(exchange, market.recorded)
        if opening is not None:
            rows.see(opening)
        face, take, keys = _upstox(options, exchange, rows, market, offset)
    else:
        face, take, keys = _kite(options, exchange, source, flood=not speed)
    hub = Hub(
        source,
        deliver=lambda ticks, now_ns: take(ticks, now_ns + offset),
        state=lambda slots: exchange.latest[[s for s in slots if exchange.seen[s]]],
        make_stream=face.make_stream,
        speed=speed,
    )
    if options.broker == UPSTOX:
        hub.watch = rows.see
    faults = load_faults(options.faults) if options.faults else []
    check(faults, source.instruments, str(options.faults), face.words.missing)
    log = InjectionLog(options.fault_log.open("w", buffering=1).write if options.fault_log else None)
    # A recording is played to somebody: without a word it waits for the first subscription.
    wait_for = options.start_when_subscribed or int(options.replay is not None)
    return Server(face, hub, wait_for, Faults(faults, options.seed), log, offset, options.tls), keys


def _kite(options: argparse.Namespace, exchange: Exchange, source: Source, *, flood: bool) -> Made:
    user_id = exchange.params.user_id
    keys = kite_session.Credentials(
        options.api_key, secrets.token_hex(16), secrets.token_hex(16), user_id=user_id,
        redirect_url=options.redirect_url,
    )  # fmt: skip
    limits = UNLIMITED if options.no_limits else None
    api = KiteApi(exchange, source.instruments, keys, limits, allowed_ips=options.allow_ip, seed=options.seed)
    take = exchange.on_ticks if flood else api.on_ticks  # a flood leaves no candles
    return kite_face(api, source, options.packets_per_frame, options.stamp), take, keys


def _upstox(
    options: argparse.Namespace, exchange: Exchange, rows: FeedRows, market: Market, offset: int
) -> Made:
    if options.notifier_url and not is_loopback(options.notifier_url):
        raise ValueError("--notifier-url: an address of this machine is expected, as http://127.0.0.1:8790/")
    keys = upstox_session.Credentials(
        options.api_key, secrets.token_hex(16), secrets.token_hex(16), user_id=exchange.params.user_id,
        redirect_url=options.redirect_url, notifier_url=options.notifier_url,
    )  # fmt: skip
    terms = Terms(
        limits=NO_LIMITS if options.no_limits else None, allowed_ips=options.allow_ip, plus=options.plus,
        algo_name=options.algo_name, sandbox=options.sandbox, redirect_code=options.redirect_code,
        seed=options.seed,
    )  # fmt: skip
    api = UpstoxApi(exchange, keys, rows, terms)
    style = FeedStyle(
        partial=not options.whole_frames and market.recorded is None,
        empty_snapshot=options.snapshot == "empty",
        start_ms=None if market.start_ns is None else market.start_ns // NS_PER_MS,
    )
    shares = Shares(PLUS_LIMITS if options.plus else NORMAL_LIMITS, options.limits_per_user)

    def real_ns() -> int:
        return time.monotonic_ns() + offset

    face = upstox_face(api, real_ns, style, shares, options.packets_per_frame, options.stamp)
    return face, api.on_ticks if market.speed else api.take, keys


def _feed_rows(exchange: Exchange, recorded: tuple[Feeds, Ticks] | None) -> FeedRows:
    conditions = exchange.conditions
    cas = np.array([conditions.is_cas(row.slot) for row in exchange.instruments], bool)
    segments = Segments(conditions)
    given = (None, None) if recorded is None else recorded
    return FeedRows(exchange.instruments, cas, segments.in_auction, *given)


def make_params(options: argparse.Namespace) -> ExchangeParams:
    """The exchange's knobs. With hours the market's rules are those of the day that is played."""
    day = ist_date(options.exchange_time or time.time_ns()) if options.hours == "exchange" else dt.date.max
    market, orders_per_day = default_market_rules(day, options.broker), None
    if options.broker == UPSTOX:
        own = {"tag_length_max": TAG_MAX, "slices_max": SLICES_MAX, "protection_percent_max": PROTECTION_MAX}
        market, orders_per_day = replace(market, limits={**market.limits, **own}), 0
    return ExchangeParams(
        market=market,
        latency_ns=((options.latency_us or 0) * 100, (options.latency_us or 0) * 1000),
        latency=Latency() if options.latency_us is None else None,
        hours=options.hours,
        keep_tags=not options.drop_tags,
        orders_per_day=0 if options.no_limits else orders_per_day,
    )


class Market(NamedTuple):
    """Where ticks come from. speed: of its clock; opening: its state before the first tick; start_ns:
    exchange time of the first; recorded: of a recorded Upstox feed the rows with their ticks."""

    source: Source
    speed: float = 1.0
    opening: Ticks | None = None
    start_ns: int | None = None
    recorded: tuple[Feeds, Ticks] | None = None


def make_market(options: argparse.Namespace) -> Market:
    """The recorded or the synthetic market. Raises ReplayError."""
    if options.replay is not None:
        recorded = None
        if options.broker == UPSTOX:
            replay, rows, ticks = open_recorded(options.replay)
            recorded = None if rows is None or ticks is None else (rows, ticks)
        else:
            replay = open_replay(options.replay)
        for note in replay.notes:
            print(f"kite_hft.sim: {note}", file=sys.stderr)
        if options.broker == UPSTOX:
            replay.instruments = with_upstox_keys(replay.instruments)
        return Market(replay, options.speed, recorded=recorded)
    instruments, base_px = default_instruments(options.instruments, options.seed)
    if options.broker == UPSTOX:
        instruments = with_upstox_keys(instruments)
    start_ns = options.exchange_time or time.time_ns()
    market = SyntheticMarket(instruments, base_px, options.rate, options.seed, start_ns)
    opening = market.opening()
    if options.market_seconds is None:
        return Market(market, opening=opening, start_ns=start_ns)
    until = UntilSource(market, round(options.market_seconds * 1e9))
    return Market(until, opening=opening, start_ns=start_ns)
