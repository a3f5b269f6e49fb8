"""Layer 5, market process, cold: the classic console: who speaks, and what is said of a connection."""

from __future__ import annotations

from collections.abc import Callable

from kite_hft.clock import Clock
from kite_hft.settings import Settings
from kite_hft.strategies.classic import CONNECTED, stamped, subscribed_line
from kite_hft.trading.instruments import InstrumentTable


def classic_voice(settings: Settings, clock: Clock, log: Callable[[str], None]) -> Callable[[str], None]:
    """Where classic lines go: with the time in India in front where the settings say so."""
    if not settings.console.timestamps:
        return log
    return lambda line: log(stamped(line, clock.real_ns()))


def classic_greeting(
    settings: Settings, instruments: InstrumentTable, say: Callable[[str], None]
) -> Callable[[], None]:
    """What the classic console says of a new connection."""
    wanted = [section.instruments for section in settings.strategies]
    keys = [key for names in wanted if names != "all" for key in names] or [row.key for row in instruments]

    def greet() -> None:
        say(CONNECTED)
        for key in dict.fromkeys(keys):
            say(subscribed_line(key))

    return greet
