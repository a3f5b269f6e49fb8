"""A connection that ends while something is written on it."""

from __future__ import annotations

import errno
import socket
from typing import Any


class Torn:
    """A socket that takes `n` bytes more, and then none."""

    def __init__(self, real: socket.socket, n: int = 0) -> None:
        self._real, self._left = real, n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def send(self, data: bytes) -> int:
        if self._left <= 0:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        n, self._left = self._real.send(data[: self._left]), 0
        return n
