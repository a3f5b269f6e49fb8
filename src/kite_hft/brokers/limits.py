"""Layer 2, orders process, cold: a rules file's mapping as Limits, checked key by key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kite_hft.trading.broker import Limits, RateWindow

_REQUIRED: Final = (
    "name",
    "valid_from",
    "order_windows",
    "orders_per_day",
    "entry_share_of_day",
    "modifications_per_order",
)
_COUNTS: Final = (
    "orders_per_day",
    "modifications_per_order",
    "tag_length_max",
    "instruments_per_connection",
    "connections",
)
_SECONDS: Final = ("cooldown_after_429_s", "cooldown_urgent_gap_s")
_KNOWN: Final = {*_REQUIRED, *_COUNTS, *_SECONDS, "other_windows", "extras", "loopback_only"}
_WINDOW_KEYS: Final = {"calls", "window_s", "reserved", "source"}


class LimitsError(ValueError):
    """A rules file that cannot be used; the message names the key."""


def limits_from_mapping(mapping: Mapping[str, Any]) -> Limits:
    """The limits that a file of config/rules/ holds.

    Raises:
        LimitsError: a key is missing, unknown, of the wrong kind or out of range.
    """
    missing = [key for key in _REQUIRED if key not in mapping]
    unknown = sorted(set(mapping) - _KNOWN)
    if missing or unknown:
        raise LimitsError(f"keys missing: {missing}, unknown: {unknown}")
    share = _number(mapping, "entry_share_of_day")
    if not 0 < share <= 1:
        raise LimitsError(f"entry_share_of_day {share} is not in (0, 1]")
    windows = _windows(mapping, "order_windows")
    if not windows:
        raise LimitsError("order_windows is empty: an engine without a limit is refused")
    extras = mapping.get("extras", {})
    if not isinstance(extras, Mapping):
        raise LimitsError("extras is no mapping")
    optional: dict[str, Any] = {key: _count(mapping, key) for key in _COUNTS[2:] if key in mapping}
    optional |= {key: _number(mapping, key) for key in _SECONDS if key in mapping}
    loopback_only = mapping.get("loopback_only", False)
    if not isinstance(loopback_only, bool):
        raise LimitsError(f"loopback_only {loopback_only!r} is neither true nor false")
    return Limits(
        name=str(mapping["name"]),
        valid_from=str(mapping["valid_from"]),
        order_windows=windows,
        orders_per_day=_count(mapping, "orders_per_day"),
        entry_share_of_day=share,
        modifications_per_order=_count(mapping, "modifications_per_order"),
        other_windows=_windows(mapping, "other_windows") if "other_windows" in mapping else (),
        loopback_only=loopback_only,
        extras={str(key): _number(extras, key) for key in extras},
        **optional,
    )


def _windows(mapping: Mapping[str, Any], key: str) -> tuple[RateWindow, ...]:
    rows = mapping[key]
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise LimitsError(f"{key} is no list")
    found = []
    for number, row in enumerate(rows):
        where = f"{key}[{number}]"
        if not isinstance(row, Mapping) or not {"calls", "window_s"} <= set(row) <= _WINDOW_KEYS:
            raise LimitsError(f"{where} needs calls and window_s, may have reserved and source")
        calls, reserved = _count(row, "calls"), int(row.get("reserved", 0))
        window_s = _number(row, "window_s")
        if window_s <= 0 or not 0 <= reserved < calls:
            raise LimitsError(f"{where}: window_s {window_s}, reserved {reserved} of {calls}")
        found.append(RateWindow(calls, window_s, reserved))
    return tuple(found)


def _count(mapping: Mapping[str, Any], key: str) -> int:
    value = mapping[key]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise LimitsError(f"{key} {value!r} is no whole number above 0")
    return value


def _number(mapping: Mapping[str, Any], key: str) -> float:
    value = mapping[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise LimitsError(f"{key} {value!r} is no number of 0 or more")
    return float(value)
