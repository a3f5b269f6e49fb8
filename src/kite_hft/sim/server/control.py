"""Layer 4, simulator, cold: the simulator's own calls, under /_sim/: what it did, and what it is to do.

No part of the broker's API; no token needed, the server listens on the loopback interface only.

    GET  /_sim/stats    what was sent, by connection; the exchange's totals and parameters; faults by kind;
                        the addresses that clients called from
    GET  /_sim/faults   the injection log
    GET  /_sim/account  orders, trades, positions and cash, as exact integers beside the API's rows
    GET  /_sim/requests the API's last requests (no GETs): method, path?query, CLOCK_MONOTONIC of arrival
    GET  /_sim/app      the app's key and secret, and a request token as from the login page
    POST /_sim/inject   one row of a fault file (or a list of them) as JSON: strikes now
    POST /_sim/login    a new access token, as after a login by hand
    POST /_sim/message  {"type": "message" or "error", "data": "text"}: a text frame on every connection
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from kite_hft.sim.faults.acts import check
from kite_hft.sim.faults.injector import Injector
from kite_hft.sim.faults.schedule import FaultError, parse_row
from kite_hft.sim.rest import JSON, Response
from kite_hft.sim.server.face import Face
from kite_hft.sim.server.hub import Hub

PREFIX = "/_sim/"
REQUESTS_KEPT = 20_000
_SAID = ("message", "error")


class Control:
    """Answers /_sim/ requests. `tallies()`: what the server counts of connections and upgrades."""

    def __init__(
        self, face: Face, hub: Hub, injector: Injector, tallies: Callable[[], dict[str, Any]]
    ) -> None:
        self._face, self._exchange, self._api = face, face.exchange, face.api
        self._hub, self._injector = hub, injector
        self._tallies = tallies
        self.requests: deque[tuple[int, str, str]] = deque(maxlen=REQUESTS_KEPT)

    def handle(self, method: str, path: str, body: bytes, now_ns: int, real_ns: int) -> Response:
        """Answer one request at `now_ns` (CLOCK_MONOTONIC) = `real_ns` (the exchange's clock)."""
        name = path.removeprefix(PREFIX)
        reads: dict[str, Callable[[], object]] = {
            "stats": self.stats,
            "faults": lambda: self._injector.log.rows,
            "account": self._api.account,
            "requests": lambda: {
                "requests": [
                    {"mono_ns": at, "method": verb, "path": path} for at, verb, path in self.requests
                ]
            },
            "app": lambda: self._api.app(real_ns),
        }
        if method == "GET" and name in reads:
            return _plain(200, reads[name]())
        if method == "POST" and name == "login":
            return _plain(200, {"access_token": self._api.new_token(real_ns)})
        try:
            if method == "POST" and name == "inject":
                return _plain(200, {"injected": self._inject(_json(body), now_ns)})
            if method == "POST" and name == "message":
                return _plain(200, {"connections": self._say(_json(body))})
        except FaultError as error:
            return _plain(400, {"error": str(error)})
        return _plain(404, {"error": f"{method} {path}: no such call"})

    def stats(self) -> dict[str, object]:
        """What was sent, what the exchange did, what was injected."""
        return (
            self._hub.stats()
            | self._tallies()
            | {
                "exchange": self._exchange.stats(),
                "parameters": self._exchange.parameters(),
                "faults": self._injector.log.counts(),
                "too_many_requests": dict(self._api.refusals),
            }
        )

    def _inject(self, given: Any, now_ns: int) -> int:
        rows = [
            parse_row(row, f"row {number}")
            for number, row in enumerate(given if isinstance(given, list) else [given], 1)
        ]
        check(rows, self._exchange.instruments, "inject", self._face.words.missing)
        for row in rows:
            self._injector.inject(row, now_ns)
        return len(rows)

    def _say(self, given: Any) -> int:
        fine = isinstance(given, dict) and given.get("type") in _SAID and isinstance(given.get("data"), str)
        if not fine:
            raise FaultError(f'expected {{"type": "message" or "error", "data": "text"}}, found {given!r}')
        text = json.dumps({"type": given["type"], "data": given["data"]}).encode()
        kind = "errors" if given["type"] == "error" else ""
        return sum(link.say(text, kind) for link in self._hub.links)


def _plain(status: int, value: object) -> Response:
    return Response(status, JSON, json.dumps(value).encode())


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise FaultError(f"the body is no JSON: {error}") from None
