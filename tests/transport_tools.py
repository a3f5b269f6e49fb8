"""A transport under a clock and a resolver of the test's own."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Final

from kite_hft.clock import SystemClock
from kite_hft.net.connection import Connection
from kite_hft.net.http import HttpTransport

LOOKING: Final = "kite_hft-name"
"""The thread that looks a name up anew."""


class Later(SystemClock):
    """The system's clock, moved on by the test."""

    ahead_ns = 0

    def mono_ns(self) -> int:
        return super().mono_ns() + self.ahead_ns


class Names:
    """The system's resolver: `ports` of this machine stand for every name, by IPv6 first; none: it fails.

    asked: (thread, kind of address) of every question. cores: those that the last one might run on. go:
    cleared, an answer takes until it is set.
    """

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.asked: list[tuple[str, int]] = []
        self.cores: set[int] = set()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, host: str, port: int, family: int = 0, kind: int = 0) -> list[Any]:
        self.asked.append((threading.current_thread().name, family))
        self.cores = os.sched_getaffinity(0)
        assert self.go.wait(10)
        if not self.ports:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        ours = [(socket.AF_INET, kind, 0, "", ("127.0.0.1", at)) for at in self.ports]
        theirs = [(socket.AF_INET6, kind, 0, "", ("::1", at, 0, 0)) for at in self.ports]
        return [*([] if family == socket.AF_INET else theirs), *([] if family == socket.AF_INET6 else ours)]

    def looks(self) -> int:
        """How often it was asked beside the calls."""
        return sum(thread == LOOKING for thread, _ in self.asked)


def up(transport: HttpTransport) -> Connection:
    """Its first connection for orders, as soon as it stands."""
    connection = transport._orders.connections[0]
    pause = threading.Event()
    for _ in range(3000):
        transport.poll()
        if connection.fresh():
            return connection
        pause.wait(0.001)
    raise AssertionError("never connected")
