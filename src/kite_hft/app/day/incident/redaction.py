"""Layer 6, by hand, cold: what must not leave this machine is taken out of texts. Pure.

By value (every key, token and address that the configuration or the vault holds) and by shape (tokens in
headers, forms and addresses), so that a secret of another day is found as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.configuring.models.safety import SINK_SECRETS
from kite_hft.settings import Settings

BLANK: Final = b"<secret>"
SECRETS: Final = frozenset({"api_key", "api_secret", "access_token", "sandbox_token"}) | SINK_SECRETS
"""Keys of the configuration whose values are secret."""
SHORTEST: Final = 6
"""A shorter value would stand in half of all texts."""
NAMES: Final = (
    rb"api_?key|api_?secret|access_?token|request_?token|refresh_?token|sandbox_?token|analytics_?token|"
    rb"enctoken|password|totp_?secret|webhook|telegram_bot_token|telegram_chat_id|heartbeat_url|checksum"
)
SHAPES: Final = (
    re.compile(rb"""((?:%b)["']?\s*[=:]\s*["']?)(?!<)([^\s"'&,;}<]+)""" % NAMES, re.I),
    re.compile(rb"(Authorization[\"']?\s*[:=]\s*[\"']?)(?!<)([^\"'\r\n]+)", re.I),
    re.compile(rb"(\bBearer\s+)(?!<)([A-Za-z0-9._~+/=-]{8,})"),
    re.compile(rb"(\btoken\s+)(?!<)([A-Za-z0-9]{6,}:[A-Za-z0-9]{6,})"),
)


@dataclass(frozen=True, slots=True)
class Redactor:
    """values: longest first, so that one that holds another goes whole."""

    values: tuple[bytes, ...] = ()

    def clean(self, data: bytes) -> bytes:
        """A text without secrets."""
        for value in self.values:
            data = data.replace(value, BLANK)
        for shape in SHAPES:
            data = shape.sub(rb"\1" + BLANK, data)
        return data

    def holds(self, data: bytes) -> bool:
        """Whether a file that cannot be changed has a secret in it."""
        return any(value in data for value in self.values)


def redactor(settings: Settings | None, contents: Mapping[str, Mapping[str, str]]) -> Redactor:
    """For everything that is known. contents: of the vault."""
    found: set[str] = set()
    if settings is not None:
        found |= set(_secrets(settings.model_dump(mode="json")))
    for values in contents.values():
        found |= {
            value for name, value in values.items() if not name.endswith("_until") and name != "user_id"
        }
    rows = {value.encode() for value in found if len(value) >= SHORTEST}
    return Redactor(tuple(sorted(rows, key=len, reverse=True)))


def _secrets(data: Any) -> Iterable[str]:
    """Values of all keys that hold secrets, wherever they stand."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key in SECRETS and isinstance(value, str):
                yield value
            else:
                yield from _secrets(value)
    elif isinstance(data, list):
        for value in data:
            yield from _secrets(value)
