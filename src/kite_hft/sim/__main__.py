"""Layer 4, simulator process, cold: `python -m kite_hft.sim`: arguments, sources, signals.

Prints one line when it listens, `ready ws=URL api=URL api_key=... access_token=...`, and one when
it ends, `sent {...}` (JSON: what left, with its checksum). Exit codes: 0 ended in order, 1 could
not start, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import calendar
import gc
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kite_hft.loading import loading
from kite_hft.units import IST_OFFSET_S, NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.server.server import Server
    from kite_hft.sim.wiring import Keys

EXIT_CANNOT_START: Final = 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m kite_hft.sim", description="A simulated broker on loopback.")
    p.add_argument("--broker", choices=["kite", "upstox"], default="kite", help="whose protocol to speak")
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
    _add_upstox_options(p.add_argument_group("Upstox alone"))
    p.add_argument(
        "--tls", type=Path, nargs=2, default=None, metavar=("CERTIFICATE", "KEY"),
        help="websockets with TLS: two PEM files; default: without",
    )  # fmt: skip
    p.add_argument(
        "--redirect-url", default="http://127.0.0.1/", metavar="URL",
        help="where the app that is registered sends its users after the login (default http://127.0.0.1/)",
    )  # fmt: skip
    p.add_argument("--api-key", default="simkey", help="the app's key (default simkey)")
    p.add_argument("--duration", type=_not_negative, default=0.0, help="end by itself after so many seconds")
    p.add_argument("--die-with-parent", action="store_true", help="end when standard input closes")
    return p


def _add_upstox_options(p: argparse._ArgumentGroup) -> None:
    p.add_argument(
        "--redirect-code", type=int, choices=[302, 307], default=302,
        help="HTTP status with which the feeds' first address redirects (default 302)",
    )  # fmt: skip
    p.add_argument(
        "--plus", action="store_true", help="the account has Upstox Plus: 5 connections, mode full_d30"
    )
    p.add_argument(
        "--sandbox", action="store_true", help="the sandbox: seven calls that answer with ids and do nothing"
    )
    p.add_argument(
        "--algo-name", default="", metavar="NAME",
        help="an algorithm of this name is registered: 50 order calls a second; default: none, and every "
        "X-Algo-Name is refused",
    )  # fmt: skip
    p.add_argument(
        "--notifier-url", default="", metavar="URL",
        help="http address of this machine that the token of an approved token request is sent to",
    )  # fmt: skip
    p.add_argument(
        "--snapshot", choices=["full", "empty"], default="full",
        help="what initial_feed holds: the whole state (default), or empty LTPC placeholders",
    )  # fmt: skip
    p.add_argument(
        "--whole-frames", action="store_true",
        help="every live frame has depth and Greeks, also where they did not change (a replay's always do)",
    )  # fmt: skip
    p.add_argument(
        "--limits-per-user", action="store_true",
        help="the feed's limits of keys hold over all connections of the user; default: for each alone",
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    options = parser().parse_args(argv)
    with loading():  # the command line is right: now the simulator itself
        import uvloop

        from kite_hft.sim.faults.schedule import described_kinds
        from kite_hft.sim.market.replay import ReplayError
        from kite_hft.sim.wiring import build
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


async def _serve(server: Server, credentials: Keys, options: argparse.Namespace) -> None:
    from kite_hft.sim.server.server import LOOPBACK, run

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if options.die_with_parent:
        _watch_stdin(loop, stop)

    def ready(ws_port: int, api_port: int) -> None:
        print(
            f"ready ws={server.scheme}://{LOOPBACK}:{ws_port} api=http://{LOOPBACK}:{api_port} "
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
