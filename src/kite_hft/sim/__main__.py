"""Layer 4, simulator process, cold: `python -m kite_hft.sim`: arguments, sources, signals.

Prints one line when it listens, `ready ws=URL api=URL api_key=... access_token=...`, and one when
it ends, `sent {...}` (JSON: what left, with its checksum). Exit codes: 0 ended in order, 1 could
not start, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import calendar
import datetime as dt
import gc
import json
import math
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from kite_hft.sessions import ist_date
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.opening import default_holdings
from kite_hft.sim.exchange.rules import ExchangeParams, Latency
from kite_hft.sim.faults.acts import check
from kite_hft.sim.faults.injector import InjectionLog
from kite_hft.sim.faults.schedule import Faults, described_kinds, load_faults
from kite_hft.sim.kite.api import Credentials, KiteApi
from kite_hft.sim.kite.quota import UNLIMITED
from kite_hft.sim.market.replay import ReplayError, open_replay
from kite_hft.sim.market.source import Source, Ticks, UntilSource
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.hub import Hub
from kite_hft.sim.server.kite_server import LOOPBACK, KiteServer, run
from kite_hft.units import IST_OFFSET_S, NS_PER_S

EXIT_CANNOT_START: Final = 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m kite_hft.sim", description="A simulated broker on loopback.")
    p.add_argument("--broker", choices=["kite"], default="kite", help="whose protocol to speak")
    p.add_argument("--port", type=_port, default=0, help="websocket port; 0 (default): any free one")
    p.add_argument("--api-port", type=_port, default=0, help="REST port; 0 (default): any free one")
    p.add_argument("--instruments", type=_between(1, 100_000), default=10, help="how many (default 10)")
    p.add_argument("--rate", type=_positive, default=2.0, help="ticks per second and instrument (default 2)")
    p.add_argument("--packets-per-frame", type=_between(1, 3000), default=1, help="packets in a frame")
    p.add_argument(
        "--replay", type=Path,
        help="recorded data instead of the synthetic market: a file, a folder, or a recorded run's folder",
    )  # fmt: skip
    p.add_argument("--speed", type=_not_negative, default=1.0, help="replay speed; 0: as fast as it is read")
    p.add_argument("--seed", type=_between(0, 2**63 - 1), default=1, help="of market, latencies, numbers")
    p.add_argument("--cash", type=_between(0, 10**12), default=10_000_000, help="opening cash in rupees")
    p.add_argument(
        "--latency-us", type=_between(0, 10_000_000), default=None, metavar="N",
        help="longest delay of each stage of an order, evenly drawn; 0: none; "
        "default: 30 to 150 ms for an order's whole way, most near 60",
    )  # fmt: skip
    p.add_argument("--no-limits", action="store_true", help="switch the request limits off")
    p.add_argument(
        "--no-holdings", action="store_true", help="begin without the few shares that the account holds"
    )
    p.add_argument("--drop-tags", action="store_true", help="forget the tags of orders")
    p.add_argument(
        "--hours", choices=["always", "exchange"], default="always",
        help="always (default): every hour trades; exchange: the phases of the trading day by the exchange's "
        "clock, which starts at --exchange-time",
    )  # fmt: skip
    p.add_argument(
        "--allow-ip", action="append", default=None, metavar="IP",
        help="take order calls from this address only (may be given again); default: from everywhere",
    )  # fmt: skip
    p.add_argument(
        "--faults", type=Path, metavar="FILE",
        help="inject these faults: a YAML list like '- {at: 10, kind: drop}'; config/faults has examples",
    )  # fmt: skip
    p.add_argument("--list-faults", action="store_true", help="print the kinds of faults and end")
    p.add_argument("--fault-log", type=Path, help="write each injected fault there, a line of JSON each")
    p.add_argument(
        "--start-when-subscribed", type=_between(1, 10**6), nargs="?", const=1, default=0, metavar="N",
        help="start the clock of the market when N tokens (default 1) are subscribed; a replay always waits",
    )  # fmt: skip
    p.add_argument(
        "--exchange-time", type=_ist_time, default=0, metavar="YYYY-MM-DDTHH:MM:SS",
        help="exchange time (IST) of the first synthetic tick; default: now",
    )  # fmt: skip
    p.add_argument("--stamp", action="store_true", help="write intended send times over the total quantities")
    p.add_argument(
        "--market-seconds",
        type=_positive,
        default=None,
        help="the synthetic market falls silent after so long",
    )
    p.add_argument("--duration", type=_not_negative, default=0.0, help="end by itself after so many seconds")
    p.add_argument("--die-with-parent", action="store_true", help="end when standard input closes")
    return p


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    options = parser().parse_args(argv)
    if options.list_faults:
        print(described_kinds())
        return 0
    try:
        server, credentials = build(options)
        uvloop.run(_serve(server, credentials, options))
    except (ReplayError, OSError, ValueError) as error:  # of these: SettingsError, FaultError
        print(f"kite_hft.sim: {error}", file=sys.stderr)
        return EXIT_CANNOT_START
    return 0


def build(options: argparse.Namespace) -> tuple[KiteServer, Credentials]:
    """Source, exchange, API, hub and faults, wired.

    Raises:
        ReplayError: the recorded data cannot be read. FaultError: the fault file cannot be used.
        SettingsError: a rules file cannot be used. OSError: the fault log cannot be written.
    """
    source, speed, opening = make_source(options)
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
    credentials = Credentials("simkey", secrets.token_hex(16), secrets.token_hex(16), user_id=params.user_id)
    limits = UNLIMITED if options.no_limits else None
    api = KiteApi(
        exchange, source.instruments, credentials, limits, allowed_ips=options.allow_ip, seed=options.seed
    )
    take = api.on_ticks if speed else exchange.on_ticks  # a flood leaves no candles
    hub = Hub(
        source,
        deliver=lambda ticks, now_ns: take(ticks, now_ns + offset),
        state=lambda slots: exchange.latest[[s for s in slots if exchange.seen[s]]],
        packets_per_frame=options.packets_per_frame,
        speed=speed,
        stamp=options.stamp,
    )
    rows = load_faults(options.faults) if options.faults else []
    check(rows, source.instruments, str(options.faults))
    log = InjectionLog(options.fault_log.open("w", buffering=1).write if options.fault_log else None)
    # A recording is played to somebody: without a word it waits for the first subscription.
    wait_for = options.start_when_subscribed or int(options.replay is not None)
    faults = Faults(rows, options.seed)
    return KiteServer(exchange, api, hub, wait_for, faults, log, offset), credentials


def make_params(options: argparse.Namespace) -> ExchangeParams:
    """The exchange's knobs. With hours the market's rules are those of the day that is played."""
    day = ist_date(options.exchange_time or time.time_ns()) if options.hours == "exchange" else dt.date.max
    return ExchangeParams(
        market=default_market_rules(day),
        latency_ns=((options.latency_us or 0) * 100, (options.latency_us or 0) * 1000),
        latency=Latency() if options.latency_us is None else None,
        hours=options.hours,
        keep_tags=not options.drop_tags,
        orders_per_day=0 if options.no_limits else None,
    )


def make_source(options: argparse.Namespace) -> tuple[Source, float, Ticks | None]:
    """The recorded or the synthetic market, the speed of its clock, and its opening state."""
    if options.replay is not None:
        replay = open_replay(options.replay)
        for note in replay.notes:
            print(f"kite_hft.sim: {note}", file=sys.stderr)
        return replay, options.speed, None
    instruments, base_px = default_instruments(options.instruments, options.seed)
    start_ns = options.exchange_time or time.time_ns()
    market = SyntheticMarket(instruments, base_px, options.rate, options.seed, start_ns)
    opening = market.opening()
    if options.market_seconds is None:
        return market, 1.0, opening
    return UntilSource(market, round(options.market_seconds * 1e9)), 1.0, opening


async def _serve(server: KiteServer, credentials: Credentials, options: argparse.Namespace) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if options.die_with_parent:
        _watch_stdin(loop, stop)

    def ready(ws_port: int, api_port: int) -> None:
        print(
            f"ready ws=ws://{LOOPBACK}:{ws_port} api=http://{LOOPBACK}:{api_port} "
            f"api_key={credentials.api_key} access_token={credentials.access_token}",
            flush=True,
        )
        gc.collect()
        gc.freeze()  # collections need not walk what lives as long as the process

    await run(server, ready, stop, (options.port, options.api_port), options.duration)
    print("sent", json.dumps(server.stats()), flush=True)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def on_input() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    try:
        loop.add_reader(0, on_input)
    except OSError:
        raise OSError("--die-with-parent needs a pipe as standard input") from None


def _between(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    parse.__name__ = "whole number"
    return parse


_port = _between(0, 65535)


def _not_negative(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value


def _positive(text: str) -> float:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value


def _ist_time(text: str) -> int:
    """Epoch ns of an IST date and time."""
    try:
        parsed = time.strptime(text, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2026-11-20T09:15:00") from None
    return (calendar.timegm(parsed) - IST_OFFSET_S) * NS_PER_S


if __name__ == "__main__":
    sys.exit(main())
