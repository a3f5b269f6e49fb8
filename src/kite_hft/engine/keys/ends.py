"""Layer 5, keys, cold: when a token of the vault ends: `access_token` has `access_token_until` beside it."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import Final

from kite_hft.units import IST_OFFSET_S, NS_PER_S

IST: Final = dt.timezone(dt.timedelta(seconds=IST_OFFSET_S))
SUFFIX: Final = "_until"


def until_text(end_ns: int) -> str:
    """ISO time with +05:30, as it stands in the vault. end_ns: epoch ns."""
    return dt.datetime.fromtimestamp(end_ns // NS_PER_S, IST).isoformat()


def until_ns(values: Mapping[str, str], name: str) -> int | None:
    """When the token `name` ends, epoch ns; None: it is not said."""
    return until_of(values.get(name + SUFFIX, ""))


def until_of(text: str) -> int | None:
    """The epoch ns of such a text; None: it is no time. A time without offset is IST."""
    try:
        until = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((until if until.tzinfo else until.replace(tzinfo=IST)).timestamp()) * NS_PER_S


def told_by_token(token: str) -> str:
    """When a JSON web token says that it ends (its claim `exp`, RFC 7519 4.1.4), as `until_text`; "": it is
    none, or does not say. Not proved: the signature is the broker's affair."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return until_text(int(claims["exp"]) * NS_PER_S)
    except (ValueError, TypeError, KeyError, OverflowError):
        return ""


def put_value(values: dict[str, str], name: str, value: str) -> None:
    """Set a value. The end that belonged to an earlier token goes; what the new one says of itself comes."""
    values[name] = value
    if not name.endswith("_token"):
        return
    values.pop(name + SUFFIX, None)
    if until := told_by_token(value):
        values[name + SUFFIX] = until
