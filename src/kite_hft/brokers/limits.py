"""Layer 2, orders process, cold: a rules file's mapping as Limits, checked key by key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kite_hft.sessions import seconds_of_day
from kite_hft.trading.broker import Conduct, Limits, ProofTimes, RateWindow
from kite_hft.trading.polling import PollShare

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
_SECONDS: Final = ("cooldown_after_429_s", "cooldown_urgent_gap_s", "read_wait_s")
_MORE_WINDOWS: Final = ("all_windows", "other_windows", "quote_windows", "historical_windows")
_CONDUCT: Final = ("per_contract", "per_strategy")
_FACTS: Final = ("loopback_only", "triggers_are_orders", "quotes_are_reads")
_KNOWN: Final = {
    *_REQUIRED, *_COUNTS, *_SECONDS, *_MORE_WINDOWS, *_CONDUCT, *_FACTS, "extras", "address_proof", "polling",
}  # fmt: skip
_WINDOW_KEYS: Final = {"calls", "window_s", "reserved", "reads", "source"}
_PROOF_KEYS: Final = frozenset(ProofTimes.__dataclass_fields__) - {"at_s"}
_POLL_KEYS: Final = {"calls", "window_s", "every_s", "orders_s", "other_windows", "source"}
_LEVEL_KEYS: Final = frozenset(Conduct.__dataclass_fields__)


class LimitsError(ValueError):
    """A rules file that cannot be used; the message names the key."""


def limits_from_mapping(mapping: Mapping[str, Any]) -> Limits:
    """The limits that a file of config/rules/ holds.

    Raises:
        LimitsError: a key is missing, unknown, of the wrong kind or out of range.
    """
    if not isinstance(mapping, Mapping):
        raise LimitsError(f"expected keys and values, found {type(mapping).__name__}")
    missing = [key for key in _REQUIRED if key not in mapping]
    unknown = sorted(map(str, set(mapping) - _KNOWN))
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
    optional |= {key: _windows(mapping, key) for key in _MORE_WINDOWS if key in mapping}
    optional |= {key: _conduct(mapping, key) for key in _CONDUCT if key in mapping}
    if "address_proof" in mapping:
        optional["address_proof"] = _proof_times(mapping["address_proof"])
    if "polling" in mapping:
        optional["polling"] = _polling(mapping["polling"])
    optional |= {key: _fact(mapping, key) for key in _FACTS if key in mapping}
    return Limits(
        name=str(mapping["name"]),
        valid_from=str(mapping["valid_from"]),
        order_windows=windows,
        orders_per_day=_count(mapping, "orders_per_day"),
        entry_share_of_day=share,
        modifications_per_order=_count(mapping, "modifications_per_order"),
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
            raise LimitsError(f"{where} needs calls and window_s, may have reserved, reads and source")
        calls, reserved, reads = _count(row, "calls"), int(row.get("reserved", 0)), int(row.get("reads", 0))
        window_s = _number(row, "window_s")
        if window_s <= 0 or not 0 <= reserved < calls or not 0 <= reads <= calls - reserved:
            raise LimitsError(f"{where}: window_s {window_s}, reserved {reserved}, reads {reads} of {calls}")
        found.append(RateWindow(calls, window_s, reserved, reads))
    return tuple(found)


def _conduct(mapping: Mapping[str, Any], key: str) -> Conduct:
    row = mapping[key]
    if not isinstance(row, Mapping) or set(row) - {"source"} != _LEVEL_KEYS:
        raise LimitsError(f"{key} needs {sorted(_LEVEL_KEYS)}")
    numbers = {name: _number(row, name) for name in _LEVEL_KEYS}
    for name in ("ratio", "modifications"):
        if not 0 < numbers[f"{name}_warn"] <= numbers[f"{name}_stop"]:
            raise LimitsError(f"{key}: {name}_warn must be above 0 and not above {name}_stop")
    return Conduct(
        messages_min=_count(row, "messages_min"),
        ratio_warn=numbers["ratio_warn"],
        ratio_stop=numbers["ratio_stop"],
        modifications_warn=_count(row, "modifications_warn"),
        modifications_stop=_count(row, "modifications_stop"),
    )


def _proof_times(row: Any) -> ProofTimes:
    if not isinstance(row, Mapping) or not _PROOF_KEYS <= set(row) <= _PROOF_KEYS | {"at", "source"}:
        raise LimitsError(f"address_proof needs {sorted(_PROOF_KEYS)}, may have at and source")
    try:
        at_s = None if row.get("at") is None else seconds_of_day(row["at"])
    except (ValueError, TypeError, AttributeError) as error:
        raise LimitsError(f"address_proof: at {row['at']!r} is no time of the day: {error}") from None
    words = {name: _number(row, name) for name in ("wait_s", "pause_s", "pause_max_s")}
    if not 0 < words["pause_s"] <= words["pause_max_s"]:
        raise LimitsError("address_proof: pause_s must be above 0 and not above pause_max_s")
    return ProofTimes(at_s=at_s, tries=_count(row, "tries"), **words)


def _polling(row: Any) -> PollShare:
    if not isinstance(row, Mapping) or not {"calls", "window_s"} <= set(row) <= _POLL_KEYS:
        raise LimitsError(f"polling needs calls and window_s, may have {sorted(_POLL_KEYS)}")
    window_s, left = _number(row, "window_s"), "other_windows"
    if not window_s:
        raise LimitsError("polling: window_s must be above 0")
    turns = {key: _number(row, key) for key in ("every_s", "orders_s") if key in row}
    if len(turns) == 1:
        raise LimitsError("polling: every_s and orders_s go together")
    try:
        return PollShare(
            _count(row, "calls"),
            window_s,
            **turns,
            other_windows=_windows(row, left) if left in row else None,
        )
    except LimitsError:
        raise
    except ValueError as error:
        raise LimitsError(f"polling: {error}") from None


def _fact(mapping: Mapping[str, Any], key: str) -> bool:
    value = mapping[key]
    if not isinstance(value, bool):
        raise LimitsError(f"{key} {value!r} is neither true nor false")
    return value


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
