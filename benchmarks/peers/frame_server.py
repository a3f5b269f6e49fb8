"""A websocket server that sends prepared frames as fast as its socket takes them.

    python frame_server.py [--cpu N]

Prints its port, then serves one client after another until its standard input ends. The path of
the request says what to send: /PAYLOAD_BYTES/FRAMES. All frames of a connection are equal binary
frames, built once and sent in pieces of about 1 MiB, so that the sender costs a copy and nothing
else; then it waits for the client to go. Standard library only.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import socket
import struct
import threading

PIECE_BYTES = 1 << 20
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def frame(payload_bytes: int) -> bytes:
    """One binary frame (RFC 6455, 5.2), unmasked as a server's are: a Kite frame of so many bytes."""
    payload = struct.pack(">H", payload_bytes // 186) + bytes(i * 7 & 0x7F for i in range(payload_bytes - 2))
    if payload_bytes < 126:
        return bytes((0x82, payload_bytes)) + payload
    if payload_bytes < 65_536:
        return struct.pack(">BBH", 0x82, 126, payload_bytes) + payload
    return struct.pack(">BBQ", 0x82, 127, payload_bytes) + payload


def upgrade(client: socket.socket) -> tuple[int, int]:
    """Answer the upgrade; what the path asks for."""
    request = b""
    while b"\r\n\r\n" not in request:
        more = client.recv(4096)
        if not more:
            raise ConnectionError("closed before the upgrade")
        request += more
    first, *lines = request.split(b"\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines)}
    accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + GUID).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    _, payload_bytes, frames = first.split()[1].partition(b"?")[0].split(b"/")
    return int(payload_bytes), int(frames)


def serve(client: socket.socket) -> None:
    """One connection, until the client has seen enough."""
    payload_bytes, frames = upgrade(client)
    one = frame(payload_bytes)
    at_once = max(1, PIECE_BYTES // len(one))
    piece = memoryview(one * at_once)
    while frames:
        n = min(frames, at_once)
        client.sendall(piece[: n * len(one)])
        frames -= n
    while client.recv(65_536):
        pass


def accept_all(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        try:
            serve(client)
        except OSError:
            pass  # the client went in the middle: it had its figure
        finally:
            client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accept_all, args=(listener,), daemon=True).start()
    while os.read(0, 4096):
        pass


if __name__ == "__main__":
    main()
