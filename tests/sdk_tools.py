"""Requests of the official SDK, caught where they would be sent."""

from __future__ import annotations

from typing import Any

import kiteconnect
import pytest


class Captured(Exception):
    """Ends an SDK call where it would be sent."""


def sdk_request(call: str, *arguments: Any, **named: Any) -> Any:
    """The request of an SDK call."""
    kite = kiteconnect.KiteConnect(api_key="key", access_token="token")
    seen: dict[str, Any] = {}

    def send(request: Any, **more: Any) -> Any:
        seen["request"] = request
        raise Captured

    kite.reqsession.send = send
    with pytest.raises(Captured):
        getattr(kite, call)(*arguments, **named)
    return seen["request"]
