"""Layer 2, orders process, hot: calls under way at the transport, by request number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from kite_hft.trading.broker import Ambiguous, HttpRequest, HttpResponse, Outcome, TransportError
from kite_hft.trading.ports import Transport
from kite_hft.trading.sending.outbox import Outbox

T = TypeVar("T")
_COUNTED = {429: "http_429", 503: "http_503", 504: "http_504", 403: "http_403"}


class Calls(Generic[T]):
    """Remembers what each request was for, until its one answer; counts what went wrong.

    `judge` says what an answer proves (the broker's parse_outcome). last_id: number of the newest request.
    """

    def __init__(
        self, transport: Transport, outbox: Outbox, judge: Callable[[HttpResponse], Outcome]
    ) -> None:
        self._transport, self._outbox, self._judge = transport, outbox, judge
        self.last_id = 0
        self._under_way: dict[int, T] = {}

    def submit(self, item: T, request: HttpRequest) -> None:
        """Hand `request` over; its answer comes back with `item`."""
        self.last_id = number = self.last_id + 1
        self._under_way[number] = item
        self._transport.submit(number, request)
        self._outbox.count("http_requests")

    def left(self, number: int, item: T) -> None:
        """Request `number`, a new last one, has been handed to the transport already."""
        self._under_way[number] = item
        self._outbox.count("http_requests")

    def poll(self) -> list[tuple[T, HttpResponse | TransportError]]:
        """Answers since the last call; one for an unknown or answered request is dropped."""
        answers = []
        for request_id, result in self._transport.poll():
            if request_id in self._under_way:
                answers.append((self._under_way.pop(request_id), result))
                self._count(result)
        return answers

    def _count(self, result: HttpResponse | TransportError) -> None:
        if isinstance(result, TransportError):
            if result.sent:  # else it never left: no fault of the broker's
                self._outbox.count("transport_errors")
        elif result.status in _COUNTED:
            self._outbox.count(_COUNTED[result.status])
        elif result.status >= 500:
            self._outbox.count("http_5xx")
        elif result.status == 400 and isinstance(self._judge(result), Ambiguous):
            self._outbox.count("http_400_timed_out")

    def items(self) -> list[T]:
        """What is still unanswered."""
        return list(self._under_way.values())
