"""Layer 2, orders process, hot: Kite's JSON answers: the envelope, and single values of a row.

Every answer is `{"status": "success", "data": ...}` or `{"status": "error", "error_type": ..,
"message": ..}`; what a value has to be: brokers/values.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kite_hft.brokers.values import (
    COUNT_MAX,
    PX_MAX,
    VALUE_MAX,
    AnswerError,
    amount,
    average,
    count,
    envelope_of,
    price,
    rows_of,
    text,
    whole,
)

__all__ = [
    "COUNT_MAX",
    "PX_MAX",
    "VALUE_MAX",
    "AnswerError",
    "amount",
    "average",
    "count",
    "data_of",
    "envelope_of",
    "message_of",
    "price",
    "rows_of",
    "text",
    "whole",
]


def message_of(body: Mapping[str, Any]) -> str:
    return str(body.get("message") or "")


def data_of(body: bytes) -> Any:
    envelope = envelope_of(body)
    if envelope.get("status") != "success" or "data" not in envelope:
        raise AnswerError(f"no success envelope: {body[:200]!r}")
    return envelope["data"]
