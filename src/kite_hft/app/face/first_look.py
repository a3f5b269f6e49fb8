"""Layer 6, by hand, cold: scripts/quick_start.py: a minute with the simulator, and what to do next."""

from __future__ import annotations

import sys
import threading
from typing import Final

from kite_hft.app.face.base import without_file
from kite_hft.app.face.datafeed import DataFeedService
from kite_hft.app.face.texts import DataFeedError
from kite_hft.app.face.ticks import Tick
from kite_hft.settings import SettingsError

SHOWN: Final = ("NSE:RELIANCE", "NSE:INFY", "NSE:SBIN")
LINES: Final = 12
EXIT_NOT_READY: Final = 3

NEXT: Final = """
What next:
  make run                                      the engine trades on the simulator, with a live view
  python examples/basic_usage.py                prices in a program of yours
  kite-hft run examples/moving_average.yaml     a strategy; STRATEGY_TEMPLATE.md has one to copy
  kite-hft config init                          a configuration of your own
  kite-hft credentials                          your keys, encrypted; then: kite-hft login
  kite-hft doctor                               whether this machine is ready
docs/NEW_USER_GUIDE.md goes through all of it, from here to the first live morning.
"""


def first_look(seconds: float, broker: str) -> int:
    """Show ticks of a simulator for some seconds; returns the exit code."""
    print(
        "Starting a simulator and an engine that reads its prices (no key, no money; some seconds) ...",
        flush=True,
    )
    many = threading.Semaphore(LINES)

    def show(tick: Tick) -> None:
        if many.acquire(blocking=False):
            print(f"  {tick.instrument:14} {tick.last_price:10.2f}  {tick.change_percent:+.3f} %", flush=True)

    try:
        feed = DataFeedService(broker=broker, settings=without_file(), attach=False)
        feed.subscribe(SHOWN, mode="full")
        feed.add_tick_callback(show)
        with feed:
            feed.wait(seconds)
            stats = feed.get_statistics() if feed.running else None
    except (DataFeedError, SettingsError) as error:
        print(f"not ready: {error}", file=sys.stderr)
        return EXIT_NOT_READY
    if stats is not None:
        print(
            f"{stats['ticks_received']} ticks came on {stats['active_connections']} connection, "
            f"{stats['ticks_lost']} were lost; buffer usage {stats['buffer_usage']:.2%}"
        )
    print(NEXT)
    return 0
