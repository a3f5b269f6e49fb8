"""The load harness: its frames are the brokers', its figures add up, and nothing is left behind. No times."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from kite_hft._kite_decode import KiteDecoder
from kite_hft.engine.market.feeds import make_decoder
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.upstox.frames import key_cells

BENCHMARKS = Path("benchmarks").resolve()
Market = tuple[np.ndarray, np.ndarray]  # opening state, tokens
HARNESS = [sys.executable, str(BENCHMARKS / "load_test.py")]
sys.path.append(str(BENCHMARKS))
from load import lag  # noqa: E402
from load.frames import HEARTBEAT, Frames  # noqa: E402
from load.frames_v3 import PING, STAMP_FROM_END, FramesV3  # noqa: E402
from load.look import growth  # noqa: E402
from load.pace import Schedule, Stream  # noqa: E402
from load.peer import Peer, PeerGone  # noqa: E402
from load.upstox_peer import FEED, MARKET, UpstoxPeer  # noqa: E402


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, JSON, output) of one run."""
    path = folder / "load.json"
    done = subprocess.run(
        [*HARNESS, *words, "--json", str(path)], capture_output=True, text=True, timeout=120
    )
    assert path.exists(), done.stderr
    return done.returncode, json.loads(path.read_text()), done.stdout + done.stderr


def left() -> list[str]:
    """Shared memory of harness runs whose engine lives no more."""
    home = Path(f"/dev/shm/kite_hft-{os.getuid()}")
    notes = (json.loads(note.read_text()) for note in home.glob("*/run.json"))
    return [n["shm"] for n in notes if n["account"].startswith("LOAD_") and not psutil.pid_exists(n["pid"])]


@pytest.fixture(scope="module")
def market() -> Market:
    instruments, base_px = default_instruments(100, 1)
    return SyntheticMarket(instruments, base_px, 1.0, 1, 0).opening(), instruments.tokens()


@pytest.mark.parametrize(("mode", "packets"), [("full", 30), ("full", 1), ("quote", 100), ("ltp", 7)])
def test_frames_are_what_a_decoder_reads(market: Market, mode: str, packets: int) -> None:
    """Two rounds and a bit: tokens in turn, moving prices, each frame's stamp, counts and checksum."""
    opening, tokens = market
    frames = Frames(opening, tokens, mode, packets)
    decoder = KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32))
    seen, number, wanted = [], 0, 2 * frames.count + 1
    while number < wanted:
        n, within, data, part = frames.take(number, min(wanted - number, 4))
        frames.write(number, n, within, part, (np.arange(number, number + n) + 5000).astype(">u4"))
        for i in range(n):
            frame = bytes(data[i * part.frame_bytes : (i + 1) * part.frame_bytes])
            length = frame[1] if frame[1] < 126 else int.from_bytes(frame[2:4], "big")
            ticks = decoder.decode_frame(frame[2 if frame[1] < 126 else 4 :][:length], recv_ns=1)
            assert len(ticks) == part.packets and frame[0] == 0x82
            if mode == "full":
                assert set(ticks["oi_day_high"].tolist()) == {5000 + number + i}
            seen.append(ticks)
        number += n
    ticks = np.concatenate(seen)
    assert ticks["slot"].tolist() == [i % 100 for i in range(len(ticks))]
    assert len(ticks) == frames.ticks(wanted) and not any(decoder.malformed.values())
    assert (ticks["last_px"][:100] != ticks["last_px"][100:200]).sum() > 80
    assert frames.checksum(wanted) == tick_checksum(tokens[ticks["slot"]], ticks["last_px"], ticks["volume"])
    assert len(HEARTBEAT) == 3


