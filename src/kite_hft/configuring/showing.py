"""Layer 0, supervisor, cold: every key with its value in force and where that is from; no secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from kite_hft.configuring.keys import is_secret, keys_of
from kite_hft.configuring.layers import Key, Layer, Origin
from kite_hft.configuring.models.promised import ALIAS, SHARES, extra_of

SET: str = "(set, not shown)"


class Shown(NamedTuple):
    """One key in force. value: plain, or SET. source: `FILE:LINE`, a variable, a profile, or `default`."""

    key: str
    value: Any
    source: str
    note: str = ""


def shown(settings: BaseModel, given: Layer) -> list[Shown]:
    """All keys, in the order of the models; other names of a key are left out."""
    rows = []
    for path, field in keys_of(type(settings)):
        if ALIAS in extra_of(field):
            continue
        value: Any = settings
        for part in path:
            value = getattr(value, part)
        rows.append(Shown(".".join(path), _plain(path, value), _source(path, value, given)))
    return rows


def _plain(path: Key, value: Any) -> Any:
    if is_secret(path):
        return SET if value else ""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(path, item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _source(path: Key, value: Any, given: Layer) -> str:
    origin = given.origins.get(path)
    share = next((share for share, limit in SHARES.items() if path == ("risk", limit)), None)
    capital = given.data.get("risk") or {}
    if share and capital.get("capital") and value != capital.get(path[-1]):
        where = given.origins.get(("risk", share), Origin("default"))
        return f"risk.{share} ({where}) of risk.capital ({given.origins.get(('risk', 'capital'))})"
    if origin is not None:
        return str(origin)
    return "by broker" if path in (("trading", "rules"), ("trading", "charges")) else "default"
