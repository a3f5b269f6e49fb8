"""Layer 0, supervisor, cold: what is said of keys that do nothing here, and of secrets that lie open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from kite_hft.configuring.keys import is_secret, keys_of
from kite_hft.configuring.layers import IN_DOTENV, Key, Layer, Origin, value_at
from kite_hft.configuring.models.promised import ALIAS, NOTE, UNCHECKED, extra_of

SAYS_NOTHING = "profile "
"""Sources of which nothing is said: their keys are ours."""


def aliases(model: type[BaseModel]) -> dict[Key, Key]:
    """Other names of keys -> the keys."""
    return {
        path: tuple(extra_of(field)[ALIAS].split("."))
        for path, field in keys_of(model)
        if ALIAS in extra_of(field)
    }


def idle_keys(model: type[BaseModel], given: Layer) -> list[tuple[str, Origin, str]]:
    """Keys that somebody has set and that do nothing here: key, where, and what does their work."""
    return [
        (".".join(path), origin, str(extra_of(field)[NOTE]))
        for path, field in keys_of(model)
        if NOTE in extra_of(field)
        and (origin := given.origins.get(path)) is not None
        and not origin.source.startswith(SAYS_NOTHING)
    ]


def relied_upon(model: type[BaseModel], given: Layer) -> list[tuple[str, Origin, str]]:
    """Those of them that somebody would count on: limits and ways to be told that do not exist here."""
    fields = dict(keys_of(model))
    return [
        row
        for row in idle_keys(model, given)
        if extra_of(fields[tuple(row[0].split("."))]).get(UNCHECKED)
        and value_at(given.data, tuple(row[0].split("."))) is not False
    ]


def secrets_in_files(given: Layer, secret_values: Mapping[Key, Any]) -> list[tuple[str, Origin]]:
    """Keys and tokens that lie open in a file: key and where. secret_values: key -> what is set."""
    return [
        (".".join(map(str, path)), given.origins[path])
        for path, value in secret_values.items()
        if value and path in given.origins and _lies_open(given.origins[path])
    ]


def _lies_open(origin: Origin) -> bool:
    return origin.line is not None or origin.source.endswith(IN_DOTENV)


def secret_values(model: type[BaseModel], given: Layer) -> dict[Key, Any]:
    """Every secret key that is set, with its value."""
    return {path: v for path, _f in keys_of(model) if is_secret(path) and (v := value_at(given.data, path))}