def test_a_frame_knows_its_time_and_the_exchange_its_second(market: Market) -> None:
    opening, tokens = market
    frames = Frames(opening, tokens, "full", 30)
    frames.set_time(1_795_149_123)
    ticks = KiteDecoder(tokens, np.arange(100, dtype=np.uint32)).decode_frame(bytes(frames.data[4:5586]))
    assert set((ticks["exch_ns"] // 10**9).tolist()) == {1_795_149_123}


def payload_of(frame: bytes) -> bytes:
    """Without the websocket's header."""
    size = {126: 4, 127: 10}.get(frame[1], 2)
    return frame[size:]


@pytest.mark.parametrize(
    ("mode", "packets"), [("full", 30), ("full", 1), ("option_greeks", 100), ("ltpc", 7)]
)
def test_frames_of_upstox_are_what_a_decoder_reads(mode: str, packets: int) -> None:
    """Two rounds and a bit: every key in turn, prices on their grid, each frame's stamp, counts, checksum."""
    instruments, base_px = default_instruments(100, 1)
    table = with_upstox_keys(instruments)
    slots = np.arange(3, 100)[::-1].copy()
    opening = SyntheticMarket(instruments, base_px, 1.0, 1, 0).opening()[slots]
    frames = FramesV3(opening, slots, table, key_cells([row.upstox_key for row in table]), mode, packets)
    frames.set_time(1_795_149_123)
    decoder, seen = make_decoder("upstox", table, 0), []
    number, wanted = 0, 2 * frames.count + 1
    while number < wanted:
        n, within, data, part = frames.take(number, min(wanted - number, 4))
        stamps = np.arange(number, number + n) + 4_294_960_000
        frames.write(number, n, within, part, stamps.astype(">u4"))
        for i in range(n):
            start, stop = frames._starts[within + i : within + i + 2]
            frame = bytes(frames.data[start:stop])
            assert bytes(data[start - frames._starts[within] :][: stop - start]) == frame and frame[0] == 0x82
            ticks = decoder.decode_both(payload_of(frame), 1)[0]
            if mode == "full":
                assert set(ticks["oi"].tolist()) == {int(stamps[i])} and not ticks["oi_day_high"].any()
                assert struct.unpack_from("<d", frame, len(frame) - STAMP_FROM_END)[0] == stamps[i]
            seen.append(ticks)
        number += n
    ticks = np.concatenate(seen)
    assert ticks["slot"].tolist() == [int(slots[i % 97]) for i in range(len(ticks))]
    assert len(ticks) == frames.ticks(wanted) and not any(decoder.malformed.values())
    assert not decoder.counts()["off_grid"] and set((ticks["exch_ns"] // 10**9).tolist()) == {1_795_149_123}
    assert (ticks["last_px"][:97] != ticks["last_px"][97:194]).sum() > 70
    tokens = table.tokens()[ticks["slot"]]
    assert frames.checksum(wanted) == tick_checksum(tokens, ticks["last_px"], ticks["volume"])
    assert PING[0] == 0x89


@pytest.mark.parametrize(
    ("first_ns", "step_ns", "n"), [(5, 0.0, 3), (10**6, 1e4, 5), (10**7, 123.4, 900), (9, 3, 20)]
)
def test_many_lags_count_as_one_by_one(first_ns: int, step_ns: float, n: int) -> None:
    found, slow = lag.empty(), lag.empty()
    lag.record(found, first_ns, step_ns, n)
    for i in range(n):
        slow[lag.bucket_of(max(0, int(first_ns - i * step_ns)))] += 1
    assert found.sum() == slow.sum() == n
    assert np.abs(found.astype(int) - slow.astype(int)).sum() <= 2  # of a border, by rounding
    for ns in (0, 1, 31, 32, 1000, 10**6, 10**9):
        bucket = lag.bucket_of(ns)
        assert lag.UPPER_US[bucket] * 1000 >= ns and (not bucket or ns > lag.UPPER_US[bucket - 1] * 1000)


class Socket:
    """Gives what a client said, keeps what it is told."""

    def __init__(self, said: bytes) -> None:
        self.said, self.told = said, b""

    def recv(self, _size: int) -> bytes:
        found, self.said = self.said[:7], self.said[7:]
        return found

    def send(self, data: bytes) -> int:
        self.told += data
        return len(data)


def client_frame(opcode: int, payload: bytes) -> bytes:
    mask = b"\x01\x02\x03\x04"
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return bytes((0x80 | opcode,)) + size + mask + masked


def test_a_peer_upgrades_subscribes_and_pongs() -> None:
    head = b"GET /?api_key=a&access_token=b HTTP/1.1\r\nHost: x\r\n"
    head += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    tokens = list(range(1000, 1060))
    said = head + client_frame(1, json.dumps({"a": "subscribe", "v": tokens}).encode())
    said += client_frame(1, json.dumps({"a": "mode", "v": ["full", tokens[:50]]}).encode())
    said += client_frame(1, json.dumps({"a": "unsubscribe", "v": [1059]}).encode()) + client_frame(9, b"hi")
    peer = Peer(Socket(said))  # type: ignore[arg-type]
    with pytest.raises(PeerGone, match="closed"):
        while True:
            peer.read()
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in peer.answer  # the example of RFC 6455, 1.3
    assert peer.answer.endswith(b"\x8a\x02hi")
    assert list(peer.modes) == tokens[:-1] and peer.modes[1049] == "full" and peer.modes[1058] == "quote"


def test_a_peer_without_keys_is_refused() -> None:
    socket = Socket(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n")
    peer = Peer(socket)  # type: ignore[arg-type]
    with pytest.raises(PeerGone, match="answered 403"):
        while True:
            peer.read()
    assert socket.told.startswith(b"HTTP/1.1 403") and not peer.is_open


def test_a_peer_of_upstox_authorises_upgrades_and_subscribes() -> None:
    ask = f"GET {MARKET} HTTP/1.1\r\nHost: x:9\r\nAuthorization: Bearer t\r\n\r\n".encode()
    socket = Socket(ask)
    with pytest.raises(PeerGone, match="answered 200"):
        heard(UpstoxPeer(socket))  # type: ignore[arg-type]
    uri = json.loads(socket.told.partition(b"\r\n\r\n")[2])["data"]["authorized_redirect_uri"]
    assert uri.startswith(f"ws://x:9{FEED}?")
    upgrade = f"GET {uri[8:]} HTTP/1.1\r\nHost: x:9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    keys = {f"NSE_FO|{n}": n for n in range(60)}

    def request(method: str, wanted: list[str], mode: str) -> bytes:
        data = {"mode": mode, "instrumentKeys": wanted}
        return client_frame(2, json.dumps({"guid": "1", "method": method, "data": data}).encode())

    said = upgrade.encode() + request("sub", list(keys), "ltpc") + request("unsub", ["NSE_FO|59"], "")
    said += (
        request("change_mode", ["NSE_FO|7", "NSE_FO|59"], "full")
        + client_frame(10, b"")
        + client_frame(1, b"?")
    )
    peer = UpstoxPeer(Socket(said), tokens=keys)  # type: ignore[arg-type]
    with pytest.raises(PeerGone, match="closed"):
        heard(peer)
    assert peer.is_open and list(peer.modes) == list(range(59)) and peer.modes[7] == "full"
    unknown = UpstoxPeer(Socket(upgrade.encode() + request("sub", ["NSE_FO|99"], "full")), tokens=keys)  # type: ignore[arg-type]
    with pytest.raises(PeerGone, match="pass over"):
        heard(unknown)


def test_a_peer_of_upstox_without_a_token_is_refused() -> None:
    for ask in (f"GET {MARKET} HTTP/1.1", f"GET {FEED} HTTP/1.1\r\nSec-WebSocket-Key: x"):
        socket = Socket(f"{ask}\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(PeerGone, match="answered 401"):
            heard(UpstoxPeer(socket))  # type: ignore[arg-type]


def heard(peer: Peer) -> None:
    """All that its socket gives. Raises PeerGone."""
    while True:
        peer.read()


class NarrowSocket:
    """Takes at most ten bytes at a time."""

    def __init__(self) -> None:
        self.told = b""

    def send(self, data: bytes) -> int:
        self.told += bytes(data[:10])
        return min(10, len(data))


def test_a_pong_waits_for_the_end_of_a_frame_and_intended_times_never_move(market: Market) -> None:
    opening, tokens = market
    sock = NarrowSocket()
    stream = Stream(Peer(sock), Frames(opening, tokens, "full", 50))  # type: ignore[arg-type]
    stream.begin(Schedule(10**9, 2 * 10**9 - 1, [10**8], [1], 0), 0, 1)
    assert stream.total == 10 and stream.due(10**9 - 1) == 0 and stream.due(10**9 + 25 * 10**7) == 3
    stream.stage(10**9 + 25 * 10**7, 2, 1_795_149_000)
    stream.push()
    stream.control = b"pong"
    while stream.pending is not None or stream.control:
        stream.push()
    frames, size = stream.frames, len(stream.frames.data) // 2
    assert sock.told == bytes(frames.data) + b"pong"
    decoder = KiteDecoder(tokens, np.arange(100, dtype=np.uint32))
    stamps = [decoder.decode_frame(sock.told[i * size + 4 : (i + 1) * size])["oi_day_high"] for i in (0, 1)]
    assert [set(s.tolist()) for s in stamps] == [{1_000_000}, {1_100_000}]


def test_the_slope_of_memory() -> None:
    samples = [
        {"at_s": t, "memory": {"market-0": {"pss": 1000 + t}, "generator": {"pss": 10**6 * t}}}
        for t in range(9)
    ]
    found = growth(samples, "pss", 2)
    assert found is not None and found["n"] == 7 and abs(found["per_hour"] - 3600) < 1
    assert growth(samples, "pss", 7) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--instruments", "9001"], "--limits loopback allows 50,000"),
        (["--connections", "1", "--instruments", "5000"], "ask for 2"),
        (["--rate", "0"], "--rate 0"),
        (["--profile", "nope"], "invalid choice: 'nope'"),
        (["--mode", "ltp", "--bare"], "--bare"),
        (["--broker", "upstox", "--instruments", "4001"], "Upstox's 2 connections of 2,000"),
        (["--broker", "upstox", "--connections", "3"], "--connections 3: 1 to 2"),
        (["--broker", "upstox", "--mode", "quote"], "Upstox has ltpc, option_greeks, full"),
        (["--mode", "option_greeks"], "Kite has ltp, quote, full"),
    ],
)
def test_flags_that_do_not_fit(words: list[str], said: str) -> None:
    done = subprocess.run([*HARNESS, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_the_pools_load_in_small(tmp_path: Path) -> None:
    """Three connections with instruments of their own, probes, stamps, and the bare receiver."""
    words = ["--profile", "pool", "--instruments", "600", "--connections", "3", "--rate", "5"]
    code, told, said = run(tmp_path, *words, "--duration", "2", "--warm-up", "0.5", "--probe-every", "50")
    assert code == 0, said
    assert told["sent"] == told["ticks"]["computed"] == told["ticks"]["received"] > 600 * 5 * 2
    each = told["generator"]["by_connection"]  # they take turns, in frames of 30
    assert sum(each) == told["sent"] and len(each) == 3 and max(each) - min(each) <= 30
    assert [c["instruments"] for c in told["ticks"]["by_connection"]] == [200] * 3
    steady = told["steady"]
    assert 0 < steady["latency_us"]["send_to_computed"]["n"] <= told["sent"]
    assert steady["latency_us"]["send_to_intent"]["n"] > 0 and told["latency_us"]["send_to_intent"]["n"] > 0
    assert told["orders"] and steady["ticks"]["probes"] > 0
    assert told["bare"]["frames"] > 0 and told["bare"]["send_to_callback"]["n"] > 0
    assert {"market-0", "market-1", "market-2", "orders", "generator"} <= set(told["memory"]["by process"])
    assert steady["cpu"]["engine"]["s"] > 0 and told["machine"]["cores"]
    assert "intended send to computed" in said and not left()


def test_the_pools_load_at_upstox_in_small(tmp_path: Path) -> None:
    """Two connections by one-time addresses, V3 frames, stamps, order updates of the simulator."""
    words = ["--broker", "upstox", "--profile", "pool", "--instruments", "400", "--rate", "5"]
    words += ["--connections", "2", "--duration", "2", "--warm-up", "0.5", "--probe-every", "50"]
    code, told, said = run(tmp_path, *words)
    assert code == 0, said
    ticks = told["ticks"]
    assert told["sent"] == ticks["received"] == ticks["decoded"] == ticks["computed"] > 400 * 5 * 2
    assert [c["instruments"] for c in ticks["by_connection"]] == [200, 200, 0]
    assert ticks["by_connection"][2]["orders_only"] and ticks["by_connection"][2]["connects"] == 1
    steady = told["steady"]["latency_us"]
    assert steady["send_to_computed"]["n"] > 0 and steady["send_to_intent"]["n"] > 0
    assert told["bare"]["frames"] > 0 and told["bare"]["send_to_callback"]["n"] > 0
    assert told["load"]["broker"] == "upstox" and told["load"]["connections"] == 2 and not told["published"]


def test_a_search_in_small(tmp_path: Path) -> None:
    """What it finds depends on the machine; that it counts right does not."""
    words = ["--profile", "flood", "--instruments", "500", "--rate", "8000", "--warm-up", "0.1"]
    _code, told, said = run(tmp_path, *words, "--duration", "0.5")
    assert told["flood"]["trials"] and not [w for w in told["wrong"] if w != "no rate held"], said
    assert told["sent"] == told["ticks"]["published"] == told["ticks"]["computed"] + told["ticks"]["lost"]
    assert told["generator"]["alone"]["ticks_per_s"] > 0


def test_ctrl_c_ends_everything_and_prints(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    words = ["--profile", "burst", "--instruments", "300", "--duration", "60", "--warm-up", "0"]
    process = subprocess.Popen(
        [*HARNESS, *words, "--json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("load:"):
        assert line, "ended early"
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    told = json.loads(path.read_text())
    assert process.returncode == 130 and "interrupted: SIGINT" in said
    assert told["interrupted"] == "SIGINT" and told["sent"] == told["ticks"]["computed"]
    assert children and not any(child.is_running() for child in children) and not left()
