"""Two connections for order calls before a scripted broker, which hang when told to."""

from __future__ import annotations

from typing import Any

from kite_hft.clock import ManualClock
from kite_hft.sim.order_path.lines import Lines
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

CONNECTIONS = 2


class Lined:
    """The transport: `hang` for calls that get no answer until `die`. Everything else is the broker's."""

    def __init__(self, broker: Any, clock: ManualClock) -> None:
        self._broker, self.hang = broker, False
        self.hung: list[int] = []
        self.ended: list[tuple[int, HttpResponse | TransportError]] = []
        self.lines = Lines(CONNECTIONS, clock.mono_ns, self._leave, self._give_up, clock.mono_ns)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    @property
    def follower(self) -> Any:
        return self.lines.follower

    @follower.setter
    def follower(self, told: Any) -> None:
        self.lines.follower = told

    def submit(self, request_id: int, request: HttpRequest) -> None:
        if request.method == "GET":
            self._broker.submit(request_id, request)
        else:
            self.lines.submit(request_id, request)

    def _leave(self, request_id: int, request: HttpRequest) -> None:
        if self.hang:
            self._broker.sent.append(request)
            self.hung.append(request_id)
        else:
            self._broker.submit(request_id, request)
            self.lines.answered()

    def _give_up(self, request_id: int, request: HttpRequest, why: str) -> None:
        self.ended.append((request_id, TransportError(why, sent=False)))

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        self.lines.serve()
        ended, self.ended = self.ended, []
        found: list[tuple[int, HttpResponse | TransportError]] = self._broker.poll()
        return [*found, *ended]

    def die(self) -> None:
        """Both connections end, what was under way on them unanswered; new ones stand."""
        self.hang = False
        for request_id in self.hung:
            self.ended.append((request_id, TransportError("the connection was closed", sent=True)))
            self.lines.answered()
        self.hung.clear()
