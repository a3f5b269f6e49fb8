"""Layer 5, every process of a run, cold: JSON lines that steer a run.

Two roads. A child hears its supervisor by a pipe (`ControlPipe`: non-blocking, one message a line).
A person's command line reaches the supervisor by a unix socket in the run's folder of shared memory
(mode 0700; `ControlServer`, `ask`): one request line, one answer line, and only for processes of
the same user (SO_PEERCRED).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SOCKET_NAME: Final = "control.sock"
LINE_BYTES_MAX: Final = 1 << 20
CLIENTS_MAX: Final = 16
READ_BYTES: Final = 65536


class ControlError(Exception):
    """The engine could not be asked; the message says why."""


@dataclass(slots=True)
class Lines:
    """Puts messages together out of what arrives in pieces."""

    pending: bytes = b""

    def add(self, chunk: bytes) -> list[dict[str, Any]]:
        """The whole messages that `chunk` completes.

        Raises:
            ControlError: a line that is no JSON object, or longer than 1 MiB.
        """
        *lines, self.pending = (self.pending + chunk).split(b"\n")
        if len(self.pending) > LINE_BYTES_MAX:
            raise ControlError("a message longer than 1 MiB")
        found = []
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ControlError(f"not JSON: {error}") from None
            if not isinstance(message, dict):
                raise ControlError("a message is a JSON object")
            found.append(message)
        return found


class ControlPipe:
    """In a child: what the supervisor says after the configuration. Register `fileno()` for reading."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._lines = Lines()
        self.closed = False  # by the supervisor, or by its end

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[dict[str, Any]]:
        """New messages, oldest first; never blocks. Each has the key `do`."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                chunk = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return found
            if not chunk:
                self.closed = True
                return found
            found += self._lines.add(chunk)


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    lines: Lines = field(default_factory=Lines)


class ControlServer:
    """In the supervisor: answers requests; `serve()` is called every few milliseconds and never blocks.

    handle: from a request to its answer, both JSON objects; what it raises is answered as an error.
    """

    def __init__(self, path: Path, handle: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._path, self._handle = path, handle
        self._clients: list[_Client] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind(str(path))
            path.chmod(0o600)
            self._listener.listen(CLIENTS_MAX)
        except OSError:
            self._listener.close()
            raise

    def filenos(self) -> list[int]:
        """What to wait on for reading."""
        return [self._listener.fileno(), *(client.connection.fileno() for client in self._clients)]

    def serve(self) -> None:
        """Take in new clients and answer what they ask."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                break
            connection.setblocking(False)
            if _peer(connection) != os.geteuid():
                connection.close()
                continue
            if len(self._clients) == CLIENTS_MAX:  # who says nothing makes room for who may
                self._clients.pop(0).connection.close()
            self._clients.append(_Client(connection))
        for client in list(self._clients):
            if not self._serve_one(client):
                self._clients.remove(client)
                client.connection.close()

    def _serve_one(self, client: _Client) -> bool:
        """Whether the client stays."""
        try:
            chunk = client.connection.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        try:
            for message in client.lines.add(chunk):
                client.connection.sendall(json.dumps(self._answer(message)).encode() + b"\n")
        except (OSError, ControlError):  # BlockingIOError: it asks on and on, and reads no answer
            return False
        return bool(chunk)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._handle(message)
        except Exception as error:  # whatever a request is made of, it must not end the run
            return {"error": f"{error}" if isinstance(error, ControlError) else f"bad request: {error!r}"}

    def close(self) -> None:
        for client in self._clients:
            client.connection.close()
        self._clients.clear()
        self._listener.close()
        self._path.unlink(missing_ok=True)


def _peer(connection: socket.socket) -> int:
    """User of the process at the other end."""
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def ask(path: Path, message: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Send one request to the engine whose control socket is `path`; its answer.

    Raises:
        ControlError: no engine listens there, it does not answer in time, or it answers an error.
    """
    lines = Lines()
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps(message).encode() + b"\n")
            answers: list[dict[str, Any]] = []
            while not answers:
                chunk = connection.recv(READ_BYTES)
                if not chunk:
                    raise ControlError("the engine closed the connection without an answer")
                answers = lines.add(chunk)
    except TimeoutError:
        raise ControlError(f"the engine did not answer within {timeout_s:g} s; is it stopping?") from None
    except (FileNotFoundError, ConnectionError) as error:
        raise ControlError(f"no engine listens on {path} ({error.strerror}); is it running?") from None
    except OSError as error:
        raise ControlError(f"the engine cannot be asked: {error}") from None
    if "error" in answers[0]:
        raise ControlError(str(answers[0]["error"]))
    return answers[0]
