"""Layer 6, by hand, cold: a broker asked by a person: blocking calls, and what their times tell of the clock.

Over the engine's own transport: certificates are verified, redirects are not followed, no order call is sent
twice. What comes back as words is one printable line without keys or tokens.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.alerts.files import one_line
from kite_hft.engine.plan.session import Access
from kite_hft.net.http import HttpSettings, HttpTransport, TransportConfigError
from kite_hft.net.unreachable import why_unreachable
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.broker_clock import ROUND_TRIP_MAX_NS, date_ns
from kite_hft.units import NS_PER_S

TIMEOUT_S: Final = 8.0
GAP_S: Final = 0.16
"""Between two calls to one broker: ten a second are let through, and an engine may need some of them."""
AFTER_429_S: Final = 1.3
SLACK_NS: Final = NS_PER_S // 100
"""The time of sending is read behind the call that sends."""
TOO_MANY: Final = 429
_LAST_S: Final[dict[str, float]] = {}
"""Broker -> when this process called it last, CLOCK_MONOTONIC."""
Skew = tuple[int, int]
"""(least, most) ns by which the machine's wall clock is ahead of the broker's; below 0: behind."""


class NoAnswer(Exception):
    """The broker could not be asked; the message says why, for people."""


@dataclass(slots=True)
class Asking:
    """Calls to one host of a broker. Close it when done."""

    access: Access
    broker: Broker
    url: str = ""
    clock: Clock = field(default_factory=SystemClock)
    skew_ns: Skew | None = None  # by the Date headers of all reads so far
    _transport: HttpTransport | None = None
    _number: int = 0

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Harmless when repeated."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def call(self, request: HttpRequest) -> HttpResponse:
        """One call, and its whole answer, whatever its status; a read that is too soon is asked again, once.

        Raises:
            NoAnswer: none came; or the address must not be used.
        """
        found = self._once(request)
        if found.status == TOO_MANY and request.method == "GET":
            time.sleep(AFTER_429_S)
            found = self._once(request)
        return found

    def _once(self, request: HttpRequest) -> HttpResponse:
        url = self.url or self.access.api_url
        try:
            transport = self._transport or self._open(url)
        except (OSError, TransportConfigError) as error:
            raise NoAnswer(why_unreachable(url, self.access.key_of(url), error)) from None
        wait_s = _LAST_S.get(self.access.broker, 0.0) + GAP_S - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        _LAST_S[self.access.broker] = time.monotonic()
        self._number += 1
        transport.submit(self._number, request)
        waiting = select.poll()
        waiting.register(transport.fileno(), select.POLLIN)
        while True:
            for number, found in transport.poll():
                if number == self._number:
                    return self._answer(url, found)
            if why := transport.nowhere():
                raise NoAnswer(why_unreachable(url, self.access.key_of(url), why))
            waiting.poll(50)

    def words(self, text: str) -> str:
        """One printable line without our keys."""
        return one_line(text, (self.access.api_key, self.access.access_token))

    def _open(self, url: str) -> HttpTransport:
        # As order calls leave (engine/orders/transports.py): what is found out here is true of those.
        how = HttpSettings(
            1, 1, TIMEOUT_S, TIMEOUT_S, TIMEOUT_S, bind_address=self.access.bind_address, ipv4=True
        )
        key, token = self.access.api_key, self.access.access_token
        headers = self.broker.auth_headers(key, token) if token else []  # public calls need none
        self._transport = HttpTransport(url, self.clock, headers, how)
        self._transport.dated = self._dated
        return self._transport

    def _answer(self, url: str, found: HttpResponse | TransportError) -> HttpResponse:
        if isinstance(found, HttpResponse):
            return found
        raise NoAnswer(self.words(why_unreachable(url, self.access.key_of(url), found.reason)))

    def _dated(self, date: bytes, sent_ns: int, received_ns: int) -> None:
        ahead_ns = self.clock.real_ns() - self.clock.mono_ns()
        self.skew_ns = narrowed(self.skew_ns, date, sent_ns + ahead_ns, received_ns + ahead_ns)


def narrowed(known: Skew | None, date: bytes, sent_real_ns: int, received_real_ns: int) -> Skew | None:
    """The bounds of the skew with one more Date header, which has whole seconds (RFC 9110, 6.6.1): when the
    answer was made the broker's clock stood there or up to a second behind it.
    """
    at_ns = date_ns(date)
    if at_ns is None or received_real_ns - sent_real_ns > ROUND_TRIP_MAX_NS:
        return known
    least_ns, most_ns = sent_real_ns - SLACK_NS - (at_ns + NS_PER_S), received_real_ns - at_ns
    if known is not None:
        least_ns, most_ns = max(least_ns, known[0]), min(most_ns, known[1])
    return min(least_ns, most_ns), max(least_ns, most_ns)
