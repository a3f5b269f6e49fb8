"""Layer 2, orders process, hot: calls under way at the transport, by request number."""

from __future__ import annotations

from typing import Generic, TypeVar

from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.outbox import Outbox
from kite_hft.trading.ports import Transport

T = TypeVar("T")


class Calls(Generic[T]):
    """Remembers what each request was for, until its one answer."""

    def __init__(self, transport: Transport, outbox: Outbox) -> None:
        self._transport, self._outbox = transport, outbox
        self._last_id = 0
        self._under_way: dict[int, T] = {}

    def submit(self, item: T, request: HttpRequest) -> None:
        """Hand `request` over; its answer comes back with `item`."""
        self._last_id += 1
        self._under_way[self._last_id] = item
        self._outbox.count("http_requests")
        self._transport.submit(self._last_id, request)

    def poll(self) -> list[tuple[T, HttpResponse | TransportError]]:
        """Answers since the last call; one for an unknown or answered request is dropped."""
        answers = []
        for request_id, result in self._transport.poll():
            if request_id in self._under_way:
                answers.append((self._under_way.pop(request_id), result))
        return answers

    def items(self) -> list[T]:
        """What is still unanswered."""
        return list(self._under_way.values())
