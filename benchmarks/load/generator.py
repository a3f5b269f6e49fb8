"""The generator process: `python -m load.generator OPTIONS`, started by the rig only.

A websocket server for k clients and nothing else: no event loop, no thread, one loop over plain
sockets (pace.py). Its owner speaks by lines of JSON on standard input, it answers on standard
output; the end of standard input ends it. First line: `ready ws://127.0.0.1:PORT`.

    {"do": "await", "tokens": N}          -> {"subscribed": N, "connections": k} when that is so
    {"do": "send", "rate": R, "seconds": S, "burst": bool}
                                          -> {"lag": .., "missed": .., "sent": .., "checksum": .., ..}
    {"do": "stop"}                        ends a `send` early

rate: ticks a second and instrument; 0: as fast as the clients take it. While it sends, its
counters stand in the board file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.upstox.frames import key_cells
from load import lag
from load.frames import HEARTBEAT, Frames
from load.frames_v3 import PING, FramesV3
from load.pace import (
    STEP,
    STEP_START_NS,
    Outcome,
    Schedule,
    Stream,
    finish,
    heartbeat,
    open_board,
    precise_sleeps,
    send,
)  # fmt: skip
from load.peer import Peer, PeerGone
from load.upstox_peer import UpstoxPeer

EXCHANGE_START_S: Final = 1_795_149_000  # 2026-11-20 10:00:00 IST
LEAD_NS: Final = 20_000_000
SEND_BUFFER: Final = 4 << 20


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m load.generator", description=__doc__)
    made.add_argument("--instruments", type=int, required=True)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--packets-per-frame", type=int, required=True)
    made.add_argument("--board", required=True, help="file of 64 bytes that is mapped")
    made.add_argument("--broker", choices=("kite", "upstox"), default="kite")
    made.add_argument("--relay", default="", help="Upstox: REST address of the simulator, for order updates")
    return made


@dataclass
class Server:
    """The listening socket, its clients, and the market that they are told of."""

    options: argparse.Namespace
    listener: socket.socket
    board: memoryview
    peers: list[Peer] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    line: bytes = b""
    ended: bool = False
    beat: bytes = b""
    make_peer: Callable[[socket.socket], Peer] = Peer
    played_s: int = 0  # the exchange's clock goes on over all schedules, and never back

    def __post_init__(self) -> None:
        instruments, base_px = default_instruments(self.options.instruments, self.options.seed)
        market = SyntheticMarket(instruments, base_px, 1.0, self.options.seed, EXCHANGE_START_S * 10**9)
        self.opening = market.opening()
        self.tokens = instruments.tokens()
        self.beat, self.make_peer = HEARTBEAT, Peer
        if self.options.broker == "upstox":
            self.named = with_upstox_keys(instruments)
            self.keys = key_cells([row.upstox_key for row in self.named])
            of_key = {row.upstox_key: row.token for row in self.named}
            self.beat = PING
            self.make_peer = lambda sock: UpstoxPeer(sock, tokens=of_key, relay=self.options.relay)
        self.slot_of = {int(token): slot for slot, token in enumerate(self.tokens.tolist())}

    def look(self, timeout_s: float) -> dict[str, Any] | None:
        """Clients and owner; the owner's next message, if there is one."""
        poll = select.poll()
        for fd in (0, self.listener, *(peer.sock for peer in self.peers)):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(timeout_s * 1000)}
        if self.listener.fileno() in ready:
            sock, _ = self.listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers.append(self.make_peer(sock))
        for peer in [p for p in self.peers if p.sock.fileno() in ready]:
            self._hear(peer)
        return self.message(0 in ready)

    def _hear(self, peer: Peer) -> None:
        try:
            peer.read()
            if not any(stream.peer is peer for stream in self.streams) and peer.answer:
                peer.sock.sendall(peer.answer)
                peer.answer = b""
        except PeerGone:
            peer.close()
            self.peers.remove(peer)
            if any(stream.peer is peer for stream in self.streams):
                self.streams = []

    def message(self, readable: bool) -> dict[str, Any] | None:
        """One line of standard input, when it is there whole."""
        if readable:
            data = os.read(0, 4096)
            self.ended = self.ended or not data
            self.line += data
        text, newline, rest = self.line.partition(b"\n")
        if not newline:
            return None
        self.line = rest
        found: dict[str, Any] = json.loads(text)
        return found

    def told_to_stop(self) -> bool:
        readable, _, _ = select.select([0], [], [], 0)
        message = self.message(bool(readable))
        return self.ended or (message is not None and message["do"] == "stop")

    def wait_for(self, tokens: int) -> dict[str, Any]:
        """Until so many tokens are subscribed over all clients, each with its own."""
        while not self.ended and sum(len(peer.modes) for peer in self.peers) < tokens:
            if (message := self.look(0.2)) is not None and message["do"] == "stop":
                break
        time.sleep(0.05)  # the last message sets a mode
        self.look(0)
        ready = [peer for peer in self.peers if peer.modes]
        self.streams = [Stream(peer, self.frames_of(peer)) for peer in ready]
        gc.collect()
        gc.freeze()
        told = sum(len(peer.modes) for peer in ready)
        return {"subscribed": told, "connections": len(ready)}

    def frames_of(self, peer: Peer) -> Frames | FramesV3:
        """The frames of one client: its own instruments, in the mode it asked for."""
        tokens = np.fromiter(peer.modes, np.uint32)
        slots = [self.slot_of[token] for token in peer.modes]
        mode, packets = next(iter(peer.modes.values())), self.options.packets_per_frame
        if self.options.broker == "upstox":
            return FramesV3(self.opening[slots], np.array(slots), self.named, self.keys, mode, packets)
        return Frames(self.opening[slots], tokens, mode, packets)

    def send(self, rate: float, seconds: float, burst: bool) -> dict[str, Any]:
        """One schedule; what came of it."""
        start_ns = time.monotonic_ns() + LEAD_NS
        counts = [stream.frames.count for stream in self.streams]
        group = counts if burst else [1] * len(counts)
        interval = [1e9 / (rate if burst else rate * n) if rate else 0.0 for n in counts]
        until_ns = start_ns + round(seconds * 1e9)
        schedule = Schedule(start_ns, until_ns - 1, interval, group, round(min(1.0, seconds) * 1e9))
        self.board[STEP_START_NS] = start_ns
        self.board[STEP] += 1
        used, before = resource.getrusage(resource.RUSAGE_SELF), self.counts()
        exchange = EXCHANGE_START_S - time.monotonic_ns() // 10**9 + self.played_s
        try:
            found = send(self.streams, schedule, self.board, exchange, self.told_to_stop)
        except PeerGone as gone:
            self.streams = []
            return {"gone": str(gone)}
        self.played_s += round(seconds)
        now, after = resource.getrusage(resource.RUSAGE_SELF), self.counts()
        return {
            "lag": lag.sparse(found.lag),
            "missed_frames": found.missed,
            "stopped": found.stopped,
            "seconds": (found.ended_ns - start_ns) / 1e9,
            "ticks": after[0] - before[0],
            "frames": after[1] - before[1],
            "sent": after[0],
            "checksum": sum(s.frames.checksum(s.number) for s in self.streams) % 2**64,
            "by_connection": [s.frames.ticks(s.number) for s in self.streams],
            "cpu_s": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
        }

    def counts(self) -> tuple[int, int]:
        return (
            sum(stream.frames.ticks(stream.number) for stream in self.streams),
            sum(stream.number for stream in self.streams),
        )


def main(argv: list[str] | None = None) -> int:
    """Serve until standard input ends."""
    options = parser().parse_args(argv)
    precise_sleeps()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    server = Server(options, listener, open_board(options.board))
    print(f"ready ws://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    heart_ns = 0
    while not server.ended:
        message = server.look(0.1)
        if time.monotonic_ns() > heart_ns and server.streams:
            heart_ns = time.monotonic_ns() + 10**9
            beat(server)
        if message is None or message["do"] == "stop":
            continue
        answer: dict[str, Any] = {}
        if message["do"] == "await":
            answer = server.wait_for(message["tokens"])
        elif message["do"] == "send":
            gc.disable()
            answer = server.send(message["rate"], message["seconds"], message["burst"])
            gc.enable()
        print(json.dumps(answer), flush=True)
    for peer in server.peers:
        peer.close()
    return 0


def beat(server: Server) -> None:
    """A heartbeat between schedules; a client that is gone is forgotten."""
    try:
        heartbeat(server.streams, server.beat)
        for stream in server.streams:
            if stream.control:
                finish([stream], Outcome(), server.board)
    except PeerGone:
        server.streams = []


if __name__ == "__main__":
    sys.exit(main())
