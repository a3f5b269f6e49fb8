"""Layer 2, supervisor and orders process, cold: a broker's limits with a trader's own, stricter ones.

The rules file is what the broker lets through, with room to spare; the configuration may only take away
from it (`kite.rate_limits`, `kite.websocket`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from kite_hft.brokers.limits import LimitsError
from kite_hft.trading.broker import Limits, RateWindow

WINDOWS: Final[Mapping[str, tuple[str, float]]] = {
    "rate_limits.http_api": ("other_windows", 1.0),
    "rate_limits.historical_api": ("historical_windows", 1.0),
    "rate_limits.order_placement": ("order_windows", 60.0),
}
"""Key -> the windows that it adds to, and its span in seconds."""
COUNTS: Final[Mapping[str, str]] = {
    "rate_limits.max_orders_per_day": "orders_per_day",
    "websocket.max_connections": "connections",
    "websocket.max_instruments_per_connection": "instruments_per_connection",
}
"""Key -> the number that it lowers."""


def stricter(limits: Limits, asked: Mapping[str, int | None], rules: str) -> Limits:
    """The limits with those of `asked` (key -> calls or number; None: not asked for). rules: the file's name.

    Raises:
        LimitsError: more than the rules let through; names the key, both numbers and the file.
    """
    changed: dict[str, Any] = {}
    for key, (name, span_s) in WINDOWS.items():
        calls = asked.get(key)
        if calls is None:
            continue
        windows: tuple[RateWindow, ...] = getattr(limits, name)
        most = allowed(windows, span_s)
        if calls > most:
            raise _looser(key, calls, f"{most:g} in {span_s:g} s", rules)
        changed[name] = (*windows, _window(windows, calls, span_s))
    for key, name in COUNTS.items():
        number = asked.get(key)
        if number is None:
            continue
        if number > getattr(limits, name):
            raise _looser(key, number, str(getattr(limits, name)), rules)
        changed[name] = number
    return replace(limits, **changed)


def allowed(windows: tuple[RateWindow, ...], span_s: float) -> float:
    """Calls that the windows let through in any `span_s` seconds, on and on."""
    rates = (w.calls if w.window_s >= span_s else w.calls * span_s / w.window_s for w in windows)
    return min(rates, default=float("inf"))


def _window(windows: tuple[RateWindow, ...], calls: int, span_s: float) -> RateWindow:
    """A window of so many calls, of which exits keep the share that the rules keep for them. A second is as
    long as the rules make it: with what the network may add."""
    near = min(windows, key=lambda w: abs(w.window_s - span_s), default=None)
    if near is None:
        return RateWindow(calls, span_s)
    longer = near.window_s if span_s <= near.window_s < 2 * span_s else span_s
    share = near.reserved / near.calls
    return RateWindow(calls, longer, min(calls - 1, max(round(calls * share), 1 if near.reserved else 0)))


def _looser(key: str, asked: int, most: str, rules: str) -> LimitsError:
    return LimitsError(
        f"kite.{key}: {asked} is more than {rules} lets through ({most}): limits come from the rules file, a "
        "configuration can only be stricter; lower it or take it out"
    )
