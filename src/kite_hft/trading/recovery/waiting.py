"""Layer 2, orders process, hot: the WAITING record of an intent that was taken in and has not left."""

from __future__ import annotations

import math
from typing import Any, Final

from kite_hft.trading.intents import Intent

_UNWRITTEN: Final = frozenset({"reserved", "reserved8", "seq"})


def waiting_payload(intent: Intent, order_no: int, reducing: bool) -> dict[str, Any]:
    """Journal record WAITING: the whole intent, so that an exit can be taken up again."""
    words = {n: v for n, v in zip(Intent._fields, intent, strict=True) if n not in _UNWRITTEN}
    return {
        "strategy": intent.strategy,
        "seq": intent.strategy_seq,
        "kind": intent.kind,
        "no": order_no,
        "reducing": reducing,
        "intent": words,
    }


def waiting_intent(data: dict[str, Any]) -> Intent:
    """The intent of a WAITING record. JSON has no NaN: a signal that is no number was written as null."""
    words = data["intent"]
    if words["signal"] is None:
        words = words | {"signal": math.nan}
    return Intent(seq=0, reserved8=None, reserved=None, **words)
