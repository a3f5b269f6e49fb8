"""Layer 4, simulator, hot: one accepted websocket, and the ways in which it can end badly.

Pings are answered here, not by the library, so that a silent connection stays silent.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
import time
from typing import Any, Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from kite_hft.sim.server.face import Door
from kite_hft.sim.server.hub import Hold, Link

WRITE_BUFFER_HIGH: Final = 1 << 20
EOF_S: Final = 2.0
"""A client that does not close its side so long after ours is cut off."""
DRAIN_S: Final = 2.0
DRAIN_LOOK_S: Final = 0.001
_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """The server that a connection belongs to."""

    def opened(self, listener: Listener) -> Link: ...

    def closed(self, listener: Listener) -> None: ...

    def on_message(self, link: Link, data: bytes, *, binary: bool) -> None: ...

    def wake(self) -> None: ...


class Listener(WSListener):
    """One connection, and the door that it came in by."""

    def __init__(self, owner: Owner, door: Door) -> None:
        self.door = door
        self.link: Link | None = None
        self.leaving = False  # ended by us: it holds no place among the connections any more
        self.frozen = False
        self._message = b""
        self._binary = False
        self._owner = owner
        self._transport: WSTransport | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # -- picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH)
        self.link = self._owner.opened(self)

    @property
    def peer(self) -> str:
        """The address that the client calls from."""
        assert self._transport is not None
        return str(self._transport.underlying_transport.get_extra_info("peername")[0])

    def send_binary(self, data: bytes) -> int:
        """Hand a frame to the socket; returns when (CLOCK_MONOTONIC, ns)."""
        assert self._transport is not None
        self._transport.send(WSMsgType.BINARY, data)
        return time.monotonic_ns()

    def send_ping(self) -> None:
        """A websocket ping."""
        assert self._transport is not None
        self._transport.send_ping(b"")

    def send_text(self, data: bytes) -> None:
        """Hand a text frame to the socket."""
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, data)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.link is None or self.frozen or self.leaving:
            return
        if frame.msg_type in _DATA:
            if frame.msg_type != WSMsgType.CONTINUATION:
                self._binary = frame.msg_type == WSMsgType.BINARY
            self._message += frame.get_payload_as_bytes()  # a client may send a message in parts
            if frame.fin:
                message, self._message = self._message, b""
                self._owner.on_message(self.link, message, binary=self._binary)
        elif frame.msg_type == WSMsgType.PING:
            if self.link.hold is Hold.NOTHING:
                transport.send_pong(frame.get_payload_as_bytes())
                self.link.stream.sent.pongs += 1
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code() or WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for timer in self._timers:
            timer.cancel()
        self._owner.closed(self)

    def pause_writing(self) -> None:
        if self.link is not None:
            self.link.ready = False

    def resume_writing(self) -> None:
        if self.link is not None:
            self.link.ready = True
            self._owner.wake()

    # -- ends

    def close(self) -> None:
        """End the connection in order, with a close frame."""
        if self.leaving or self.frozen:
            self.abort()
        elif self._transport is not None and not self._socket.is_closing():
            self._transport.send_close(WSCloseCode.GOING_AWAY)
            self._transport.disconnect()

    def abort(self) -> None:
        """End the connection without waiting for what is not yet sent."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def close_with(self, code: int) -> None:
        """All that was sent arrives, then a close frame with this code."""
        if self._transport is not None and self._leave():
            self._transport.send_close(WSCloseCode(code))
            self._transport.disconnect()
            self._later(EOF_S, self.abort)

    def drop(self) -> None:
        """All that was sent arrives, then TCP FIN, without a close frame."""
        if self._leave():
            # close() would send RST if the client's last words are unread
            if self._socket.can_write_eof():
                self._socket.write_eof()
            else:  # TLS has no half of an end
                with self._same_socket() as same:
                    same.shutdown(socket.SHUT_WR)
            self._later(EOF_S, self.abort)

    def reset(self) -> None:
        """All that was sent arrives, then TCP RST."""
        if self._leave():
            self._reset_when_drained(time.monotonic() + DRAIN_S)

    def freeze(self, keeps_place: bool) -> None:
        """Read nothing, send nothing, answer nothing; TCP stays up. Only drop or abort follow."""
        if self.link is None or self.leaving:
            return
        self.frozen = True
        self.leaving = self.link.ended = not keeps_place
        self.link.hold = Hold.FOR_GOOD
        self._socket.pause_reading()

    @property
    def _socket(self) -> Any:
        assert self._transport is not None
        return self._transport.underlying_transport

    def _leave(self) -> bool:
        if self.link is None or self.leaving or self._socket.is_closing():
            return False
        self.leaving = self.link.ended = True
        self.link.hold = Hold.FOR_GOOD
        return True

    def _later(self, seconds: float, call: Any, *arguments: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, call, *arguments))

    def _same_socket(self) -> socket.socket:
        return socket.socket(fileno=os.dup(self._socket.get_extra_info("socket").fileno()))

    def _reset_when_drained(self, give_up: float) -> None:
        """RST throws away what the sender still holds; so wait until the other side has all."""
        fd = self._socket.get_extra_info("socket").fileno()
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))
        if (self._socket.get_write_buffer_size() or unacknowledged) and time.monotonic() < give_up:
            self._later(DRAIN_LOOK_S, self._reset_when_drained, give_up)
            return
        with self._same_socket() as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.abort()
